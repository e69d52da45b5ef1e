package inbound

import "regexp"

var traceFormat = regexp.MustCompile(`\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\z`)

// traceparent returns a header that is valid by W3C Trace Context level 1,
// section 3.2, else "": it is only ever a help.
func traceparent(value string) string {
	const noTrace, noParent = "00000000000000000000000000000000", "0000000000000000"
	if !traceFormat.MatchString(value) || value[:2] == "ff" || value[3:35] == noTrace || value[36:52] == noParent {
		return ""
	}
	return value
}
