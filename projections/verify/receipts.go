package verify

import (
	"bytes"
	"context"
	"sync"

	"konto/events"
	"konto/eventstore"
)

// receipts reports each receipt, expired or not, that cannot be read.
func (c *check) receipts(ctx context.Context) error {
	done := uint64(0)
	for after := (eventstore.ReceiptKey{}); ; {
		c.Progress(done, done, "receipts")
		page, err := c.Log.Receipts(ctx, after, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{What: "receipts: "}, err)
		}
		heads, errs := c.heads(ctx, page)
		for i, r := range page {
			after = r.Key
			if err := c.receipt(ctx, r, heads[i], errs[i]); err != nil {
				return err
			}
		}
		if done += uint64(len(page)); len(page) == 0 {
			return nil
		}
	}
}

// heads reads the heads of the receipts' streams at once: in Postgres each read waits for a standby,
// and those that wait together wait for one answer.
func (c *check) heads(ctx context.Context, page []eventstore.StoredReceipt) ([]eventstore.StreamHead, []error) {
	heads, errs := make([]eventstore.StreamHead, len(page)), make([]error, len(page))
	var all sync.WaitGroup
	for i, r := range page {
		all.Go(func() { heads[i], errs[i] = c.Log.StreamHead(ctx, r.Stream) })
	}
	all.Wait()
	return heads, errs
}

// receipt reports a receipt that cannot be read. head and err are what heads returned for it.
func (c *check) receipt(ctx context.Context, r eventstore.StoredReceipt, head eventstore.StreamHead, err error) error {
	p := Problem{Stream: r.Stream}
	if err != nil {
		return c.trouble(ctx, p, err)
	}
	p.Position = head.Position
	if head.Version == 0 && r.Stream.Category() == events.CategoryAccount {
		p.What = "a receipt was left with it, but the log has no record of it: the log may have lost its end"
		c.found(p)
		return nil
	}
	broken := c.Store.CheckReceipt(ctx, r)
	if broken == nil {
		return nil
	}
	// Expired receipts are deleted, and all receipts of a stream when it ends.
	still, err := c.Log.Receipts(ctx, before(r.Key), 1)
	if err != nil {
		return c.trouble(ctx, p, err)
	}
	if len(still) == 0 || still[0].Key != r.Key || !bytes.Equal(still[0].Data, r.Data) {
		return nil
	}
	p.What = "a receipt that was left with it cannot be read: "
	return c.trouble(ctx, p, broken)
}

// before is the key in front of another, so that a listing begins with that.
func before(key eventstore.ReceiptKey) eventstore.ReceiptKey {
	for i := len(key) - 1; i >= 0; i-- {
		key[i]--
		if key[i] != 0xff {
			break
		}
	}
	return key
}
