package projections

import "sync/atomic"

// Component is how a part of konto is doing that follows NATS and not the log, or
// the connection to NATS itself.
type Component struct {
	Name  string `json:"name"`
	State string `json:"state"`          // StateRunning, StateWaiting, StateRetrying or StateStopped
	Error string `json:"error,omitzero"` // why it is not running, without secrets
	// Warnings tell what an operator should look at although it is running.
	Warnings []string `json:"warnings,omitzero"`
}

// StateRunning is the state of a Component that does its work.
const StateRunning = "running"

// Trouble is why something does not do its work. The zero value is none. It is
// safe for concurrent use.
type Trouble struct{ text atomic.Pointer[string] }

// Set replaces the trouble, with none when err is nil, and tells whether its text changed.
func (t *Trouble) Set(err error) (changed bool) {
	if err == nil {
		return t.text.Load() != nil && t.text.Swap(nil) != nil
	}
	text := err.Error()
	before := t.text.Swap(&text)
	return before == nil || *before != text
}

// Text is the trouble, "" when there is none.
func (t *Trouble) Text() string {
	if text := t.text.Load(); text != nil {
		return *text
	}
	return ""
}
