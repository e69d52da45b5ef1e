package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const observing = "deploy/observe"

// metricNames finds metrics in expressions of Prometheus and in text.
var metricNames = regexp.MustCompile(`\b(?:konto|process|go)_\w+\b`)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// measuredServer is a server of which every metric that SQLite's log allows has a value, and its
// page.
func measuredServer(t *testing.T) (page string) {
	t.Helper()
	folder := t.TempDir()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	server, url, _ := serve(t, folder, "--metrics", "127.0.0.1:0", "--third-party-allow", "127.0.0.0/8")
	must(t, "third-party", "add", "crm", "--url", receiver.URL, "--data", folder)
	anna := newTenant(t, folder, "anna@example.com")
	if status, body := send(t, "PATCH", url+"/v1/account", anna.token, `{"email":"eva@example.com"}`); status != 200 {
		t.Fatalf("answered %d %s", status, body)
	}
	send(t, "GET", url+"/v1/account", "nobody's", "")
	return server.stderr.find(t, regexp.MustCompile(`metrics are at (http://\S+/metrics)`))[1]
}

// names are the series of a page of metrics.
func names(page string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
		if m[2] == "histogram" {
			all = append(all, m[1]+"_bucket", m[1]+"_sum", m[1]+"_count")
		}
	}
	return all
}

// Every metric that a dashboard, an alert or the guide names exists, and the guide names every one
// of konto's.
func TestDashboardsAlertsAndGuideNameMetricsThatExist(t *testing.T) {
	files, err := filepath.Glob(observing + "/dashboards/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("no dashboards: %v", err)
	}
	guide := filepath.Join(repository, "http/docs/observing.md")
	wanted := map[string]string{} // with the file that names it
	for _, file := range append(files, observing+"/rules.yml", guide) {
		for _, name := range metricNames.FindAllString(read(t, file), -1) {
			if !strings.HasPrefix(name, "konto_postgres_") && name != "konto_lease_held" { // of a log in Postgres
				wanted[name] = file
			}
		}
	}
	url := measuredServer(t)
	// The delivery comes after the update was answered.
	for deadline := time.Now().Add(patience); !strings.Contains(scrape(t, url), `outcome="delivered",third_party="crm"} 1`); {
		if time.Now().After(deadline) {
			t.Fatal("nothing was delivered")
		}
	}
	exist := names(scrape(t, url))
	for name, file := range wanted {
		if !slices.Contains(exist, name) {
			t.Errorf("%s names %s, which does not exist", file, name)
		}
	}
	text := read(t, guide)
	for _, name := range exist {
		plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "konto_") && !strings.Contains(text, "`"+plain+"`") {
			t.Errorf("the guide does not name %s", name)
		}
	}
}

// Each alert says in a sentence what is wrong, links to a section of the guide, and has a test.
func TestAlertsHaveASummaryARunbookAndATest(t *testing.T) {
	guide, tests := read(t, filepath.Join(repository, "http/docs/observing.md")), read(t, observing+"/rules_test.yml")
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(guide, -1) {
		sections[strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))] = true
	}
	alerts := strings.Split(read(t, observing+"/rules.yml"), "- alert: ")[1:]
	if len(alerts) < 10 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, "\n")
		if !regexp.MustCompile(`(?m)^ +summary: .*\.["']?$`).MatchString(alert) {
			t.Errorf("%s has no sentence as its summary", name)
		}
		runbook := regexp.MustCompile(`(?m)^ +runbook: /docs/observing#(.*)$`).FindStringSubmatch(alert)
		if runbook == nil || !sections[runbook[1]] {
			t.Errorf("%s has no section in the guide: %v", name, runbook)
		}
		if !regexp.MustCompile(`alertname: ` + name + `\n +exp_alerts:\n`).MatchString(tests) {
			t.Errorf("no test lets %s fire", name)
		}
	}
}
