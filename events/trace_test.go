package events_test

import (
	"slices"
	"strings"
	"testing"

	"konto/events"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceContext(t *testing.T) {
	for _, parents := range [][]string{
		{}, {""}, {traceparent, traceparent}, {traceparent + "\n"}, {traceparent + "-x"}, {"ff" + traceparent[2:]}, {strings.ToUpper(traceparent)},
		{strings.Replace(traceparent, "-", "0", 1)}, {strings.Replace(traceparent, "4b", "4-", 1)}, {strings.Replace(traceparent, "4b", "ö", 1)},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"},
	} {
		if parent, state := events.TraceContext(parents, []string{"a=1"}); parent != "" || state != "" {
			t.Errorf("%q gives %q, %q", parents, parent, state)
		}
	}
	for state, states := range map[string][]string{
		"":                               {"a=1\r\nx: y"},
		"a=1":                            {" a=1\t"},
		"a=1,b@c=2":                      {"a=1", "b@c=2"},
		"a=" + strings.Repeat("x", 510):  {"a=" + strings.Repeat("x", 510)},
		"rojo=00f067aa0ba902b7,congo=t6": {"rojo=00f067aa0ba902b7,congo=t6"},
	} {
		if parent, got := events.TraceContext([]string{traceparent}, states); parent != traceparent || got != state {
			t.Errorf("%q gives %q, %q", states, parent, got)
		}
	}
	for _, states := range [][]string{nil, {}, {""}, {"nothing"}, {"a=ö"}, {"a=\x7f"}, {"a=" + strings.Repeat("x", 511)}} {
		if parent, state := events.TraceContext([]string{traceparent}, states); parent != traceparent || state != "" {
			t.Errorf("%q gives %q, %q", states, parent, state)
		}
	}
}

func TestTraceIsPublished(t *testing.T) {
	for state, want := range map[string][][2]string{
		"":           {{"traceparent", traceparent}},
		"congo=t6 1": {{"traceparent", traceparent}, {"tracestate", "congo=t6 1"}},
	} {
		e, err := events.New(events.AccountStream(accountID), 1, accountID, opened, events.Metadata{Trace: traceparent, TraceState: state}, events.AccountErased{})
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := events.Publish(e)
		if err != nil || !slices.Equal(m.Headers[9:], want) {
			t.Errorf("headers %q, %v", m.Headers, err)
		}
	}
}
