package commands

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"golang.org/x/crypto/argon2"

	"konto/events"
)

func TestHashPasswordIsArgon2idInPHCFormat(t *testing.T) {
	hash, err := HashPassword(t.Context(), "lösenord")
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$")
	salt64, key64, _ := strings.Cut(rest, "$")
	salt, saltErr := base64.RawStdEncoding.DecodeString(salt64)
	key, keyErr := base64.RawStdEncoding.DecodeString(key64)
	if !ok || saltErr != nil || keyErr != nil || len(salt) != 16 {
		t.Fatalf("got %s", hash)
	}
	if !bytes.Equal(key, argon2.IDKey([]byte("lösenord"), salt, 2, 19456, 1, 32)) {
		t.Error("the key is not the password's")
	}
	if again, _ := HashPassword(t.Context(), "lösenord"); again == hash {
		t.Error("two hashes share a salt")
	}
}

func TestPasswordLength(t *testing.T) {
	for n, want := range map[int]error{0: ErrInvalid, 5: ErrInvalid, 6: nil, 1024: nil, 1025: ErrInvalid} {
		if _, err := HashPassword(t.Context(), strings.Repeat("å", n)); !errors.Is(err, want) {
			t.Errorf("%d characters: %v", n, err)
		}
	}
}

// Two ways to write one password are one password (RFC 8265, OpaqueString).
func TestPasswordsAreComparedAfterNormalisation(t *testing.T) {
	for name, tt := range map[string]struct{ set, typed string }{
		"NFC and NFD":        {"lösenord", "lo\u0308senord"},
		"NFD and NFC":        {"lo\u0308senord", "lösenord"},
		"spaces":             {"ett lösen", "ett\u00a0lösen"},
		"ideographic spaces": {"ett\u3000lösen", "ett lösen"},
		"angstrom":           {"\u212bngström", "Ångström"},
	} {
		hash, err := HashPassword(t.Context(), tt.set)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := verifyPassword(t.Context(), tt.typed, hash); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	hash, _ := HashPassword(t.Context(), "Lösenord")
	for _, other := range []string{"lösenord", "Losenord", "Lösenord ", "Ｌösenord"} {
		if ok, err := verifyPassword(t.Context(), other, hash); ok || err != nil {
			t.Errorf("%s: %v, %v", other, ok, err)
		}
	}
}

// Earlier builds and other systems hashed a password as it was written.
func TestPasswordsHashedAsWrittenStayValid(t *testing.T) {
	for _, stored := range []string{"lo\u0308senord", "ett\u00a0lösen", "tab\tand bell\a", "\u0378 unassigned", "\xff no UTF-8", "å"} {
		hash := hashPassword(stored)
		if ok, err := verifyPassword(t.Context(), stored, hash); !ok || err != nil {
			t.Errorf("%q: %v, %v", stored, ok, err)
		}
	}
}

func TestForbiddenPasswordsAreRefused(t *testing.T) {
	for password, code := range map[string]string{
		"":                              CodeInvalidValue,
		"lösen\a":                       CodeInvalidFormat,
		"lösen\tord":                    CodeInvalidFormat,
		"lösenord\u0378":                CodeInvalidFormat, // not assigned
		"lösenord\xff":                  CodeInvalidFormat,
		strings.Repeat("o\u0308", 5):    CodeInvalidValue, // five characters
		strings.Repeat("o\u0308", 1025): CodeTooLong,
		strings.Repeat("\u1100", 6):     CodeInvalidFormat, // old Hangul
	} {
		_, err := HashPassword(t.Context(), password)
		var invalid *Invalid
		if !errors.As(err, &invalid) || invalid.Fields[0].Code != code {
			t.Errorf("%.20q: %v", password, err)
		}
	}
	for _, password := range []string{strings.Repeat("o\u0308", 6), strings.Repeat("o\u0308", 1024)} {
		if _, err := HashPassword(t.Context(), password); err != nil {
			t.Errorf("%.20q: %v", password, err)
		}
	}
}

func TestHashingWaitsUntilTheContextEnds(t *testing.T) {
	if !hashing.TryAcquire(maxHashing) {
		t.Fatal("others hash")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := HashPassword(ctx, "lösenord"); !errors.Is(err, context.Canceled) {
		t.Errorf("while all turns are taken: %v", err)
	}
	if _, err := hashIfStrong(ctx, "password1", &events.Account{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while all turns are taken, strength is judged: %v", err)
	}
	hashing.Release(maxHashing)
	if _, err := HashPassword(t.Context(), "lösenord"); err != nil || !hashing.TryAcquire(maxHashing) {
		t.Fatalf("afterwards: %v, or not all turns are free", err)
	}
	hashing.Release(maxHashing)
}

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

func TestReadingsOfLookAlikesAreCounted(t *testing.T) {
	for text, want := range map[string]int{"password": 1, "P@$$w0rd123": 2, "p4$5w0rd!": 2, "1|": 16, "4@8({[<3691!|170$5+%2": 4608} {
		if got := readings(text); got != want {
			t.Errorf("%s has %d readings", text, got)
		}
	}
}

func TestLookAlikesAreIgnoredInTextsWithManyReadings(t *testing.T) {
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
