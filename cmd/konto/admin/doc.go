// Package admin has the operations with which konto is administered, and the HTTP API of them. The
// command line and the API call the same functions. Each takes the metadata of who acts, returns a
// value with the JSON that both show, and prints nothing.
//
//	konto key issue ──────▶ IssueKey ◀────── POST /admin/v1/keys
//	  (package main)       (this package)      (keyroutes.go)
//
// Where to find what:
//
//   - pages, errors, the line that is logged for each act: konto.go
//   - the operations: accounts.go, history.go, keys.go, events.go, thirdparties.go, deliveries.go,
//     status.go
//   - the API: routes.go, and a file for each resource: accountroutes.go and others; its OpenAPI
//     document is http/openapi/admin.json
package admin
