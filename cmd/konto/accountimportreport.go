package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json"

	"konto/cmd/konto/control"
)

// run lets the process that holds the folder import the lines, and reports in this process:
// the files that the caller names belong to the caller.
func (c *accountImport) run(ctx context.Context, l *line, stdout, stderr io.Writer) (err error) {
	told := &importReports{lines: c.Lines, summary: control.NewOutput(stdout, l.json), stderr: stderr}
	if c.Rejected != "" {
		f, err := c.createRejected()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		told.file = f
	}
	m := control.NewMeter(stderr)
	defer m.Clear()
	told.clear = m.Clear
	err = administer(ctx, l, control.NewMeteredOutput(told, l.json, m), stderr)
	return errors.Join(err, told.summary.Flush())
}

// createRejected makes the file before anything is imported, so that an import
// whose rejected lines cannot be written is none.
func (c *accountImport) createRejected() (*os.File, error) {
	read, _ := os.Stat(c.File) // not there when it is standard input
	if write, err := os.Stat(c.Rejected); err == nil && os.SameFile(read, write) {
		return nil, errors.New("the file of --rejected is the one to be imported")
	}
	f, err := os.OpenFile(c.Rejected, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	// One that was there keeps its mode, and rejected lines are personal data.
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// importReports receives the reports that Run prints.
type importReports struct {
	lines   []byte // that are imported, without those before the last rejected one
	number  int    // of the last line that was cut off lines
	begun   []byte // of a report
	clear   func() // takes a bar away
	stderr  io.Writer
	file    io.Writer // nil unless --rejected names one
	summary *control.Output
}

// Write takes any part of the reports.
func (t *importReports) Write(p []byte) (int, error) {
	t.begun = append(t.begun, p...)
	for {
		text, rest, complete := bytes.Cut(t.begun, []byte("\n"))
		if !complete {
			return len(p), nil
		}
		t.begun = rest
		var r importReport
		if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
			return 0, fmt.Errorf("the server's report is malformed: %w", err)
		}
		if err := t.tell(r); err != nil {
			return 0, err
		}
	}
}

func (t *importReports) tell(r importReport) error {
	switch {
	case r.Imported != nil:
		return t.summary.Object(struct {
			Imported int `json:"imported"`
			Rejected int `json:"rejected"`
		}{*r.Imported, r.Rejected})
	case t.file != nil:
		return t.keep(r)
	}
	var wrong []string
	for _, f := range r.Reasons {
		told := strings.TrimSuffix(f.Detail, ".")
		if f.Field != "" {
			told = control.FieldName(f.Field) + ": " + told
		}
		wrong = append(wrong, told)
	}
	t.clear()
	_, err := fmt.Fprintf(t.stderr, "line %d: %s\n", r.Line, strings.Join(wrong, "; "))
	return err
}

// keep writes a rejected line to the file, with what it held. Reports come in
// the order of the lines.
func (t *importReports) keep(r importReport) error {
	var line []byte
	for ; t.number < r.Line; t.number++ {
		line, t.lines, _ = bytes.Cut(t.lines, []byte("\n"))
	}
	text, err := json.Marshal(struct {
		Line    int    `json:"line"`
		Reasons any    `json:"reasons"`
		Input   string `json:"input"`
	}{r.Line, r.Reasons, strings.ToValidUTF8(string(bytes.TrimRight(line, "\r")), "\uFFFD")})
	if err != nil {
		return err
	}
	_, err = t.file.Write(append(text, '\n'))
	return err
}
