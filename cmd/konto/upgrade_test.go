package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

// older unpacks what an earlier build of konto made, testdata/NAME.tar.gz: a data folder
// "data" without the files that a start recreates, and of claims-1 "backup.db" and
// "export.ndjson".
//
//	claims-1    claims of rule 1, a log of format 1; its accounts are in accountsOfClaims1
//	erasures-1  anna@example.com is erased, and what is left to do is in deliveries.db; a third
//	            party of format payway was not told yet, and bo@example.com has an account
func older(t *testing.T, name string) (folder string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return folder
		}
		if err != nil {
			t.Fatal(err)
		}
		if path := filepath.Join(folder, header.Name); header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if content, failed := io.ReadAll(files); failed != nil {
			err = failed
		} else {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// accountsOfClaims1 are the accounts of claims-1, by the last two digits of their Payway
// ids. Those of one line have one address.
var accountsOfClaims1 = [][]struct{ paywayID, email string }{
	{{"01", "anna@example.com"}},
	{{"02", "Bo@Example.com"}},
	{{"03", "anna@b\u00fccher.example"}, {"04", "anna@xn--bcher-kva.example"}},
	{{"05", "jos\u00e9@example.com"}, {"06", "jose\u0301@example.com"}},
	{{"07", "cia@example.com"}, {"08", "cia@ex\uff41mple.com"}, {"09", "cia@exa\u00admple.com"}},
	{{"0a", "boss@g\u0130thub.example"}},
	{{"0b", "\u212aarin@example.com"}},
	{{"0c", "dan@example.com\u3002"}, {"0d", "dan@example.com"}},
	{{"0e", "<eva@example.com>"}},
}

func paywayIDOfClaims1(last string) string { return "50f3ac249f6aef294d0000" + last }

func TestDataFolderOfAnEarlierClaimRule(t *testing.T) {
	folder := filepath.Join(older(t, "claims-1"), "data")
	// verify changes nothing, and so it cannot compare claims yet.
	report := mustJSON(t, "verify", "--data", folder)
	if notices := report["notices"].([]any); report["ok"] != true || len(notices) != 1 || !strings.Contains(notices[0].(string), "claims") {
		t.Errorf("before the first start: %v", report)
	}
	for start := range 2 { // the second start writes no claims again, and names the same accounts
		server, _, _ := serve(t, folder)
		server.stop()
		if said := strings.Contains(server.stderr.String(), "written again"); said != (start == 0) {
			t.Errorf("start %d says that claims are made again: %t", start, said)
		}
		sharedAreTold(t, folder, server.stderr.String())
	}
	claimsAreRenewed(t, folder)
}

func TestBackupOfAnEarlierClaimRule(t *testing.T) {
	files := older(t, "claims-1")
	folder := filepath.Join(files, "data")
	konto(t, "account", "open", "--data", folder, "--email", "lost@example.com") // which the backup lacks
	r := konto(t, "restore", filepath.Join(files, "backup.db"), "--data", folder, "--yes")
	if r.status != 0 {
		t.Fatal(r.stderr)
	}
	sharedAreTold(t, folder, r.stderr)
	claimsAreRenewed(t, folder)
}

func TestExportOfAnEarlierClaimRule(t *testing.T) {
	for _, name := range []string{"export.ndjson", "export-encrypted.ndjson"} {
		t.Run(name, func(t *testing.T) {
			files := older(t, "claims-1")
			folder := filepath.Join(files, "new")
			if name != "export.ndjson" { // it is the same log again, with the same keys
				folder = filepath.Join(files, "data")
				if err := os.Remove(filepath.Join(folder, "log.db")); err != nil {
					t.Fatal(err)
				}
			}
			r := konto(t, "import", filepath.Join(files, name), "--data", folder)
			if r.status != 0 {
				t.Fatal(r.stderr)
			}
			sharedAreTold(t, folder, r.stderr)
			claimsAreRenewed(t, folder)
		})
	}
}

// sharedAreTold wants a text to name the accounts that share an address, by their ids alone.
func sharedAreTold(t *testing.T, folder, text string) {
	t.Helper()
	for _, accounts := range accountsOfClaims1 {
		for _, a := range accounts {
			id := konto(t, "account", "show", paywayIDOfClaims1(a.paywayID), "--json", "--data", folder)
			named := strings.Contains(text, object(t, id.stdout)["id"].(string))
			if named != (len(accounts) > 1) || strings.Contains(text, a.email) {
				t.Errorf("account %s, of %d with its address, is named: %t\n%s", a.paywayID, len(accounts), named, text)
			}
		}
	}
}

// claimsAreRenewed wants each account of claims-1 to have its address, as it is written, and
// nobody else to get it, until the accounts that share one have others.
func claimsAreRenewed(t *testing.T, folder string) {
	t.Helper()
	in := func(args ...string) result { return konto(t, append(args, "--data", folder, "--json")...) }
	for _, accounts := range accountsOfClaims1 {
		for _, a := range accounts {
			if r := in("account", "show", a.email); r.status != 0 || object(t, r.stdout)["paywayId"] != paywayIDOfClaims1(a.paywayID) ||
				object(t, r.stdout)["email"] != a.email {
				t.Errorf("%+q is not account %s: %+v", a.email, a.paywayID, r)
			}
		}
	}
	taken := func(spellings ...string) {
		t.Helper()
		for _, email := range spellings {
			if r := in("account", "open", "--email", email); r.status == 0 || !strings.Contains(r.stderr, "in use") {
				t.Errorf("another account gets %+q: %+v", email, r)
			}
		}
	}
	taken("ANNA@example.com", "anna@B\u00dcCHER.example", "anna@xn--bcher-kva.example", "JOS\u00c9@example.com", "cia@example.com", "boss@xn--github-qyd.example", "dan@example.com")
	for _, email := range []string{"boss@github.example", "karin@example.com"} { // which are others' addresses
		if r := in("account", "open", "--email", email); r.status != 0 {
			t.Errorf("%s: %s", email, r.stderr)
		}
	}
	// An address in a spelling that none of its accounts has means none of them.
	for _, args := range [][]string{{"account", "show", "anna@B\u00fccher.example"}, {"account", "erase", "anna@B\u00fccher.example", "--yes"}} {
		r := in(args...)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if last := lines[len(lines)-1]; r.status == 0 || strings.Count(last, "01M8N6J3") != 2 || !strings.Contains(last, "by its id") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	verified := func(notices int) {
		t.Helper()
		r := in("verify")
		if report := object(t, r.stdout); report["ok"] != true || len(report["notices"].([]any)) != notices || strings.Contains(r.stdout, "@") {
			t.Errorf("verify: %+v", r)
		}
	}
	verified(5) // two pairs, one pair more, and three accounts with one address

	// The next change decides.
	changeEmail(t, folder, "03", "moved@example.com")
	taken("anna@b\u00fccher.example", "moved@example.com")
	if r := in("account", "show", "anna@B\u00fccher.example"); object(t, r.stdout)["paywayId"] != paywayIDOfClaims1("04") {
		t.Errorf("the account that stayed is not found: %+v", r)
	}
	if err := tryEmail(t, folder, "03", "anna@b\u00fccher.example"); !errors.Is(err, commands.ErrTaken) {
		t.Errorf("the account that went comes back: %v", err)
	}
	changeEmail(t, folder, "04", "anna@b\u00fccher.example") // another spelling of its own
	if r := in("account", "erase", paywayIDOfClaims1("06"), "--yes"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	taken("jose\u0301@example.com")
	changeEmail(t, folder, "05", "jose@example.com")
	if r := in("account", "open", "--email", "jos\u00e9@example.com"); r.status != 0 {
		t.Errorf("an address that no account has now: %+v", r)
	}
	verified(3)
}

func changeEmail(t *testing.T, folder, paywayID, email string) {
	t.Helper()
	if err := tryEmail(t, folder, paywayID, email); err != nil {
		t.Errorf("account %s cannot have %+q: %v", paywayID, email, err)
	}
}

func tryEmail(t *testing.T, folder, paywayID, email string) error {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	id, err := h.FindAccount(t.Context(), paywayIDOfClaims1(paywayID))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Accounts.Do(t.Context(), id, events.Metadata{}, &commands.Update{Email: events.Set(email)})
	return err
}
