// Package http serves konto's three public contracts over one write side and
// one read side.
//
//	HostUp   GET, PATCH /api/v2/me                                hostup_*.go, me*.go
//	Payway   GET, POST, PUT /external/api/v1/accounts             payway_*.go
//	         PUT /external/api/v0/accounts
//	         POST /oauth/token                                    oauth.go
//	         POST /api/v2/me/actions/*                            hostup_actions.go
//	generic  GET, PATCH /v1/account                               generic_*.go
//	         POST /v1/account/confirm-email                       generic_email.go
//	         GET /healthz                                         health.go
//	all      GET /openapi/*.json, /docs                           docs.go
//	         GET /.well-known/jwks.json                           wellknown.go
//
// A request takes one way through the room:
//
//	NewServer ──▶ chi route (slow callers are cut)           timeouts.go, server.go
//	          ──▶ exchange (request id, headers, panics)     exchange.go, origins.go
//	          ──▶ admit (credential, rate, scope, Accept)    auth.go, ratelimit.go, negotiate.go,
//	                                                         accesstoken.go, jwt.go
//	          ──▶ body.read (a table of members)             body.go, strict.go
//	          ──▶ do (commands, once for each key)           idempotency.go
//	              or projections.Reader
//	          ──▶ exchange.answer, or exchange.fail with the
//	              contract's error table                     object.go, errors.go
//
// A contract is data: the members of its bodies, a table from error to answer
// and the shape of an error. Handlers know nothing of the domain's rules.
// DESIGN.md says what absent, null and empty members do in each contract.
package http
