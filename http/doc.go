// Package http serves konto's three public contracts over one write side and
// one read side.
//
//	HostUp   GET, PATCH /api/v2/me                                hostup_*.go, me*.go
//	Payway   PUT /external/api/v1/accounts and /v0/accounts       payway_*.go
//	generic  GET, PATCH /v1/account                               generic_*.go
//	         GET /healthz                                         health.go
//
// A request takes one way through the room:
//
//	chi route ──▶ exchange (request id, headers, panics)     exchange.go
//	          ──▶ admit (credential, scope)                  auth.go
//	          ──▶ body.read (a table of members)             body.go, strict.go
//	          ──▶ commands.Accounts.Do or projections.Reader
//	          ──▶ exchange.answer, or exchange.fail with the
//	              contract's error table                     errors.go
//
// A contract is data: the members of its bodies, a table from error to answer
// and the shape of an error. Handlers know nothing of the domain's rules.
// DESIGN.md says what absent, null and empty members do in each contract.
package http
