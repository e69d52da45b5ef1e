package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// File is deliveries.db, the Store of a single machine. A change is durable by synchronous=FULL.
// Changes that arrive together are committed together.
//
// The file belongs to one history of the log. It may be deleted while konto is stopped: deliveries
// then go on from the checkpoints in the log, and some are repeated.
type File struct {
	cfg      FileConfig
	writer   *sql.DB
	readers  *sql.DB
	prepared map[string]*sql.Stmt // of writerQueries and readerQueries, by their text
	changes  *sqlitefile.Group[change]
	cached   cache // used only by the transaction under way
}

// FileConfig configures OpenFile.
type FileConfig struct {
	Path string          // of the file; required
	Log  eventstore.Feed // required
	Keys eventstore.Keys // required
	// MaxAttempts is how many attempts the delivery log keeps for each third party,
	// the newest ones; 0 means 100,000. Each takes some 300 bytes.
	MaxAttempts int
	// MaxAge is how long attempts are shown; 0 means 30 days. Older ones are deleted
	// a few at a time, when others are added.
	MaxAge time.Duration
	Now    func() time.Time // nil means time.Now
}

const (
	defaultMaxAttempts = 100_000
	defaultMaxAge      = 30 * 24 * time.Hour

	// readerConnections is how many queries run at the same time.
	readerConnections = 4
)

// OpenFile opens the file or makes a new one. A file of another history than the
// log's, or of another keyring, is emptied: deliveries then go on from the checkpoints
// in the log. A damaged file, or one of another program, is an error and is left as it is.
func OpenFile(ctx context.Context, cfg FileConfig) (*File, error) {
	if cfg.Path == "" || cfg.Log == nil || cfg.Keys == nil {
		return nil, errors.New("deliveries: a path, a log and keys are required")
	}
	if cfg.MaxAttempts < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("deliveries: a bound of the delivery log is negative")
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = defaultMaxAttempts
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &File{cfg: cfg, cached: newCache(), prepared: map[string]*sql.Stmt{}}
	s.changes = sqlitefile.NewGroup(s.commit)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("deliveries: %w", advise(err)), s.Close())
	}
	return s, nil
}

func (s *File) open(ctx context.Context) (err error) {
	if s.writer, err = s.cfg.logFile().Open(ctx); err != nil {
		return err
	}
	if s.readers, err = sqlitefile.OpenReaders(s.cfg.Path, readerConnections); err != nil {
		return err
	}
	if err := s.prepare(ctx, s.writer, writerQueries); err != nil {
		return err
	}
	return s.prepare(ctx, s.readers, readerQueries)
}

