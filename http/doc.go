// Package http serves konto's three public contracts: HostUp's, Payway's and a
// generic one. All of them use one write side (commands) and one read side
// (projections).
//
//	HostUp   GET, PATCH /api/v2/me, POST /api/v2/me/actions/*   hostup.go, accountme.go
//	Payway   GET, POST, PUT /external/api/v1/accounts           payway*.go
//	         PUT /external/api/v0/accounts
//	         POST /oauth/token                                  oauth.go
//	generic  GET, PATCH /v1/account                             generic.go
//	         POST /v1/account/confirm-email
//	         /admin/v1/*, for package cmd/konto/admin           api.go
//	all      GET /openapi/*.json, /docs, /docs/*                docs.go
//	         GET /.well-known/jwks.json
//	         GET /healthz                                       server.go
//	         GET /, /livez, /readyz                             probes.go
//
// A request passes these steps:
//
//	NewServer        limits slow callers                           timeouts.go
//	server.serve     finds the route, makes the exchange           server.go
//	server.begin     sets the request id and common headers        exchange.go
//	access.admit     checks credential, rate, scope and Accept     auth.go, oauth.go, jwt.go,
//	                                                               userjwt.go, ratelimit.go
//	body.read        reads the body by a table of members          readbody.go, body.go
//	exchange.do      runs the command, once for each               exchange.go
//	                 Idempotency-Key; a read asks
//	                 projections.Reader instead                    conditional.go
//	exchange.answer  writes the account, or                        answer.go
//	exchange.fail    writes the error by the contract's table      errors.go
//	exchange.done    counts the request, logs it if wanted, and    metrics.go
//	                 ends its span                                 trace.go
//
// A contract is data: the members of its bodies, a table from error to answer, and
// the shape of an error. Endpoints contain none of the rules about accounts. Those
// are in commands. DESIGN.md says what absent, null and empty members do.
package http
