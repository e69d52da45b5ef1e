package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// Attempt is one row of the delivery log.
type Attempt struct {
	Party    ulid.ULID
	Account  ulid.ULID
	Event    ulid.ULID
	Type     string // such as EmailChanged.v1
	Position uint64
	Number   int // of the tries of this event, from 1
	At       time.Time
	Outcome  string // one of the Outcome constants
	Status   int    // of HTTP, 0 when there was none
	Latency  time.Duration
	// Excerpt is the first bytes of the answer, or what went wrong. An endpoint
	// may answer with anything, personal data and invalid UTF-8 included. It is
	// "" when the account's key is gone, and Unreadable when it is not the one that
	// was stored: the rest of the delivery log is worth showing.
	Excerpt string
}

// What came of an attempt.
const (
	OutcomeDelivered = "delivered"
	OutcomeRetrying  = "retrying"
	OutcomeFailed    = "failed"  // given up after the whole schedule; redeliver sends it again
	OutcomeAborted   = "aborted" // the third party asked for it not to be sent again
	OutcomeSkipped   = "skipped" // there was nothing to send, and never will be
)

// Unreadable is in place of an excerpt that its seal does not fit.
const Unreadable = "(unreadable)"

// Filter selects attempts; zero members select all.
type Filter struct {
	Party   ulid.ULID
	Account ulid.ULID
	Event   ulid.ULID
	Outcome string
	Limit   int // the newest so many, 0 means 100; given oldest first
}

const defaultLimit = 100

// Attempts reads the delivery log.
func (l *Ledger) Attempts(ctx context.Context, f Filter) ([]Attempt, error) {
	query, parameters := f.query(l.cfg.Now().Add(-l.cfg.MaxAge))
	rows, err := l.readers.QueryContext(ctx, query, parameters...)
	if err != nil {
		return nil, l.failed("read", err)
	}
	defer rows.Close()
	var found []Attempt
	for rows.Next() {
		a, err := l.scanAttempt(ctx, rows)
		if err != nil {
			return nil, l.failed("read", err)
		}
		found = append(found, a)
	}
	slices.Reverse(found)
	return found, l.failed("read", rows.Err())
}

// LastDelivered is when a third party last took something, as far as the
// delivery log goes back; zero when it never did.
func (l *Ledger) LastDelivered(ctx context.Context, party ulid.ULID) (time.Time, error) {
	var at int64
	err := l.readers.QueryRowContext(ctx, `SELECT at FROM attempt WHERE party = ? AND outcome = ?
		ORDER BY id DESC LIMIT 1`, party[:], OutcomeDelivered).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return sqlitefile.Time(at), l.failed("read", err)
}

// query selects attempts that are no older than oldest, the newest first.
func (f Filter) query(oldest time.Time) (query string, parameters []any) {
	conditions := []string{"at >= ?"}
	parameters = []any{sqlitefile.Milliseconds(oldest)}
	where := func(condition string, parameter any) {
		conditions, parameters = append(conditions, condition), append(parameters, parameter)
	}
	if f.Account != ulid.Zero {
		where("account = ?", f.Account[:])
	}
	switch {
	case f.Party != ulid.Zero && f.Account != ulid.Zero:
		where("+party = ?", f.Party[:]) // the plus keeps to the account's index, of a few rows
	case f.Party != ulid.Zero:
		where("party = ?", f.Party[:])
	}
	if f.Event != ulid.Zero {
		where("event = ?", f.Event[:])
	}
	if f.Outcome != "" {
		where("outcome = ?", f.Outcome)
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	return `SELECT party, account, event, type, position, number, at, outcome, status, latency, excerpt
		FROM attempt WHERE ` + strings.Join(conditions, " AND ") + ` ORDER BY id DESC LIMIT ?`, append(parameters, f.Limit)
}

func (l *Ledger) scanAttempt(ctx context.Context, rows *sql.Rows) (a Attempt, err error) {
	var at, latency int64
	var excerpt []byte
	err = rows.Scan(&a.Party, &a.Account, &a.Event, &a.Type, &a.Position, &a.Number, &at, &a.Outcome, &a.Status, &latency, &excerpt)
	if err != nil {
		return a, err
	}
	a.At, a.Latency = sqlitefile.Time(at), time.Duration(latency)*time.Microsecond
	a.Excerpt, err = l.unseal(ctx, a, excerpt)
	return a, err
}

// seal encrypts an attempt's excerpt with the account's key. Where there is no
// key there is nobody any more whom the excerpt could be kept for.
func (l *Ledger) seal(ctx context.Context, a Attempt) ([]byte, error) {
	if a.Excerpt == "" {
		return []byte{}, nil
	}
	aead, err := l.cfg.Keys.Cipher(ctx, events.AccountStream(a.Account))
	if keyless(err) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, []byte(a.Excerpt), binding(a)), nil
}

func (l *Ledger) unseal(ctx context.Context, a Attempt, sealed []byte) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	aead, err := l.cfg.Keys.Cipher(ctx, events.AccountStream(a.Account))
	if keyless(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	clear, err := aead.Open(nil, nil, sealed, binding(a))
	if err != nil {
		return Unreadable, nil
	}
	return string(clear), nil
}

// keyless tells that an account has no key, destroyed or lost.
func keyless(err error) bool {
	return errors.Is(err, eventstore.ErrDestroyed) || errors.Is(err, eventstore.ErrNoKey)
}

// binding ties an excerpt to its row, so that rows cannot be exchanged for one
// another, nor for the events that the same key seals.
func binding(a Attempt) []byte {
	return fmt.Appendf(nil, "delivery log|%s|%s|%s|%d|%d", a.Party, a.Account, a.Event, a.Number, sqlitefile.Milliseconds(a.At))
}
