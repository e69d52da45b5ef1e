package http

import (
	"errors"
	"strings"
	"testing"

	"konto/commands"
	"konto/events"
)

func TestCreatedAccountHasItsPassword(t *testing.T) {
	h := anna(t)
	if status, answer := h.send("POST", "/external/api/v1/accounts", "client", strings.NewReader(`{"email":"eva@example.com","password":"rätt häst batteri"}`)); status != 201 {
		t.Fatalf("%d %s", status, answer)
	}
	id, err := h.accounts.Find(t.Context(), events.EmailClaim("eva@example.com"))
	h.must(err)
	change := func(current string) error {
		_, err := h.accounts.Do(t.Context(), id, events.Metadata{}, commands.ChangePassword{CurrentPassword: current, NewPassword: "a wholly different horse 17"})
		return err
	}
	if err := change("another"); !errors.Is(err, commands.ErrInvalid) {
		t.Errorf("another password: %v", err)
	}
	if err := change("rätt häst batteri"); err != nil {
		t.Errorf("its own password: %v", err)
	}
	if strings.Contains(h.log.String(), "häst") {
		t.Error("the password is in the log")
	}
}
