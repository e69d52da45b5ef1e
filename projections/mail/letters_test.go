package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var sample = values{Code: "4711", Expires: "2026-12-01 09:30 UTC", Name: "HostUp"}

// HostUp's languages. To see what changed, write the letters anew with UPDATE=1 and compare.
func TestLettersInSixLanguages(t *testing.T) {
	all, err := openLetters("", "")
	if err != nil || len(all) != 6 {
		t.Fatalf("%d letters: %v", len(all), err)
	}
	for _, language := range []string{"sv", "en", "no", "da", "fi", "de"} {
		golden := filepath.Join("testdata", language+".txt")
		var got string
		for _, name := range []string{"", sample.Name} {
			v := sample
			v.Name = name
			subject, body, err := all.write(language, v)
			if err != nil {
				t.Fatal(err)
			}
			got += subject + "\n\n" + body + "\n"
		}
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\n%s", golden, err, got)
		}
	}
}

func TestLetterIsInTheAccountsLanguageOrEnglish(t *testing.T) {
	all, err := openLetters("", "")
	if err != nil {
		t.Fatal(err)
	}
	for language, begins := range map[string]string{"sv-FI": "Din kod", "DE": "Ihr Code", "nb": "Koden din", "nn-NO": "Koden din", "fr": "Your code", "svx": "Your code", "": "Your code"} {
		if _, body, err := all.write(language, sample); err != nil || !strings.HasPrefix(body, begins) {
			t.Errorf("%q: %v\n%s", language, err, body)
		}
	}
}

func TestOperatorsLettersReplaceKontosAndAreChecked(t *testing.T) {
	for text, says := range map[string]string{
		"Subject: {{.Name}}\r\n\r\nDin kod: {{.Code}}\r\n": "",
		"Subject: Kod\n\nUtan":                             "does not have {{.Code}} in its text",
		"Subject: {{.Code}}\n\nUtan":                       "does not have {{.Code}} in its text",
		"Din kod: {{.Code}}":                               "does not begin with a line such as",
		"Subject: a\nX-Header: b\n\n{{.Code}}":             "does not begin with a line such as",
		"Subject: Kod\n\n{{.Code}} {{.Email}}":             "can't evaluate field Email",
		"Subject: Kod\n\n{{.Code":                          "unclosed action",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "sv.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := openLetters(dir, sample.Name)
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "sv.txt") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if subject, body, err := all.write("sv", sample); err != nil || subject != "HostUp" || body != "Din kod: 4711\n" {
			t.Errorf("%q, %q, %v", subject, body, err)
		}
		if _, body, err := all.write("en", sample); err != nil || !strings.HasPrefix(body, "Your code is 4711.") {
			t.Errorf("%q, %v", body, err)
		}
	}
	for dir, says := range map[string]string{t.TempDir(): "there is none", filepath.Join(t.TempDir(), "none"): "there is none"} {
		if _, err := openLetters(dir, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for file, says := range map[string]string{"nb.txt": "no.txt", "nn.txt": "no.txt", "SV.txt": "sv.txt", "en-GB.txt": "en.txt"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte("Subject: a\n\n{{.Code}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openLetters(dir, ""); err == nil || !strings.Contains(err.Error(), file+" is never used: the letter in its language is called "+says) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := openLetters("", "Host\nUp"); err == nil {
		t.Error("a name with a line break is accepted")
	}
}
