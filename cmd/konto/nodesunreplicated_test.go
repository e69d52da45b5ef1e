//go:build servers

package main

import (
	"regexp"
	"strings"
	"testing"

	"konto/eventstore/postgres/postgrestest"
)

func TestServerWithoutAStandbySaysSo(t *testing.T) {
	t.Setenv("KONTO_STORE_UNREPLICATED", "true")
	n := newNodes(t, postgrestest.Primary(t).URL())
	a := n.start(t, "a")
	a.stderr.find(t, regexp.MustCompile(`level=WARN msg="Postgres runs without a synchronous standby`))
	if status, body := send(t, "GET", a.url+"/readyz", "", ""); status != 200 || !strings.Contains(body, "\nWarning: Postgres runs without a synchronous standby") {
		t.Errorf("/readyz answered %d %s", status, body)
	}
}
