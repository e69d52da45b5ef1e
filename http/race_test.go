package http

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"konto/commands"
	"konto/events"
)

// TestOneOfManyClaimsOfAnEmailSucceeds checks that the others get their contract's
// own answer.
func TestOneOfManyClaimsOfAnEmailSucceeds(t *testing.T) {
	const claims = 1000
	h := newHarness(t)
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	for i := range claims {
		id := h.open(fmt.Sprint(i), commands.Open{Email: fmt.Sprintf("%d@example.com", i), PaywayID: fmt.Sprintf("%024x", i)})
		h.key(fmt.Sprint("key", i), events.KeyIssued{Account: id, Scopes: []string{"write:account"}})
	}
	before := h.head()
	lost := map[string]string{
		"generic": `409 {"error":"email_exists","message":"This email is already linked to another account."}`,
		"payway":  `400 {"code":"invalid_parameter","field":"email","message":"Parameter must be unique"}`,
	}
	won := together(claims, func(i int) bool {
		contract, status, answer := "generic", 0, ""
		if i%2 == 0 {
			status, answer = h.send("PATCH", "/v1/account", fmt.Sprint("key", i), strings.NewReader(`{"email":"one@example.com"}`))
		} else {
			contract = "payway"
			status, answer = h.send("PUT", "/external/api/v1/accounts", "client",
				strings.NewReader(fmt.Sprintf(`{"id":"%024x","email":"one@example.com"}`, i)))
		}
		if status != 200 && fmt.Sprint(status, " ", answer) != lost[contract] {
			t.Errorf("%s answers %d %s", contract, status, answer)
		}
		return status == 200
	})
	if won != 1 || len(h.since(before)) != 1 {
		t.Errorf("%d won, %d events", won, len(h.since(before)))
	}
}

func TestOneOfManyUpdatesAtOneVersionSucceeds(t *testing.T) {
	h := anna(t)
	before := h.head()
	won := together(500, func(i int) bool {
		status, answer := h.send("PATCH", "/api/v2/me", "key", strings.NewReader(fmt.Sprintf(`{"firstName":"Eva %d"}`, i)), "If-Match", `"1"`)
		if status != 200 && status != 412 {
			t.Errorf("%d %s", status, answer)
		}
		return status == 200
	})
	if won != 1 || len(h.since(before)) != 1 {
		t.Errorf("%d won, %d events", won, len(h.since(before)))
	}
}

// together runs try n times at once and returns how often it was true.
func together(n int, try func(i int) bool) (count int) {
	var all sync.WaitGroup
	results := make([]bool, n)
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			results[i] = try(i)
		})
	}
	close(start)
	all.Wait()
	for _, ok := range results {
		if ok {
			count++
		}
	}
	return count
}
