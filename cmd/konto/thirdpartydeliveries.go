package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
)

type thirdPartyDeliveries struct {
	Ref     string `arg:"" optional:"" name:"name" help:"The third party: its name or its id; all of them unless given."`
	Account string `name:"account" placeholder:"REF" help:"Only those about this account: any of its ids, or its email address."`
	Status  string `name:"status" enum:"delivered,retrying,failed,aborted,skipped," default:"" placeholder:"STATUS" help:"Only those with this result: delivered, retrying, failed, aborted or skipped."`
	Limit   int    `name:"limit" default:"100" placeholder:"N" help:"How many, from the newest."`
}

func (c *thirdPartyDeliveries) Help() string {
	return `The delivery log: every attempt, oldest first, with the first bytes of the answer. It goes back 30
days, and 100,000 attempts for each third party. The results of an attempt:

    delivered   the third party accepted the event
    retrying    it did not, and the event is sent again
    failed      it did not, and the event is sent again only by konto third-party redeliver
    aborted     it asked not to be sent the event again
    skipped     there was nothing to send, for example because the account was erased

Examples:

    konto third-party deliveries
    konto third-party deliveries crm --account anna@example.com
    konto third-party deliveries crm --status failed --limit 1000 --json | jq -r .event`
}

// Validate is called by kong.
func (c *thirdPartyDeliveries) Validate() error {
	if c.Limit < 1 {
		return errors.New("--limit is at least 1")
	}
	return nil
}

func (c *thirdPartyDeliveries) Run(ctx context.Context, on *opened, out *control.Output) error {
	filter := admin.AttemptFilter{ThirdParty: c.Ref, Status: c.Status}
	if c.Account != "" {
		var err error
		if filter.Account, err = on.FindAccount(ctx, c.Account); err != nil {
			return err
		}
	}
	page, err := on.ListAttempts(ctx, filter, "", c.Limit)
	if err != nil {
		return err
	}
	const row = "%-20s  %-9s  %4s  %11s  %-6s  %-20s  %-26s  %-26s  %s  %s"
	out.Header(row, "TIME", "STATUS", "HTTP", "LATENCY", "TRY", "THIRD PARTY", "ACCOUNT", "EVENT", "TYPE", "ANSWER")
	for _, a := range slices.Backward(page.Items) {
		err := out.Row(a, "%-20s  %-9s  %4d  %8.1f ms  %-6d  %-20s  %s  %s  %s  %q", a.At.Format(time.RFC3339),
			a.Status, a.HTTPStatus, a.LatencyMS, a.Attempt, a.ThirdParty, a.Account, a.Event, a.Type, a.Answer)
		if err != nil {
			return err
		}
	}
	return nil
}
