package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

// The last stream alone is not enough: keys that are made at the same time come to the log in
// another order, the last event may be of an old stream, and a clock may be set back.
// newest is how many of the newest records, and of the newest streams, a start looks at.
const newest = 100

func TestKeyOfOneOfTheNewestStreamsIsMissing(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		lost           time.Duration // from now, when the stream without a key was begun
		before, behind int           // newer accounts that came before it, and events behind it
		found          bool
	}{
		"begun last":                            {0, 0, 0, true},
		"the newest but some, long ago":         {0, 0, 2 * newest, true},
		"at the end, by a clock that was wrong": {-time.Hour, 2 * newest, 5, true},
		"neither, which verify finds":           {-time.Hour, 2 * newest, 2 * newest, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := furnished(t)
			h := openFolder(t, folder)
			open := func(at time.Time, i int) ulid.ULID {
				t.Helper()
				id := ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy())
				command := commands.Open{Email: fmt.Sprintf("a%d@example.com", i), PaywayID: commands.NewPaywayID()}
				if _, err := h.Accounts.Do(t.Context(), id, datafolder.Itself(), command.WithDefaults()); err != nil {
					t.Fatal(err)
				}
				return id
			}
			for i := range test.before {
				open(now, i)
			}
			lost := open(now.Add(test.lost), 1000)
			other := open(now.Add(-2*time.Hour), 1001)
			for i := range test.behind {
				domains := i + 1
				facts := commands.RecordFacts{Facts: events.FactsRecorded{ActiveDomains: &domains}}
				if _, err := h.Accounts.Do(t.Context(), other, datafolder.Itself(), facts); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			stream := events.AccountStream(lost)
			behind(t, folder, "keys.db", fmt.Sprintf("DELETE FROM keys WHERE stream = '%s'", stream))
			if test.found {
				refused(t, exitFailed, konto(t, "account", "list", "--data", folder), "keys are older than the log", string(stream))
			}
			verifies(t, folder, string(stream), "the key of its stream is missing")
		})
	}
}
