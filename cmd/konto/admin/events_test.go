package admin

import (
	"context"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/eventstore"
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

// aheadLog knows of events that it does not give to followers yet, as a node does of events that
// another node appended.
type aheadLog struct{ eventstore.AdminLog }

func (l aheadLog) Head(ctx context.Context) (uint64, error) {
	head, err := l.AdminLog.Head(ctx)
	return head + 5, err
}

func TestFollowingTheLogDoesNotGoBeyondWhatWasRead(t *testing.T) {
	folder, err := datafolder.Open(t.Context(), datafolder.Config{Path: t.TempDir(), Holder: "test", Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	k := &Konto{Folder: folder}
	if _, err := k.OpenAccount(t.Context(), datafolder.Itself(), commands.Open{Email: "a@example.com"}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	folder.Store = eventstore.NewStore(aheadLog{folder.Log}, folder.Keys)
	ctx, cancel := context.WithCancel(t.Context())
	seen := uint64(0)
	err = k.FollowEvents(ctx, EventFilter{}, 0, func(e Event) error {
		seen = e.Position
		return nil
	}, func(position uint64) error {
		cancel()
		if position != seen {
			t.Errorf("it goes on after %d, but has read up to %d", position, seen)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("read up to %d, %v", seen, err)
	}
}
