// Package memory is an eventstore.Log in memory, for tests and as the shortest
// reading of the contract.
package memory
