package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
)

// Output is where a command prints: JSON for programs, one object a line, or text for people.
// It is not for several goroutines at once.
type Output struct {
	header string // not printed yet
	direct io.Writer
	Text   *bufio.Writer // what is written to it is printed to the byte, not escaped
	JSON   bool
	meter  Meter    // nil: progress is not shown
	last   Progress // what meter showed
	at     time.Time
}

// NewOutput returns an output that shows no progress.
func NewOutput(w io.Writer, json bool) *Output {
	return &Output{direct: w, Text: bufio.NewWriter(w), JSON: json}
}

// NewMeteredOutput returns an output that also shows progress, but not if it prints JSON.
func NewMeteredOutput(w io.Writer, json bool, m Meter) *Output {
	if json {
		return NewOutput(w, json)
	}
	out := NewOutput(clearing{w, m}, json)
	out.meter = m
	return out
}

// Progress shows the caller how much is done: done of total, which may grow, in a unit such as
// "events". It may be called often. A task is over when done is total; another unit is another
// task.
func (o *Output) Progress(done, total uint64, unit string) {
	p := Progress{done, max(done, total), unit}
	if o.meter == nil || p == o.last {
		return
	}
	now := time.Now()
	if done < total && unit == o.last.Unit && now.Sub(o.at) < ReportEvery {
		return
	}
	o.last, o.at = p, now
	o.meter.Show(p)
}

// Events is Progress for events.
func (o *Output) Events(done, total uint64) { o.Progress(done, total, "events") }

// Object prints one value. For people it prints a line for each member: its path and its
// value.
func (o *Output) Object(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if o.JSON {
		return o.Line("%s", data)
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(data)))
	for {
		kind := dec.PeekKind()
		if kind == 0 {
			return nil
		}
		isName := dec.StackDepth() > 0 && NameComesNext(dec)
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if !isName && kind != '{' && kind != '}' && kind != '[' && kind != ']' {
			path := strings.ReplaceAll(strings.Trim(string(dec.StackPointer()), "/"), "/", ".")
			if err := o.Line("%-30s  %s", path, token); err != nil {
				return err
			}
		}
	}
}

// NameComesNext reports whether the next token is the name of a member.
func NameComesNext(dec *jsontext.Decoder) bool {
	kind, length := dec.StackIndex(dec.StackDepth())
	return kind == '{' && length%2 == 0
}

// Row prints one line of a list: v for programs, the text for people.
func (o *Output) Row(v any, format string, args ...any) error {
	if o.JSON {
		return o.Object(v)
	}
	return o.Line(format, args...)
}

// Header sets the names of a list's columns, which people see above the first line. A list that is
// empty, or that cannot be read, has none.
func (o *Output) Header(format string, names ...any) {
	if !o.JSON {
		o.header = fmt.Sprintf(format, names...) + "\n"
	}
}

// Line prints one line, for people or programs. It may hold text from outside.
func (o *Output) Line(format string, args ...any) error {
	_, err := o.Text.WriteString(o.header + escaped(fmt.Sprintf(format, args...)) + "\n")
	o.header = ""
	return err
}

// escaped escapes what a terminal would obey and what would make a text look like another:
// control characters, line ends, and characters that are invisible or change the direction of
// a text. The escapes are those of JSON, so JSON means the same before and after. Two such
// characters are kept, because names in Persian and in Indian languages need them.
func escaped(text string) string {
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text { // of a byte that is no UTF-8, r is U+FFFD
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		case r == utf8.RuneError:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	switch {
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	case r == nonJoiner, r == joiner:
		return false
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Printing escapes everything but line ends. Errors and logs go through it to standard error,
// whole lines at a time.
type Printing struct{ To io.Writer }

// Write implements io.Writer.
func (p Printing) Write(text []byte) (int, error) {
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = escaped(lines[i])
	}
	if _, err := io.WriteString(p.To, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Flush writes what is buffered.
func (o *Output) Flush() error { return o.Text.Flush() }

// Sentence returns an error as one sentence for a person.
func Sentence(err error) string {
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &invalid):
		var wrong []string
		for _, f := range invalid.Fields {
			wrong = append(wrong, FieldName(f.Field)+": "+strings.TrimSuffix(f.Detail, "."))
		}
		return strings.Join(wrong, "; ")
	case errors.As(err, &taken):
		return FieldName(taken.Field) + " is already in use by another account"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// FieldName returns a JSON pointer as the command line names fields.
func FieldName(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}
