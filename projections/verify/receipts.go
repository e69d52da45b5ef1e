package verify

import (
	"bytes"
	"context"

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
		for _, r := range page {
			after = r.Key
			if err := c.receipt(ctx, r); err != nil {
				return err
			}
		}
		if done += uint64(len(page)); len(page) == 0 {
			return nil
		}
	}
}

func (c *check) receipt(ctx context.Context, r eventstore.StoredReceipt) error {
	p := Problem{Stream: r.Stream}
	head, err := c.Log.StreamHead(ctx, r.Stream)
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
