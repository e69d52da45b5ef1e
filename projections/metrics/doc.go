// Package metrics is what operators see of konto in numbers: a registry for
// those who count, the followers' positions, and the page that Prometheus reads.
//
// No label has personal data: their values are konto's own words and the names
// that operators gave to third parties.
package metrics
