package webhook

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// traceparent is version 00 of W3C Trace Context.
var traceparent = regexp.MustCompile(`\A00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})\z`)

// continued is a trace's next traceparent: the request that caused the event
// and what came of it at third parties are one trace. It is "" when there is no
// trace to go on with.
func continued(trace string) string {
	parts := traceparent.FindStringSubmatch(trace)
	if parts == nil {
		return ""
	}
	var span [8]byte
	rand.Read(span[:]) // never fails
	return "00-" + parts[1] + "-" + hex.EncodeToString(span[:]) + "-" + parts[2]
}