func (s *File) prepare(ctx context.Context, db *sql.DB, queries []string) (err error) {
	for _, query := range queries {
		if s.prepared[query], err = db.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// Hold implements Store. No other process has opened the file.
func (s *File) Hold(ctx context.Context, _ ulid.ULID, run func(context.Context, Held) error) error {
	return run(context.WithoutCancel(ctx), s)
}

// Shared implements Store.
func (s *File) Shared() bool { return false }

// MaySend implements Held.
func (s *File) MaySend() bool { return true }

// Close implements Store.
func (s *File) Close() error {
	var errs []error
	// The writer is closed last: the last connection copies the write-ahead log into
	// the file, and readers may not write.
	for _, db := range []*sql.DB{s.readers, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// change is what one caller wants changed. An error of it fails the whole
// transaction, which the caller shares with others.
type change func(*transaction) error

// change stores one change, together with those of others who wait.
func (s *File) change(c change) error { return s.failed("write to", s.changes.Add(c)) }

// cache is what the file need not be asked for. It is emptied when a transaction
// fails, because it may be about what was not stored.
type cache struct {
	boundAt uint64 // the position in the progress table; 0: to be read
	oldest  int64  // no attempt began before it, in milliseconds since 1970; 0: to be read
	// sinceCut counts the attempts since a third party's delivery log was last cut. It
	// has every third party to which this process gave a row.
	sinceCut map[ulid.ULID]int
}

func newCache() cache { return cache{sinceCut: map[ulid.ULID]int{}} }

// transaction is one transaction under way.
type transaction struct {
	store *File
	tx    *sql.Tx
	bound map[string]*sql.Stmt // prepared statements as this transaction's own
	added int                  // attempts so far
	now   time.Time

	// The highest position that a change stores, and its event if that is known.
	highest uint64
	event   ulid.ULID
}

// commit makes the changes of a group in one transaction. It takes no context: that
// of one caller must not end what others share.
func (s *File) commit(group []change) error {
	err := s.commitAll(group)
	if err != nil {
		s.cached = newCache()
	}
	return err
}

func (s *File) commitAll(group []change) error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	t := &transaction{store: s, tx: tx, bound: map[string]*sql.Stmt{}, now: s.cfg.Now()}
	for _, c := range group {
		if err := c(t); err != nil {
			return err
		}
	}
	if err := t.deleteExpired(); err != nil {
		return err
	}
	if err := t.bindToLog(); err != nil {
		return err
	}
	return tx.Commit()
}

// statement returns one of writerQueries for use in the transaction.
func (t *transaction) statement(query string) *sql.Stmt {
	s := t.bound[query]
	if s == nil {
		s = t.tx.Stmt(t.store.prepared[query])
		t.bound[query] = s
	}
	return s
}

func (t *transaction) exec(query string, parameters ...any) error {
	_, err := t.statement(query).Exec(parameters...)
	return err
}

// affected runs a query and returns how many rows it changed.
func (t *transaction) affected(query string, parameters ...any) (int64, error) {
	result, err := t.statement(query).Exec(parameters...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// stores notes a position that the transaction stores, and the event there if the
// caller knows it.
func (t *transaction) stores(position uint64, event ulid.ULID) {
	switch {
	case position > t.highest:
		t.highest, t.event = position, event
	case position == t.highest && t.event == ulid.Zero:
		t.event = event
	}
}

// bindToLog binds the file to the log's history by the event at the highest position
// that any row has: another history has another event there, or none.
func (t *transaction) bindToLog() error {
	cached := &t.store.cached
	if cached.boundAt == 0 {
		if err := t.statement(boundAtQuery).QueryRow().Scan(&cached.boundAt); err != nil {
			return err
		}
	}
	if t.highest <= cached.boundAt {
		return nil
	}
	if t.event == ulid.Zero {
		found, err := t.store.cfg.Log.ReadAll(context.Background(), t.highest-1, 1)
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].Position != t.highest {
			return nil // there is no such event: the file stays bound as it was
		}
		t.event = found[0].ID
	}
	if err := t.exec(bindQuery, t.highest, t.event[:]); err != nil {
		return err
	}
	cached.boundAt = t.highest
	return nil
}

// addParty gives the third party a row, by which all of its other rows are found.
func (t *transaction) addParty(party ulid.ULID) error {
	if _, known := t.store.cached.sinceCut[party]; known {
		return nil
	}
	if err := t.exec(addPartyQuery, party[:]); err != nil {
		return err
	}
	// How many attempts the file has is not known: the next one cuts the delivery log.
	t.store.cached.sinceCut[party] = t.store.cutEvery()
	return nil
}

// flushDeleted copies the write-ahead log into the file and empties it. Until then it
// holds older pages, and on them what was deleted.
func (s *File) flushDeleted(ctx context.Context) error {
	var busy bool
	var pages, copied int
	err := s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	if err == nil && busy {
		err = errors.New("it is being read, and its write-ahead log still holds what was deleted")
	}
	return s.failed("empty the write-ahead log of", err)
}

// each runs a query and calls scan with each of its rows.
func (s *File) each(ctx context.Context, scan func(*sql.Rows) error, query string, parameters ...any) error {
	rows, err := s.readers.QueryContext(ctx, query, parameters...)
	if err != nil {
		return s.failed("read", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return s.failed("read", err)
		}
	}
	return s.failed("read", rows.Err())
}

// failed says what failed on which file.
func (s *File) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, s.cfg.Path, advise(err))
}

// advise adds to the error of a damaged file what to do about it.
func advise(err error) error {
	if err = sqlitefile.Explain(err); errors.Is(err, sqlitefile.ErrMalformed) {
		return fmt.Errorf("%w; stop konto and delete the file: deliveries go on from the last checkpoints, "+
			"some are repeated", err)
	}
	return err
}
