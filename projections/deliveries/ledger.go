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

// Ledger is deliveries.db: how far each third party was told, of which accounts
// deliveries are behind, and the delivery log. Answers' excerpts are encrypted
// with the account's key. All methods may be called by many goroutines at once.
//
// Changes are durable when a method returns nil (synchronous=FULL); those that
// arrive together are committed together. After an error a change may or may
// not have been stored. Making the same change once more is harmless, but for a
// second row in the delivery log.
//
// The file belongs to one history of the log. It may be deleted while konto is
// stopped: deliveries then go on from the checkpoints in the log, some of them
// for the second time.
type Ledger struct {
	cfg     LedgerConfig
	writer  *sql.DB
	readers *sql.DB
	changes *sqlitefile.Group[change]
	statements
	selectPosition, selectWaiting, selectLane *sql.Stmt

	knows knowledge // only the transaction under way touches it
}

// LedgerConfig configures OpenLedger.
type LedgerConfig struct {
	Path string          // of the file; required
	Log  eventstore.Feed // required
	Keys eventstore.Keys // required
	// MaxAttempts is how many attempts are kept for each third party, the newest
	// ones; 0 means 100,000. They take some 300 bytes each.
	MaxAttempts int
	// MaxAge is how long attempts are shown; 0 means 30 days. Older ones are
	// removed a few at a time, as others are added.
	MaxAge time.Duration
	Now    func() time.Time // nil means time.Now
}

// The bounds of the delivery log.
const (
	maxAttempts = 100_000
	maxAge      = 30 * 24 * time.Hour
)

// readers is how many lanes are looked up at the same time.
const readers = 4

// OpenLedger opens or makes the file. One of another history than the log's, or
// of another keyring, is emptied: deliveries then go on from the checkpoints in
// the log. Another program's file, or a damaged one, is an error and left alone.
func OpenLedger(ctx context.Context, cfg LedgerConfig) (*Ledger, error) {
	if cfg.Path == "" || cfg.Log == nil || cfg.Keys == nil {
		return nil, errors.New("ledger of deliveries: a path, a log and keys are required")
	}
	if cfg.MaxAttempts < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("ledger of deliveries: a bound of the delivery log is negative")
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = maxAttempts
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = maxAge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Ledger{cfg: cfg, knows: newKnowledge()}
	l.changes = sqlitefile.NewGroup(l.commit)
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger of deliveries: %w", advise(err)), l.Close())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context) (err error) {
	if l.writer, err = openWriter(ctx, l.cfg); err != nil {
		return err
	}
	if l.statements, err = prepareStatements(ctx, l.writer); err != nil {
		return err
	}
	if l.readers, err = sqlitefile.OpenReaders(l.cfg.Path, readers); err != nil {
		return err
	}
	for text, statement := range map[string]**sql.Stmt{
		positionQuery: &l.selectPosition,
		waitingQuery:  &l.selectWaiting,
		laneQuery:     &l.selectLane,
	} {
		if *statement, err = l.readers.PrepareContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// Close frees the file. Changes under way are stored or not, and their callers
// are told.
func (l *Ledger) Close() error {
	var errs []error
	// The writer goes last: the last connection folds the write-ahead log into
	// the file, and readers may not write.
	for _, db := range []*sql.DB{l.readers, l.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

const positionQuery = `SELECT position FROM party WHERE id = ? AND position IS NOT NULL`

// Position returns how far a third party's reading of the log has come, with
// every event up to there either settled or waiting in a lane; ok is false when
// the ledger does not know: it never did, or its file was lost.
func (l *Ledger) Position(ctx context.Context, party ulid.ULID) (position uint64, ok bool, err error) {
	err = l.selectPosition.QueryRowContext(ctx, party[:]).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return position, err == nil, l.failed("read", err)
}

// Parties returns the ids of all third parties that the ledger knows anything of.
func (l *Ledger) Parties(ctx context.Context) ([]ulid.ULID, error) {
	rows, err := l.readers.QueryContext(ctx, `SELECT id FROM party ORDER BY id`)
	if err != nil {
		return nil, l.failed("read", err)
	}
	defer rows.Close()
	var parties []ulid.ULID
	for rows.Next() {
		var id ulid.ULID
		if err := rows.Scan(&id); err != nil {
			return nil, l.failed("read", err)
		}
		parties = append(parties, id)
	}
	return parties, l.failed("read", rows.Err())
}

// SetPosition records how far the reading has come. Whatever has not been
// settled by then must be in a lane that waits. Like Settle, it does not end
// with ctx.
func (l *Ledger) SetPosition(_ context.Context, party ulid.ULID, position uint64) error {
	return l.change(func(t *transaction) error {
		t.mention(position, ulid.Zero)
		_, err := t.setPosition.Exec(party[:], position)
		return err
	})
}

// failed says what failed on which file.
func (l *Ledger) failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s ledger of deliveries %s: %w", doing, l.cfg.Path, advise(err))
}

// advise adds to the error of a damaged file what to do about it.
func advise(err error) error {
	if err = sqlitefile.Explain(err); errors.Is(err, sqlitefile.ErrMalformed) {
		return fmt.Errorf("%w; stop konto and delete the file: deliveries go on from the last checkpoints, "+
			"some are repeated", err)
	}
	return err
}
