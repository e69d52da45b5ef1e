package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/server"
)

func configWith(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "konto.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// served parses a command line of konto serve.
func served(t *testing.T, args ...string) server.Options {
	t.Helper()
	line, err := parse(append([]string{"serve"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return line.command.(*serveCommand).Options
}

func TestFlagCountsBeforeVariableBeforeFileBeforeDefault(t *testing.T) {
	file := configWith(t, `{"http": "file:1", "data": "folder", "nats-listen": "file:2", "rate-limit": "3/m", "session-email-change": true,
		"third-party-concurrency": 7, "third-party-retry": ["0s", "5s"], "third-party-allow": ["10.0.0.0/8", "192.168.0.0/16"]}`)
	t.Setenv("KONTO_NATS_LISTEN", "variable:2")
	t.Setenv("KONTO_RATE_LIMIT", "4/m")
	o := served(t, "--config", file, "--rate-limit", "5/m")
	if o.HTTP != "file:1" || o.NATSListen != "variable:2" || o.RateLimit != "5/m" || o.MailFrom != "konto@localhost" {
		t.Errorf("%s, %s, %s, %s", o.HTTP, o.NATSListen, o.RateLimit, o.MailFrom)
	}
	if !o.SessionEmailChange || o.ThirdPartyConcurrency != 7 || len(o.ThirdPartyAllow) != 2 || len(o.ThirdPartyRetry) != 2 || o.ThirdPartyRetry[1] != 5*time.Second {
		t.Errorf("%+v", o)
	}
	t.Setenv("KONTO_CONFIG", file)
	line, err := parse([]string{"account", "list"}, nil) // which has no flag http
	if err != nil || line.data != "folder" {
		t.Errorf("%+v, %v", line, err)
	}
	if o := served(t); o.HTTP != "file:1" {
		t.Errorf("by the variable: %s", o.HTTP)
	}
}

func TestWrongConfigurationFilesAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{"htpp": "127.0.0.1:1"}`:                `"htpp" in the file of --config is no flag that can be given there; did you mean http?`,
		`{"yes": true}`:                          `"yes" in the file of --config is no flag`,
		`{"config": "other.json"}`:               `"config" in the file of --config is no flag`,
		`{"http": ""}`:                           "--http",
		`{"http": {"address": ":1"}}`:            "http in the file of --config is neither",
		`{"http": ":1", "http": ":2"}`:           "not a JSON object",
		`["http"]`:                               "not a JSON object",
		`{"rate-limit": "many"}`:                 "rate limit",
		`{"third-party-concurrency": "several"}`: "third-party-concurrency",
	} {
		refused(t, exitUsage, konto(t, "serve", "--data", t.TempDir(), "--config", configWith(t, text)), says)
	}
	for _, missing := range []string{"", filepath.Join(t.TempDir(), "none.json")} {
		refused(t, exitUsage, konto(t, "serve", "--data", t.TempDir(), "--config="+missing))
	}
}

func TestSecretsAreOnlyInFilesThatOthersCannotRead(t *testing.T) {
	file := configWith(t, `{"smtp-url": "smtps://konto:hush@mail.example.com"}`)
	if o := served(t, "--config", file); !strings.Contains(o.SMTPURL, "hush") {
		t.Errorf("%s", o.SMTPURL)
	}
	for mode, allowed := range map[os.FileMode]bool{0o640: true, 0o604: false, 0o644: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := parse([]string{"serve", "--config", file}, nil)
		if (err == nil) != allowed || err != nil && (strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "chmod o-r")) {
			t.Errorf("%o: %v", mode, err)
		}
	}
	list := configWith(t, `{"nats-url": ["nats://a.example.com", "nats://konto:hush@b.example.com"]}`)
	if o := served(t, "--config", list); o.NATSURL != "nats://a.example.com,nats://konto:hush@b.example.com" {
		t.Errorf("%s", o.NATSURL)
	}
	if err := os.Chmod(list, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := parse([]string{"serve", "--config", list}, nil); err == nil || !strings.Contains(err.Error(), "nats-url in the file of --config holds a secret") {
		t.Errorf("a list: %v", err)
	}
}
