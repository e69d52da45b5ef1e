package erasure

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Inbound is what other systems sent over NATS: waiting facts and dead letters.
type Inbound interface {
	// Delete deletes the messages for which named returns true. After an error some of them
	// may be left; it may be repeated.
	Delete(ctx context.Context, named func(text []byte) bool) error
}

// deleteMessages deletes the messages about all accounts that have names in their rows, and then
// the names. Without a server it leaves that to the next server, and to the nodes of a cluster.
func (p *Process) deleteMessages(ctx context.Context) error {
	rows, err := p.Rows.All(ctx)
	maps.DeleteFunc(rows, func(_ ulid.ULID, row Row) bool { return len(row.Names) == 0 })
	if err != nil || len(rows) == 0 {
		return err
	}
	if p.inbound == nil {
		return p.leaveToNodes(ctx)
	}
	err = p.inbound.Delete(ctx, func(text []byte) bool {
		meant := unescaped(text)
		for _, row := range rows {
			if slices.ContainsFunc(row.Names, func(name string) bool { return isNamed(meant, name) }) {
				return true
			}
		}
		return false
	})
	for account, row := range rows {
		if row.Names = nil; err == nil {
			err = p.Rows.Put(ctx, account, row)
		}
	}
	return err
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
	before, _ := utf8.DecodeLastRuneInString(rest)
	return found && !isOfAName(before)
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

// NamesErased reports whether a text names an erased account by its id. Nothing tells its
// address any more.
func (p *Process) NamesErased(text []byte) bool {
	meant := unescaped(text)
	for at := range max(0, len(meant)-ulid.EncodedSize+1) {
		if account, err := ulid.ParseStrict(meant[at : at+ulid.EncodedSize]); err == nil {
			if _, known := p.Ledger.Of(account); known {
				return true
			}
		}
	}
	return false
}

// unescaped returns a text with the escapes of JSON decoded, wherever they are. To read the text
// as JSON is not enough: many dead letters were refused because they are no JSON, and a long one is
// cut off, often inside a string.
func unescaped(text []byte) string {
	var meant []byte
	for len(text) > 0 {
		piece, size := decoded(text)
		meant, text = append(meant, piece...), text[size:]
	}
	return string(meant)
}

// decoded decodes what a text begins with, and returns the size of that. If it begins with a
// backslash, this is as much as is whole: two \u escapes, which may be a surrogate pair, one of
// them, which may be half of a pair, or a short escape.
func decoded(text []byte) (piece []byte, size int) {
	if text[0] == '\\' {
		for _, size := range []int{len(`\ud83d\ude00`), len(`\u0040`), len(`\n`)} {
			size = min(size, len(text))
			piece, err := jsontext.AppendUnquote(nil, `"`+string(text[:size])+`"`)
			if err == nil || size == len(`\ud83d`) && string(piece) == "\ufffd" {
				return piece, size
			}
		}
	}
	return text[:1], 1
}
