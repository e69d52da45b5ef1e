package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every node of the command line is visited, so that a flag which is added
// later is judged too.
func TestOnlyFlagsOfKontoServeAndDemoHaveVariables(t *testing.T) {
	global := []string{"KONTO_DATA", "KONTO_JSON", "KONTO_CONFIG", "KONTO_STORE", "KONTO_KEY_STORE", "KONTO_STORE_UNREPLICATED"}
	with, without := 0, 0
	err := kong.Visit(newParser(new(cli)).Model, func(v kong.Visitable, next kong.Next) error {
		switch v := v.(type) {
		case *kong.Application:
			for _, flag := range v.Flags {
				if flag.Name != "help" && (len(flag.Envs) != 1 || !slices.Contains(global, flag.Envs[0])) {
					t.Errorf("konto --%s has %v", flag.Name, flag.Envs)
				}
			}
		case *kong.Node:
			for _, flag := range v.Flags {
				var want []string
				if v.Path() == "serve" || v.Path() == "demo" {
					want = []string{"KONTO_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))}
					with++
				} else {
					without++
				}
				if !slices.Equal(flag.Envs, want) || !slices.Equal(flag.Tag.Envs, want) {
					t.Errorf("konto %s --%s has %v, not %v", v.Path(), flag.Name, flag.Envs, want)
				}
			}
			for _, argument := range v.Positional {
				if len(argument.Tag.Envs) > 0 {
					t.Errorf("the argument %s of konto %s has %v", argument.Name, v.Path(), argument.Tag.Envs)
				}
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if with < 20 || without < 50 {
		t.Errorf("%d flags with variables and %d without were found", with, without)
	}
}

func TestVariablesStandForGlobalFlags(t *testing.T) {
	t.Setenv("KONTO_DATA", filepath.Join(t.TempDir(), "data"))
	t.Setenv("KONTO_JSON", "true")
	opened := konto(t, "account", "open", "--email", "anna@example.com")
	if opened.status != exitDone || object(t, opened.stdout)["paywayId"] == "" {
		t.Errorf("exit %d: %s %s", opened.status, opened.stdout, opened.stderr)
	}
}

func TestVariablesConfirmAndChooseNothing(t *testing.T) {
	folder := t.TempDir()
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	t.Setenv("KONTO_YES", "1")
	erasure := konto(t, "account", "erase", "anna@example.com", "--data", folder)
	if erasure.status != exitUsage || !strings.Contains(erasure.stderr, "KONTO_YES is ignored") || !strings.Contains(erasure.stderr, "add --yes") {
		t.Errorf("exit %d: %s", erasure.status, erasure.stderr)
	}
	t.Setenv("KONTO_AFTER", "1000")
	listed := konto(t, "events", "list", "--data", folder)
	if !strings.Contains(listed.stdout, "AccountOpened") || !strings.Contains(listed.stderr, "KONTO_AFTER is ignored") {
		t.Errorf("exit %d: %s %s", listed.status, listed.stdout, listed.stderr)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	for setting, want := range map[string]string{
		"KONTO_HTPP=:80":              "KONTO_HTPP is ignored: there is no such variable; did you mean KONTO_HTTP?",
		"KONTO_NATS_URLS=secret":      "KONTO_NATS_URLS is ignored: there is no such variable; did you mean KONTO_NATS_URL?",
		"KONTO_MASTERKEY=secret":      "KONTO_MASTERKEY is ignored: there is no such variable; did you mean KONTO_MASTER_KEY?",
		"KONTO_COLOUR_OF_THE_LOGO=1":  "KONTO_COLOUR_OF_THE_LOGO is ignored: there is no such variable",
		"KONTO_HTTP_PORT=8080":        "KONTO_HTTP_PORT is ignored: there is no such variable",
		"KONTO_YES=1":                 "KONTO_YES is ignored: only flags of konto serve, and those of all commands such as --data, can be given as variables",
		"KONTO_HELP=1":                "KONTO_HELP is ignored: only flags of konto serve, and those of all commands such as --data, can be given as variables",
		"KONTO_=":                     "KONTO_ is ignored: there is no such variable",
		"KONTO_=x=y":                  "KONTO_ is ignored: there is no such variable",
		"KONTO_SCOPE":                 "KONTO_SCOPE is ignored: only flags of konto serve, and those of all commands such as --data, can be given as variables",
		"KONTO_PENDING_ORDER=invalid": "KONTO_PENDING_ORDER is ignored: only flags of konto serve, and those of all commands such as --data, can be given as variables",
	} {
		if warnings := ignoredVariables([]string{"HOME=/", setting, "KONTOX=1"}); !slices.Equal(warnings, []string{want}) {
			t.Errorf("%s: %q", setting, warnings)
		}
	}
	known := []string{"KONTO_DATA=x", "KONTO_JSON=1", "KONTO_HTTP=:80", "KONTO_RATE_LIMIT=off", "KONTO_SMTP_URL=smtp://mail"}
	for _, name := range otherVariables {
		known = append(known, name+"=secret")
	}
	if warnings := ignoredVariables(known); warnings != nil {
		t.Errorf("of variables that konto reads: %q", warnings)
	}
}

// Kubernetes makes such variables in each container beside a service, for services
// that are called konto, konto-nats and konto-http.
var serviceLinks = []string{
	"KONTO_SERVICE_HOST=10.0.0.1", "KONTO_SERVICE_PORT=8080", "KONTO_SERVICE_PORT_HTTP=8080",
	"KONTO_PORT=tcp://10.0.0.1:8080", "KONTO_PORT_8080_TCP=tcp://10.0.0.1:8080", "KONTO_PORT_8080_TCP_PROTO=tcp",
	"KONTO_PORT_8080_TCP_PORT=8080", "KONTO_PORT_8080_TCP_ADDR=10.0.0.1",
	"KONTO_NATS_SERVICE_HOST=10.0.0.2", "KONTO_NATS_SERVICE_PORT=4222", "KONTO_NATS_SERVICE_PORT_CLIENT=4222",
	"KONTO_NATS_PORT=tcp://10.0.0.2:4222", "KONTO_NATS_PORT_4222_TCP=tcp://10.0.0.2:4222",
	"KONTO_NATS_PORT_4222_TCP_ADDR=10.0.0.2", "KONTO_NATS_PORT_53_UDP_PROTO=udp",
	"KONTO_HTTP_PORT=tcp://10.0.0.3:80", "KONTO_HTTP_SERVICE_HOST=10.0.0.3",
}

func TestVariablesOfOrchestratorsAreNoSettings(t *testing.T) {
	if warnings := ignoredVariables(serviceLinks); warnings != nil {
		t.Errorf("%q", warnings)
	}
	named, _ := allFlags()
	for _, name := range named {
		if serviceLink.MatchString(name+"=") || serviceLink.MatchString(name+"=tcp://10.0.0.1:80") {
			t.Errorf("%s is a flag's variable, and one that an orchestrator may make", name)
		}
	}
}
