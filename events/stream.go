package events

import (
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

// Stream names an ordered sequence of events with one owner: a category, a
// hyphen and the owner's ULID, as in account-01HXA3B4C5D6E7F8G9H0J1K2M3.
type Stream string

// The categories of streams.
const (
	CategoryAccount    = "account"
	CategoryCredential = "credential"
	CategoryThirdParty = "third-party"
)

// AccountStream is the stream of one account.
func AccountStream(id ulid.ULID) Stream { return Stream(CategoryAccount + "-" + id.String()) }

// CredentialStream is the stream of one API key, client token, consumer key or session.
func CredentialStream(id ulid.ULID) Stream { return Stream(CategoryCredential + "-" + id.String()) }

// Split gives the stream's category and its owner's id. It fails on a malformed
// name, and on an id in lower case: two names would be two streams of one owner.
func (s Stream) Split() (category string, owner ulid.ULID, err error) {
	at := strings.LastIndexByte(string(s), '-')
	if at < 1 {
		return "", ulid.ULID{}, fmt.Errorf("stream %q has no category", s)
	}
	id := string(s[at+1:])
	if owner, err = ulid.ParseStrict(id); err != nil {
		return "", ulid.ULID{}, fmt.Errorf("stream %q: %w", s, err)
	}
	if strings.ToUpper(id) != id {
		return "", ulid.ULID{}, fmt.Errorf("stream %q has an id in lower case", s)
	}
	return string(s[:at]), owner, nil
}

// Category is the part before the owner's id, or "" when the name is malformed.
func (s Stream) Category() string {
	category, _, err := s.Split()
	if err != nil {
		return ""
	}
	return category
}
