package events

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// ClaimRule is the number of the rule by which claims follow from an account's state. A
// log remembers the number that its claims were made by, and a start makes those of any
// other number anew (eventstore.Store.RenewClaims). Rule 1 folded an address by
// strings.ToLower and took the last ten digits of every social security number. Rule 2
// folds an address by canonicalEmail, whose tables come with Go: so
// Unicode's version is a part of the number, 2150000 for Unicode 15.0.0.
var ClaimRule = 2_000_000 + unicodeNumber(unicode.Version)

// unicodeNumber makes 150100 of 15.1.0.
func unicodeNumber(version string) (n int) {
	for part := range strings.SplitSeq(version, ".") {
		digits, _ := strconv.Atoi(part)
		n = n*100 + digits
	}
	return n
}

// EmailClaim is the claim on an address. All spellings of one address have one claim, and
// no other address has it.
func EmailClaim(email string) Claim { return Claim{ClaimEmail, canonicalEmail(email)} }

// canonicalEmail is the one spelling that stands for all spellings of an address. It
// takes every text, because accounts of earlier builds have addresses that konto refuses
// today.
//
// The domain becomes its A-label. The local part is brought to Unicode's normal form C,
// and a capital letter becomes its small one. Nothing outside ASCII becomes ASCII in the
// local part: a mail server that takes the one for the other does not exist.
func canonicalEmail(email string) string {
	if isASCII(email) { // nearly all are, and need no table; an A-label is one already
		return strings.TrimSuffix(strings.ToLower(email), ".")
	}
	at := strings.LastIndexByte(email, '@')
	return foldLocal(email[:max(at, 0)]) + "@" + foldDomain(email[at+1:])
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foldLocal normalises twice, because a small letter can have a composed form that its
// capital lacks (J and a caron).
func foldLocal(local string) string {
	return composed(strings.Map(smallLetter, composed(local)))
}

// smallLetter gives the small letter of a capital if that leads back to the same capital.
// So no two small letters meet: U+0130 does not become i, nor U+212A k, nor U+1E9E ß.
func smallLetter(r rune) rune {
	if small := unicode.ToLower(r); unicode.ToUpper(small) == r {
		return small
	}
	return r
}

// composed is normal form C, but for the three characters that it makes ASCII: the Kelvin
// sign, the Greek question mark and the Greek varia.
func composed(s string) string {
	i := strings.IndexAny(s, "\u212a\u037e\u1fef")
	if i < 0 {
		return norm.NFC.String(s)
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return norm.NFC.String(s[:i]) + s[i:i+size] + composed(s[i+size:])
}

// foldDomain is a domain's A-label. A domain that has none cannot exist; of it only the
// capital letters of ASCII become small.
func foldDomain(domain string) string {
	domain = withoutRoot(domain)
	if ascii, err := ASCIIDomain(domain); err == nil {
		return ascii
	}
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		return r
	}, domain)
}

// withoutRoot drops the dot of the root, in any of the forms that UTS 46 takes for a dot.
func withoutRoot(domain string) string {
	if last, size := utf8.DecodeLastRuneInString(domain); strings.ContainsRune(".\u3002\uff0e\uff61", last) {
		return domain[:len(domain)-size]
	}
	return domain
}

// domains is how a domain is looked up (UTS 46, not transitional, so ß is not ss; with
// STD 3, the rules for bidi text, joiners and hyphens) and how long it may be in the DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.VerifyDNSLength(true))

// ASCIIDomain is the form that a domain has in the DNS: its A-label, in small letters. The
// error tells that there can be no such domain; its text may quote the domain.
func ASCIIDomain(domain string) (string, error) { return domains.ToASCII(domain) }
