//go:build servers

package main

import (
	"os/exec"
	"strings"
	"testing"
)

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir, cmd.Stdin = observing, strings.NewReader(stdin)
	// promtool check metrics says what is unusual, and exits with 3.
	if out, err := cmd.CombinedOutput(); err != nil || args[1] == "metrics" && len(out) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusAcceptsMetricsAndAlerts(t *testing.T) {
	promtool(t, scrape(t, measuredServer(t)), "check", "metrics")
	promtool(t, "", "check", "config", "prometheus.yml")
	promtool(t, "", "check", "rules", "rules.yml")
	promtool(t, "", "test", "rules", "rules_test.yml")
}
