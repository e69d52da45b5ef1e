package main

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/events"
)

func TestThirdPartiesSecretsAreShownOnce(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	added := mustJSON(t, in("third-party", "add", "crm", "--url", "https://crm.example.com/")...)
	rotated := mustJSON(t, in("third-party", "rotate-secret", "crm")...)
	if added["secret"] == rotated["secret"] || added["publicKey"] == rotated["publicKey"] {
		t.Error("the rotated secret is the first")
	}

	var forms []string
	for _, s := range readModelsParties(t, folder)[0].Secrets(time.Now()) {
		for _, secret := range [][]byte{s.HMAC, s.Ed25519Seed} {
			forms = append(forms, base64.StdEncoding.EncodeToString(secret))
		}
	}
	if len(forms) != 4 || "whsec_"+forms[0] != rotated["secret"] || "whsec_"+forms[2] != added["secret"] {
		t.Fatalf("stored are %d secrets, or others than were shown", len(forms))
	}
	for _, args := range [][]string{
		{"third-party", "show", "crm"}, {"third-party", "list"}, {"events", "list"},
		{"third-party", "pause", "crm"}, {"third-party", "resume", "crm"},
	} {
		for _, how := range []string{"--json", "--json=false"} {
			said := must(t, in(append(args, how)...)...)
			for _, form := range forms {
				if strings.Contains(said, form) {
					t.Errorf("konto %s %s shows a secret", strings.Join(args, " "), how)
				}
			}
		}
	}
	if said := must(t, in("events", "list")...); !strings.Contains(said, "https://crm.example.com/") || !strings.Contains(said, "previousUntil") {
		t.Errorf("events list leaves out more than secrets:\n%s", said)
	}
}

// readModelsParties is what the read model of a folder that nobody holds has.
func readModelsParties(t *testing.T, folder string) []events.ThirdParty {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	parties, err := h.Model.ThirdParties(t.Context()) // no follower runs
	if err := errors.Join(err, h.Close()); err != nil {
		t.Fatal(err)
	}
	if len(parties) == 0 {
		t.Fatal("there are no third parties")
	}
	return parties
}

func TestCommandsWaitForTheReadModel(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	for round := range 15 {
		name := "crm-" + strconv.Itoa(round)
		must(t, in("third-party", "add", name, "--url", "https://crm.example.com/")...)
		if parties := readModelsParties(t, folder); len(parties) != round+1 {
			t.Errorf("%d third parties after add number %d", len(parties), round+1)
		}
		must(t, in("third-party", "pause", name)...)
		if state := readModelsParties(t, folder)[round].State; state != events.ThirdPartyHeld {
			t.Errorf("%s after pause", state)
		}
	}
}

func TestQueryOfAThirdPartysURLIsNotShown(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	must(t, in("third-party", "add", "crm", "--url", "https://crm.example.com/hook?key=canary")...)
	for _, args := range [][]string{{"third-party", "show", "crm"}, {"third-party", "list"}, {"events", "list"}} {
		for _, how := range []string{"--json", "--json=false"} {
			said := must(t, in(append(args, how)...)...)
			if strings.Contains(said, "canary") || !strings.Contains(said, "https://crm.example.com/hook?…") {
				t.Errorf("konto %s %s said %s", strings.Join(args, " "), how, said)
			}
		}
	}
	if p := readModelsParties(t, folder)[0]; p.URL != "https://crm.example.com/hook?key=canary" {
		t.Errorf("stored is %s", p.URL)
	}
}

