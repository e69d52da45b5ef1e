package http

import (
	"fmt"
	"strings"
	"testing"
)

// TestLostRaceIsNeverAServerError sends many updates at one version through all
// contracts at once. One succeeds, and the others get a 412 in their contract's shape.
func TestLostRaceIsNeverAServerError(t *testing.T) {
	const updates = 500
	h := anna(t)
	before := h.head()
	contracts := []struct{ method, path, key, body, lost string }{
		{"PATCH", "/api/v2/me", "key", `{"firstName":"Eva %d"}`, `"code":"precondition_failed"`},
		{"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","first_name":"Ida %d"}`, `"code":"precondition_failed"`},
		{"PUT", "/external/api/v0/accounts", "client", `{"id":"50f3ac249f6aef294d000007","last_name":"Ek %d"}`, `"code":"precondition_failed"`},
		{"PATCH", "/v1/account", "key", `{"name":"Ada %d"}`, `"error":"precondition_failed"`},
	}
	won := together(updates, func(i int) bool {
		c := contracts[i%len(contracts)]
		status, answer := h.send(c.method, c.path, c.key, strings.NewReader(fmt.Sprintf(c.body, i)), "If-Match", `"1"`)
		if status != 200 && (status != 412 || !strings.Contains(answer, c.lost)) {
			t.Errorf("%s: %d %s", c.path, status, answer)
		}
		return status == 200
	})
	if won != 1 || len(h.since(before)) != 1 {
		t.Errorf("%d won, %d events", won, len(h.since(before)))
	}
}
