package eventstoretest

import (
	"context"
	"errors"

	"konto/eventstore"
)

// sharing are the checks of two logs on one store.
var sharing = []struct {
	name string
	run  func(ctx context.Context, t T, one, other eventstore.Log)
}{
	{"all nodes read the same records in one order without gaps", func(ctx context.Context, t T, one, other eventstore.Log) {
		const each = 5
		race(t, func(i int) error {
			log, stream := node(i, one, other), newStream()
			for version := range uint64(each) {
				if _, err := log.Append(ctx, batch(stream, version, 1)); err != nil {
					return err
				}
			}
			return nil
		}, func(error) bool { return false })
		records := feed(ctx, t, one, racers*each)
		if len(records) != racers*each {
			t.Errorf("the feed has %d records, not %d", len(records), racers*each)
		}
		expectNoGaps(t, records)
		expectRecords(t, "the feed of the other node", feed(ctx, t, other, racers*each), records)
	}},
	{"a node reads what another node stored before", func(ctx context.Context, t T, one, other eventstore.Log) {
		key := newKey()
		b := leaving(batch(newStream(), 0, 2, take(key)), newReceipt())
		last := mustAppend(ctx, t, one, b)
		expectRecords(t, "the stream on the other node", streamOf(ctx, t, other, b.Stream), b.Records)
		expectHead(ctx, t, other, b.Stream, eventstore.StreamHead{Version: 2, Position: last})
		expectHolder(ctx, t, other, key, b.Stream)
		expectClaims(ctx, t, other, eventstore.HeldClaim{}, 10, []eventstore.HeldClaim{{Key: key, Stream: b.Stream}})
		expectReceipt(ctx, t, other, b.Receipts[0].Key, b.Stream, b.Receipts[0].Data)
		if head, err := other.Head(ctx); err != nil || head != last {
			t.Errorf("the head on the other node is %d, %v; want %d", head, err, last)
		}
	}},
	{"a version that another node stored is a conflict", func(ctx context.Context, t T, one, other eventstore.Log) {
		stream := newStream()
		mustAppend(ctx, t, other, batch(stream, 0, 1))
		mustAppend(ctx, t, one, batch(stream, 1, 1))
		expectConflict(ctx, t, other, batch(stream, 1, 1), 2)
		mustAppend(ctx, t, other, batch(stream, 2, 1))
	}},
	{"a key that another node took is taken until it is released", func(ctx context.Context, t T, one, other eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, one, batch(stream, 0, 1, take(key)))
		expectTaken(ctx, t, other, batch(newStream(), 0, 1, take(key)), key, stream)
		mustAppend(ctx, t, one, batch(stream, 1, 1, release(key)))
		mustAppend(ctx, t, other, batch(newStream(), 0, 1, take(key)))
	}},
	{"a receipt that another node stored is repeated", func(ctx context.Context, t T, one, other eventstore.Log) {
		b := leaving(batch(newStream(), 0, 1), newReceipt())
		mustAppend(ctx, t, one, b)
		expectRepeated(ctx, t, other, b, b.Receipts[0].Key, b.Stream)
	}},
	{"exactly one of many appends on two nodes is stored", func(ctx context.Context, t T, one, other eventstore.Log) {
		stream, key, receipt := newStream(), newKey(), newReceipt()
		for what, make := range map[string]func() eventstore.Batch{
			"at one version":   func() eventstore.Batch { return batch(stream, 0, 1) },
			"with one key":     func() eventstore.Batch { return batch(newStream(), 0, 1, take(key)) },
			"with one receipt": func() eventstore.Batch { return leaving(batch(newStream(), 0, 1), receipt) },
		} {
			won := race(t, func(i int) error {
				_, err := node(i, one, other).Append(ctx, make())
				return err
			}, func(err error) bool {
				return errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrTaken) || errors.Is(err, eventstore.ErrRepeated)
			})
			if won != 1 {
				t.Errorf("%d of %d appends %s were stored", won, racers, what)
			}
		}
	}},
	{"an append wakes who waits on another node", func(ctx context.Context, t T, one, other eventstore.Log) {
		last := mustAppend(ctx, t, one, batch(newStream(), 0, 1))
		feed(ctx, t, other, last)
		for range 20 { // in some of the rounds the wait begins before the append
			ready, woken := make(chan struct{}), make(chan error, 1)
			go func() {
				close(ready)
				woken <- other.Wait(ctx, last)
			}()
			<-ready
			next := mustAppend(ctx, t, one, batch(newStream(), 0, 1))
			if err := <-woken; err != nil {
				t.Fatalf("wait: %v", err)
			}
			last = next
		}
	}},
}

// node returns one of two logs, in turn.
func node(i int, one, other eventstore.Log) eventstore.Log {
	if i%2 == 0 {
		return one
	}
	return other
}
