package events

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Claim is a unique key: at most one owner holds it at a time.
type Claim struct {
	Kind  string // one of the Claim constants
	Value string // normalized: equal for values that must not coexist
}

// The kinds of claims.
const (
	ClaimEmail                = "email"
	ClaimPaywayID             = "payway-id"
	ClaimSocialSecurityNumber = "social-security-number"
	ClaimCustomerNumber       = "customer-number"
	ClaimIdentity             = "identity"
)

// PaywayIDClaim is the claim on a Payway id, whose hex digits have no case.
func PaywayIDClaim(id string) Claim { return Claim{ClaimPaywayID, strings.ToLower(id)} }

// CenturyImplied reports whether the number of a Swedish person who was born in that year is
// stored without its century. The hundred years are fixed, so a stored number never changes its
// meaning. They end with the year in which konto began to store centuries. Numbers of people born
// before or after have twelve digits.
func CenturyImplied(year int) bool { return 1927 <= year && year <= 2026 }

// SocialSecurityNumberClaim is the claim on Payway's social security number in one of its stored
// forms: dddddd-dddd or twelve digits. An implied century is left out, because 198505073412 and
// 850507-3412 are one person. 191212121212 and 121212-1212 are two.
func SocialSecurityNumberClaim(ssn string) Claim {
	digits := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, ssn)
	if len(digits) == 12 {
		// 16 is what authorities write in front of an organisation's number.
		if year, _ := strconv.Atoi(digits[:4]); CenturyImplied(year) || year/100 == 16 {
			digits = digits[2:]
		}
	}
	return Claim{ClaimSocialSecurityNumber, digits}
}

// CustomerNumberClaim is the claim on a customer number. The number belongs to another system, so
// every character counts.
func CustomerNumberClaim(number string) Claim { return Claim{ClaimCustomerNumber, number} }

// IdentityClaim is the claim on an identity. An issuer is a URL, so it cannot contain the NUL.
func IdentityClaim(i Identity) Claim { return Claim{ClaimIdentity, i.Issuer + "\x00" + i.Subject} }

// Claims lists the claims that the account holds. They follow from its state, so the claims that
// an append takes and releases are the difference between two states.
func (a *Account) Claims() []Claim {
	var claims []Claim
	if a.Email != "" {
		claims = append(claims, EmailClaim(a.Email))
	}
	if a.PaywayID != "" {
		claims = append(claims, PaywayIDClaim(a.PaywayID))
	}
	if a.Profile.SocialSecurityNumber != "" {
		claims = append(claims, SocialSecurityNumberClaim(a.Profile.SocialSecurityNumber))
	}
	if a.Profile.CustomerNumber != "" {
		claims = append(claims, CustomerNumberClaim(a.Profile.CustomerNumber))
	}
	for _, i := range a.Identities {
		claims = append(claims, IdentityClaim(i))
	}
	return claims
}

// ClaimRule is the number of the rule by which claims follow from an account's state. A log
// stores the number that its claims were made with. If that is another number when konto starts,
// the claims are made again (eventstore.Store.RenewClaims). Rule 1 normalized an address with
// strings.ToLower and used the last ten digits of every social security number. Rule 2
// normalizes an address with canonicalEmail, whose tables come with Go. So Unicode's version is
// part of the number: 2150000 for Unicode 15.0.0.
var ClaimRule = 2_000_000 + unicodeNumber(unicode.Version)

// unicodeNumber is 150100 for 15.1.0.
func unicodeNumber(version string) (n int) {
	for part := range strings.SplitSeq(version, ".") {
		digits, _ := strconv.Atoi(part)
		n = n*100 + digits
	}
	return n
}

// EmailClaim is the claim on an email address. All spellings of one address have one claim, and
// no other address has it.
func EmailClaim(email string) Claim { return Claim{ClaimEmail, canonicalEmail(email)} }

// canonicalEmail returns the same text for all spellings of an address. It accepts every text,
// because accounts of earlier builds have addresses that konto refuses today.
//
// The domain becomes its A-label. The local part is converted to Unicode's normal form C, and
// capital letters become small ones. Nothing outside ASCII becomes ASCII in the local part,
// because no mail server treats the two as equal.
func canonicalEmail(email string) string {
	if isASCII(email) { // nearly all addresses; their domains are A-labels already
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

// foldLocal composes twice, because a small letter can have a composed form that its capital
// lacks (J and a caron).
func foldLocal(local string) string {
	return composed(strings.Map(smallLetter, composed(local)))
}

// smallLetter returns the small letter of a capital if the small letter's capital is the same
// one. So different letters stay different: U+0130 does not become i, nor U+212A k, nor U+1E9E ß.
func smallLetter(r rune) rune {
	if small := unicode.ToLower(r); unicode.ToUpper(small) == r {
		return small
	}
	return r
}

// composed is normal form C, except for three characters that normal form C makes ASCII: the
// Kelvin sign, the Greek question mark and the Greek varia.
func composed(s string) string {
	i := strings.IndexAny(s, "\u212a\u037e\u1fef")
	if i < 0 {
		return norm.NFC.String(s)
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return norm.NFC.String(s[:i]) + s[i:i+size] + composed(s[i+size:])
}

// foldDomain is a domain's A-label. A domain without an A-label cannot exist; in such a domain
// only the capital letters of ASCII become small.
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

// withoutRoot removes the dot of the root, in each form that UTS 46 treats as a dot.
func withoutRoot(domain string) string {
	if last, size := utf8.DecodeLastRuneInString(domain); strings.ContainsRune(".\u3002\uff0e\uff61", last) {
		return domain[:len(domain)-size]
	}
	return domain
}

// domains converts domains as for a lookup (UTS 46, not transitional, so ß is not ss; with STD 3
// and the rules for bidi text, joiners and hyphens) and checks the lengths of the DNS.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.VerifyDNSLength(true))

// ASCIIDomain returns a domain as in the DNS: its A-label, in small letters. An error means that
// there can be no such domain. The error's text can contain the domain.
func ASCIIDomain(domain string) (string, error) { return domains.ToASCII(domain) }
