package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withAndWithoutAServer runs a test on a folder that is served, and on one that is not.
func withAndWithoutAServer(t *testing.T, test func(t *testing.T, folder string)) {
	t.Run("with a server", func(t *testing.T) {
		folder := t.TempDir()
		serve(t, folder)
		test(t, folder)
	})
	t.Run("without a server", func(t *testing.T) {
		folder := t.TempDir()
		must(t, "session", "open", "--admin", "eva", "--data", folder) // begins a konto
		test(t, folder)
	})
}

const fullLine = `{"email":"anna@example.com","paywayId":"50F3AC249F6AEF294D000007","administrator":true,` +
	`"passwordHash":"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U",` +
	`"firstName":"Anna","lastName":"Åström","companyName":null,"customerNumber":"4711","phoneNumber":"070-000 00 00","birthDate":"1985-05-07",` +
	`"registrationIdentifier":{"value":"8112189876","countryCode":"SE","type":"personal_identifier"},` +
	`"address":{"street":"Examplegatan 1","city":"Stockholm"},"facts":{"activeDomains":2,"verified":true,"bankidName":"Anna"}}`

func TestImportKeepsEachMemberAndAddsNone(t *testing.T) {
	withAndWithoutAServer(t, func(t *testing.T, folder string) {
		lines := "\xef\xbb\xbf" + fullLine + "\r\n\n" + `{"email":"bo@example.com"}`
		if r := kontoWith(t, lines, "account", "import", "-", "--data", folder, "--json"); r.status != 0 || r.stdout != `{"imported":2,"rejected":0}`+"\n" || r.stderr != "" {
			t.Fatalf("%+v", r)
		}
		anna := mustJSON(t, "account", "show", "50f3ac249f6aef294d000007", "--data", folder)
		profile, facts := anna["profile"].(map[string]any), anna["facts"].(map[string]any)
		if anna["email"] != "anna@example.com" || anna["administrator"] != true || anna["hasPassword"] != true || anna["version"] != 3.0 ||
			profile["lastName"] != "Åström" || profile["phoneNumber"] != "+46700000000" || profile["customerNumber"] != "4711" ||
			profile["registrationIdentifier"].(map[string]any)["value"] != "811218-9876" ||
			profile["address"].(map[string]any)["city"] != "Stockholm" || facts["activeDomains"] != 2.0 || facts["verified"] != true {
			t.Errorf("%v", anna)
		}
		bo := mustJSON(t, "account", "show", "bo@example.com", "--data", folder)
		if profile := bo["profile"].(map[string]any); len(profile) != 0 || bo["version"] != 1.0 {
			t.Errorf("got what it did not have: %v", bo)
		}
	})
}

