package commands

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func (n *node) pendingCode(t *testing.T, id ulid.ULID) string {
	t.Helper()
	a, err := n.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return n.codes.Code(a.EmailChange.Request)
}

func (n *node) types(t *testing.T, id ulid.ULID) string {
	t.Helper()
	var names []string
	for _, e := range n.history(t, id) {
		names = append(names, strings.TrimSuffix(e.Type, ".v1"))
	}
	return strings.Join(names, " ")
}

// Tries that run at once are decided one on top of the other, however they are
// batched and whichever node takes them: five are counted, never more.
func TestFiveWrongCodesEndARequestAlsoAtOnce(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	code := n.pendingCode(t, id)
	nodes := []*node{n, n.another()}
	wrong, none := 0, 0
	for _, err := range all(60, func(i int) error {
		_, err := nodes[i%2].Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: "wrong"})
		return err
	}) {
		switch {
		case errors.Is(err, ErrInvalid):
			wrong++
		case errors.Is(err, ErrNoEmailChange):
			none++
		default:
			t.Errorf("%v", err)
		}
	}
	if wrong != maxCodeTries || none != 60-maxCodeTries {
		t.Errorf("%d tries were judged, %d refused", wrong, none)
	}
	want := "AccountOpened EmailChangeRequested" + strings.Repeat(" EmailChangeAttemptFailed", maxCodeTries) + " EmailChangeCancelled"
	if got := n.types(t, id); got != want {
		t.Errorf("history %s", got)
	}
	if _, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: code}); !errors.Is(err, ErrNoEmailChange) {
		t.Errorf("the right code afterwards: %v", err)
	}
}

// The event of a refusal is the account's last one until the next.
func TestCommandsAfterAWrongCodeHaveTheRightPosition(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	if _, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: "wrong"}); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	if a := n.do(t, id, &Update{}).Account; a.Version != 3 || a.Position != 3 {
		t.Errorf("version %d at position %d", a.Version, a.Position)
	}
}

// A refusal that is stored must not keep others of its batch from their outcome.
func TestWrongCodeAmongOtherCommands(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	errs := all(20, func(i int) error {
		if i%5 == 0 {
			_, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: "wrong"})
			return err
		}
		out, err := n.Do(t.Context(), id, events.Metadata{}, alias(string(rune('a'+i))))
		if err == nil && (!out.Changed || out.Account.Position != out.Account.Version) {
			t.Errorf("version %d at position %d", out.Account.Version, out.Account.Position)
		}
		return err
	})
	for i, err := range errs {
		if errors.Is(err, ErrInvalid) != (i%5 == 0) || err != nil && i%5 != 0 {
			t.Errorf("command %d: %v", i, err)
		}
	}
}

// Asking again gives no new tries: who has the credential but not the mailbox
// gets ten guesses an hour, however they are spread over requests.
func TestCodeTriesAreBoundedOverRequests(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.open(t, "anna")
	guesses := 0
	var refused *TooMany
	for range 100 {
		if _, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: "new@example.se"}); errors.As(err, &refused) {
			break
		}
		for range 3 {
			if _, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: "wrong"}); errors.Is(err, ErrInvalid) {
				guesses++
			}
		}
		clock = clock.Add(time.Minute)
	}
	if guesses != emailCodeLimit.Most {
		t.Errorf("%d guesses were judged", guesses)
	}
	if refused == nil || refused.RetryAfter != 56*time.Minute {
		t.Fatalf("refused with %+v", refused)
	}
	clock = clock.Add(refused.RetryAfter)
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
}

func TestEmailRequestsAreBounded(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	for name, command := range map[string]func(email string) Command{
		"action": func(email string) Command { return RequestEmailChange{NewEmail: email} },
		"update": func(email string) Command { return &Update{VerifyEmail: true, Email: events.Set(email)} },
	} {
		t.Run(name, func(t *testing.T) {
			id := n.open(t, name)
			for i := range emailRequestLimit.Most {
				n.do(t, id, command(fmt.Sprintf("%s-%d@example.se", name, i)))
			}
			if _, err := n.Do(t.Context(), id, events.Metadata{}, command("more@example.se")); !errors.Is(err, ErrTooMany) {
				t.Errorf("one more: %v", err)
			}
			n.do(t, id, ConfirmEmailChange{Code: n.pendingCode(t, id)}) // the last one is good
		})
	}
	n.do(t, id, RequestEmailChange{NewEmail: "another@example.se"}) // each account has its own
}

