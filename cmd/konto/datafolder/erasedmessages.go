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

// InboundMessages are what other systems sent over NATS: waiting facts and dead letters.
type InboundMessages interface {
	// Forget deletes the messages for which named returns true. After an error some of them
	// may be left; it may be repeated.
	Delete(ctx context.Context, named func(text []byte) bool) error
}

// keepNames stores what the account is called until no message names it: NATS may be away when
// the account's key is destroyed, and afterwards nothing tells these names.
func (e *Erasure) keepNames(ctx context.Context) error {
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

// messages deletes the dead letters and waiting facts that name the account. It runs after the
// account's end, because no facts are recorded afterwards. Without a server, the next server
// does it.
func (e *Erasure) messages(ctx context.Context) error { return e.Folder.deleteMessages(ctx, e.Inbound) }

// deleteMessages deletes the messages about all accounts whose names are stored. The caller
// holds erasing. After an error it must be called again.
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
	err = inbound.Delete(ctx, func(text []byte) bool {
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

// DeleteMessages deletes messages about accounts that were erased while NATS was away or no
// server ran. After an error it must be called again.
func (f *Folder) DeleteMessages(ctx context.Context, inbound InboundMessages) error {
	f.erasing.Lock()
	defer f.erasing.Unlock()
	return f.deleteMessages(ctx, inbound)
}

// isNamed reports whether a text has a name: an id, or an address in any spelling. An address
// inside a longer one is another address: messages about hanna@example.com stay when
// anna@example.com is erased. A dash or the like does not make an address longer, because
// senders make ids of messages that way.
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

// maxAround is more than the bytes that an address has on either side of its @.
const maxAround = 1100

// endsWithLocal reports whether the text before an @ ends with a local part.
func endsWithLocal(text, local string) bool {
	text = canonical(text[max(strings.LastIndexByte(text, '@')+1, len(text)-maxAround, 0):] + "@")
	rest, found := strings.CutSuffix(text, canonical(local+"@"))
	before, size := utf8.DecodeLastRuneInString(rest)
	escape := strings.HasSuffix(rest[:len(rest)-size], `\`) // as the n of \n
	return found && (!isOfAName(before) || escape)
}

// beginsWithDomain reports whether the text after an @ begins with a domain.
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

// canonical returns the one spelling that stands for all spellings of an address.
func canonical(email string) string { return events.EmailClaim(email).Value }

func isOfAName(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

var accountID = regexp.MustCompile(`[0-7][0-9a-hjkmnp-tv-z]{25}`)

// NamesErased reports whether a text names an erased account by its id. Nothing tells its
// address any more.
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

// unescaped returns a text without the escapes of JSON. The text need not be JSON as a whole;
// dead letters often are not.
func unescaped(text []byte) string {
	return string(escapes.ReplaceAllFunc(text, func(escape []byte) []byte {
		var meant string
		if err := json.Unmarshal(slices.Concat([]byte(`"`), escape, []byte(`"`)), &meant, jsontext.AllowInvalidUTF8(true)); err != nil {
			return escape
		}
		return []byte(meant)
	}))
}

// names returns what others call the account: its ids in lower case, and all addresses that it
// ever had or asked for.
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
				continue // an event of a newer konto; the others tell enough
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
