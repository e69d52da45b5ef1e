package erasure

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/postgres"
)

// leaseName is the lease whose holder erases.
const leaseName = "erasure"

// errLinesGone is returned for a ledger that ends before a line that was read from it.
var errLinesGone = errors.New("lines of the table cluster.erased are gone; restore them from a backup")

// Shared is the RowStore and the LedgerStore of a cluster, in Postgres, and what lets one node
// erase at a time. Only the holder of the lease "erasure" changes them, and each change checks in
// its own transaction that it still is. So a node that stopped for long and goes on changes
// nothing.
//
// Of, NamesErased and begin use memory: exactly what the tables hold while this node has the lease,
// otherwise perhaps less. NamesErased may be asked at any time. It knows each account whose
// AccountErased this node's follower has passed, and no proof is signed before that.
type Shared struct {
	db   *postgres.Database
	node string
	sealer
	known

	reading sync.Mutex // held by refresh, so that memory never becomes older
	end     numbered   // the last line that was read; only refresh uses it
	lease   atomic.Pointer[postgres.Lease]
}

// numbered is a line of the table.
type numbered struct {
	number int64
	text   string
}

func (n numbered) read() (Line, error) {
	line, ok := readLine([]byte(n.text))
	if !ok {
		return line, fmt.Errorf("line %d of the table cluster.erased cannot be read; restore it from a backup", n.number)
	}
	return line, nil
}

// OpenShared reads both tables. node is the name under which this process has joined the nodes, or
// any other name that holds a lease. db stays the caller's.
func OpenShared(ctx context.Context, db *postgres.Database, node string, keys eventstore.Keys) (s *Shared, err error) {
	s = &Shared{db: db, node: node, known: newKnown()}
	if s.sealer, err = newSealer(keys); err != nil {
		return nil, err
	}
	return s, s.refresh(ctx)
}

// Close implements RowStore.
func (s *Shared) Close() error { return nil }

// hold calls do while this node has the lease. do's context ends when the lease is lost.
func (s *Shared) hold(ctx context.Context, do func(context.Context) error) error {
	return s.db.HoldLease(ctx, leaseName, s.node, func(ctx context.Context, l postgres.Lease) error {
		// Nobody else changes the tables from here on: a change of an earlier holder that is still
		// under way keeps the lease from being taken.
		if err := s.refresh(ctx); err != nil {
			return err
		}
		s.lease.Store(&l)
		defer s.lease.Store(nil)
		return do(ctx)
	})
}

// refresh reads the lines that were added, and the rows.
func (s *Shared) refresh(ctx context.Context) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	var added []numbered
	var rows map[ulid.ULID]Row
	err := s.db.Read(ctx, func(b *pgx.Batch) {
		added, rows = nil, nil
		s.queueLines(b, &added, s.end.number)
		s.queueRows(b, &rows)
	})
	if err != nil {
		return err
	}
	if s.end.number > 0 && (len(added) == 0 || added[0] != s.end) {
		return errLinesGone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range added {
		line, err := l.read()
		if err != nil {
			return err
		}
		s.lines[line.Account], s.end = line, l
	}
	clear(s.begun)
	for account, row := range rows {
		if !row.Proven {
			s.begun[account] = struct{}{}
		}
	}
	return nil
}

// note makes NamesErased know an account that has ended.
func (s *Shared) note(account ulid.ULID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, listed := s.lines[account]; !listed {
		s.lines[account] = Line{Account: account}
	}
}

func (s *Shared) queueLines(b *pgx.Batch, lines *[]numbered, from int64) {
	b.Queue(`SELECT number, line FROM cluster.erased WHERE number >= $1 ORDER BY number`, from).Query(func(found pgx.Rows) (err error) {
		*lines, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (l numbered, err error) {
			err = row.Scan(&l.number, &l.text)
			l.text += "\n"
			return l, err
		})
		return err
	})
}

func (s *Shared) queueRows(b *pgx.Batch, rows *map[ulid.ULID]Row) {
	b.Queue(`SELECT account, content FROM cluster.erasure`).Query(func(found pgx.Rows) error {
		all := map[ulid.ULID]Row{}
		var account, content []byte
		_, err := pgx.ForEachRow(found, []any{&account, &content}, func() error {
			var id ulid.ULID
			err := id.UnmarshalBinary(account)
			if err == nil {
				all[id], err = s.unseal(id, content)
			}
			if err != nil {
				return fmt.Errorf("a row of the table cluster.erasure cannot be read: %w", err)
			}
			return nil
		})
		*rows = all
		return err
	})
}

// All implements RowStore.
func (s *Shared) All(ctx context.Context) (rows map[ulid.ULID]Row, err error) {
	err = s.db.Read(ctx, func(b *pgx.Batch) { s.queueRows(b, &rows) })
	return rows, err
}

