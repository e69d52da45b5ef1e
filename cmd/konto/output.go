package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
)

// output is where a command prints: JSON for programs, one object a line, or
// text for people.
type output struct {
	direct io.Writer
	to     *bufio.Writer // in front of direct
	json   bool
	meter  meter    // nil: progress is not shown
	last   progress // that went to meter
	at     time.Time
}

func newOutput(w io.Writer, json bool) *output {
	return &output{direct: w, to: bufio.NewWriter(w), json: json}
}

// newMeteredOutput also shows progress, but to programs.
func newMeteredOutput(w io.Writer, json bool, m meter) *output {
	if json {
		return newOutput(w, json)
	}
	out := newOutput(clearing{w, m}, json)
	out.meter = m
	return out
}

// progress tells whoever waits for the command how far it has come: done of
// total, which may grow, in a unit such as "events". It may be called often; like
// the rest of output it is not for several goroutines at once. A task is over
// when done is total; another unit is another task.
func (o *output) progress(done, total uint64, unit string) {
	p := progress{done, max(done, total), unit}
	if o.meter == nil || p == o.last {
		return
	}
	now := time.Now()
	if done < total && unit == o.last.Unit && now.Sub(o.at) < reportEvery {
		return
	}
	o.last, o.at = p, now
	o.meter.show(p)
}

// object prints one value. For people it is a line for each member: its path
// and its value.
func (o *output) object(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if o.json {
		return o.line("%s", data)
	}
	dec := jsontext.NewDecoder(strings.NewReader(string(data)))
	for {
		kind := dec.PeekKind()
		if kind == 0 {
			return nil
		}
		isName := dec.StackDepth() > 0 && nameComesNext(dec)
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if !isName && kind != '{' && kind != '}' && kind != '[' && kind != ']' {
			path := strings.ReplaceAll(strings.Trim(string(dec.StackPointer()), "/"), "/", ".")
			if err := o.line("%-30s  %s", path, token); err != nil {
				return err
			}
		}
	}
}

// nameComesNext tells whether the next token is the name of an object's member.
func nameComesNext(dec *jsontext.Decoder) bool {
	kind, length := dec.StackIndex(dec.StackDepth())
	return kind == '{' && length%2 == 0
}

// row prints one line of a list: v for programs, the text for people.
func (o *output) row(v any, format string, args ...any) error {
	if o.json {
		return o.object(v)
	}
	return o.line(format, args...)
}

func (o *output) line(format string, args ...any) error {
	_, err := fmt.Fprintf(o.to, format+"\n", args...)
	return err
}

func (o *output) flush() error { return o.to.Flush() }

// sentence is how an error is told to a person.
func sentence(err error) string {
	var invalid *commands.Invalid
	var taken *commands.Taken
	switch {
	case errors.As(err, &invalid):
		var wrong []string
		for _, f := range invalid.Fields {
			wrong = append(wrong, fieldName(f.Field)+": "+strings.TrimSuffix(f.Detail, "."))
		}
		return strings.Join(wrong, "; ")
	case errors.As(err, &taken):
		return fieldName(taken.Field) + " is already in use by another account"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// fieldName is a JSON pointer in the words of the command line.
func fieldName(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
}
