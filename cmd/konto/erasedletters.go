package main

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// lettersRetry is how long a server waits before it looks for NATS again.
const lettersRetry = 10 * time.Second

// remember keeps what the account is called, until no letter names it any more:
// NATS may be away when its key is destroyed, and afterwards nobody could tell.
func (e *erasure) remember(ctx context.Context) error {
	names, err := e.names(ctx)
	if err != nil {
		return err
	}
	kept, err := e.house.ledger.Names(ctx)
	if err != nil {
		return err
	}
	names = append(names, kept[e.account]...)
	slices.Sort(names)
	return e.house.ledger.KeepNames(ctx, e.account, slices.Compact(names))
}

// letters removes the dead letters that name the account, and the facts that wait:
// it comes after the account's end, since when none is recorded any more. Without a
// server, that is for the next one to do.
func (e *erasure) letters(ctx context.Context) error { return e.house.forgetLetters(ctx) }

// forgetLetters removes what others sent of all accounts whose names are kept. The
// caller holds erasing. After an error it is to be called again.
func (h *house) forgetLetters(ctx context.Context) error {
	if h.inbound == nil {
		return nil
	}
	called, err := h.ledger.Names(ctx)
	if err != nil || len(called) == 0 {
		return err
	}
	var names [][]byte
	for _, its := range called {
		for _, name := range its {
			names = append(names, []byte(name))
		}
	}
	err = h.inbound.Forget(ctx, func(text []byte) bool {
		text = spoken(text)
		return slices.ContainsFunc(names, func(name []byte) bool { return isNamed(text, name) })
	})
	if err != nil {
		return err
	}
	for account := range called {
		if err := h.ledger.DropNames(ctx, account); err != nil {
			return err
		}
	}
	return nil
}

// isNamed tells whether a text has a name. An address that is part of a longer one is
// somebody else's: what others sent of hanna@example.com stays when anna@example.com is
// erased. A dash or the like joins nothing, since senders make ids of messages that way.
func isNamed(text, name []byte) bool {
	if !bytes.ContainsRune(name, '@') {
		return bytes.Contains(text, name)
	}
	for from := 0; ; from++ {
		at := bytes.Index(text[from:], name)
		if at < 0 {
			return false
		}
		from += at
		before, size := utf8.DecodeLastRune(text[:from])
		after, _ := utf8.DecodeRune(text[from+len(name):])
		escape := bytes.HasSuffix(text[:from-size], []byte(`\`)) // as the n of \n
		if (!isOfAName(before) || escape) && !isOfAName(after) {
			return true
		}
	}
}

func isOfAName(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// forgetLetters does what erasures left to do while NATS was away or no server ran,
// as soon as it can be done.
func (s *server) forgetLetters(ctx context.Context) {
	for told := false; ; told = true {
		s.house.erasing.Lock()
		err := s.house.forgetLetters(ctx)
		s.house.erasing.Unlock()
		if err == nil || ctx.Err() != nil {
			return
		}
		if !told {
			s.log.Warn("what others sent of erased accounts is still there; konto goes on trying", "error", err)
		}
		select {
		case <-time.After(lettersRetry):
		case <-ctx.Done():
			return
		}
	}
}

var accountID = regexp.MustCompile(`[0-7][0-9a-hjkmnp-tv-z]{25}`)

// isForgotten tells whether a text names an erased account by its id, as others may
// go on to do. By its address nobody can tell any more.
func (h *house) isForgotten(text []byte) bool {
	for _, id := range accountID.FindAll(spoken(text), -1) {
		if account, err := ulid.ParseStrict(string(id)); err == nil {
			if _, known := h.erasures.of(account); known {
				return true
			}
		}
	}
	return false
}

var escapes = regexp.MustCompile(`(?:\\u[0-9a-fA-F]{4})+|\\["\\/]`)

// spoken is a text as it is meant: in small letters, and without the escapes of JSON.
// It need not be JSON as a whole; dead letters often are not.
func spoken(text []byte) []byte {
	return bytes.ToLower(escapes.ReplaceAllFunc(text, func(escape []byte) []byte {
		var meant string
		if err := json.Unmarshal(slices.Concat([]byte(`"`), escape, []byte(`"`)), &meant, jsontext.AllowInvalidUTF8(true)); err != nil {
			return escape
		}
		return []byte(meant)
	}))
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
