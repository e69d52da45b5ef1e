package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
	"konto/projections/webhook"
)

// Attempt is one request with an event, as a row of the delivery log.
type Attempt struct {
	ID       int64 // of the row; ids count up with time
	Party    ulid.ULID
	Account  ulid.ULID
	Event    ulid.ULID
	Type     string // such as EmailChanged.v1
	Position uint64
	Number   int // of the attempts with this event, from 1
	At       time.Time
	Outcome  string // one of the Outcome constants
	Status   int    // of HTTP, 0 when there was none
	Latency  time.Duration
	// Excerpt is the first bytes of the answer, or what went wrong. An endpoint may
	// answer with anything, personal data and invalid UTF-8 included. It is "" when
	// the account's key is gone, and Unreadable when it does not fit its seal.
	Excerpt string

	// What the loop needs besides, until the attempt is stored.
	happened   time.Time // when the event did
	ended      time.Time
	early      bool // the attempt came before its time
	verdict    webhook.Verdict
	retryAfter time.Duration
	problem    string
	disable    string // why the third party has to be disabled, "" when it need not be
}

// newAttempt is an attempt that began at a time and has ended.
func newAttempt(party, account ulid.ULID, e *events.Event, number int, at time.Time, answer webhook.Answer) *Attempt {
	a := &Attempt{
		Party: party, Account: account, Event: e.ID, Type: e.Type, Position: e.Position, Number: number,
		At: at, Status: answer.Status, Latency: answer.Latency, Excerpt: string(answer.Excerpt),
		happened: e.Time, ended: time.Now(), verdict: answer.Verdict, retryAfter: answer.RetryAfter, problem: answer.Problem,
	}
	if a.problem != "" {
		a.Excerpt = a.problem
	}
	return a
}

// accepted reports whether the outcome of an attempt means that the third party is up to date with
// the event.
func (a *Attempt) accepted() bool {
	return a.Outcome == OutcomeDelivered || a.Outcome == OutcomeSkipped
}

// The outcomes of an attempt.
const (
	OutcomeDelivered = "delivered"
	OutcomeRetrying  = "retrying"
	OutcomeFailed    = "failed"  // given up after the whole schedule; redeliver sends it again
	OutcomeAborted   = "aborted" // the third party asked for it not to be sent again
	OutcomeSkipped   = "skipped" // there was nothing to send, and never will be
)

// Unreadable stands for an excerpt that does not fit its seal.
const Unreadable = "(unreadable)"

// Filter selects attempts; zero members select all.
type Filter struct {
	Party   ulid.ULID
	Account ulid.ULID
	Event   ulid.ULID
	Outcome string
	Before  int64 // only those with a lower ID; 0 means all
	Limit   int   // the newest so many, 0 means 100; given oldest first
}

const defaultLimit = 100

// Attempts implements Store.
func (s *File) Attempts(ctx context.Context, f Filter) ([]Attempt, error) {
	query, parameters := f.query(s.cfg.Now().Add(-s.cfg.MaxAge))
	var found []Attempt
	err := s.each(ctx, func(rows *sql.Rows) error {
		a, excerpt, err := scanAttempt(rows)
		if err == nil {
			a.Excerpt, err = unseal(ctx, s.cfg.Keys, &a, excerpt)
		}
		found = append(found, a)
		return err
	}, query, parameters...)
	slices.Reverse(found)
	return found, err
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
		where("+party = ?", f.Party[:]) // the plus makes SQLite use the account's index, which finds few rows
	case f.Party != ulid.Zero:
		where("party = ?", f.Party[:])
	}
	if f.Event != ulid.Zero {
		where("event = ?", f.Event[:])
	}
	if f.Outcome != "" {
		where("outcome = ?", f.Outcome)
	}
	if f.Before > 0 {
		where("id < ?", f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	return `SELECT ` + attemptColumns + ` FROM attempt WHERE ` + strings.Join(conditions, " AND ") + ` ORDER BY id DESC LIMIT ?`, append(parameters, f.Limit)
}

const attemptColumns = `id, party, account, event, type, position, number, at, outcome, status, latency, excerpt`

// scanAttempt reads a row of attemptColumns. The excerpt is sealed.
func scanAttempt(row interface{ Scan(...any) error }) (a Attempt, excerpt []byte, err error) {
	var at, latency int64
	err = row.Scan(&a.ID, &a.Party, &a.Account, &a.Event, &a.Type, &a.Position, &a.Number, &at, &a.Outcome, &a.Status, &latency, &excerpt)
	a.At, a.Latency = sqlitefile.Time(at), time.Duration(latency)*time.Microsecond
	return a, excerpt, err
}

// seal encrypts an attempt's excerpt with the account's key. Without a key nothing is
// kept of the answer.
func seal(ctx context.Context, keys eventstore.Keys, a *Attempt) ([]byte, error) {
	if a.Excerpt == "" {
		return []byte{}, nil
	}
	aead, err := keys.Cipher(ctx, events.AccountStream(a.Account))
	if hasNoKey(err) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, []byte(a.Excerpt), a.sealedFor()), nil
}

