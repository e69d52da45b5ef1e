package main

import (
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
)

func TestWrongUsage(t *testing.T) {
	for _, args := range []string{
		"",
		"nonsense",
		"account",
		"account open",
		"account open --email a@example.com --account-type other",
		"account show",
		"account show a@example.com --at yesterday",
		"account show a@example.com --at 0",
		"account history a@example.com --at 0",
		"account list --data=",
		"serve --data=",
		"account facts a@example.com",
		"account facts a@example.com --active-domains -1",
		"key issue --scope read:account",
		"key issue --account a@example.com",
		"key issue --account a@example.com --client b --scope read:account",
		"key issue --consumer b --scope read:account",
		"key issue --inbound b --scope read:account",
		"key issue --inbound b --consumer b",
		"inbound",
		"inbound dead-letters --limit 0",
		"inbound retry",
		"inbound retry first",
		"session open",
		"session open --account a@example.com --role support",
		"session open --account a@example.com --auth-type other",
		"session open --account a@example.com --auth-type admin",
		"session open --account a@example.com --delegated-by b@example.com",
		"session open --account a@example.com --label Books",
		"session open --account a@example.com --expires-in -1h",
		"third-party add",
		"third-party add crm",
		"third-party add --url https://crm.example.com/",
		"third-party add crm --url https://crm.example.com/ --format xml",
		"third-party remove crm",
		"third-party rotate-secret crm --overlap -1h",
		"third-party deliveries --status lost",
		"third-party deliveries --limit 0",
		"third-party redeliver crm",
		"third-party test crm --third-party-allow 10.0.0.0/33",
		"replay third-party crm",
		"replay third-party crm --from 0",
		"replay publish",
		"replay publish --from 0",
		"replay publish --from 5 --to 4",
		"replay publish --from 1 --rate fast",
		"replay publish --from 1 --rate 0/s",
		"account import",
		"events tail --after minus",
		"events list --after minus",
		"events tail --unknown",
		"serve --rate-limit 5",
		"serve --third-party-retry 0s,soon",
		"serve --third-party-retry 0s,-5s",
		"serve --third-party-concurrency 0",
		"serve --third-party-timeout -1s",
		"serve --third-party-allow 10.0.0.0",
		"serve --public-url konto.example.com",
		"serve --allowed-origin *",
		"serve --oauth-ttl 5m",
		"serve --email-change-policy ask",
		"serve --nats-creds konto.creds",
		"serve --nats-nkey konto.nk",
		"serve --nats-cert konto.pem --nats-key key.pem",
		"serve --nats-ca ca.pem",
		"serve --nats-domain hub",
		"serve --nats-url nats://127.0.0.1 --nats-creds konto.creds --nats-nkey konto.nk",
		"serve --nats-url nats://127.0.0.1 --nats-cert konto.pem",
		"serve --nats-url nats://127.0.0.1 --nats-key key.pem",
		"serve --retention 59m",
		"serve --trusted-proxy 10.0.0.1",
		"serve --tls-cert cert.pem",
		"serve --tls-key key.pem",
		"serve --nats-tls-cert cert.pem",
		"serve --nats-tls-cert cert.pem --nats-tls-key key.pem --nats-url nats://127.0.0.1",
		"serve --jwt-audience konto",
		"serve --jwks-url https://issuer.example.com/keys",
		"serve --jwt-issuer konto --jwt-audience konto",
		"serve --user-jwt-issuer https://id.example.com",
		"serve --user-jwt-audience konto",
		"serve --user-jwks-url https://id.example.com/keys",
		"serve --user-jwt-issuer konto --user-jwt-audience konto",
		"serve --user-jwt-account-claim account",
		"serve --user-jwt-scope profile=read:account",
		"serve --user-jwt-issuer https://id.example.com --user-jwt-audience konto --user-jwt-scope profile",
		"serve --user-jwt-issuer https://id.example.com --user-jwt-audience konto --user-jwt-scope profile=openid",
		"serve --user-jwt-issuer https://id.example.com --user-jwt-audience k --jwt-issuer https://id.example.com --jwt-audience konto",
		"account link a@example.com",
		"account unlink --subject s",
	} {
		t.Run(args, func(t *testing.T) {
			refused(t, exitUsage, konto(t, strings.Fields(args)...), " --help)")
		})
	}
}

func TestEveryCommandHasItsExamples(t *testing.T) {
	leaves := newParser(new(cli)).Model.Leaves(false)
	if len(leaves) < 23 {
		t.Fatalf("only %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		help := konto(t, append(strings.Fields(leaf.Path()), "--help")...)
		if help.status != exitDone || !strings.Contains(help.stdout, "Example") || !strings.Contains(help.stdout, "    konto "+leaf.Path()) {
			t.Errorf("konto %s --help: exit %d\n%s", leaf.Path(), help.status, help.stdout)
		}
	}
}

func TestEmptyPathIsNotADataFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("KONTO_DATA", "")
	refused(t, exitUsage, konto(t, "account", "open", "--email", "anna@example.com"), "KONTO_DATA", "empty")
	if !datafolder.Missing(defaultData) {
		t.Error("a data folder was begun in the working directory")
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	r := konto(t, "--help")
	if r.status != exitDone || r.stderr != "" || !strings.Contains(r.stdout, "KONTO_DATA") {
		t.Errorf("exit %d: %q, %q", r.status, r.stdout, r.stderr)
	}
}
