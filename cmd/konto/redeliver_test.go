package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"konto/projections/deliveries"
)

func TestNothingIsRedeliveredToAThirdPartyThatIsNotActive(t *testing.T) {
	crm := newEndpoint(t, "crm", always(http.StatusNoContent))
	n := newNewspaper(t, "http://"+crm.address)
	n.settle(deliveries.OutcomeFailed, "")
	again := n.in("third-party", "redeliver", "crm", n.facts[0]["id"].(string), "--third-party-allow", "127.0.0.0/8")
	must(t, n.in("third-party", "pause", "crm")...)
	refused(t, exitFailed, konto(t, again...), "crm is paused, and receives nothing until konto third-party resume")
	if got := crm.got(); len(got) != 0 {
		t.Errorf("sent were %v", got)
	}
	must(t, n.in("third-party", "test", "crm", "--third-party-allow", "127.0.0.0/8")...)
	must(t, n.in("third-party", "resume", "crm")...)
	must(t, again...)
	must(t, n.in("third-party", "remove", "crm", "--yes")...)
	refused(t, exitFailed, konto(t, again...), "there is no third party crm")
}

func TestOlderEventIsNotRedeliveredAfterANewerOne(t *testing.T) {
	crm := newEndpoint(t, "crm", always(http.StatusNoContent))
	n := newNewspaper(t, "http://"+crm.address)
	n.settle(deliveries.OutcomeFailed, "")
	n.happen()
	n.settle(deliveries.OutcomeFailed, "")
	again := func(fact int, flags ...string) result {
		return konto(t, n.in(append([]string{"third-party", "redeliver", "crm", n.facts[fact]["id"].(string), "--third-party-allow", "127.0.0.0/8"}, flags...)...)...)
	}
	done := func(r result) {
		t.Helper()
		if r.status != exitDone {
			t.Errorf("exit %d: %s", r.status, r.stderr)
		}
	}
	const newer = "crm has accepted a newer event of the account, at position 4; --older"
	done(again(0)) // neither was taken
	done(again(1))
	done(again(1)) // nothing newer was
	refused(t, exitFailed, again(0), newer)
	done(again(0, "--older"))
	refused(t, exitFailed, again(0), newer)
	if got := crm.got(); len(got) != 4 {
		t.Errorf("%d were sent", len(got))
	}
	// If the delivery store was lost, every event that was read counts as accepted.
	n.withDeliveryStore(func(l deliveries.Store) error { return l.DeleteParty(t.Context(), n.party) })
	n.withDeliveryStore(func(l deliveries.Store) error { return l.SetPosition(t.Context(), n.party, 4) })
	refused(t, exitFailed, again(0), newer)
	done(again(1))
}

func TestSecurityEventTokensNameTheServersIssuer(t *testing.T) {
	login := newEndpoint(t, "login", always(http.StatusAccepted))
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	login.register(folder, "--format", "risc")
	test := in("third-party", "test", "login", "--third-party-allow", "127.0.0.0/8")
	refused(t, exitFailed, konto(t, test...), "give the server's --public-url")
	if got := login.got(); len(got) != 0 {
		t.Errorf("sent were %v", got)
	}
	must(t, append(test, "--public-url", "https://konto.example.com")...)
	if got := object(t, login.got()[0].text); got["iss"] != "https://konto.example.com" {
		t.Errorf("issued by %v", got["iss"])
	}
	_, url, _ := serve(t, folder, "--third-party-allow", "127.0.0.0/8")
	must(t, in("third-party", "test", "login")...)
	if got := object(t, login.got()[1].text); got["iss"] != url {
		t.Errorf("issued by %v, want %s", got["iss"], url)
	}
}

// Receivers remember who issues tokens, and http://[::]:8080 is nobody.
func TestSecurityEventTokensNeedAURLOfKonto(t *testing.T) {
	folder := t.TempDir()
	add := []string{"third-party", "add", "login", "--url", "https://id.example.com/risc", "--format", "risc", "--data", folder}
	server, _, _ := serve(t, folder, "--http", "0.0.0.0:0")
	refused(t, exitFailed, konto(t, add...), "--public-url")
	must(t, "third-party", "add", "crm", "--url", "https://crm.example.com/", "--data", folder)
	server.stop()
	must(t, add...)
	must(t, "third-party", "pause", "login", "--data", folder) // it may be resumed while konto runs
	// The read model may be behind, or gone.
	if err := os.Remove(filepath.Join(folder, "read.db")); err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{"0.0.0.0:0", ":0"} {
		refused(t, exitFailed, konto(t, "serve", "--data", folder, "--nats-listen", "off", "--http", all), "third party login: ", "--public-url")
	}
	server, _, _ = serve(t, folder, "--http", ":0", "--public-url", "https://konto.example.com")
	server.stop()
	server, _, _ = serve(t, folder)
	server.stop()
	must(t, "third-party", "remove", "login", "--yes", "--data", folder)
	serve(t, folder, "--http", ":0")
}
