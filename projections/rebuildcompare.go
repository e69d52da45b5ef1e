package projections

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
)

// Difference tells how the rows of one table in use differed from those that the
// log gives.
type Difference struct {
	Table     string   `json:"table"`
	Missing   int      `json:"missing"`   // rows that are not there
	Surplus   int      `json:"surplus"`   // rows that nothing in the log gives
	Different int      `json:"different"` // rows that say something else, or cannot be read
	First     []string `json:"first"`     // the lowest of their ids, up to firstIDs
}

const (
	firstIDs    = 10
	comparePage = 500
)

// compared are the tables by what their rows are about, their columns, and the
// last of them, which is sealed.
var compared = []struct{ table, category, columns string }{
	{accountTable, events.CategoryAccount, accountColumns},
	{credentialTable, events.CategoryCredential, "id, version, issued, revoked, consumer, account, parent, content"},
	{thirdPartyTable, events.CategoryThirdParty, "id, version, content"},
}

// compare compares the next file with the one in use, as that is at one moment:
// in a transaction, of which the next file catches up with the position.
func (b *rebuild) compare(ctx context.Context) (position uint64, found []Difference, err error) {
	live, err := b.live.file.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, nil, err
	}
	defer live.Rollback()
	if err := live.QueryRowContext(ctx, "SELECT position FROM progress").Scan(&position); err != nil {
		return 0, nil, err
	}
	if err := b.catchUp(ctx, position); err != nil {
		return 0, nil, err
	}
	var total uint64
	if err := live.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM credential) + (SELECT count(*) FROM third_party)").Scan(&total); err != nil {
		return 0, nil, err
	}
	b.begin(total, "rows compared")
	found = []Difference{}
	for _, c := range compared {
		t := tableComparison{rebuild: b, live: live, category: c.category, columns: c.columns, found: Difference{Table: c.table}}
		if err := t.run(ctx); err != nil {
			return 0, nil, err
		}
		if len(t.first) > 0 {
			found = append(found, t.result())
		}
	}
	b.finish()
	return position, found, nil
}

// tableComparison compares the rows of one table.
type tableComparison struct {
	*rebuild
	live              *sql.Tx
	category, columns string

	mu    sync.Mutex // guards what follows
	found Difference
	first []ulid.ULID // sorted
}

// pair is a row of each file with the same id.
type pair struct{ live, next storedBytes }

func (t *tableComparison) run(ctx context.Context) error {
	pairs := make(chan []pair, t.workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(pairs)
		return t.match(ctx, pairs)
	})
	for range t.workers {
		group.Go(func() error {
			for page := range pairs {
				for _, p := range page {
					same, err := t.same(ctx, p)
					if err != nil {
						return err
					}
					if !same {
						t.note(&t.found.Different, p.live.id)
					}
				}
				t.advance(uint64(len(page)))
			}
			return nil
		})
	}
	return group.Wait()
}

// match goes through both files in the order of ids, and sends the pairs.
func (t *tableComparison) match(ctx context.Context, pairs chan<- []pair) error {
	live := &tableRows{query: t.live.QueryContext, table: t.found.Table, columns: t.columns}
	next := &tableRows{query: t.next.file.readers.QueryContext, table: t.found.Table, columns: t.columns}
	var page []pair
	send := func() error {
		select {
		case pairs <- page:
			page = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		l, okLive, err := live.peek(ctx)
		if err != nil {
			return err
		}
		n, okNext, err := next.peek(ctx)
		if err != nil {
			return err
		}
		switch {
		case !okLive && !okNext:
			return send()
		case !okNext || okLive && l.id.Compare(n.id) < 0:
			t.note(&t.found.Surplus, l.id)
			live.take()
		case !okLive || n.id.Compare(l.id) < 0:
			t.note(&t.found.Missing, n.id)
			next.take()
		default:
			page = append(page, pair{l, n})
			live.take()
			next.take()
		}
		if len(page) == comparePage {
			if err := send(); err != nil {
				return err
			}
		}
	}
}

// same tells whether two rows say the same. What differs in its bytes is read as
// it would be served: of a row whose key is destroyed not all columns count.
func (t *tableComparison) same(ctx context.Context, p pair) (bool, error) {
	stream := events.Stream(t.category + "-" + p.live.id.String())
	if slices.EqualFunc(p.live.columns, p.next.columns, sameColumn) && t.sameContent(ctx, stream, p) {
		return true, nil
	}
	live, err := t.served(ctx, t.live.QueryRowContext, p.live.id)
	if err != nil {
		return false, ctx.Err() // a row that cannot be read is not the same
	}
	next, err := t.served(ctx, t.next.file.readers.QueryRowContext, p.live.id)
	if err != nil {
		return false, err
	}
	if next.Err != nil {
		return false, fmt.Errorf("read %s as it was rebuilt: %w", stream, next.Err)
	}
	return live.Err == nil && live.Text == next.Text, nil
}

// sameContent tells that two contents are readable and the same.
func (t *tableComparison) sameContent(ctx context.Context, stream events.Stream, p pair) bool {
	if len(p.live.content) == 0 || len(p.next.content) == 0 {
		return len(p.live.content) == len(p.next.content)
	}
	aead, err := t.rebuild.live.keys.Cipher(ctx, stream)
	if err != nil {
		return false
	}
	bound := binding(stream, t.found.Table)
	live, errLive := aead.Open(nil, nil, p.live.content, bound)
	next, errNext := aead.Open(nil, nil, p.next.content, bound)
	return errLive == nil && errNext == nil && bytes.Equal(live, next)
}

func (t *tableComparison) served(ctx context.Context, query func(context.Context, string, ...any) *sql.Row, id ulid.ULID) (StoredRow, error) {
	row := query(ctx, storedQueries[t.category]+" WHERE id = ?", id[:])
	return t.rebuild.live.storedRow(ctx, t.category, row.Scan)
}

func sameColumn(a, b any) bool {
	if bytesA, ok := a.([]byte); ok {
		bytesB, ok := b.([]byte)
		return ok && bytes.Equal(bytesA, bytesB)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

// note counts a row that differs.
func (t *tableComparison) note(count *int, id ulid.ULID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*count++
	at, _ := slices.BinarySearchFunc(t.first, id, ulid.ULID.Compare)
	if t.first = slices.Insert(t.first, at, id); len(t.first) > firstIDs {
		t.first = t.first[:firstIDs]
	}
}

func (t *tableComparison) result() Difference {
	for _, id := range t.first {
		t.found.First = append(t.found.First, id.String())
	}
	return t.found
}
