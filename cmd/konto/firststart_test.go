package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// startTakes is how long a start is watched for kills: longer than one takes,
// so that some of them meet a server that is ready.
func startTakes(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	startProcess(t, filepath.Join(t.TempDir(), "konto")).kill()
	return time.Since(began)
}

// A server that is killed while it starts leaves a folder that the next one
// starts with, with all that was in it.
func TestStartSucceedsAfterAKilledFirstStart(t *testing.T) {
	t.Parallel()
	takes := startTakes(t)
	for name, begin := range map[string]func(folder string) (accounts int){
		"for the first time": func(string) int { return 0 },
		"with data": func(folder string) int {
			must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range *rounds {
				folder := filepath.Join(t.TempDir(), "konto")
				accounts := begin(folder)
				for range 3 {
					p := launch(t, folder)
					time.Sleep(rand.N(takes)) // the random moment itself
					p.kill()
				}
				p := startProcess(t, folder)
				must(t, "account", "open", "--data", folder, "--email", fmt.Sprintf("a%d@example.com", round))
				if n := len(mustLines(t, "account", "list", "--data", folder)); n != accounts+1 {
					t.Errorf("%d accounts of %d", n, accounts+1)
				}
				p.kill()
				checkLog(t, folder, nil)
				if t.Failed() {
					t.Fatalf("in round %d", round+1)
				}
			}
		})
	}
}
