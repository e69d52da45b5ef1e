package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// repository is where the commands of README and the guides are run from.
const repository = "../.."

// documents reads README and the guides.
func documents(t *testing.T) (texts []string) {
	t.Helper()
	guides, err := filepath.Glob(filepath.Join(repository, "http/docs/*.md"))
	if err != nil || len(guides) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	for _, file := range append(guides, filepath.Join(repository, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, "\n"+string(text))
	}
	return texts
}

// codeBlocks lists the code in a language, in README and the guides.
func codeBlocks(t *testing.T, language string) (blocks []string) {
	for _, text := range documents(t) {
		for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(text, -1) {
			blocks = append(blocks, m[1])
		}
	}
	return blocks
}

// readmeBlock is the first code in a language under a heading of README or of a
// guide. A guide's title is the heading of all of the guide.
func readmeBlock(t *testing.T, heading, language string) string {
	t.Helper()
	for _, text := range documents(t) {
		section, found := "", false
		if _, section, found = strings.Cut(text, "\n## "+heading+"\n"); found {
			section, _, _ = strings.Cut(section, "\n## ")
		} else if section, found = strings.CutPrefix(text, "\n# "+heading+"\n"); !found {
			continue
		}
		_, block, begins := strings.Cut(section, "```"+language+"\n")
		block, _, ends := strings.Cut(block, "```")
		if begins && ends {
			return block
		}
	}
	t.Fatalf("neither README nor a guide has a %s block under %q", language, heading)
	return ""
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

// shell is one command of README or of a guide while it runs.
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
		if strings.Contains(line, " serve ") || strings.Contains(line, " tail ") {
			endless(line, s)
			continue
		}
		s.end(t)
		t.Logf("$ %s\n%s", line, s.stdout)
	}
}

// TestCommandsOfReadmeAndGuidesRun runs every block of commands, in one data
// folder, and the guide's consumer in Go.
func TestCommandsOfReadmeAndGuidesRun(t *testing.T) {
	t.Parallel()
	left := map[string]bool{} // blocks that have not run
	for _, block := range codeBlocks(t, "sh") {
		left[block] = !runsElsewhere(block)
	}
	folder := checkout(t)
	var server *shell
	var natsURL string
	tailed := false
	run := func(block string) {
		left[block] = false
		runLines(t, folder, block, func(line string, s *shell) {
			if strings.Contains(line, " tail ") {
				s.stdout.find(t, regexp.MustCompile(`AccountOpened\.v1(?s:.*)KeyIssued\.v1(?s:.*)KeyIssued\.v1`))
				s.interrupt(t)
				tailed = true
				return
			}
			server, natsURL = s, s.stderr.find(t, readyLine)[2]
		})
	}
	run(readmeBlock(t, "Running it", "sh"))
	if server == nil || !tailed {
		t.Fatal("README starts no server, or watches no events")
	}
	token := ""
	consumerKey := readmeBlock(t, "Consuming events", "sh")
	left[consumerKey] = false
	for line := range strings.Lines(consumerKey) {
		s := startLine(t, folder, strings.TrimSpace(line))
		s.end(t)
		token = s.stdout.find(t, regexp.MustCompile(`token\s+"?(konto_\w+)`))[1]
	}
	consumer := exec.Command(buildConsumer(t, natsURL), token)
	received, failed := newWatched(), newWatched()
	consumer.Stdout, consumer.Stderr = received, failed
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consumer.Process.Kill(); consumer.Wait() })
	received.find(t, regexp.MustCompile(`(?m)^konto\.account\.\w{26}\.AccountOpened konto\.account\.AccountOpened\.v1 \{.*"anna@example\.com"`))
	for _, heading := range []string{
		"Observing konto", "Older events", "Webhooks for third parties", "Facts from other systems", "The command line",
		"Tokens of other issuers", "Erasure", "Administration over HTTP",
	} {
		run(readmeBlock(t, heading, "sh"))
	}
	server.interrupt(t)
	run(readmeBlock(t, "Backups", "sh"))
	run(readmeBlock(t, "Restoring", "sh"))
	for block, waiting := range left {
		if waiting {
			t.Errorf("no test runs\n%s", block)
		}
	}
}

// runsElsewhere reports whether another test runs a block of commands.
func runsElsewhere(block string) bool {
	return strings.Contains(block, " demo ") || // .ci/quickstart
		strings.HasPrefix(block, "curl ") || // TestReadmesRequestIsAnsweredAsShown
		strings.Contains(block, "kontobench") || // its own tests
		strings.Contains(block, "--profile cluster") || strings.Contains(block, "--profile observe") || // needs containers; natstest and the servers tier test what they run
		strings.Contains(block, "KONTO_STORE=") // the servers tier
}

// TestReadmesRequestIsAnsweredAsShown sends README's request to the demo. The
// answer differs only in the account's id and the times.
func TestReadmesRequestIsAnsweredAsShown(t *testing.T) {
	demo := start(t, "demo", "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	demo.stdout.find(t, natsLine)
	printed := regexp.MustCompile(`PATCH (http://\S+)/v1/account -H 'Authorization: Bearer (\w+)'`).FindStringSubmatch(demo.stdout.String())
	if printed == nil {
		t.Fatalf("the demo prints no token for Acme: %s", demo.stdout)
	}
	request := strings.NewReplacer("http://127.0.0.1:8080", printed[1], "TOKEN", printed[2]).Replace(readmeBlock(t, "The three contracts", "sh"))
	got := object(t, bash(t, strings.Replace(request, "curl ", "curl -sS ", 1)))
	want := object(t, readmeBlock(t, "The three contracts", "json"))
	for _, own := range []string{"id", "created_at", "updated_at"} {
		if got[own] == nil || want[own] == nil {
			t.Errorf("%s is missing", own)
		}
		delete(got, own)
		delete(want, own)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the demo answers %v, README shows %v", got, want)
	}
}

// TestDocumentsNameTestsAndFilesThatExist checks the tests that SECURITY.md and
// CONTRIBUTING.md name, the files and folders in CONTRIBUTING.md's tables, and the
// declarations that it names in them.
func TestDocumentsNameTestsAndFilesThatExist(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(repository, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"SECURITY.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join(repository, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(text, -1) {
			if !tests[string(m[1])] {
				t.Errorf("%s names %s, which is no test", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile("`((?:cmd|commands|events|eventstore|http|projections)/[\\w/.]+)`").FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(repository, string(m[1]))); err != nil {
				t.Errorf("%s names %s: %v", file, m[1], err)
			}
		}
		for _, m := range regexp.MustCompile("`(?:\\w+\\.)?(\\w+)` in `([\\w/.]+)`").FindAllSubmatch(text, -1) {
			source, err := os.ReadFile(filepath.Join(repository, string(m[2])))
			declared := regexp.MustCompile(`(?m)^(func|type|var|const) (\(\w+ \*?\w+\) )?` + string(m[1]) + `\b`)
			if err != nil || !declared.Match(source) {
				t.Errorf("%s names %s in %s, which does not declare it: %v", file, m[1], m[2], err)
			}
		}
	}
}

// buildConsumer makes a program of the guide's Go code, and adds only what the
// guide leaves to its reader.
func buildConsumer(t *testing.T, natsURL string) (program string) {
	t.Helper()
	const usual = "nats://127.0.0.1:4222"
	code := readmeBlock(t, "Consuming events", "go")
	if !strings.Contains(code, usual) {
		t.Fatalf("the guide does not connect to %s", usual)
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
		t.Fatalf("the guide's Go code: %v\n%s", err, out)
	}
	return program
}
