// Package eventstoretest is the conformance suite of eventstore.Log. What the
// comments in eventstore promise is decided here: a backend is right when it
// passes Run.
//
// The suite knows nothing of how a backend works. It waits for the feed before
// it reads it, because a replicated one may lag, and expects no particular
// positions, only rising ones.
package eventstoretest
