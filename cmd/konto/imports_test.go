package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport names the packages of konto that a package may import, with those below them.
// A package's own rule counts, else that of the nearest package above it. What is not
// named must not be imported, so that references run one way and nothing imports cmd.
var mayImport = map[string][]string{
	"events":      {"events"},
	"eventstore":  {"eventstore", "events"},
	"commands":    {"commands", "events", "eventstore"},
	"projections": {"projections", "events", "eventstore"},
	"http":        {"http", "events", "eventstore", "commands", "projections"},

	"cmd/konto":            {"cmd/konto", "events", "eventstore", "commands", "projections", "http"},
	"cmd/konto/server":     {"cmd/konto/datafolder", "cmd/konto/control", "events", "eventstore", "commands", "projections", "http"},
	"cmd/konto/admin":      {"cmd/konto/server", "cmd/konto/datafolder", "cmd/konto/control", "events", "eventstore", "commands", "projections", "http"},
	"cmd/konto/copies":     {"cmd/konto/datafolder", "cmd/konto/erasure", "events", "eventstore"},
	"cmd/konto/datafolder": {"cmd/konto/erasure", "events", "eventstore", "commands", "projections"},
	"cmd/konto/erasure":    {"events", "eventstore", "commands", "projections"},
	"cmd/konto/control":    {"commands"}, // whose errors it puts into words
	"cmd/konto/setup":      {},

	"cmd/kontobench":       {"cmd/kontobench", "cmd/konto/datafolder", "cmd/konto/control", "cmd/konto/setup", "events", "eventstore", "commands", "projections"},
	"cmd/kontobench/bench": {"events", "eventstore", "projections"},
}

// livesIn names the package, or packages, that may import a third-party library, for
// libraries that must not spread.
var livesIn = map[string]string{
	"github.com/nats-io/":            "projections/nats", // and projections/natsserver
	"github.com/nats-io/nats-server": "projections/natsserver",
	"github.com/mattn/go-sqlite3":    "eventstore",
	"github.com/ThreeDotsLabs/":      "projections",
	"github.com/prometheus/":         "projections eventstore http",
	"github.com/wneessen/go-mail":    "projections/mail",
	"github.com/golang-jwt/":         "http projections/webhook",
	"code.dny.dev/ssrf":              "projections/webhook",
	"github.com/rs/cors":             "http",
	"golang.org/x/time":              "http cmd",
	"github.com/ccojocar/zxcvbn-go":  "commands",
	"github.com/go-chi/":             "http",
	"github.com/nyaruka/":            "commands",
	"golang.org/x/text":              "commands events",
	"golang.org/x/net":               "events",
	"golang.org/x/crypto":            "commands",
	"github.com/google/":             "events/schema",
	"github.com/alecthomas/kong":     "cmd",
	"github.com/schollz/":            "cmd/konto/control",
	"github.com/coreos/":             "cmd/konto",
	"github.com/realclientip/":       "http",
	"github.com/HdrHistogram/":       "cmd/kontobench",
	"golang.org/x/term":              "cmd/konto/control",
}

// rule returns the entry of mayImport for a package.
func rule(folder string) (name string, ok bool) {
	for name = folder; ; {
		if _, ok := mayImport[name]; ok {
			return name, true
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return "", false
		}
		name = name[:cut]
	}
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "konto/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		folder := strings.TrimPrefix(fields[0], "konto/")
		name, ok := rule(folder)
		if !ok {
			t.Errorf("mayImport has no rule for %s", fields[0])
		}
		seen[name] = true
		for _, imported := range fields[1:] {
			if other, ours := strings.CutPrefix(imported, "konto/"); ours {
				allowed := func(one string) bool { return other == one || strings.HasPrefix(other, one+"/") }
				if !slices.ContainsFunc(mayImport[name], allowed) {
					t.Errorf("%s imports %s", fields[0], imported)
				}
			}
			for library, homes := range livesIn {
				lives := func(home string) bool { return strings.HasPrefix(folder+"/", home) }
				if strings.HasPrefix(imported, library) && !slices.ContainsFunc(strings.Fields(homes), lives) {
					t.Errorf("%s imports %s, which only %s may import", fields[0], imported, homes)
				}
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("mayImport has a rule for %s, which has no package", name)
		}
	}
}
