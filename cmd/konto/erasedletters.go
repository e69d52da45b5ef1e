package main

import (
	"bytes"
	"context"
	"strings"
	"time"

	"konto/events"
)

// lettersTime bounds what an erasure waits for NATS. Dead letters go after
// seven days anyway.
const lettersTime = 10 * time.Second

// letters removes the dead letters that name the account: facts that somebody sent
// of it, and konto refused. What they call it by is known only as long as its events
// can be read. Without a server, or with NATS away, they stay until they are too old.
func (e *erasure) letters(ctx context.Context) error {
	if e.house.inbound == nil {
		return nil
	}
	names, err := e.names(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lettersTime)
	defer cancel()
	e.house.inbound.ForgetLetters(ctx, func(body []byte) bool {
		body = bytes.ToLower(body)
		for _, name := range names {
			if bytes.Contains(body, []byte(name)) {
				return true
			}
		}
		return false
	})
	return nil
}

// names are what others call the account, in small letters: its ids, and all
// addresses that it ever had or asked for.
func (e *erasure) names(ctx context.Context) ([]string, error) {
	names := []string{strings.ToLower(e.account.String())}
	add := func(name string) {
		if name != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	for after := uint64(0); ; {
		page, err := e.house.store.ReadStream(ctx, e.stream(), after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, event := range page {
			after = event.Version
			p, err := event.Payload()
			if err != nil {
				continue // a newer konto's; what can be read tells enough
			}
			switch p := p.(type) {
			case events.AccountOpened:
				add(p.Email)
				add(p.PaywayID)
			case events.EmailChanged:
				add(p.NewEmail)
			case events.EmailChangeRequested:
				add(p.NewEmail)
			}
		}
		if len(page) < pageSize {
			return names, nil
		}
	}
}
