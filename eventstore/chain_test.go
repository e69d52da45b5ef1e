package eventstore

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

func chained() Record {
	return Record{
		Position: 7, Stream: "account-01HXA3B4C5D6E7F8G9H0J1K2M3", Version: 3,
		ID: ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M4"), Type: "EmailChanged.v1",
		Time: time.UnixMilli(1_700_000_000_123).UTC(), Metadata: []byte(`{"actor":{"kind":"account"}}`), Data: []byte{0, 1, 2, 0xff},
	}
}

// TestChainHashStaysTheSame protects the stored format. With another hash every log would look
// damaged.
func TestChainHashStaysTheSame(t *testing.T) {
	const want = "0cd08bacdcb26113dbc95c49248afe98fa2e3142742d5d024cf0ea60b3db0085"
	hash := ChainHash(sha256.Sum256([]byte("before")), chained())
	if got := hex.EncodeToString(hash[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChainHashCoversEverything(t *testing.T) {
	changes := map[string]func(previous *[sha256.Size]byte, r *Record){
		"previous hash": func(previous *[sha256.Size]byte, _ *Record) { previous[31] ^= 1 },
		"position":      func(_ *[sha256.Size]byte, r *Record) { r.Position++ },
		"stream":        func(_ *[sha256.Size]byte, r *Record) { r.Stream += "x" },
		"version":       func(_ *[sha256.Size]byte, r *Record) { r.Version++ },
		"id":            func(_ *[sha256.Size]byte, r *Record) { r.ID[0] ^= 1 },
		"type":          func(_ *[sha256.Size]byte, r *Record) { r.Type = "EmailChanged.v2" },
		"time":          func(_ *[sha256.Size]byte, r *Record) { r.Time = r.Time.Add(time.Millisecond) },
		"metadata":      func(_ *[sha256.Size]byte, r *Record) { r.Metadata[0] ^= 1 },
		"data":          func(_ *[sha256.Size]byte, r *Record) { r.Data[3] ^= 1 },
		"end of stream, begin of type": func(_ *[sha256.Size]byte, r *Record) {
			end := len(r.Stream) - 1
			r.Stream, r.Type = r.Stream[:end], string(r.Stream[end:])+r.Type
		},
		"end of metadata, begin of data": func(_ *[sha256.Size]byte, r *Record) {
			end := len(r.Metadata) - 1
			r.Metadata, r.Data = r.Metadata[:end], append([]byte{r.Metadata[end]}, r.Data...)
		},
	}
	seen := map[[sha256.Size]byte]string{ChainHash([sha256.Size]byte{}, chained()): "nothing"}
	for name, change := range changes {
		var previous [sha256.Size]byte
		r := chained()
		change(&previous, &r)
		hash := ChainHash(previous, r)
		if other, known := seen[hash]; known {
			t.Errorf("a change of %s has the hash of a change of %s", name, other)
		}
		seen[hash] = name
	}
}

func BenchmarkChainHash(b *testing.B) {
	r := chained()
	r.Metadata, r.Data = make([]byte, 250), make([]byte, 100)
	b.ReportAllocs()
	var hash [sha256.Size]byte
	for b.Loop() {
		hash = ChainHash(hash, r)
	}
}
