package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// commandLines lists each command of the command line, with those that only have others below
// them, and the names of its flags.
func commandLines(t *testing.T) (all map[string][]string) {
	t.Helper()
	all = map[string][]string{}
	err := kong.Visit(newParser(new(cli)).Model, func(v kong.Visitable, next kong.Next) error {
		node, ok := v.(*kong.Node)
		if !ok {
			return next(nil)
		}
		for _, flag := range slices.Concat(node.AllFlags(true)...) {
			all[node.Path()] = append(all[node.Path()], flag.Name)
		}
		return next(nil)
	})
	if err != nil || len(all) < 40 {
		t.Fatalf("%d commands: %v", len(all), err)
	}
	return all
}

func TestCompletionHasEveryCommandAndFlag(t *testing.T) {
	scripts := map[string]string{}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		scripts[shell] = must(t, "completion", shell)
	}
	wordsAt := func(shell, place string) []string {
		begin := map[string]string{"bash": "%q) words=\"", "zsh": "%q) words_of=\"", "fish": "case %q\n    string split \" \" \""}[shell]
		_, words, _ := strings.Cut(scripts[shell], fmt.Sprintf(begin, place))
		words, _, _ = strings.Cut(words, `"`)
		return strings.Fields(words)
	}
	for path, flags := range commandLines(t) {
		parent, name := "", path
		if cut := strings.LastIndexByte(path, ' '); cut >= 0 {
			parent, name = path[:cut], path[cut+1:]
		}
		for shell := range scripts {
			if !slices.Contains(wordsAt(shell, parent), name) {
				t.Errorf("%s: %q has no %s", shell, parent, name)
			}
			for _, flag := range flags {
				if !slices.Contains(wordsAt(shell, path), "--"+flag) {
					t.Errorf("%s: konto %s has no --%s", shell, path, flag)
				}
			}
		}
	}
}

func TestBashCompletes(t *testing.T) {
	script := must(t, "completion", "bash") + "\ncomplete_line() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); __konto; echo ${COMPREPLY[@]}; }\n"
	var want []string
	for line, words := range map[string]string{
		"konto acc":                            "account",
		"konto account er":                     "erase",
		"konto --json account --data x er":     "erase",
		"konto account erase anna@a.se --ye":   "--yes",
		"konto third-party add --url x --form": "--format",
		"konto serve --tls-":                   "--tls-cert --tls-key",
		"konto verify accou":                   "",
	} {
		script += fmt.Sprintf("complete_line %s\n", line)
		want = append(want, words)
	}
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if got := strings.Split(string(out), "\n"); err != nil || !slices.Equal(got[:len(got)-1], want) {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	refused(t, exitUsage, konto(t, "completion", "tcsh"), "bash", "zsh", "fish")
}

func TestManualHasEveryCommandAndFlag(t *testing.T) {
	page := strings.ReplaceAll(must(t, "manual"), `\-`, "-")
	app := newParser(new(cli)).Model
	for _, leaf := range app.Leaves(false) {
		_, section, found := strings.Cut(page, "\n.SS konto "+leaf.Path()+"\n")
		section, _, _ = strings.Cut(section, "\n.SS ")
		if !found || !strings.Contains(section, "konto "+leaf.Path()) {
			t.Errorf("konto %s is not there, or without its examples", leaf.Path())
		}
		for _, flag := range leaf.Flags {
			if !strings.Contains(section, "\n.B --"+flag.Name) {
				t.Errorf("konto %s has no --%s", leaf.Path(), flag.Name)
			}
		}
	}
	for _, flag := range app.Flags {
		if !strings.Contains(page, "\n.B --"+flag.Name) {
			t.Errorf("there is no --%s", flag.Name)
		}
	}
	for line := range strings.Lines(page) { // a line of text that begins so is none
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !strings.Contains(".TH .SH .SS .TP .PP .RS .RE .nf .fi .B .I", strings.Fields(line)[0]) {
			t.Errorf("%q", line)
		}
	}
}

func TestHelpShowsDefaults(t *testing.T) {
	help := strings.Join(strings.Fields(konto(t, "serve", "--help").stdout), " ")
	for _, leaf := range newParser(new(cli)).Model.Leaves(false) {
		for _, flag := range leaf.Flags {
			if leaf.Path() == "serve" && flag.Default != "" && !strings.Contains(help, "default "+flag.Default) {
				t.Errorf("the default of --%s is not shown", flag.Name)
			}
		}
	}
	if !strings.Contains(help, "default 127.0.0.1:8080 ($KONTO_HTTP)") {
		t.Errorf("%s", help)
	}
}
