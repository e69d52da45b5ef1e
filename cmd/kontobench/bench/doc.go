// Package bench measures a konto from outside its process. Command
// kontobench runs it, and starts the konto that is measured.
//
//	targets ─▶ load.go ──connections (client.go)──▶ konto serve, a process of its own
//	              │ acks                               │ /healthz        │ webhooks
//	              ▼                                    ▼                 ▼
//	           lags.go ◀──────────────────────────  watch.go          hooks.go
//
// Where to find what:
//
//   - the requests: request.go; the results: report.go
//   - how long after an update its effects are visible: lags.go
//   - in this process: store.go, the log alone, and rebuild.go, the read model
package bench
