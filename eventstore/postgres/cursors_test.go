//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"testing"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// holdCursors returns once the lease is held. The returned function releases it.
func holdCursors(t *testing.T, c *postgres.Cursors) (release func()) {
	t.Helper()
	held, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Hold(context.WithoutCancel(t.Context()), func(context.Context) error {
			close(held)
			<-end
			return nil
		})
	}()
	<-held
	return func() {
		close(end)
		if err := <-ended; err != nil {
			t.Errorf("Hold returned %v", err)
		}
	}
}

func TestCursorsAreChangedOnlyByTheHolderOfTheLease(t *testing.T) {
	url := postgrestest.Primary(t).Database(t)
	a, b := openDatabase(t, url).Cursors("publisher", "a"), openDatabase(t, url).Cursors("publisher", "b")
	has := func(c *postgres.Cursors, want string) {
		t.Helper()
		if got, err := c.Cursor(t.Context(), "publisher"); err != nil || string(got) != want {
			t.Errorf("the cursor is %q, %v, want %q", got, err, want)
		}
	}
	may := func(c *postgres.Cursors, value string, want error) {
		t.Helper()
		if err := c.SetCursor(t.Context(), "publisher", []byte(value)); !errors.Is(err, want) {
			t.Errorf("SetCursor returned %v, want %v", err, want)
		}
		if err := c.Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("Check returned %v, want %v", err, want)
		}
	}
	if got, err := a.Cursor(t.Context(), "publisher"); got != nil || err != nil {
		t.Errorf("a cursor that was never set is %q, %v", got, err)
	}
	may(a, "none has the lease", postgres.ErrLeaseLost)
	release := holdCursors(t, a)
	may(a, "1", nil)
	may(a, "2", nil)
	may(b, "3", postgres.ErrLeaseLost)
	has(b, "2")
	release()
	release = holdCursors(t, b)
	may(b, "4", nil)
	may(a, "5", postgres.ErrLeaseLost)
	has(a, "4")
	release()
	release = holdCursors(t, a) // again
	may(a, "6", nil)
	may(b, "7", postgres.ErrLeaseLost)
	has(b, "6")
	release()
}
