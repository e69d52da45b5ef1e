package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deployed returns the files that konto is run from, by their names.
func deployed(t *testing.T) (files map[string]string) {
	t.Helper()
	names, err := filepath.Glob("deploy/*")
	if err != nil || len(names) < 6 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	files = map[string]string{}
	for _, name := range append(names, filepath.Join(repository, "Dockerfile")) {
		if name == filepath.FromSlash("deploy/observe") { // files of Prometheus and Grafana
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(text)
	}
	return files
}

func TestDeployFilesNameSettingsAndCommandsThatExist(t *testing.T) {
	commands := commandLines(t)
	for name, text := range deployed(t) {
		for _, variable := range regexp.MustCompile(`KONTO_\w+`).FindAllString(text, -1) {
			if variable == "KONTO_PORT" { // as an example of what is no setting
				continue
			}
			if warnings := ignoredVariables([]string{variable + "=1"}); warnings != nil {
				t.Errorf("%s: %s", name, warnings)
			}
		}
		for _, m := range regexp.MustCompile(`(?:#   |bin/|/)konto ([a-z][a-z-]*)`).FindAllStringSubmatch(text, -1) {
			if _, ok := commands[m[1]]; !ok {
				t.Errorf("%s: there is no konto %s", name, m[1])
			}
		}
	}
}

// A flag of the command that the image runs would count before the variables of whoever runs it.
func TestImagesSettingsAreVariables(t *testing.T) {
	text := deployed(t)["Dockerfile"]
	for _, line := range []string{"ENV KONTO_DATA=/data KONTO_HTTP=0.0.0.0:8080\n", "USER 65532:65532\n", "ENTRYPOINT [\"/konto\"]\nCMD [\"serve\"]\n", `CMD ["/konto", "health"]` + "\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the Dockerfile lacks %q", line)
		}
	}
}