func TestThirdPartyIsShownAsItIs(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	show := func() map[string]any { return mustJSON(t, in("third-party", "show", "crm")...) }
	must(t, in("account", "open", "--email", "anna@example.com")...)
	added := mustJSON(t, in("third-party", "add", "crm", "--url", "https://crm.example.com/", "--event", "ProfileUpdated,EmailChanged")...)
	shown := show()
	for member, want := range map[string]any{
		"id": added["id"], "publicKey": added["publicKey"], "url": "https://crm.example.com/", "format": events.FormatCloudEvents,
		"state": events.ThirdPartyActive, "begin": 2.0, "checkpoint": 2.0, "reason": nil, "previousUntil": nil,
	} {
		if shown[member] != want {
			t.Errorf("%s is %v, want %v", member, shown[member], want)
		}
	}
	if wanted := shown["events"].([]any); len(wanted) != 2 || wanted[0] != "EmailChanged" || wanted[1] != "ProfileUpdated" {
		t.Errorf("subscribed to %v", wanted)
	}
	for _, step := range []struct{ command, state string }{{"pause", "paused"}, {"pause", "paused"}, {"resume", "active"}} {
		if said := mustJSON(t, in("third-party", step.command, "crm")...); said["state"] != step.state || said["id"] != added["id"] {
			t.Errorf("%s said %v", step.command, said)
		}
		if state := show()["state"]; state != step.state {
			t.Errorf("after %s it is %v", step.command, state)
		}
	}
	rotated := mustJSON(t, in("third-party", "rotate-secret", "crm", "--overlap", "1h")...)
	if shown := show(); shown["previousUntil"] != rotated["previousUntil"] || shown["publicKey"] != rotated["publicKey"] {
		t.Errorf("rotated %v, shown %v", rotated, shown)
	}
	must(t, in("third-party", "rotate-secret", "crm", "--overlap", "0")...)
	if until := show()["previousUntil"]; until != nil {
		t.Errorf("after a rotation without overlap a previous secret signs until %v", until)
	}
}

func TestThirdPartysNameIsFreeOnceItIsRemoved(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	add := in("third-party", "add", "crm", "--url", "https://crm.example.com/")
	must(t, add...)
	refused(t, exitFailed, konto(t, add...), "there is a third party crm already")
	must(t, in("third-party", "remove", "crm", "--yes")...)
	refused(t, exitFailed, konto(t, in("third-party", "show", "crm")...), "there is no third party crm")
	if listed := mustLines(t, in("third-party", "list")...); len(listed) > 0 {
		t.Errorf("listed: %v", listed)
	}
	must(t, add...)
}

// read.db is made again from the log, which takes longer than to look into it.
func TestThirdPartyIsFoundWhileTheReadModelIsRebuilt(t *testing.T) {
	folder := t.TempDir()
	must(t, "third-party", "add", "crm", "--url", "https://crm.example.com/", "--data", folder)
	for _, args := range [][]string{{"show", "crm"}, {"list"}, {"pause", "crm"}} {
		if err := os.Remove(filepath.Join(folder, "read.db")); err != nil {
			t.Fatal(err)
		}
		if said := must(t, append(append([]string{"third-party"}, args...), "--data", folder)...); !strings.Contains(said, "crm") {
			t.Errorf("%s said %q", args[0], said)
		}
	}
}

func TestInvalidThirdPartyIsReportedFieldByField(t *testing.T) {
	r := konto(t, "third-party", "add", "Crm", "--url", "crm.example.com", "--format", "risc", "--event", "ProfileUpdated", "--data", furnished(t))
	refused(t, exitFailed, r, "name: ", "url: ", "events: ", "EmailChanged, AccountErased")
}

func TestServerPublishesTheKeysOfItsSecurityEvents(t *testing.T) {
	folder := t.TempDir()
	var shown []string
	for range 2 { // a start does not change them
		server, url, _ := serve(t, folder)
		status, set := send(t, "GET", url+"/.well-known/jwks.json", "", "")
		if keys, _ := object(t, set)["keys"].([]any); status != 200 || len(keys) != 1 || strings.Contains(set, `"d"`) {
			t.Errorf("answered %d %s", status, set)
		}
		shown = append(shown, set)
		server.stop()
	}
	if shown[0] != shown[1] {
		t.Errorf("keys %s", shown)
	}
}
