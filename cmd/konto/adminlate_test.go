package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"konto/eventstore/sqlitefile"
)

// Nothing shows a secret again, so it is answered although the read model does not follow.
func TestSecretsAreAnsweredAlthoughTheReadModelIsLate(t *testing.T) {
	t.Parallel()
	a := administered(t)
	db, err := sqlitefile.OpenWriter(filepath.Join(a.folder, "read.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER full BEFORE UPDATE ON progress BEGIN SELECT RAISE(FAIL, 'no space is left'); END"); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{
		{"/keys", `{"client":"crm","scopes":["/external/account/r"]}`, "token"},
		{"/sessions", `{"admin":"root"}`, "cookie"},
		{"/third-parties", `{"name":"crm","url":"https://crm.example.com/"}`, "secret"},
	} {
		if made := a.must("POST", test[0], test[1]); made[test[2]] == "" || made[test[2]] == nil {
			t.Errorf("%s answered %v", test[0], made)
		}
	}
}

// A caller that reads slowly has much of the log before it. None of it is sent once the key is revoked.
func TestRevokedKeyReadsNoBacklog(t *testing.T) {
	t.Parallel()
	a := administered(t)
	const accounts = 2000
	file, lines := filepath.Join(t.TempDir(), "accounts.ndjson"), strings.Builder{}
	for i := range accounts {
		fmt.Fprintf(&lines, `{"email":"b%d@example.com","companyName":%q}`+"\n", i, strings.Repeat("x", 200))
	}
	write(t, file, lines.String())
	if r := konto(t, "account", "import", file, "--data", a.folder); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	key := a.must("POST", "/keys", `{"admin":"eva","role":"viewer"}`)
	small := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	client := &http.Client{Transport: &http.Transport{DialContext: small.DialContext}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", a.url+"/admin/v1/events/live?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key["token"].(string))
	answer, err := client.Do(r) // it is not read yet
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	a.must("POST", "/keys/"+key["id"].(string)+"/revoke", "")
	text, err := io.ReadAll(answer.Body)
	if sent := strings.Count(string(text), "AccountOpened.v1"); err != nil || sent == 0 || sent > accounts*9/10 {
		t.Errorf("%d of %d events were sent, %v", sent, accounts, err)
	}
}
