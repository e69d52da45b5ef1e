package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the plan of the house: which rooms each room may see.
var mayImport = map[string][]string{
	"events":      {},
	"eventstore":  {"events"},
	"commands":    {"events", "eventstore"},
	"projections": {"events", "eventstore"},
	"http":        {"events", "eventstore", "commands", "projections"},
	"cmd":         {"events", "eventstore", "commands", "projections", "http"},
}

// livesIn says in which room, or rooms, a third-party library lives, for those
// that must not spread.
var livesIn = map[string]string{
	"github.com/nats-io/":            "projections/nats", // and projections/natsserver
	"github.com/nats-io/nats-server": "projections/natsserver",
	"github.com/mattn/go-sqlite3":    "eventstore",
	"github.com/ThreeDotsLabs/":      "projections",
	"github.com/prometheus/":         "projections",
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
	"github.com/schollz/":            "cmd",
	"github.com/HdrHistogram/":       "cmd",
	"golang.org/x/term":              "cmd",
}

func TestRoomsImportOnlyWhatThePlanAllows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "konto/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		folder := strings.TrimPrefix(fields[0], "konto/")
		room, _, _ := strings.Cut(folder, "/")
		allowed, planned := mayImport[room]
		if !planned {
			t.Errorf("%s is in no room of the plan", fields[0])
		}
		seen[room] = true
		for _, imported := range fields[1:] {
			if other, ours := strings.CutPrefix(imported, "konto/"); ours {
				other, _, _ = strings.Cut(other, "/")
				if other != room && !slices.Contains(allowed, other) {
					t.Errorf("%s imports %s", fields[0], imported)
				}
			}
			for library, homes := range livesIn {
				lives := func(home string) bool { return strings.HasPrefix(folder+"/", home) }
				if strings.HasPrefix(imported, library) && !slices.ContainsFunc(strings.Fields(homes), lives) {
					t.Errorf("%s imports %s, which lives in %s", fields[0], imported, homes)
				}
			}
		}
	}
	for room := range mayImport {
		if !seen[room] {
			t.Errorf("room %s is empty: the plan is out of date", room)
		}
	}
}
