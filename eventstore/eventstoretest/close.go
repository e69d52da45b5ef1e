package eventstoretest

import (
	"context"
	"errors"

	"konto/eventstore"
)

var closing = []Check{
	{"every call to a closed log returns ErrClosed", func(ctx context.Context, t T, log eventstore.Log) {
		stream, key := newStream(), newKey()
		mustAppend(ctx, t, log, batch(stream, 0, 1, take(key)))
		closeLog(t, log)
		calls := map[string]func() error{
			"Append":        func() error { _, err := log.Append(ctx, batch(stream, 1, 1)); return err },
			"ByStream":      func() error { _, err := log.ByStream(ctx, stream, 0, 1); return err },
			"ReadStream":    func() error { _, err := log.ReadStream(ctx, stream, 0, 1); return err },
			"StreamHead":    func() error { _, err := log.StreamHead(ctx, stream); return err },
			"Holder":        func() error { _, err := log.Holder(ctx, key); return err },
			"ClaimRule":     func() error { _, err := log.ClaimRule(ctx); return err },
			"ReplaceClaims": func() error { return log.ReplaceClaims(ctx, 1, given()) },
			"Claims":        func() error { _, err := log.Claims(ctx, eventstore.HeldClaim{}, 1); return err },
			"Receipt":       func() error { _, _, err := log.Receipt(ctx, newReceipt().Key); return err },
			"ReadAll":       func() error { _, err := log.ReadAll(ctx, 0, 1); return err },
			"Head":          func() error { _, err := log.Head(ctx); return err },
			"Wait":          func() error { return log.Wait(ctx, 0) },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, eventstore.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	}},
	{"a log may be closed twice", func(ctx context.Context, t T, log eventstore.Log) {
		closeLog(t, log)
		closeLog(t, log)
	}},
	{"closing gives each append under way a result", func(ctx context.Context, t T, log eventstore.Log) {
		closed := make(chan error, 1)
		race(t, func(i int) error {
			if i == racers/2 {
				closed <- log.Close()
			}
			_, err := log.Append(ctx, batch(newStream(), 0, 1))
			return err
		}, func(err error) bool { return errors.Is(err, eventstore.ErrClosed) })
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
	}},
}