// Get implements RowStore.
func (s *Shared) Get(ctx context.Context, account ulid.ULID) (Row, error) {
	all, err := s.All(ctx) // they are few
	return all[account], err
}

// Notice implements webhook.Notices.
func (s *Shared) Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error) {
	row, err := s.Get(ctx, account)
	return row.PaywayID, row.PaywayID != "", err
}

// Put implements RowStore. This node must have the lease.
func (s *Shared) Put(ctx context.Context, account ulid.ULID, row Row) error {
	sealed, err := s.seal(account, row)
	if err != nil {
		return err
	}
	return s.change(ctx, account, sealed)
}

// Delete implements RowStore. This node must have the lease.
func (s *Shared) Delete(ctx context.Context, account ulid.ULID) error {
	return s.change(ctx, account, nil)
}

// change stores an account's sealed row in place of the one it has; nil is none. All rows move to a
// new file, and the old one is deleted, because VACUUM frees the place of an old row without
// overwriting it. The write-ahead log has the old bytes until its segments are used again.
func (s *Shared) change(ctx context.Context, account ulid.ULID, sealed []byte) error {
	return s.write(ctx, func(tx pgx.Tx) error {
		var accounts, contents [][]byte
		found, err := tx.Query(ctx, `SELECT account, content FROM cluster.erasure WHERE account <> $1`, account[:])
		if err != nil {
			return err
		}
		var other, content []byte
		_, err = pgx.ForEachRow(found, []any{&other, &content}, func() error {
			accounts, contents = append(accounts, other), append(contents, content)
			other, content = nil, nil
			return nil
		})
		if err != nil {
			return err
		}
		if sealed != nil {
			accounts, contents = append(accounts, account[:]), append(contents, sealed)
		}
		if _, err := tx.Exec(ctx, `TRUNCATE cluster.erasure`); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO cluster.erasure SELECT * FROM unnest($1::bytea[], $2::bytea[])`, accounts, contents)
		return err
	})
}

// write runs a transaction that is refused if this node no longer has the lease, and brings memory up
// to date. It is safe to repeat it after any error, because whoever has the lease next reads what it
// has left.
func (s *Shared) write(ctx context.Context, do func(tx pgx.Tx) error) error {
	l := s.lease.Load()
	if l == nil {
		return fmt.Errorf("%w: %s", postgres.ErrLeaseLost, leaseName)
	}
	err := s.db.Write(ctx, func(tx pgx.Tx) error {
		if err := l.Check(ctx, tx); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return err
	}
	return s.refresh(ctx)
}

func (s *Shared) add(ctx context.Context, line Line) error {
	text, err := line.Text()
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO cluster.erased (line) VALUES ($1)`, string(text[:len(text)-1]))
		return err
	})
}

// Import adds lines of the ledger of another store, one of each account, that this one does not have.
// It may be repeated. Nobody may erase meanwhile.
func (s *Shared) Import(ctx context.Context, lines []Line) error {
	return s.hold(ctx, func(ctx context.Context) error {
		var texts []string
		for _, line := range lines {
			text, err := line.Text()
			if err != nil {
				return err
			}
			if known, _ := s.Of(line.Account); known.Erased != line.Erased || known.Intended != line.Intended || known.Proof != line.Proof {
				texts = append(texts, string(text[:len(text)-1]))
			}
		}
		return s.write(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO cluster.erased (line) SELECT * FROM unnest($1::text[])`, texts)
			return err
		})
	})
}

// Whole implements LedgerStore: refresh has compared the lines when this node got the lease.
func (s *Shared) Whole() error { return nil }

// Exists implements LedgerStore.
func (s *Shared) Exists() bool { return true }

func (s *Shared) allLines(ctx context.Context) (lines []numbered, err error) {
	err = s.db.Read(ctx, func(b *pgx.Batch) { s.queueLines(b, &lines, 0) })
	return lines, err
}

// Check checks all lines, and their proofs with the key that made them.
func (s *Shared) Check(ctx context.Context, key ed25519.PrivateKey) error {
	lines, err := s.allLines(ctx)
	for _, l := range lines {
		line, err := l.read()
		if err != nil {
			return err
		}
		if err := line.check(key); err != nil {
			return fmt.Errorf("line %d of the table cluster.erased: %w", l.number, err)
		}
	}
	return err
}

// Copy implements LedgerStore.
func (s *Shared) Copy(ctx context.Context, to string) (err error) {
	lines, err := s.allLines(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for _, l := range lines {
		if _, err := file.WriteString(l.text); err != nil {
			return err
		}
	}
	return file.Sync()
}
