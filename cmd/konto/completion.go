package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (c *completionCommand) Help() string {
	return `Examples, each for the shell's own configuration file:

    source <(konto completion bash)
    source <(konto completion zsh)
    konto completion fish | source`
}

func (c *completionCommand) run(_ context.Context, _ *line, stdout, _ io.Writer) error {
	return completions.ExecuteTemplate(stdout, c.Shell, completionsOf(newParser(new(cli)).Model.Node))
}

// completed is a place on the command line, such as "account open", and the words that may follow.
type completed struct {
	At    string
	Words string
}

// completionsOf lists the places below a node, and the node itself first.
func completionsOf(node *kong.Node) (all []completed) {
	var words []string
	for _, child := range node.Children {
		words = append(words, child.Name)
	}
	for _, flag := range slices.Concat(node.AllFlags(true)...) {
		words = append(words, "--"+flag.Name)
	}
	at := ""
	if node.Parent != nil {
		at = node.Path()
	}
	all = []completed{{at, strings.Join(words, " ")}}
	for _, child := range node.Children {
		all = append(all, completionsOf(child)...)
	}
	return all
}

// completions are the scripts of the shells. Each finds the place first: the words of the command
// line that continue a place are part of it, and the others, such as flags, are not. Where no word
// of konto fits, the shell completes names of files.
var completions = template.Must(template.New("").Parse(`
{{- define "bash" -}}
__konto() {
  local at="" word words=""
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at${at:+ }$word" in
    {{range .}}{{if .At}}"{{.At}}") at="{{.At}}" ;;
    {{end}}{{end}}esac
  done
  case "$at" in
  {{range .}}"{{.At}}") words="{{.Words}}" ;;
  {{end}}esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F __konto konto
{{end}}
{{- define "zsh" -}}
__konto() {
  local at="" word words_of=""
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "$at${at:+ }$word" in
    {{range .}}{{if .At}}"{{.At}}") at="{{.At}}" ;;
    {{end}}{{end}}esac
  done
  case "$at" in
  {{range .}}"{{.At}}") words_of="{{.Words}}" ;;
  {{end}}esac
  compadd -- ${=words_of} || _files
}
compdef __konto konto
{{end}}
{{- define "fish" -}}
function __konto
  set -l at ""
  for word in (commandline -opc)[2..-1]
    switch (string trim "$at $word")
    {{range .}}{{if .At}}case "{{.At}}"
      set at "{{.At}}"
    {{end}}{{end}}end
  end
  switch "$at"
  {{range .}}case "{{.At}}"
    string split " " "{{.Words}}"
  {{end}}end
end
complete -c konto -a "(__konto)"
{{end}}`))
