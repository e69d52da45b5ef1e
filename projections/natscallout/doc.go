// Package natscallout lets the keys of consumers and senders count at outside NATS servers.
//
// An outside server that has auth_callout in its configuration asks konto who a client is:
//
//	client ── token ──▶ server ── $SYS.REQ.USER.AUTH ──▶ any konto node
//	       ◀── may ───         ◀── a user's JWT, signed ──
//
// The JWT says what the client may do, and in which of the server's accounts. It is signed with a key
// that is derived from konto's key store, so all nodes sign alike. The server's configuration has
// the public key (PublicKey). permissions.go says what a client may do, and projections/nats/DESIGN.md
// why, and what remains.
package natscallout
