package projections

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"konto/events"
)

// A file lives longer than the program that wrote it: a row is what the library makes
// of the account, sealed for its place, whether or not it is larger than the buffer
// that it was encoded in.
func TestRowsKeepTheirStoredForm(t *testing.T) {
	h := newFixture(t)
	id := h.openAccount("anna@example.com")
	stream := events.AccountStream(id)
	aead, err := h.keys.Cipher(t.Context(), stream)
	h.must(err)
	bound := []byte("read model|account|" + string(stream))
	for _, name := range []string{"Åsa", strings.Repeat("long ", 1000)} {
		a := events.Account{ID: id, Version: 3, Opened: time.UnixMilli(1_700_000_000_123).UTC(), Profile: events.Profile{FirstName: name}}
		clear, err := json.Marshal(&a)
		h.must(err)

		content, err := h.model.sealAccount(t.Context(), id, &a)
		h.must(err)
		if got, err := aead.Open(nil, nil, content, bound); err != nil || string(got) != string(clear) {
			t.Errorf("stored as %.80q, %v", got, err)
		}
		var read events.Account
		h.must(h.model.unseal(t.Context(), stream, accountTable, aead.Seal(nil, nil, clear, bound), &read))
		if !reflect.DeepEqual(read, a) {
			t.Errorf("read as %.80q", read.Profile.FirstName)
		}
	}
}
