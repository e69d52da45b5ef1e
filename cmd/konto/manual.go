package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type manualCommand struct{}

func (c *manualCommand) Help() string {
	return `Example:

    konto manual > /usr/local/share/man/man1/konto.1`
}

func (c *manualCommand) run(_ context.Context, _ *line, stdout, _ io.Writer) error {
	_, err := io.WriteString(stdout, manual(newParser(new(cli)).Model))
	return err
}

// manual returns the manual page (man(7)).
func manual(app *kong.Application) string {
	var page strings.Builder
	fmt.Fprintf(&page, `.TH KONTO 1 "" "konto %s"
.SH NAME
konto \- %s
.SH SYNOPSIS
.B konto
COMMAND [ARGUMENTS] [FLAGS]
.SH FLAGS OF ALL COMMANDS
`, roff(builtFrom().Version), roff(strings.ToLower(strings.TrimSuffix(app.Help, "."))))
	flagsIn(&page, app.Flags)
	page.WriteString(".SH COMMANDS\n")
	for _, leaf := range app.Leaves(true) {
		fmt.Fprintf(&page, ".SS konto %s\n%s\n", roff(leaf.Path()), roff(leaf.Help))
		for _, argument := range leaf.Positional {
			fmt.Fprintf(&page, ".TP\n.I %s\n%s\n", roff(argument.Summary()), roff(withDefault(argument)))
		}
		flagsIn(&page, leaf.Flags)
		page.WriteString(".PP\n")
		// Indented lines are examples, which must not be filled.
		for line := range strings.Lines(leaf.Detail) {
			line = strings.TrimRight(line, "\n")
			if example, is := strings.CutPrefix(line, "    "); is {
				fmt.Fprintf(&page, ".RS 4\n.nf\n%s\n.fi\n.RE\n", roff(example))
			} else if line == "" {
				page.WriteString(".PP\n")
			} else {
				page.WriteString(roff(line) + "\n")
			}
		}
	}
	return page.String()
}

func flagsIn(page *strings.Builder, flags []*kong.Flag) {
	for _, flag := range flags {
		name := "--" + flag.Name
		if !flag.IsBool() {
			name += "=" + flag.FormatPlaceHolder()
		}
		fmt.Fprintf(page, ".TP\n.B %s\n%s\n", roff(name), roff(withDefault(flag.Value)))
	}
}

// roff escapes text, so that each of its lines is text.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace("\n" + text)
	return text[1:]
}
