package webhook

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// generous is an endless body that counts how much of it was read.
type generous struct{ read int }

func (g *generous) Read(p []byte) (int, error) {
	if g.read > 100*bodyLimit { // so that a reader without bounds ends too
		return 0, io.EOF
	}
	g.read += len(p)
	return len(p), nil
}

func TestBodiesAreReadUpToALimit(t *testing.T) {
	body := &generous{}
	if kept := excerpt(body); body.read > bodyLimit || len(kept) != ExcerptSize {
		t.Errorf("%d bytes were read and %d kept", body.read, len(kept))
	}
}

func TestExcerptsAreSafeToShow(t *testing.T) {
	for body, want := range map[string]string{
		"":                               "",
		"tack så mycket":                 "tack så mycket",
		"a\r\nb\tc":                      "a  b c",
		"\x1b[2J\x00\u009b\u202ex":       "?[2J???x",
		"\xff\xfe\xc3":                   "???",
		"1" + strings.Repeat("å", 200):   "1" + strings.Repeat("å", 127), // 255 bytes: none is cut in two
		strings.Repeat("1", 256) + "å":   strings.Repeat("1", 256),
		"123" + strings.Repeat("🙂", 200): "123" + strings.Repeat("🙂", 63),
	} {
		got := excerpt(strings.NewReader(body))
		if string(got) != want || !utf8.Valid(got) || len(got) > ExcerptSize {
			t.Errorf("%q became %q", body, got)
		}
	}
}
