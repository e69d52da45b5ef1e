package events

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

func TestSpellingsOfOneAddressHaveOneClaim(t *testing.T) {
	for _, spellings := range [][]string{
		{"anna@x.se", "Anna@x.se", "ANNA@X.SE", "anna@x.se.", "anna@x.se\u3002", "anna@x\uff0ese"},
		{"anna@b\u00fccher.example", "anna@bu\u0308cher.example", "anna@B\u00dcCHER.example", "anna@xn--bcher-kva.example", "ANNA@XN--BCHER-KVA.EXAMPLE", "anna@b\u00fccher\u3002example"},
		{"jos\u00e9@x.se", "jose\u0301@x.se", "JOS\u00c9@x.se", "JOSE\u0301@X.se"},
		{"a@example.com", "a@ex\uff41mple.com", "a@exa\u00admple.com", "a@\uff25XAMPLE.com"},
		{"a@kelvin.example", "a@\u212aelvin.example"}, // UTS 46 maps it, so the DNS is asked for kelvin
		{"a@fi.example", "a@\ufb01.example"},
		{"a@gi\u0307thub.example", "a@g\u0130thub.example", "a@xn--github-qyd.example"},
		{"a@\u65e5\u672c.jp", "a@xn--wgv71a.jp"},
		{"\u01f0@x.se", "j\u030c@x.se", "J\u030c@x.se"},
		{"\u00e5@x.se", "\u00c5@x.se", "\u212b@x.se", "a\u030a@x.se"},
		{"\u03c9@x.se", "\u03a9@x.se", "\u2126@x.se"},
		{"\uab70@x.se", "\u13a0@x.se"}, // Cherokee: a capital and its small letter
		{"a@exam_ple.com", "A@EXAM_ple.com"},
	} {
		for _, spelling := range spellings {
			if got, want := EmailClaim(spelling), EmailClaim(spellings[0]); got != want {
				t.Errorf("%+q has the claim %+q, and %+q has %+q", spelling, got.Value, spellings[0], want.Value)
			}
		}
	}
}

func TestDifferentAddressesHaveDifferentClaims(t *testing.T) {
	for _, addresses := range [][]string{
		{"boss@github.example", "boss@g\u0130thub.example", "boss@g\u0131thub.example", "boss@xn--github-.example"},
		{"i@x.se", "\u0130@x.se", "\u0131@x.se", "i\u0307@x.se"},
		{"k@x.se", "\u212a@x.se", "\uff4b@x.se"},
		{"s@x.se", "\u017f@x.se", "ss@x.se", "\u00df@x.se", "\u1e9e@x.se"},
		{"\u03c3@x.se", "\u03c2@x.se"},
		{"fi@x.se", "\ufb01@x.se"},
		{"ae@x.se", "\u00e6@x.se"},
		{"a;@x.se", "a\u037e@x.se"},
		{"a`@x.se", "a\u1fef@x.se"},
		{"a@strasse.example", "a@stra\u00dfe.example"},
		{"a@\u03c3.gr", "a@\u03c2.gr"},
		{"a@ab.example", "a@a\u200db.example"}, // no joiner may be there, so there is no such domain
		{"a@exam_ple.com", "a@example.com"},
		{"a@x.se", "a@y.se", "b@x.se", "a@x.se@x.se", "a", "x.se", "a@xn--zzzzzz-zz.se"},
		{"jos\u00e9@x.se", "jose@x.se"},
	} {
		seen := map[string]string{}
		for _, address := range addresses {
			claim := EmailClaim(address).Value
			if other, ok := seen[claim]; ok {
				t.Errorf("%+q and %+q have one claim, %+q", address, other, claim)
			}
			seen[claim] = address
		}
	}
}

// Every character there is: none outside ASCII becomes one inside it in a local part, a
// claim is its own canonical form, and only a capital and its small letter, or canonically
// equivalent texts, are one.
func TestLocalPartsAreFoldedOnceAndNotToASCII(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if 0xd800 <= r && r < 0xe000 {
			continue
		}
		folded := foldLocal(string(r))
		if strings.ContainsFunc(folded, func(r rune) bool { return r < 0x80 }) &&
			!strings.ContainsFunc(norm.NFD.String(string(r)), unicode.IsMark) {
			t.Errorf("%U becomes %+q", r, folded)
		}
		if again := foldLocal(folded); again != folded {
			t.Errorf("%U becomes %+q, and that %+q", r, folded, again)
		}
		small := []rune(folded)
		canonical := norm.NFC.String(string(r)) == folded
		pair := len(small) == 1 && unicode.ToUpper(small[0]) == []rune(composed(string(r)))[0]
		if !canonical && !pair && folded != string(r) && norm.NFD.String(strings.ToLower(norm.NFD.String(string(r)))) != norm.NFD.String(folded) {
			t.Errorf("%U becomes %+q", r, folded)
		}
	}
}

// Every character in a domain: what comes out is plain, and comes out of itself.
func TestDomainsAreFoldedOnce(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xd800 <= r && r < 0xe000 || r == '.' || r == 0x3002 || r == 0xff0e || r == 0xff61 {
			continue
		}
		folded := foldDomain("a" + string(r) + "b.example")
		if again := foldDomain(folded); again != folded {
			t.Errorf("%U becomes %+q, and that %+q", r, folded, again)
		}
		if ascii, err := ASCIIDomain(folded); err == nil && ascii != folded {
			t.Errorf("%U becomes %+q, which is %+q", r, folded, ascii)
		}
	}
}

// That an A-label stands for itself is what lets an ASCII address do without UTS 46.
func TestALabelIsItsOwnALabel(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		ascii, err := ASCIIDomain("b" + string(r) + "c.example")
		if err != nil {
			continue
		}
		if again := foldDomain(strings.ToUpper(ascii)); again != ascii {
			t.Errorf("%U: %s becomes %s", r, ascii, again)
		}
	}
}

func TestASCIIAddressIsNotCopied(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { EmailClaim("anna.larsson@example.com") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Claims are stored, and another Go may take other texts for one address.
func TestClaimRuleHasUnicodesVersion(t *testing.T) {
	for version, want := range map[string]int{"15.0.0": 150000, "17.1.2": 170102} {
		if got := unicodeNumber(version); got != want {
			t.Errorf("Unicode %s is %d, want %d", version, got, want)
		}
	}
	if ClaimRule != 2_000_000+unicodeNumber(unicode.Version) {
		t.Errorf("the rule is %d with Unicode %s", ClaimRule, unicode.Version)
	}
}

func BenchmarkEmailClaim(b *testing.B) {
	for _, email := range []string{"anna.larsson@example.com", "Anna.Larsson@example.com", "anna@xn--bcher-kva.example", "jos\u00e9@b\u00fccher.example"} {
		b.Run(email, func(b *testing.B) {
			for b.Loop() {
				EmailClaim(email)
			}
		})
	}
}
