package eventstoretest

import (
	"context"

	"konto/eventstore"
)

var claiming = []Check{
	{"a key is held by the stream that took it until that releases it", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		expectHolder(ctx, t, log, key, "")
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		expectHolder(ctx, t, log, key, stream)
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(key)))
		expectHolder(ctx, t, log, key, "")
		other := newStream()
		mustAppend(ctx, t, log, batch(other, 0, 1, take(key)))
		expectHolder(ctx, t, log, key, other)
	}},
	{"another's key is refused with its holder", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(newKey()), take(key)))
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(newKey()), take(key)), key, holder)
		expectHolder(ctx, t, log, key, holder)
	}},
	{"a batch refused for a claim leaves no records and no claims", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		loser, before, own := newStream(), newKey(), newKey()
		last := mustAppend(ctx, t, log, batch(loser, 0, 1, take(own)))
		expectTaken(ctx, t, log, batch(loser, 1, 2, take(before), release(own), take(key)), key, holder)
		expectHolder(ctx, t, log, before, "")
		expectHolder(ctx, t, log, own, loser)
		expectHead(ctx, t, log, loser, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"a batch refused for its version leaves no claims", func(ctx context.Context, t T, log eventstore.Log) {
		stream, free, own := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(own)))
		expectConflict(ctx, t, log, batch(stream, 0, 1, take(free), release(own)), 1)
		expectHolder(ctx, t, log, free, "")
		expectHolder(ctx, t, log, own, stream)
	}},
	{"taking one's own key again does nothing", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key), take(key)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, take(key)))
		expectHolder(ctx, t, log, key, stream)
	}},
	{"releasing a key that one does not hold does nothing", func(ctx context.Context, t T, log eventstore.Log) {
		holder, other, key := newStream(), newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		mustAppend(ctx, t, log, batch(other, 0, 1, release(key), release(newKey())))
		expectHolder(ctx, t, log, key, holder)
	}},
	{"claims of a batch happen in their order", func(ctx context.Context, t T, log eventstore.Log) {
		stream, kept, freed := newStream(), newKey(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(kept)))
		mustAppend(ctx, t, log, batch(stream, 1, 1, release(kept), take(kept), take(freed), release(freed)))
		expectHolder(ctx, t, log, kept, stream)
		expectHolder(ctx, t, log, freed, "")
	}},
	{"releasing another's key first does not make it free to take", func(ctx context.Context, t T, log eventstore.Log) {
		holder, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(holder, 0, 1, take(key)))
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, release(key), take(key)), key, holder)
	}},
	{"a batch may change claims alone", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		last := mustAppend(ctx, t, log, batch(stream, 0, 1))
		expectConflict(ctx, t, log, batch(stream, 0, 0, take(key)), 1)
		if got := mustAppend(ctx, t, log, batch(stream, 1, 0, take(key))); got != 0 {
			t.Errorf("an append without records returned position %d, not 0", got)
		}
		expectHolder(ctx, t, log, key, stream)
		expectHead(ctx, t, log, stream, eventstore.StreamHead{Version: 1, Position: last})
	}},
	{"a stream without records may hold a key", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 0, take(key)))
		expectHolder(ctx, t, log, key, stream)
		expectTaken(ctx, t, log, batch(newStream(), 0, 1, take(key)), key, stream)
	}},
}
