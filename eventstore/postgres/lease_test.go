//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

func openDatabase(t *testing.T, url string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// holder is a node that wants a lease.
type holder struct {
	lease chan postgres.Lease // gets the lease once it is held
	lost  chan struct{}       // closed when do's context has ended
	end   chan error          // makes do return
	ended chan error          // what HoldLease returned
}

func hold(t *testing.T, db *postgres.Database, node string) *holder {
	h := &holder{make(chan postgres.Lease, 1), make(chan struct{}), make(chan error, 1), make(chan error, 1)}
	go func() {
		h.ended <- db.HoldLease(context.WithoutCancel(t.Context()), "publisher", node, func(ctx context.Context, l postgres.Lease) error {
			h.lease <- l
			select {
			case <-ctx.Done():
				close(h.lost)
				return <-h.end
			case err := <-h.end:
				return err
			}
		})
	}()
	return h
}

func TestLeaseIsHandedOverWhenItsHolderStops(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	a, b := openDatabase(t, url), openDatabase(t, url)
	first := hold(t, a, "a")
	lease := <-first.lease
	second := hold(t, b, "b")
	select {
	case <-second.lease:
		t.Fatal("two nodes have one lease")
	default:
	}
	stopped := errors.New("stopped")
	first.end <- stopped
	if err := <-first.ended; !errors.Is(err, stopped) {
		t.Errorf("HoldLease returned %v", err)
	}
	if next := <-second.lease; next.Epoch <= lease.Epoch {
		t.Errorf("epoch %d follows %d", next.Epoch, lease.Epoch)
	}
	second.end <- nil
	<-second.ended
}

func TestLeaseOfANodeThatIsCutOffIsTakenAndItsWritesAreRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	proxy := postgrestest.NewProxy(t, primary.Port)
	cut, other := openDatabase(t, proxy.Through(t, url)), openDatabase(t, url)
	first := hold(t, cut, "cut off")
	lease := <-first.lease
	second := hold(t, other, "other")
	proxy.Drop(true)
	<-first.lost
	if lease.Lasts(0) {
		t.Error("the lease lasts although it is lost")
	}
	next := <-second.lease

	// The node is back and does not know yet that it has lost the lease.
	proxy.Break()
	proxy.Drop(false)
	write := func(db *postgres.Database, l postgres.Lease) error {
		return db.Write(t.Context(), func(tx pgx.Tx) error { return l.Check(t.Context(), tx) })
	}
	if err := write(other, next); err != nil {
		t.Errorf("the holder's write was refused: %v", err)
	}
	err := write(cut, lease)
	for range 100 {
		if err == nil || errors.Is(err, postgres.ErrLeaseLost) {
			break
		}
		err = write(cut, lease) // its old connections are broken
	}
	if !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("a write of the earlier holder was answered with %v", err)
	}
	first.end <- nil
	if err := <-first.ended; !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("HoldLease returned %v", err)
	}
	second.end <- nil
	<-second.ended
}

func TestLeaseIsRenewedWhileItsHolderEnds(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	db := openDatabase(t, url)
	ctx, stop := context.WithCancel(t.Context())
	ends := errors.New("ends")
	err := db.HoldLease(ctx, "publisher", "a", func(held context.Context, l postgres.Lease) error {
		stop()
		<-held.Done()
		primary.ExecIn(t, url, "CREATE TABLE before AS SELECT until FROM cluster.lease")
		primary.Await(t, url, "SELECT lease.until > before.until FROM cluster.lease, before")
		return ends
	})
	if !errors.Is(err, ends) {
		t.Errorf("HoldLease returned %v", err)
	}
	primary.Await(t, url, "SELECT until < clock_timestamp() FROM cluster.lease") // it is released
}

func TestRevokedLeaseIsLostButNobodyElsesBeforeItHasRunOut(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	db := openDatabase(t, url)
	primary.ExecIn(t, url, "CREATE TABLE revoked (until timestamptz)")
	err := db.HoldLongLease(t.Context(), "publisher", "a", time.Second, func(held context.Context, l postgres.Lease) error {
		if !l.Lasts(time.Second) || l.Lasts(time.Minute) {
			t.Error("the lease lasts another time than was asked for")
		}
		err := db.Write(t.Context(), func(tx pgx.Tx) error {
			if err := postgres.RevokeLease(t.Context(), tx, "publisher"); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "INSERT INTO public.revoked SELECT until FROM cluster.lease")
			return err
		})
		if err != nil {
			return err
		}
		if err := db.Write(t.Context(), func(tx pgx.Tx) error { return l.Check(t.Context(), tx) }); !errors.Is(err, postgres.ErrLeaseLost) {
			t.Errorf("a write was answered with %v", err)
		}
		<-held.Done()
		return nil
	})
	if !errors.Is(err, postgres.ErrLeaseLost) {
		t.Errorf("HoldLongLease returned %v", err)
	}
	err = db.HoldLease(t.Context(), "publisher", "b", func(context.Context, postgres.Lease) error {
		primary.Await(t, url, "SELECT revoked.until < clock_timestamp() FROM revoked")
		return primary.Try(t, url, "DO $$ BEGIN ASSERT (SELECT lease.until - '5 s'::interval > revoked.until FROM cluster.lease, revoked); END $$")
	})
	if err != nil {
		t.Error(err)
	}
}
