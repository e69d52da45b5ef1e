// Package bench measures a konto from outside its process. Command
// kontobench runs it, and makes the konto to be measured.
//
//		targets ─▶ load.go ──connections (client.go)──▶ konto serve, a process of its own
//		              │ acks                               │ /healthz        │ webhooks
//		              ▼                                    ▼                 ▼
//		           lags.go ◀──────────────────────────  watch.go          hooks.go
//
//	  - what it asks: request.go, http.go; what it finds: report.go, table.go
//	  - how long after an update others know of it: lags.go
//	  - in its own process: store.go, the log alone, and rebuild.go, the read model
package bench
