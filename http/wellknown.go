package http

import "strconv"

// wellKnownKeys shows konto's own public keys. They change with the master key
// alone, and whoever meets a key that he does not know asks again, so copies may
// be kept for an hour.
func (x *exchange) wellKnownKeys() error {
	h := x.w.Header()
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", mediaJSON)
	h.Set("Content-Length", strconv.Itoa(len(x.KeySet)))
	_, _ = x.w.Write(x.KeySet) // fails only when the caller has gone
	return nil
}