func TestRejectedLinesAreReportedWithEveryReason(t *testing.T) {
	bad := []string{
		`{"email":"nobody","firstName":7,"birthDate":"secret-date","unknownMember":1,"address":{"city":false,"countryCode":"XX"},"facts":{"activeDomains":-1}}`,
		`{"email":"a@example.com","email":"b@example.com"}`,
		`["email"]`,
		`{"email":"a@example.com"`,
		`{"email":"a@example.com","alias":"` + "\xff" + `"}`,
		`{}`,
		`{"email":7,"registrationIdentifier":{"value":1},"passwordHash":"secret-hash"}`,
		`{"Email":"a@example.com"}`,
	}
	want := []string{
		"line 2: unknownMember: An account has no such member",
		"line 3: The line must be one JSON object", "line 4: The line must be", "line 5: The line must be", "line 6: The line must be",
		"line 7: email: The field cannot be removed", "line 8: ", "line 9: Email: An account has no such member; email: ",
	}
	withAndWithoutAServer(t, func(t *testing.T, folder string) {
		file := filepath.Join(t.TempDir(), "accounts.ndjson")
		write(t, file, `{"email":"first@example.com"}`+"\n"+strings.Join(bad, "\n")+"\n"+`{"email":"last@example.com"}`+"\n")
		r := konto(t, "account", "import", file, "--data", folder, "--json")
		if r.status != exitFailed || r.stdout != `{"imported":2,"rejected":8}`+"\n" {
			t.Errorf("%d: %s", r.status, r.stdout)
		}
		lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
		if len(lines) != 9 || lines[8] != "konto: 8 of 10 lines were rejected" {
			t.Fatalf("%s", r.stderr)
		}
		for _, wrong := range []string{"email: ", "firstName: ", "birthDate: ", "unknownMember: ", "address.city: ", "address.countryCode: ", "facts.activeDomains: "} {
			if strings.Count(lines[0], wrong) != 1 {
				t.Errorf("%q is reported %d times: %s", wrong, strings.Count(lines[0], wrong), lines[0])
			}
		}
		for i, part := range want {
			if i > 0 && !strings.HasPrefix(lines[i], part) {
				t.Errorf("%q, want %q", lines[i], part)
			}
		}
		if !strings.Contains(lines[6], "registrationIdentifier.value: ") || !strings.Contains(lines[6], "passwordHash: ") || strings.Count(lines[6], "email: ") != 1 {
			t.Errorf("%s", lines[6])
		}
		if strings.Contains(r.stderr, "secret") || strings.Contains(r.stderr, "nobody") {
			t.Errorf("a value is printed: %s", r.stderr)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLinesThatAreImportedTwiceOpenOneAccount(t *testing.T) {
	withAndWithoutAServer(t, func(t *testing.T, folder string) {
		work := t.TempDir()
		file, rejected := filepath.Join(work, "accounts.ndjson"), filepath.Join(work, "rejected.ndjson")
		// Of lines with one address, whatever its case, the first counts, and so of
		// lines with one number.
		write(t, rejected, "of before")
		if err := os.Chmod(rejected, 0o644); err != nil {
			t.Fatal(err)
		}
		write(t, file, `{"email":"anna@example.com","firstName":"First"}`+"\n"+`{"email":"Anna@Example.com","firstName":"Second"}`+"\n\n"+
			`{"email":"bo@example.com","customerNumber":"1"}`+"\n"+`{"email":"eva@example.com","customerNumber":"1"}`)
		for round, imported := range []int{2, 0} {
			r := konto(t, "account", "import", file, "--rejected", rejected, "--data", folder, "--json")
			if want := fmt.Sprintf(`{"imported":%d,"rejected":%d}`+"\n", imported, 4-imported); r.status != exitFailed || r.stdout != want || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("round %d: %+v", round, r)
			}
		}
		if all := mustLines(t, "account", "list", "--data", folder); len(all) != 2 || all[0]["profile"].(map[string]any)["firstName"] != "First" {
			t.Errorf("%v", all)
		}
		info, err := os.Stat(rejected)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		text, err := os.ReadFile(rejected)
		if err != nil {
			t.Fatal(err)
		}
		kept := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if len(kept) != 4 {
			t.Fatalf("%s", text)
		}
		last := object(t, kept[3])
		reason := last["reasons"].([]any)[0].(map[string]any)
		if last["line"] != 5.0 || last["input"] != `{"email":"eva@example.com","customerNumber":"1"}` || reason["field"] != "/customerNumber" || reason["code"] != "taken" {
			t.Errorf("%v", last)
		}
	})
}

func TestImportRefusesFilesThatItCannotUse(t *testing.T) {
	work := t.TempDir()
	file := filepath.Join(work, "accounts.ndjson")
	write(t, file, `{"email":"anna@example.com"}`)
	folder := t.TempDir()
	refused(t, exitFailed, konto(t, "account", "import", file, "--rejected", file, "--data", folder), "is the one to be imported")
	refused(t, exitFailed, konto(t, "account", "import", file, "--rejected", filepath.Join(work, "none", "x"), "--data", folder), "no such file")
	refused(t, exitFailed, konto(t, "account", "import", filepath.Join(work, "none"), "--data", folder), "no such file")
	if r := konto(t, "account", "import", file, "--data", folder, "--json"); r.stdout != `{"imported":1,"rejected":0}`+"\n" {
		t.Errorf("a refused import did something: %+v", r)
	}
}

// tenThousand is a file of accounts.
func tenThousand(t *testing.T, name string) (path string) {
	t.Helper()
	var lines strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&lines, `{"email":"%s%d@example.com","customerNumber":"%[1]s%d","firstName":"Anna","lastName":"Svensson","address":{"city":"Stockholm"}}`+"\n", name, i, i)
	}
	path = filepath.Join(t.TempDir(), name+".ndjson")
	write(t, path, lines.String())
	return path
}

func TestTenThousandAccountsAreImported(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	serve(t, folder)
	began := time.Now()
	if printed := mustJSON(t, "account", "import", tenThousand(t, "a"), "--data", folder); printed["imported"] != 10000.0 {
		t.Errorf("%v", printed)
	}
	t.Logf("10,000 accounts in %s", time.Since(began))
}
