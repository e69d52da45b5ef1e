package http

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// named lists the statuses that the contracts name, besides those of their error
// tables.
var named = map[string][]int{
	"hostup":    {200, 400, 401, 403, 404, 429, 500},
	"payway.v1": {200, 201, 207, 400, 403, 404, 500},
	"payway.v0": {200, 207, 400, 403, 404, 500},
	"generic":   {200, 400, 401, 403, 409},
}

// TestScriptsShowEveryStatusOfEveryContract compares the statuses in the scripts with
// those that the contracts name and that their error tables can answer.
func TestScriptsShowEveryStatusOfEveryContract(t *testing.T) {
	elsewhere := map[int]string{
		http.StatusRequestEntityTooLarge: "TestBodiesAboveTheLimitAreRefused shows it, without a long script",
		http.StatusServiceUnavailable:    "needs an outside issuer that is unreachable",
	}
	// In Payway a conflict only comes from other nodes that keep changing the account.
	busy := map[string]int{"payway.v1": http.StatusConflict, "payway.v0": http.StatusConflict}
	shown := shownStatuses(t)
	for name, c := range contracts() {
		want := slices.Clone(named[name])
		for _, row := range c.errors {
			if elsewhere[row.status] == "" && busy[name] != row.status {
				want = append(want, row.status)
			}
		}
		slices.Sort(want)
		for _, status := range slices.Compact(want) {
			if !shown[name][status] {
				t.Errorf("no script shows %d of %s", status, name)
			}
		}
	}
}

// shownStatuses returns the statuses that scripts expect, by contract.
func shownStatuses(t *testing.T) map[string]map[int]bool {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	shown := map[string]map[int]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contract, asked := "", false
		for line := range strings.Lines(string(text)) {
			mark, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case mark == ">" && !asked:
				_, path, _ := strings.Cut(rest, " ")
				contract, asked = contractOf(path).name, true
			case mark == "<" && asked:
				status, err := strconv.Atoi(rest)
				if err != nil {
					t.Fatalf("%s: %q is no status", file, rest)
				}
				if shown[contract] == nil {
					shown[contract] = map[int]bool{}
				}
				shown[contract][status], asked = true, false
			}
		}
	}
	return shown
}
