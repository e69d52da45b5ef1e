package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const variablePrefix = "KONTO_"

// nameVariables gives a variable to each flag of konto itself, of konto serve and of konto
// demo, and to no other flag. A variable stays in an environment long after its reason; it
// must never confirm an act (--yes) or change what a command reads or writes (--from,
// --account).
func nameVariables(k *kong.Kong) error {
	nodes := []*kong.Node{k.Model.Node}
	for _, node := range k.Model.Children {
		if node.Name == "serve" || node.Name == "demo" {
			nodes = append(nodes, node)
		}
	}
	for _, node := range nodes {
		for _, flag := range node.Flags {
			if flag.Name != "help" {
				flag.Envs = []string{variableOf(flag.Name)}
				flag.Tag.Envs = flag.Envs
			}
		}
	}
	return nil
}

// variableOf is the variable of a flag that has one.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// otherVariables stand for no flag. The first two are the master keys, the third is in
// README's examples, and the others are those of docker-compose.yml, which an env_file may
// bring along.
var otherVariables = []string{
	"KONTO_MASTER_KEY", "KONTO_NEXT_MASTER_KEY", "KONTO_TOKEN",
	"KONTO_NATS_PASSWORD", "KONTO_NATS_STORE_KEY", "KONTO_NATS_CONSUMER_PASSWORD", "KONTO_NATS_SENDER_PASSWORD",
}

// serviceLink matches the variables that Kubernetes and Docker make for a service
// that is called konto, or konto- and more. (kubernetes.io: Service, environment variables)
var serviceLink = regexp.MustCompile(
	`^KONTO_(PORT|SERVICE_).*=|^KONTO_\w*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^KONTO_\w*_PORT=(tcp|udp|sctp)://`)

// ignoredVariables returns a warning for each variable that looks like konto's and has no
// effect. The operator may believe in it. It does not repeat values, which may be secrets.
func ignoredVariables(environment []string) (warnings []string) {
	var named, unnamed []string
	for _, setting := range environment {
		name, _, _ := strings.Cut(setting, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(otherVariables, name) || serviceLink.MatchString(setting) {
			continue
		}
		if named == nil { // to make the model of the command line takes time
			named, unnamed = allFlags()
		}
		switch {
		case slices.Contains(named, name):
		case slices.Contains(unnamed, name):
			warnings = append(warnings, fmt.Sprintf("%s is ignored: only flags of konto serve, and those of all commands such as --data, can be given as variables", name))
		default:
			warnings = append(warnings, fmt.Sprintf("%s is ignored: there is no such variable%s", name, suggestion(name, append(named, otherVariables...))))
		}
	}
	return warnings
}

// allFlags returns the variables of flags, and the names that variables of the other flags
// would have.
func allFlags() (named, unnamed []string) {
	for _, leaf := range newParser(new(cli)).Model.Leaves(false) {
		for _, flags := range leaf.AllFlags(false) {
			for _, flag := range flags {
				named = append(named, flag.Envs...)
				unnamed = append(unnamed, variableOf(flag.Name))
			}
		}
	}
	return named, unnamed
}

// suggestion names the variable that the operator may have meant, if one is similar.
func suggestion(name string, known []string) string {
	nearest := slices.MinFunc(known, func(a, b string) int { return edits(name, a) - edits(name, b) })
	if edits(name, nearest) > 2 {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// edits counts the characters to insert, delete or replace until b is a (Levenshtein distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
