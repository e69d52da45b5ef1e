package events

import "strings"

// maxTraceState is what W3C Trace Context level 1, section 3.3.1.5 asks to propagate.
const maxTraceState = 512

// TraceContext returns the values of the headers traceparent and tracestate, "" for
// what is not valid by W3C Trace Context level 1, section 3.2 and 3.3: a trace is only
// ever a help. There is no state without a parent. State may be in several headers.
func TraceContext(parents, states []string) (parent, state string) {
	if len(parents) != 1 || !validParent(parents[0]) {
		return "", ""
	}
	if len(states) == 0 {
		return parents[0], ""
	}
	state = strings.Trim(strings.Join(states, ","), " \t")
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if len(state) > maxTraceState || !strings.Contains(state, "=") || strings.ContainsFunc(state, unprintable) {
		state = ""
	}
	return parents[0], state
}

// validParent tells whether a text is version, trace id, parent id and flags, in
// lower-case hexadecimal digits, of which neither id is all zeros.
func validParent(v string) bool {
	const noTrace, noParent = "00000000000000000000000000000000", "0000000000000000"
	if len(v) != 55 || v[:2] == "ff" || v[3:35] == noTrace || v[36:52] == noParent {
		return false
	}
	for i := range len(v) {
		dash := i == 2 || i == 35 || i == 52
		digit := '0' <= v[i] && v[i] <= '9' || 'a' <= v[i] && v[i] <= 'f'
		if dash && v[i] != '-' || !dash && !digit {
			return false
		}
	}
	return true
}
