// Package metrics has the metrics of konto: a registry for other packages, the positions of the
// followers, and the page that Prometheus reads.
//
// No label has personal data. The values are constants of konto, and the names that operators gave
// to third parties.
package metrics