func TestCodesExpire(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.open(t, "anna")
	outcome := n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	if got := outcome.Account.EmailChange.ExpiresAt; !got.Equal(clock.Add(30 * time.Minute)) {
		t.Errorf("expires at %v", got)
	}
	clock = clock.Add(30 * time.Minute)
	if _, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: n.pendingCode(t, id)}); !errors.Is(err, ErrNoEmailChange) {
		t.Errorf("at its end: %v", err)
	}
	if outcome := n.do(t, id, CancelEmailChange{}); outcome.Changed {
		t.Error("an expired request was cancelled")
	}
	clock = clock.Add(-time.Millisecond)
	if got := n.do(t, id, ConfirmEmailChange{Code: n.pendingCode(t, id)}).Account; got.Email != "new@example.se" || !got.EmailChange.Verified {
		t.Errorf("just before: %+v", got)
	}
}

func TestOnlyTheCodeOfTheLastRequestIsValid(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "one@example.se"})
	first := n.pendingCode(t, id)
	n.do(t, id, RequestEmailChange{NewEmail: "two@example.se"})
	if _, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: first}); !errors.Is(err, ErrInvalid) {
		t.Errorf("the first: %v", err)
	}
	if got := n.do(t, id, ConfirmEmailChange{Code: n.pendingCode(t, id)}).Account.Email; got != "two@example.se" {
		t.Errorf("the second makes it %s", got)
	}
}

func TestAddressTakenAfterTheRequestIsRefusedAtConfirmation(t *testing.T) {
	n := newNode(t)
	anna := n.open(t, "anna")
	n.do(t, anna, RequestEmailChange{NewEmail: "bo@example.se"})
	n.open(t, "bo")
	_, err := n.Do(t.Context(), anna, events.Metadata{}, ConfirmEmailChange{Code: n.pendingCode(t, anna)})
	if !errors.Is(err, ErrTaken) {
		t.Errorf("confirmation: %v", err)
	}
	if _, err := n.Do(t.Context(), anna, events.Metadata{}, RequestEmailChange{NewEmail: "BO@example.se"}); !errors.Is(err, ErrTaken) {
		t.Errorf("another request: %v", err)
	}
	if _, err := n.Do(t.Context(), anna, events.Metadata{}, RequestEmailChange{NewEmail: "Anna@example.se"}); err != nil {
		t.Errorf("another spelling of the own address: %v", err)
	}
}

