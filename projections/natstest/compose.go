package natstest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Composed returns the content of a configuration in docker-compose.yml, as it is written there:
// with the variables, and with $$ for $. The test's package is two folders below the repository.
func Composed(t testing.TB, name string) string {
	t.Helper()
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(compose), "\nconfigs:\n")
	_, text, named := strings.Cut("\n"+text, "\n  "+name+":\n")
	_, text, begins := strings.Cut(text, "    content: |\n")
	if !found || !named || !begins {
		t.Fatalf("docker-compose.yml has no configuration %s", name)
	}
	const indent = "      "
	var content strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, indent) {
			break
		}
		content.WriteString(strings.TrimPrefix(line, indent))
	}
	return content.String()
}

// Fill sets the variables of a text in docker-compose.yml to their defaults.
func Fill(text string) string {
	text = regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(text, "$1")
	return strings.ReplaceAll(text, "$$", "$")
}
