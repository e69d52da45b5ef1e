package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// repository is where README's commands are run from.
const repository = "../.."

// readmeBlock is the code in a language under a heading of README.md.
func readmeBlock(t *testing.T, heading, language string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, begins := strings.Cut(section, "```"+language+"\n")
	block, _, ends := strings.Cut(block, "```")
	if !found || !begins || !ends {
		t.Fatalf("README has no %s block under %q", language, heading)
	}
	return block
}

// checkout is a working directory that looks like the repository, and keeps
// what is made in it to itself.
func checkout(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	from, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "cmd", "commands", "events", "eventstore", "http", "projections"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// shell is one line of README at work.
type shell struct {
	cmd            *exec.Cmd
	stdout, stderr *watched
}

// startLine runs a line as it is printed; its servers take free ports.
func startLine(t *testing.T, folder, line string) *shell {
	t.Helper()
	s := &shell{exec.Command("bash", "-c", "exec "+line), newWatched(), newWatched()}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = folder, s.stdout, s.stderr
	s.cmd.Env = append(os.Environ(), "KONTO_HTTP=127.0.0.1:0", "KONTO_NATS_LISTEN=127.0.0.1:0")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	return s
}

// end waits until the line has done its work.
func (s *shell) end(t *testing.T) {
	t.Helper()
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", s.cmd, err, s.stderr)
	}
}

// interrupt ends a line that runs until then.
func (s *shell) interrupt(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.end(t)
}

// runLines runs the lines of a block, each to its end but for those that run
// until they are interrupted, which are given to endless.
func runLines(t *testing.T, folder, block string, endless func(line string, s *shell)) {
	t.Helper()
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		s := startLine(t, folder, line)
		if strings.Contains(line, " serve") || strings.Contains(line, " tail") {
			endless(line, s)
			continue
		}
		s.end(t)
		t.Logf("$ %s\n%s", line, s.stdout)
	}
}

func TestReadmeRunsAndItsConsumerHearsOfEvents(t *testing.T) {
	t.Parallel()
	folder := checkout(t)
	var server *shell
	var natsURL string
	tailed := false
	runLines(t, folder, readmeBlock(t, "Running it", "sh"), func(line string, s *shell) {
		if strings.Contains(line, " tail") {
			s.stdout.find(t, regexp.MustCompile(`AccountOpened\.v1(?s:.*)KeyIssued\.v1(?s:.*)KeyIssued\.v1`))
			s.interrupt(t)
			tailed = true
			return
		}
		server, natsURL = s, s.stderr.find(t, readyLine)[2]
	})
	if server == nil || !tailed {
		t.Fatal("README starts no server, or watches no events")
	}
	token := ""
	for line := range strings.Lines(readmeBlock(t, "Consuming events", "sh")) {
		s := startLine(t, folder, strings.TrimSpace(line))
		s.end(t)
		token = s.stdout.find(t, regexp.MustCompile(`token\s+"?(konto_\w+)`))[1]
	}
	consumer := exec.Command(buildConsumer(t, natsURL), token)
	heard, failed := newWatched(), newWatched()
	consumer.Stdout, consumer.Stderr = heard, failed
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consumer.Process.Kill(); consumer.Wait() })
	heard.find(t, regexp.MustCompile(`(?m)^konto\.account\.\w{26}\.AccountOpened konto\.account\.AccountOpened\.v1 \{.*"anna@example\.com"`))
	server.interrupt(t)
}

// buildConsumer makes a program of README's Go code, with nothing but what the
// code leaves to its reader.
func buildConsumer(t *testing.T, natsURL string) (program string) {
	t.Helper()
	const usual = "nats://127.0.0.1:4222"
	code := readmeBlock(t, "Consuming events", "go")
	if !strings.Contains(code, usual) {
		t.Fatalf("README does not connect to %s", usual)
	}
	source := filepath.Join(t.TempDir(), "main.go")
	text := `package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, token := context.Background(), os.Args[1]
` + strings.ReplaceAll(code, usual, natsURL) + `
	if err != nil {
		log.Fatal(err)
	}
	<-consumed.Closed()
}
`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(filepath.Dir(source), "consumer")
	if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("README's Go code: %v\n%s", err, out)
	}
	return program
}
