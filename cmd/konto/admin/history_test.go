package admin

import (
	"strings"
	"testing"

	"konto/events"
)

func TestHistoryHasNoSecret(t *testing.T) {
	a := events.Account{PasswordHash: "hash", Email: "anna@example.com"}
	a.EmailChange.CodeHash = []byte("code hash")
	changes, err := changesBetween(&events.Account{}, &a)
	if err != nil || len(changes) != 2 {
		t.Fatalf("%v, %v", changes, err)
	}
	for _, c := range changes {
		if strings.Contains(string(c.To), "hash") {
			t.Errorf("%s", c.To)
		}
	}
}

// Between AccountErased and the destruction of the key the old values are still
// readable; that they are gone now is no reason to list them all again.
func TestHistoryDoesNotRepeatWhatIsErased(t *testing.T) {
	changes, err := changesBetween(&events.Account{Email: "anna@example.com", Version: 1}, &events.Account{Erased: true, Version: 2})
	if err != nil || changes == nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
}
