package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// deliveryFlags allow third parties on this machine, with short retries.
func deliveryFlags() []string {
	return []string{"--rate-limit", "off", "--third-party-allow", "127.0.0.0/8", "--third-party-retry", patientRetry()}
}

// setEmail changes an email address to one that holds a number.
func setEmail(t *testing.T, url string, a tenant, n int) {
	t.Helper()
	body := fmt.Sprintf(`{"email":"changed%d.%s@example.com"}`, n, strings.ToLower(a.id))
	if status, answer := send(t, "PATCH", url+"/v1/account", a.token, body); status != 200 {
		t.Fatalf("answered %d %s", status, answer)
	}
}

// Nothing that third parties do reaches who changes an account: while all of
// them hang, and none ever answers, every change is answered as ever.
func TestUpdatesDoNotWaitForThirdPartiesThatHang(t *testing.T) {
	folder := t.TempDir()
	const accounts, changes = 8, 25
	owners := newOwners(t, folder, accounts)
	var all []*endpoint
	for i := range 3 {
		e := newEndpoint(t, fmt.Sprint("hanging-", i), always(0))
		e.register(folder)
		all = append(all, e)
	}
	p := startProcess(t, folder, append(deliveryFlags(), "--third-party-timeout", "1h")...)
	client := &http.Client{Timeout: patience}
	var updates sync.WaitGroup
	for _, o := range owners {
		updates.Go(func() {
			for range changes {
				if _, err := o.generic.update(client, p.url); err != nil {
					t.Error(err)
				}
			}
		})
	}
	updates.Wait()
	for _, e := range all {
		e.until("was asked about every account", func() bool { return e.held >= accounts })
		if n := len(e.got()); n != accounts {
			t.Errorf("%s got %d requests about %d accounts, before it answered any", e.name, n, accounts)
		}
	}
	if status, body := send(t, "GET", p.url+"/healthz", "", ""); status != 200 {
		t.Errorf("health is %d %s", status, body)
	}
}

func TestResumedThirdPartyReceivesEverything(t *testing.T) {
	folder := t.TempDir()
	party, witness := newEndpoint(t, "party", always(200)), newEndpoint(t, "witness", always(200))
	party.register(folder)
	witness.register(folder)
	anna, eva := newTenant(t, folder, "anna@example.com"), newTenant(t, folder, "eva@example.com")
	command := func(name string) { must(t, "third-party", name, "party", "--data", folder) }
	server, url, _ := serve(t, folder, deliveryFlags()...)
	n := 0
	change := func() {
		setEmail(t, url, anna, n)
		setEmail(t, url, eva, n)
		n += 2
		witness.untilTaken(n)
	}
	restart := func() {
		if status := server.stop(); status != exitDone {
			t.Fatalf("ended with %d: %s", status, server.stderr)
		}
		server, url, _ = serve(t, folder, deliveryFlags()...)
	}
	nothingSince := func(before int) {
		t.Helper()
		if got := len(party.got()); got != before {
			t.Errorf("it got %d requests while it was held", got-before)
		}
	}

	change()
	party.untilTaken(n)
	command("pause")
	change()
	restart()
	change()
	nothingSince(2)
	command("resume")
	party.untilTaken(n)
	for range 10 { // what happens as soon as the command is back is held too
		before := len(party.got())
		command("pause")
		change()
		nothingSince(before)
		command("resume")
		party.untilTaken(n)
	}

	held := len(party.got())
	party.answers(always(410))
	setEmail(t, url, anna, n)
	server.stderr.find(t, regexp.MustCompile(`third party is disabled.*reason=gone`))
	setEmail(t, url, eva, n)
	n += 2
	witness.untilTaken(n)
	before := len(party.got())
	change()
	restart()
	change()
	nothingSince(before)
	if shown := mustJSON(t, "third-party", "show", "party", "--data", folder); shown["state"] != "disabled" || shown["reason"] != "gone" {
		t.Errorf("it is %v, %v", shown["state"], shown["reason"])
	}
	party.answers(always(200))
	command("resume")
	party.untilTaken(n)
	server.stop()

	all := emailChanges(t, folder)
	if repeated := checkDelivered(t, party, all); repeated != before-held {
		t.Errorf("%d requests were repetitions, %d were answered with 410", repeated, before-held)
	}
	if repeated := checkDelivered(t, witness, all); repeated != 0 {
		t.Errorf("the witness got %d repetitions", repeated)
	}
}

// The log alone is enough to deliver everything to third parties. What is kept
// beside it spares them repetitions.
func TestDeletedFilesLoseNoDelivery(t *testing.T) {
	folder := t.TempDir()
	party := newEndpoint(t, "party", always(200))
	party.register(folder)
	anna, eva := newTenant(t, folder, "anna@example.com"), newTenant(t, folder, "eva@example.com")
	n := 0
	change := func(url string) {
		for range 3 {
			setEmail(t, url, anna, n)
			setEmail(t, url, eva, n)
			n += 2
		}
	}
	ordered := func() {
		server, url, _ := serve(t, folder, deliveryFlags()...)
		change(url)
		party.untilTaken(n)
		if status := server.stop(); status != exitDone {
			t.Fatalf("ended with %d: %s", status, server.stderr)
		}
	}
	loseDeliveryStore := func() {
		lose(t, folder, "deliveries.db")
		os.Remove(filepath.Join(folder, "deliveries.db-wal"))
		os.Remove(filepath.Join(folder, "deliveries.db-shm"))
	}

	ordered()
	lose(t, folder, "jetstream")
	ordered()
	loseDeliveryStore() // after an ordered end, whose checkpoint has everything
	ordered()
	if repeated := checkDelivered(t, party, emailChanges(t, folder)); repeated != 0 {
		t.Errorf("%d repetitions before the delivery store was lost without a checkpoint", repeated)
	}

	checkpoint := uint64(mustJSON(t, "third-party", "show", "party", "--data", folder)["checkpoint"].(float64))
	p := startProcess(t, folder, deliveryFlags()...)
	change(p.url)
	party.untilTaken(n)
	p.kill()
	loseDeliveryStore()
	before := party.got()
	p = startProcess(t, folder, deliveryFlags()...)
	change(p.url)
	party.untilTaken(n)
	again := party.got()[len(before):]
	p.kill()

	all := emailChanges(t, folder)
	repeated := map[string]int{}
	for _, r := range before {
		if all[r.id].position > checkpoint {
			repeated[r.id]++
		}
	}
	latest := map[string]uint64{}
	for _, r := range again {
		c := all[r.id]
		if c.position <= checkpoint {
			t.Errorf("position %d was delivered again, and the checkpoint is at %d", c.position, checkpoint)
		}
		if c.version <= latest[c.account] {
			t.Errorf("version %d of %s came after version %d", c.version, c.account, latest[c.account])
		}
		latest[c.account] = c.version
	}
	if len(repeated) != 6 || len(again) != 12 {
		t.Errorf("%d changes were delivered after the checkpoint, then %d requests came", len(repeated), len(again))
	}
}

// lose removes a file or folder of a data folder, which has to be there.
func lose(t testing.TB, folder, name string) {
	t.Helper()
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
