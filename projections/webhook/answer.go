package webhook

import "time"

// Answer is what came of sending one event to one third party once.
type Answer struct {
	Verdict    Verdict
	Status     int           // of HTTP; 0 when there was none
	Latency    time.Duration // from sending the request to the end of the answer's head
	RetryAfter time.Duration // what the endpoint asked for; 0: nothing
	Excerpt    []byte        // the first bytes of the answer's body, ExcerptSize at most
	Problem    string        // why there was no status, in a few words without personal data or parts of the URL
}

// ExcerptSize bounds what is kept of an answer's body, in bytes.
const ExcerptSize = 256

// Verdict is what an answer means for what is sent next.
type Verdict int

// The verdicts.
const (
	Failed    Verdict = iota // to be tried again later
	Delivered                // any 2xx
	Slow                     // 429, 502, 504: to be tried again, and less at a time from now on
	Aborted                  // webhook-delivery: abort-message; this event is not to be sent again
	Gone                     // 410: nothing is to be sent again
	// Skipped: nothing was sent and nothing ever will be, as Problem says. The
	// format has no words for the event, or the account was erased since and its
	// key is gone. The event is settled, as if it had been delivered.
	Skipped
	// Unsent: konto itself could not make the request, as Problem says. It is to be
	// tried again soon, and nothing is known of the third party.
	Unsent
)
