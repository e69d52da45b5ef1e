package admin

import (
	"context"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/commands"
)

// Whoever follows one account waits for the next event of the log, and not for one after the
// account's last event, which is there already.
func TestFollowingOneAccountWaitsAtTheLogsEnd(t *testing.T) {
	folder, err := datafolder.Open(t.Context(), datafolder.Config{Path: t.TempDir(), Holder: "test", Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	k := &Konto{Folder: folder}
	first, err := k.OpenAccount(t.Context(), datafolder.Itself(), commands.Open{Email: "a@example.com"}.WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenAccount(t.Context(), datafolder.Itself(), commands.Open{Email: "b@example.com"}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	head, err := k.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err = k.FollowEvents(ctx, EventFilter{Account: first.ID}, 0, func(Event) error {
		seen++
		return nil
	}, func(position uint64) error {
		cancel()
		if position != head {
			t.Errorf("waits at %d, the log's end is %d", position, head)
		}
		return nil
	})
	if err != nil || seen != 1 {
		t.Errorf("%d events, %v", seen, err)
	}
}