func unseal(ctx context.Context, keys eventstore.Keys, a *Attempt, sealed []byte) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	aead, err := keys.Cipher(ctx, events.AccountStream(a.Account))
	if hasNoKey(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	clear, err := aead.Open(nil, nil, sealed, a.sealedFor())
	if err != nil {
		return Unreadable, nil // the rest of the delivery log is worth showing
	}
	return string(clear), nil
}

// hasNoKey reports whether an account's key was destroyed or lost.
func hasNoKey(err error) bool {
	return errors.Is(err, eventstore.ErrDestroyed) || errors.Is(err, eventstore.ErrNoKey)
}

// sealedFor binds an excerpt to its row: an excerpt that is moved to another row, or an
// event that the same key sealed, does not open there.
func (a *Attempt) sealedFor() []byte {
	return fmt.Appendf(nil, "delivery log|%s|%s|%s|%d|%d", a.Party, a.Account, a.Event, a.Number, sqlitefile.Milliseconds(a.At))
}

const (
	addAttemptQuery = `INSERT INTO attempt (party, account, event, type, position, number, at, outcome, status, latency, excerpt)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	cutQuery = `DELETE FROM attempt WHERE party = ?1 AND id <=
		(SELECT id FROM attempt WHERE party = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`
	expireQuery = `DELETE FROM attempt WHERE id IN (SELECT id FROM attempt ORDER BY id LIMIT ?) AND at < ?`
	// Ids count up with time, so these are the next to expire.
	oldestQuery = `SELECT coalesce(min(at), ?2) FROM (SELECT at FROM attempt ORDER BY id LIMIT ?1)`
)

// addAttempt adds a row to the delivery log. What was delivered is also kept in the
// account's row, where it stays when the delivery log is cut.
func (t *transaction) addAttempt(a *Attempt, excerpt []byte) error {
	t.stores(a.Position, a.Event)
	at := sqlitefile.Milliseconds(a.At)
	err := t.exec(addAttemptQuery, a.Party[:], a.Account[:], a.Event[:], a.Type, a.Position, a.Number, at,
		a.Outcome, a.Status, a.Latency.Microseconds(), excerpt)
	if err == nil && a.accepted() {
		err = t.exec(deliveredQuery, a.Party[:], a.Account[:], a.Position, sqlitefile.Milliseconds(a.At.Add(a.Latency)))
	}
	if err != nil {
		return err
	}
	t.added++
	t.store.cached.oldest = min(t.store.cached.oldest, at)
	return t.cut(a.Party)
}

// cutEvery is how many attempts of a third party are added between two cuts of its
// delivery log. To find where to cut takes some milliseconds, because all of it is read.
func (s *File) cutEvery() int { return max(1, s.cfg.MaxAttempts/100) }

// cut counts one more attempt of a third party, and shortens its delivery log when it is
// time. Between two cuts it grows up to its bound.
func (t *transaction) cut(party ulid.ULID) error {
	every := t.store.cutEvery()
	t.store.cached.sinceCut[party]++
	if t.store.cached.sinceCut[party] < every {
		return nil
	}
	t.store.cached.sinceCut[party] = 0
	return t.exec(cutQuery, party[:], t.store.cfg.MaxAttempts-every+1)
}

// expireLimit is how many attempts that are too old a transaction deletes at least, if
// there are as many.
const expireLimit = 16

// deleteExpired deletes some attempts that are too old: more than were added, so that
// they do not pile up, and few enough that nobody waits for it. In most transactions the
// cache says that there are none: to ask the file took up to a third of a transaction.
func (t *transaction) deleteExpired() error {
	cached, tooOld := &t.store.cached, sqlitefile.Milliseconds(t.now.Add(-t.store.cfg.MaxAge))
	if tooOld <= cached.oldest {
		return nil
	}
	if err := t.exec(expireQuery, expireLimit+2*t.added, tooOld); err != nil {
		return err
	}
	err := t.statement(oldestQuery).QueryRow(expireLimit, math.MaxInt64).Scan(&cached.oldest)
	if cached.oldest > sqlitefile.Milliseconds(t.now) && cached.oldest < math.MaxInt64 {
		cached.oldest = 0 // a clock was wrong when it was stored; those after it may be older
	}
	return err
}