// Two accounts may have one address since an older rule. Each may spell its own in another way.
func TestSharedAddressStaysWithItsHolders(t *testing.T) {
	n := newNode(t)
	first, second := n.open(t, "jos\u00e9"), n.open(t, "bo")
	held := []eventstore.HeldClaim{}
	for _, id := range []ulid.ULID{first, second} {
		held = append(held, eventstore.HeldClaim{Key: n.store.ClaimKey(events.EmailClaim("jos\u00e9@example.se")), Stream: events.AccountStream(id)})
	}
	err := n.log.ReplaceClaims(t.Context(), events.ClaimRule, func(yield func(eventstore.HeldClaim, error) bool) {
		_ = yield(held[0], nil) && yield(held[1], nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []ulid.ULID{first, second} {
		for name, c := range map[string]Command{
			"request": RequestEmailChange{NewEmail: "JOS\u00c9@example.se"},
			"update":  &Update{Email: events.Set("jose\u0301@EXAMPLE.se"), VerifyEmail: true},
		} {
			if _, err := n.Do(t.Context(), id, events.Metadata{}, c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	third := n.open(t, "cia")
	if _, err := n.Do(t.Context(), third, events.Metadata{}, RequestEmailChange{NewEmail: "JOS\u00c9@example.se"}); !errors.Is(err, ErrTaken) {
		t.Errorf("a third account: %v", err)
	}
}

func TestPendingOrderPreventsEmailChanges(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	n.do(t, id, RecordFacts{Facts: events.FactsRecorded{PendingOrder: events.Set("order-1")}})
	verified := email("new@example.se")
	verified.VerifyEmail = true
	for name, c := range map[string]Command{
		"request": RequestEmailChange{NewEmail: "other@example.se"},
		"confirm": ConfirmEmailChange{Code: n.pendingCode(t, id)},
		"update":  verified,
	} {
		if _, err := n.Do(t.Context(), id, events.Metadata{}, c); !errors.Is(err, ErrPendingOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.do(t, id, CancelEmailChange{}) // may always
}

// askers are the ways to ask for an address that needs a code.
var askers = map[string]func(email string) Command{
	"action": func(email string) Command { return RequestEmailChange{NewEmail: email} },
	"update": func(email string) Command { return &Update{VerifyEmail: true, Email: events.Set(email)} },
}

// Whether an address is taken is told ten times an hour, together with requests for
// free ones. Afterwards both get the same answer.
func TestProbingForTakenAddressesIsBounded(t *testing.T) {
	for name, ask := range askers {
		for _, free := range []int{0, 4, emailRequestLimit.Most} {
			t.Run(fmt.Sprintf("%s, %d free", name, free), func(t *testing.T) {
				n := newNode(t)
				clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
				n.now = func() time.Time { return clock }
				id := n.open(t, "anna")
				n.open(t, "bo")
				do := func(email string) error {
					_, err := n.Do(t.Context(), id, events.Metadata{}, ask(email))
					return err
				}
				for i := range free {
					if err := do(fmt.Sprintf("free-%d@example.se", i)); err != nil {
						t.Fatal(err)
					}
				}
				clock = clock.Add(20 * time.Minute)
				told := 0
				for _, err := range all(30, func(int) error { return do("bo@example.se") }) {
					if errors.Is(err, ErrTaken) {
						told++
					}
				}
				if told != emailRequestLimit.Most-free {
					t.Errorf("told of a taken address %d times", told)
				}
				for _, address := range []string{"bo@example.se", "BO@example.se", "more@example.se"} {
					var refused *TooMany
					if err := do(address); !errors.As(err, &refused) || refused.Limit != emailRequestLimit {
						t.Fatalf("%s afterwards: %v", address, err)
					} else {
						later := n.now().Add(refused.RetryAfter)
						clock, later = later.Add(-time.Millisecond), clock
						if err := do(address); !errors.Is(err, ErrTooMany) {
							t.Errorf("%s just before Retry-After: %v", address, err)
						}
						clock = later
					}
				}
				var refused *TooMany
				_ = errors.As(do("more@example.se"), &refused)
				clock = clock.Add(refused.RetryAfter)
				if err := do("more@example.se"); err != nil {
					t.Errorf("after Retry-After: %v", err)
				}
			})
		}
	}
}

// With a wrong password nothing is told, and nothing counts.
func TestTakenIsReturnedOnlyForTheRightPassword(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	n.open(t, "bo")
	for _, address := range []string{"bo@example.se", "free@example.se"} {
		_, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: address, CurrentPassword: "guessed"})
		if !errors.Is(err, ErrInvalid) || err.Error() != "/currentPassword: The current password is another one. (1 wrong in all)" {
			t.Errorf("%s: %v", address, err)
		}
	}
	if told, err := n.takenRequests.count(t.Context(), id, n.now(), false); told.times != 0 || err != nil {
		t.Errorf("%d requests were counted: %v", told.times, err)
	}
	if _, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: "bo@example.se", CurrentPassword: goodPassword}); !errors.Is(err, ErrTaken) {
		t.Errorf("with the right one: %v", err)
	}
}

// What says in another way which address or password the account has ends the
// change of address that is pending: its code, which somebody else may hold, is void.
func TestPendingEmailChangeEnds(t *testing.T) {
	verified := func(email string) *Update { return &Update{VerifyEmail: true, Email: events.Set(email)} }
	for name, tt := range map[string]struct {
		c    Command
		want string // recorded
	}{
		"by another password":              {ChangePassword{NewPassword: goodPassword}, "EmailChangeCancelled PasswordChanged"},
		"by a direct change":               {email("direct@example.se"), "EmailChangeCancelled EmailChanged"},
		"by a direct change to it":         {email("pending@example.se"), "EmailChangeCancelled EmailChanged"},
		"by the present address":           {email("anna@example.se"), "EmailChangeCancelled"},
		"by the present address, verified": {verified("anna@example.se"), "EmailChangeCancelled"},
		"by asking for the present one":    {RequestEmailChange{NewEmail: "anna@example.se"}, "EmailChangeCancelled"},
		"by another request":               {verified("other@example.se"), "EmailChangeRequested"},
		"not by an update without one":     {alias("a"), "ProfileUpdated"},
		"not by asking for it again":       {verified("pending@example.se"), ""},
		"not by who cannot change it":      {&Update{Email: events.Set("anna@example.se"), EmailNeedsProof: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			id := n.open(t, "anna")
			n.do(t, id, RequestEmailChange{NewEmail: "pending@example.se"})
			code := n.pendingCode(t, id)
			out := n.do(t, id, tt.c)
			if got := n.types(t, id); got != strings.TrimSpace("AccountOpened EmailChangeRequested "+tt.want) {
				t.Errorf("history %s", got)
			}
			if pending := out.Account.EmailChange.NewEmail == "pending@example.se"; pending != strings.HasPrefix(name, "not") {
				t.Errorf("pending: %v", pending)
			}
			_, err := n.Do(t.Context(), id, events.Metadata{}, ConfirmEmailChange{Code: code})
			if (err == nil) != strings.HasPrefix(name, "not") {
				t.Errorf("its code afterwards: %v", err)
			}
			if strings.HasPrefix(name, "by the present address") && n.do(t, id, tt.c).Changed {
				t.Error("the same again changes something")
			}
		})
	}
}

// A request that expired has ended already: nothing is recorded for it.
func TestExpiredEmailChangeIsNotCancelled(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.open(t, "anna")
	n.do(t, id, RequestEmailChange{NewEmail: "new@example.se"})
	clock = clock.Add(30 * time.Minute)
	if out := n.do(t, id, email("anna@example.se")); out.Changed {
		t.Error("the present address changed something")
	}
	if _, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: "anna@example.se"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("asking for the present address: %v", err)
	}
	n.do(t, id, ChangePassword{NewPassword: goodPassword})
	if got := n.types(t, id); got != "AccountOpened EmailChangeRequested PasswordChanged" {
		t.Errorf("history %s", got)
	}
}

// A caller that would have to give the password may send the account's address
// back, or the pending one, but change neither.
func TestAddressThatNeedsThePasswordIsNotUpdated(t *testing.T) {
	for _, verify := range []bool{false, true} {
		n := newNode(t)
		id := n.open(t, "anna")
		n.open(t, "bo")
		update := func(email string) (Outcome, error) {
			return n.Do(t.Context(), id, events.Metadata{}, &Update{Email: events.Set(email), VerifyEmail: verify, EmailNeedsProof: true})
		}
		for range 2 * emailRequestLimit.Most {
			for _, address := range []string{"new@example.se", "bo@example.se", "Anna@example.se"} {
				if _, err := update(address); !errors.Is(err, ErrEmailNeedsProof) {
					t.Fatalf("verify %v, %s: %v", verify, address, err)
				}
			}
		}
		if out, err := update("anna@example.se"); err != nil || out.Changed {
			t.Errorf("the present address: %v, %v", out.Changed, err)
		}
		n.do(t, id, RequestEmailChange{NewEmail: "pending@example.se"})
		if out, err := update("pending@example.se"); verify != (err == nil) || out.Changed {
			t.Errorf("verify %v, the pending address: %v, %v", verify, out.Changed, err)
		}
	}
}
