package eventstore

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The binding is a stored format. With other bytes no event could be read.
func TestCiphertextsAreBoundToTheirRecord(t *testing.T) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	for at, place := range map[int64]string{
		1_700_000_000_123: "account-01HXA3B4C5D6E7F8G9H0J1K2M3|42|01HXA3B4C5D6E7F8G9H0J1K2M4|EmailChanged.v1|1700000000123|",
		-5:                "account-01HXA3B4C5D6E7F8G9H0J1K2M3|42|01HXA3B4C5D6E7F8G9H0J1K2M4|EmailChanged.v1|-5|",
	} {
		r, err := sealOne(aead, events.Event{
			Stream: "account-01HXA3B4C5D6E7F8G9H0J1K2M3", Version: 42, ID: ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M4"),
			Type: events.TypeEmailChanged, Time: time.UnixMilli(at).UTC(), Metadata: events.Metadata{Contract: "cli"}, Data: []byte("{}"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if clear, err := aead.Open(nil, nil, r.Metadata, []byte(place+"metadata")); err != nil || string(clear) != `{"contract":"cli"}` {
			t.Errorf("metadata %q, %v", clear, err)
		}
		if clear, err := aead.Open(nil, nil, r.Data, []byte(place+"data")); err != nil || string(clear) != "{}" {
			t.Errorf("data %q, %v", clear, err)
		}
	}
}
