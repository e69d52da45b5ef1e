package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"

	"konto/events"
)

func TestStrength(t *testing.T) {
	longAddress := strings.Repeat("anna.maria.", 4) + "@example.se"
	account := &events.Account{Email: "anna@example.se", Profile: events.Profile{FirstName: "Anna", CompanyName: longAddress}}
	for password, weak := range map[string]bool{
		"password1":                      true,
		"P@$$w0rd123":                    true, // look-alikes
		"p4$5w0rd!":                      true,
		"qwertyuiop":                     true,
		"Anna@example.se":                true,
		longAddress:                      true,
		strings.ToUpper(longAddress):     true,
		longAddress + "1":                true,
		strings.Repeat("a", maxPassword): true,
		strings.Repeat("password", 128):  true,
		strings.Repeat("james", 200):     true,
		strings.Repeat("James", 7) + "J": true,

		goodPassword:                                false,
		betterPassword:                              false,
		"kX9#mQz&":                                  false,
		"4@8({[<3691!|170$5+%2":                     false,
		strings.Repeat("a", 100) + goodPassword:     false, // not judged by its beginning alone
		strings.Repeat("a", 1000) + "kX9#mQz&":      false,
		strings.Repeat("password", 16) + "kX9#mQz&": false,
		longAddress + goodPassword:                  false,
		strings.Repeat(goodPassword, 20):            false,
		strings.Repeat("åäö7#ÅÄÖ", 20):              false,
		strings.Repeat("4@8({[<3691!|170$5+%2", 10): false,
		"hästar åker spårvagn på söndagar":          false,
		"密码很长而且没有人能猜到它是什么":                          false,
	} {
		if got := isWeak(password, account); got != weak {
			t.Errorf("%q is weak: %v", password, got)
		}
	}
}

func TestReadingsOfLookAlikes(t *testing.T) {
	for text, want := range map[string]int{"password": 1, "P@$$w0rd123": 2, "p4$5w0rd!": 2, "1|": 16, "4@8({[<3691!|170$5+%2": 4608} {
		if got := readings(text); got != want {
			t.Errorf("%s has %d readings", text, got)
		}
	}
}

func TestLookAlikesAreLeftOutOfTextsWithManyReadings(t *testing.T) {
	alike := match.Matcher{ID: matching.L33TMatcherName}
	for text, left := range map[string]bool{"P@$$w0rd123": false, "4@8({[<3691!|170$5+%2": true} {
		if filterLookAlikes(text)(alike) != left {
			t.Errorf("%s: left out: %v", text, !left)
		}
	}
	if filterLookAlikes("4@8({[<3691!|170$5+%2")(match.Matcher{ID: "Passwords"}) {
		t.Error("another matcher is left out")
	}
}

// hostile are passwords on which zxcvbn spends the most time, by what they cost it.
func hostile() map[string]string {
	fill := func(text string) string { return strings.Repeat(text, maxPassword)[:maxPassword] }
	// Words without any bits, in pieces that are all different.
	var words, alike, mixed strings.Builder
	for i := range maxPassword {
		fmt.Fprint(&words, []string{"password", "mary", "smith", "james"}[i*i%7%4])
		fmt.Fprint(&alike, []string{"password", "mary", "sm1th", "james", "p@ssword", "mary", "smith"}[i*i%11%7])
	}
	for i := range maxPassword {
		fmt.Fprint(&mixed, []string{"pa$$word", "12", "|", "pa$$word"}[i*i%13%4])
	}
	return map[string]string{
		"words with look-alikes":    mixed.String()[:maxPassword],
		"look-alikes":               fill("4@8({[<3691!|170$5+%2"),
		"look-alikes to the bound":  fill("4@({[<69"),
		"the most common password":  fill("123456"),
		"few bits in every piece":   words.String()[:27] + "12345 " + words.String()[27:59] + "123456 " + words.String()[59:91] + "123456p@ssword",
		"look-alikes in words":      alike.String()[:maxPassword],
		"repeated":                  fill("a"),
		"walks on the keyboard":     fill("qwe,asd,zxc,"),
		"one walk on the keyboard":  fill("qwertyuiop[]asdfghjkl;'zxcvbnm,./"),
		"walks on the keypad":       fill("147852963"),
		"sequences":                 fill("abcxyz123"),
		"dates":                     fill("20011231"),
		"dates with separators":     fill("1.1.2001"),
		"words":                     words.String()[:maxPassword],
		"words and capital letters": strings.Repeat("PaSsWoRdMaRysMiTh", maxPassword)[:maxPassword],
		"unicode":                   strings.Repeat("åäöÅÄÖ日本", maxPassword/8),
		"random":                    fill("kX9#mQz&"),
	}
}

// BenchmarkStrength judges the hostile passwords. The worst took six milliseconds
// here, where zxcvbn took two seconds for 64 characters.
func BenchmarkStrength(b *testing.B) {
	for name, password := range hostile() {
		b.Run(name, func(b *testing.B) {
			account := &events.Account{Email: "anna@example.se"}
			for b.Loop() {
				isWeak(password, account)
			}
		})
	}
}
