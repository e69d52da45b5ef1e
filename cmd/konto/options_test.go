package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreNoArguments(t *testing.T) {
	folder := t.TempDir()
	for args, instead := range map[string]string{
		"serve --smtp-url smtp://konto:hush@mail.example.com":                                                           "KONTO_SMTP_URL, or the password with --smtp-password-file",
		"serve --smtp-url=smtps://konto:hu/s@h@mail.example.com":                                                        "KONTO_SMTP_URL",
		"serve --smtp-url smtp://:hush@mail.example.com":                                                                "KONTO_SMTP_URL",
		"serve --nats-url nats://konto:hush@nats.example.com":                                                           "KONTO_NATS_URL",
		"serve --nats-url nats://hush@nats.example.com":                                                                 "KONTO_NATS_URL",
		"serve --nats-url nats://one.example.com,nats://konto:hush@two.example.com":                                     "KONTO_NATS_URL",
		"serve --nats-url konto:hush@nats.example.com:4222":                                                             "KONTO_NATS_URL",
		"serve --jwt-issuer https://i.example --jwt-audience k --jwks-url https://u:hush@i.example/keys":                "KONTO_JWKS_URL",
		"serve --user-jwt-issuer https://i.example --user-jwt-audience k --user-jwks-url https://u:hush@i.example/keys": "KONTO_USER_JWKS_URL",
		"third-party add crm --url https://konto:hush@crm.example.com/":                                                 "without it",
	} {
		r := konto(t, append(strings.Fields(args), "--data", folder)...)
		refused(t, exitUsage, r, "holds a secret", instead)
		if t.Failed() {
			return // a server that is not refused runs on
		}
		if strings.Contains(r.stderr, "hush") {
			t.Errorf("the secret is printed: %s", r.stderr)
		}
	}
	for flag, values := range map[string][]string{
		"smtp-url": {"smtp://mail.example.com:587", "smtps://konto@mail.example.com:465", "smtp://[::1]:25"},
		"nats-url": {"nats://nats.example.com:4222", "nats.example.com:4222"},
		"url":      {"https://crm.example.com:8443/hook:a@b", "https://crm.example.com/?to=a:b@example.com"},
	} {
		for _, value := range values {
			if holdsSecret(flag, value) {
				t.Errorf("--%s %s is said to hold a secret", flag, value)
			}
		}
	}
}

// The URL with a password may be a variable's, as in konto's earlier versions.
func TestSMTPPasswordComesFromAVariableOrAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("h u/s@h:\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := func(args ...string) string {
		t.Helper()
		line, err := parse(append([]string{"serve"}, args...), nil)
		if err != nil {
			t.Fatal(err)
		}
		url, err := line.command.(*serveCommand).MailOptions.Server()
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	if url := server("--smtp-url", "smtps://konto@mail.example.com:465", "--smtp-password-file", file); url != "smtps://konto:h%20u%2Fs%40h%3A@mail.example.com:465" {
		t.Errorf("with a file: %s", url)
	}
	for args, says := range map[string]string{
		"--smtp-password-file " + file:                                    "goes with an --smtp-url that names a user",
		"--smtp-url smtp://mail.example.com --smtp-password-file " + file: "goes with an --smtp-url that names a user",
	} {
		refused(t, exitUsage, konto(t, append([]string{"serve"}, strings.Fields(args)...)...), says)
	}
	folder := t.TempDir()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{empty: "holds no password", empty + ".none": "no such file"} {
		r := konto(t, "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off", "--smtp-url", "smtp://konto@mail.example.com", "--smtp-password-file", path)
		refused(t, exitFailed, r, says)
	}
	t.Setenv("KONTO_SMTP_URL", "smtp://konto:hush@mail.example.com")
	if url := server(); url != "smtp://konto:hush@mail.example.com" {
		t.Errorf("with a variable: %s", url)
	}
	refused(t, exitUsage, konto(t, "serve", "--smtp-password-file", file), "leave one of them out")
}

func TestSecretsAreReadFromStandardInput(t *testing.T) {
	folder := furnished(t)
	for _, issue := range []struct{ name, revoke string }{
		{"key issue --client crm --scope /external/account/r", "key revoke -"},
		{"session open --admin eva", "session close -"},
	} {
		issued := mustJSON(t, append(strings.Fields(issue.name), "--data", folder)...)
		secret, _ := issued["token"].(string)
		if secret == "" {
			secret = issued["cookie"].(string)
		}
		r := kontoWith(t, secret+"\n", append(strings.Fields(issue.revoke), "--data", folder, "--json")...)
		if r.status != exitDone || object(t, r.stdout)["id"] != issued["id"] {
			t.Errorf("konto %s: exit %d: %s%s", issue.revoke, r.status, r.stdout, r.stderr)
		}
		refused(t, exitFailed, kontoWith(t, "", append(strings.Fields(issue.revoke), "--data", folder)...), "on standard input")
	}
	r := kontoWith(t, "https://crm.example.com/?token=hush\n", "third-party", "add", "crm", "--url", "-", "--data", folder)
	if shown := mustJSON(t, "third-party", "show", "crm", "--data", folder); r.status != exitDone || shown["url"] != "https://crm.example.com/?…" {
		t.Errorf("exit %d: %s: %v", r.status, r.stderr, shown)
	}
}

func TestEmptySettingsAreRefused(t *testing.T) {
	folder := t.TempDir()
	for flag, instead := range map[string]string{
		"http": "127.0.0.1:8080", "nats-listen": "127.0.0.1:4222", "rate-limit": "6000/m", "elevated-role": "account-admin", "mail-from": "konto@localhost",
	} {
		refused(t, exitUsage, konto(t, "serve", "--data", folder, "--"+flag+"="), "--"+flag, "is empty", instead)
		t.Run(flag, func(t *testing.T) {
			t.Setenv(variableOf(flag), "")
			refused(t, exitUsage, konto(t, "serve", "--data", folder), variableOf(flag), "is empty", instead)
		})
		if t.Failed() {
			return // a server that is not refused runs on
		}
	}
}
