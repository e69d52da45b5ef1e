package main

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

// checkNewest refuses an event if the third party accepted a newer one of its account. If the
// delivery store does not know, for example after its file was lost, every event that was read
// counts as accepted. Events that the third party did not subscribe to are not refused here.
func (on *opened) checkNewest(ctx context.Context, party events.ThirdParty, position uint64) error {
	found, err := on.Log.ReadAll(ctx, position-1, 1)
	if err != nil {
		return err
	}
	category, account, err := found[0].Stream.Split()
	if err != nil || category != events.CategoryAccount || !party.Wants(found[0].Type) {
		return nil
	}
	lane, known, err := on.DeliveryStore.Delivery(ctx, party.ID, account)
	if err != nil {
		return err
	}
	newest := lane.Delivered
	if !known {
		if newest, err = on.newestRead(ctx, party, account); err != nil {
			return err
		}
	}
	if newest > position {
		return fmt.Errorf("%s has taken a newer event of the account, at position %d; --older sends this one all the same", party.Name, newest)
	}
	return nil
}

// newestRead returns the position of the last event of an account that a third party
// subscribed to and whose turn has come, 0 if there is none.
func (on *opened) newestRead(ctx context.Context, party events.ThirdParty, account ulid.ULID) (newest uint64, err error) {
	reading, err := on.reading(ctx, party)
	if err != nil {
		return 0, err
	}
	for version := uint64(0); ; {
		page, err := on.Log.ReadStream(ctx, events.AccountStream(account), version, datafolder.PageSize)
		if err != nil {
			return 0, err
		}
		for _, r := range page {
			version = r.Version
			if r.Position <= reading && party.Wants(r.Type) {
				newest = r.Position
			}
		}
		if len(page) < datafolder.PageSize {
			return newest, nil
		}
	}
}
