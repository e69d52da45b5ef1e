package deliveries

import (
	"math"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
)

// sweepLimit is how many attempts that are too old a transaction removes at
// least, if there are as many.
const sweepLimit = 16

// slack is how many attempts of a third party are added before its delivery log
// is cut: to find where costs a walk over all that is kept, some milliseconds,
// which a hundredth of them share.
func (l *Ledger) slack() int { return max(1, l.cfg.MaxAttempts/100) }

// count counts one more attempt of a third party, and cuts its delivery log
// when it is time. Between two cuts it grows by slack-1 up to its bound.
func (t *transaction) count(party ulid.ULID) error {
	t.added++
	slack := t.ledger.slack()
	t.ledger.knows.unbounded[party]++
	if t.ledger.knows.unbounded[party] < slack {
		return nil
	}
	t.ledger.knows.unbounded[party] = 0
	_, err := t.bound.Exec(party[:], t.ledger.cfg.MaxAttempts-slack+1)
	return err
}

// sweep removes some attempts that are too old: more than were added, so that
// they do not pile up, and few enough that nobody waits for it. Most transactions
// know that none is: asking the file took up to a third of a settlement's time.
func (t *transaction) sweep() error {
	knows, tooOld := &t.ledger.knows, sqlitefile.Milliseconds(t.now.Add(-t.ledger.cfg.MaxAge))
	if tooOld <= knows.oldest {
		return nil
	}
	if _, err := t.expire.Exec(sweepLimit+2*t.added, tooOld); err != nil {
		return err
	}
	err := t.oldest.QueryRow(sweepLimit, math.MaxInt64).Scan(&knows.oldest)
	if knows.oldest > sqlitefile.Milliseconds(t.now) && knows.oldest < math.MaxInt64 {
		knows.oldest = 0 // by a clock that was wrong; what follows may be older
	}
	return err
}
