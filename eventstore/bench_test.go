package eventstore_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

// BenchmarkRead reads what was just appended, 50 events at a time, over 1,000 accounts.
// The log is in memory, so it compares the cost of decryption.
func BenchmarkRead(b *testing.B) {
	const count, page = 4000, 50
	log, keys := memory.New(), newKeys(b)
	s := eventstore.NewStore(log, keys)
	streams := make([]events.Stream, 1000)
	for i := range uint64(count) {
		if i < uint64(len(streams)) {
			streams[i] = newStream()
		}
		stream, version := streams[i%uint64(len(streams))], i/uint64(len(streams))
		meta := events.Metadata{RequestID: "req_" + ulid.Make().String(), Actor: events.Actor{Kind: "account"}, Contract: "hostup"}
		e, err := events.New(stream, version+1, ulid.Make(), time.Now(), meta, named(strconv.FormatUint(i, 10)))
		if err == nil {
			_, err = s.Append(b.Context(), stream, version, nil, []events.Event{e})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, read := range map[string]func(after uint64) ([]events.Event, error){
		"from=memory": func(after uint64) ([]events.Event, error) { return s.ReadNext(b.Context(), after, page) },
		"from=log":    func(after uint64) ([]events.Event, error) { return s.ReadAll(b.Context(), after, page) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; n < b.N; n += page {
				if evs, err := read(uint64(n % count)); err != nil || len(evs) != page {
					b.Fatal(len(evs), err)
				}
			}
		})
	}
}

// BenchmarkAppend appends one update at a time. The log is in memory, so it measures encryption.
func BenchmarkAppend(b *testing.B) {
	s := eventstore.NewStore(memory.New(), newKeys(b))
	meta := events.Metadata{
		RequestID: "req_" + ulid.Make().String(), Actor: events.Actor{Kind: "session", ID: ulid.Make().String()},
		Contract: "hostup", Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	stream, version := newStream(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		e, err := events.New(stream, version+1, ulid.Make(), time.Now(), meta, named("Anna"))
		if err == nil {
			_, err = s.Append(b.Context(), stream, version, nil, []events.Event{e})
		}
		if err != nil {
			b.Fatal(err)
		}
		version++
	}
}
