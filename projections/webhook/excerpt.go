package webhook

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// excerpt reads an answer's body, bounded, and keeps its beginning as text that
// is safe to show on a terminal. What cannot be read is not missed.
func excerpt(body io.Reader) []byte {
	read, _ := io.ReadAll(io.LimitReader(body, bodyLimit))
	kept := read[:min(len(read), ExcerptSize)]
	if len(kept) < len(read) { // the last character may have been cut in two
		for i := 1; i < utf8.UTFMax && i <= len(kept); i++ {
			if tail := kept[len(kept)-i:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRune(tail) {
					kept = kept[:len(kept)-i]
				}
				break
			}
		}
	}
	return []byte(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?' // no longer than what it stands for
		}
		return r
	}, string(kept)))
}
