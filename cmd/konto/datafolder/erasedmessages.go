package datafolder

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// InboundMessages are what other systems sent over NATS: facts that wait, and dead letters.
type InboundMessages interface {
	// Forget deletes those that named says it of. After an error some of them may still
	// be there; to repeat it is harmless.
	Forget(ctx context.Context, named func(text []byte) bool) error
}

// remember keeps what the account is called, until no letter names it any more:
// NATS may be away when its key is destroyed, and afterwards nobody could tell.
func (e *Erasure) remember(ctx context.Context) error {
	names, err := e.names(ctx)
	if err != nil {
		return err
	}
	kept, err := e.Folder.DeliveryStore.Names(ctx)
	if err != nil {
		return err
	}
	names = append(names, kept[e.Account]...)
	slices.Sort(names)
	return e.Folder.DeliveryStore.KeepNames(ctx, e.Account, slices.Compact(names))
}

// letters removes the dead letters that name the account, and the facts that wait:
// it comes after the account's end, since when none is recorded any more. Without a
// server, that is for the next one to do.
func (e *Erasure) letters(ctx context.Context) error { return e.Folder.deleteMessages(ctx, e.Inbound) }

// forgetLetters removes what others sent of all accounts whose names are kept. The
// caller holds erasing. After an error it is to be called again.
func (f *Folder) deleteMessages(ctx context.Context, inbound InboundMessages) error {
	if inbound == nil {
		return nil
	}
	called, err := f.DeliveryStore.Names(ctx)
	if err != nil || len(called) == 0 {
		return err
	}
	var names []string
	for _, its := range called {
		names = append(names, its...)
	}
	err = inbound.Forget(ctx, func(text []byte) bool {
		meant := unescaped(text)
		return slices.ContainsFunc(names, func(name string) bool { return isNamed(meant, name) })
	})
	if err != nil {
		return err
	}
	for account := range called {
		if err := f.DeliveryStore.DropNames(ctx, account); err != nil {
			return err
		}
	}
	return nil
}

// DeleteMessages does what erasures left to do while NATS was away or no server ran.
// After an error it is to be called again.
func (f *Folder) DeleteMessages(ctx context.Context, inbound InboundMessages) error {
	f.erasing.Lock()
	defer f.erasing.Unlock()
	return f.deleteMessages(ctx, inbound)
}

// isNamed tells whether a text has a name: an id, or an address in any spelling. An address
// that is part of a longer one is somebody else's: what others sent of hanna@example.com
// stays when anna@example.com is erased. A dash or the like joins nothing, since senders
// make ids of messages that way.
func isNamed(text, name string) bool {
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return strings.Contains(strings.ToLower(text), name)
	}
	for from := 0; ; from++ {
		found := strings.IndexByte(text[from:], '@')
		if found < 0 {
			return false
		}
		from += found
		if endsWithLocal(text[:from], name[:at]) && beginsWithDomain(text[from+1:], name[at+1:]) {
			return true
		}
	}
}

// maxAround is more than an address has on either side of its @, in bytes.
const maxAround = 1100

// endsWithLocal tells whether what is before an @ ends with a local part.
func endsWithLocal(text, local string) bool {
	text = canonical(text[max(strings.LastIndexByte(text, '@')+1, len(text)-maxAround, 0):] + "@")
	rest, found := strings.CutSuffix(text, canonical(local+"@"))
	before, size := utf8.DecodeLastRuneInString(rest)
	escape := strings.HasSuffix(rest[:len(rest)-size], `\`) // as the n of \n
	return found && (!isOfAName(before) || escape)
}

// beginsWithDomain tells whether what is behind an @ begins with a domain.
func beginsWithDomain(text, domain string) bool {
	domain = canonical("@" + domain)
	text, _, _ = strings.Cut(text[:min(len(text), maxAround)], "@")
	for end := 0; end < len(text); {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
		if after, _ := utf8.DecodeRuneInString(text[end:]); !isOfAName(after) && canonical("@"+text[:end]) == domain {
			return true
		}
	}
	return false
}

// canonical is the one spelling of all those that are one address.
func canonical(email string) string { return events.EmailClaim(email).Value }

func isOfAName(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

var accountID = regexp.MustCompile(`[0-7][0-9a-hjkmnp-tv-z]{25}`)

// NamesErased tells whether a text names an erased account by its id, as others may
// go on to do. By its address nobody can tell any more.
func (f *Folder) NamesErased(text []byte) bool {
	for _, id := range accountID.FindAllString(strings.ToLower(unescaped(text)), -1) {
		if account, err := ulid.ParseStrict(id); err == nil {
			if _, known := f.Erasures.Of(account); known {
				return true
			}
		}
	}
	return false
}

var escapes = regexp.MustCompile(`(?:\\u[0-9a-fA-F]{4})+|\\["\\/]`)

// unescaped is a text without the escapes of JSON. It need not be JSON as a whole; dead
// letters often are not.
func unescaped(text []byte) string {
	return string(escapes.ReplaceAllFunc(text, func(escape []byte) []byte {
		var meant string
		if err := json.Unmarshal(slices.Concat([]byte(`"`), escape, []byte(`"`)), &meant, jsontext.AllowInvalidUTF8(true)); err != nil {
			return escape
		}
		return []byte(meant)
	}))
}

// names are what others call the account: its ids, in small letters, and all addresses
// that it ever had or asked for.
func (e *Erasure) names(ctx context.Context) ([]string, error) {
	names := []string{strings.ToLower(e.Account.String())}
	add := func(name string) {
		if name != "" {
			names = append(names, name)
		}
	}
	for after := uint64(0); ; {
		page, err := e.Folder.Store.ReadStream(ctx, e.stream(), after, PageSize)
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
				add(strings.ToLower(p.PaywayID))
			case events.EmailChanged:
				add(p.NewEmail)
			case events.EmailChangeRequested:
				add(p.NewEmail)
			}
		}
		if len(page) < PageSize {
			return names, nil
		}
	}
}
