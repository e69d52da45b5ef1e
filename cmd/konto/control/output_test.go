package control

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/go-json-experiment/json"

	"konto/commands"
)

// hostileText is what somebody outside may call themselves: it clears a screen, sets a
// title, forges a line, and turns and hides text.
const hostileText = "eve\x1b[2J\x1b]0;pwned\x07\r\n9999 forged\x00\x08\x7f\u0085\u009b31m\u2028\u2029\u202e\u2066\u200b\u00ad\ufeff\U000e0041 ö \u200d"

// obeyedRunes finds what no terminal and no log may be sent.
func obeyedRunes(text string) (found []rune) {
	for _, r := range text {
		if r != '\n' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			found = append(found, r)
		}
	}
	return found
}

// Whatever a log is given, its lines stay lines.
func TestLogsHoldNoControlCharacter(t *testing.T) {
	var printed bytes.Buffer
	log := slog.New(slog.NewTextHandler(Printing{&printed}, nil))
	log.Error(hostileText, hostileText, hostileText, "error", &commands.Invalid{Fields: []commands.FieldError{{Field: hostileText, Detail: hostileText}}})
	if found := obeyedRunes(printed.String()); found != nil || strings.Count(printed.String(), "\n") != 1 {
		t.Errorf("%U in %q", found, printed.String())
	}
}

func TestEscapedJSONMeansTheSame(t *testing.T) {
	text, err := json.Marshal(map[string]string{"a": hostileText, "b": "Åsa \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🚀"})
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(escaped(string(text))), &v); err != nil || v["a"] != hostileText {
		t.Errorf("%q, %v", v["a"], err)
	}
	for text, want := range map[string]string{
		"Åsa 👩\u200d🚀":  "Åsa 👩\u200d🚀",
		"a\x1bb\nc":     `a\u001bb\u000ac`,
		"a\xffb\xc3":    "a\ufffdb\ufffd",
		"a\U000e0041b":  `a\udb40\udc41b`,
		"a\u009b\u202e": `a\u009b\u202e`,
	} {
		if got := escaped(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
