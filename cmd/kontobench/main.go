// Command kontobench measures a konto: a fresh one, one that grows, or one that runs.
//
//   - main.go is the command line, and measures a konto that runs already
//   - fresh.go and growth.go measure konto servers that server.go starts
//   - fill.go fills their data folders
//   - package bench, in bench/, makes the load and the report
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/setup"
	"konto/cmd/kontobench/bench"
)

func main() {
	// The log alone and the rebuild are measured in this process, so it is set up as konto's is.
	setup.Main(func(ctx context.Context) int { return run(ctx, os.Args[1:], os.Stdout, os.Stderr) })
}

// The exit statuses, which are those of konto.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	stderr = control.Printing{To: stderr}
	var c benchCommand
	helped := false
	parser := kong.Must(&c, kong.Name("kontobench"), kong.Description("Measures a fresh or a running konto."), kong.Writers(stdout, io.Discard),
		kong.Exit(func(int) { helped = true }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	_, err := parser.Parse(args)
	if helped { // kong continues after its exit hook returns, and its later errors mean nothing
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "kontobench: %s (see kontobench --help)\n", control.Sentence(err))
		return exitUsage
	}
	if err := c.run(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "kontobench: %s\n", control.Sentence(err))
		return exitFailed
	}
	return exitDone
}

// folder is a path that was given. A script whose variable was never set gives an empty path.
type folder string

// UnmarshalText refuses an empty path.
func (f *folder) UnmarshalText(text []byte) error {
	if *f = folder(text); *f == "" {
		return errors.New("the path of a folder is empty")
	}
	return nil
}

// benchCommand is the command line.
type benchCommand struct {
	Data  folder `name:"data" default:"konto-data" env:"KONTO_DATA" placeholder:"DIR" help:"Data folder of konto; the measured data folder is made beside it. konto-data unless given."`
	JSON  bool   `name:"json" env:"KONTO_JSON" help:"Print JSON: one object."`
	Konto string `name:"konto" placeholder:"FILE" help:"The program to measure; the konto beside kontobench, or the one in PATH, unless given."`

	Accounts    int     `name:"accounts" default:"10000" placeholder:"N" help:"Accounts to spread the load over."`
	Connections int     `name:"connections" default:"64" placeholder:"N" help:"Connections of the load, each with one request at a time."`
	Seconds     float64 `name:"seconds" default:"5" placeholder:"N" help:"Length of each measurement."`

	URL     string `name:"url" placeholder:"URL" help:"Measure this running konto over HTTP, and change the accounts of --targets."`
	Targets string `name:"targets" placeholder:"FILE" help:"Lines of /api/v2/me, a tab and an account's key, for --url."`
	Prepare string `name:"prepare" placeholder:"DIR" help:"Measure nothing; make DIR/data, with accounts, and DIR/targets for a load generator."`

	PrepareEvents int `name:"prepare-events" placeholder:"N" help:"Events in the log that --prepare makes, if the accounts need fewer."`

	Growth     bool  `name:"growth" help:"Measure how latency and memory grow with the log and with the accounts."`
	Events     []int `name:"events" default:"10000,100000,1000000" placeholder:"N,..." help:"Lengths of the log for --growth."`
	OfAccounts []int `name:"of-accounts" default:"1000,10000,100000" placeholder:"N,..." help:"Numbers of accounts for --growth."`
}

func (c *benchCommand) Help() string {
	return `Makes a konto in a scratch folder beside the data folder, so that it measures the same disk, and
removes it afterwards. The data folder is not touched. The server is a process of its own, on ports of
its own. The load comes from kontobench, which uses a part of the same CPUs. With --growth it writes
as many events as the largest of --events, about 1 GB a million.

Examples:

    kontobench
    kontobench --json --seconds 10 --data /var/lib/konto
    kontobench --growth --events 10000,10000000 --of-accounts 1000,1000000
    kontobench --url http://127.0.0.1:8080 --targets prepared/targets
    kontobench --prepare prepared --accounts 10001
    kontobench --prepare prepared --accounts 100000 --prepare-events 1000000`
}

// Validate is called by kong.
func (c *benchCommand) Validate() error {
	switch {
	case c.Accounts < 1 || c.Accounts > 1_000_000:
		return errors.New("--accounts is from 1 to 1000000")
	case c.Connections < 1 || c.Connections > 10_000:
		return errors.New("--connections is from 1 to 10000")
	case !(c.Seconds >= 0.1 && c.Seconds <= 3600):
		return errors.New("--seconds is from 0.1 to 3600")
	case (c.URL == "") != (c.Targets == ""):
		return errors.New("--url and --targets go together")
	case c.URL != "" && c.Prepare != "", c.URL != "" && c.Growth, c.Prepare != "" && c.Growth:
		return errors.New("--url, --prepare and --growth exclude each other")
	}
	if c.PrepareEvents < 0 || c.PrepareEvents > 100_000_000 || c.PrepareEvents > 0 && c.Prepare == "" {
		return errors.New("--prepare-events is from 0 to 100000000, and goes with --prepare")
	}
	if err := checkSizes("--events", c.Events, 100, 100_000_000); err != nil {
		return err
	}
	if err := checkSizes("--of-accounts", c.OfAccounts, 1, 1_000_000); err != nil {
		return err
	}
	if c.URL != "" {
		if _, err := bench.ParseServer(c.URL); err != nil {
			return fmt.Errorf("--url: %w", err)
		}
	}
	return nil
}

// checkSizes checks that sizes are within bounds and grow.
func checkSizes(flag string, sizes []int, least, most int) error {
	for i, size := range sizes {
		if size < least || size > most || i > 0 && size <= sizes[i-1] {
			return fmt.Errorf("%s are from %d to %d, each greater than the one before", flag, least, most)
		}
	}
	return nil
}

// benching is the state of a run.
type benching struct {
	*benchCommand
	out     *control.Output
	report  bench.Report
	program string // konto, as findKonto found it
	parts   uint64 // that were measured
	of      uint64
}

func (c *benchCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	m := control.NewMeter(stderr)
	defer m.Clear()
	b := &benching{benchCommand: c, out: control.NewMeteredOutput(stdout, c.JSON, m)}
	b.report = bench.Report{Machine: bench.ThisMachine(), Connections: c.Connections, Seconds: c.Seconds}
	if c.Prepare != "" {
		return errors.Join(b.prepare(ctx), b.out.Flush())
	}
	var err error
	if c.URL != "" {
		err = b.measureRunning(ctx)
	} else {
		if b.program, err = findKonto(c.Konto); err != nil {
			return err
		}
		measure := b.measureFresh
		if c.Growth {
			measure = b.measureGrowth
		}
		err = b.inScratch(string(c.Data), func(folder string) error { return measure(ctx, folder) })
	}
	if ctx.Err() != nil {
		return ctx.Err() // it is the cause of any other error
	}
	if err != nil {
		return err
	}
	if b.out.JSON {
		err = b.out.Object(&b.report)
	} else {
		err = b.report.Print(b.out.Text)
	}
	return errors.Join(err, b.out.Flush())
}

// inScratch calls do with a folder beside the data folder. The folder for temporary files is
// often in memory, where a sync costs nothing.
func (b *benching) inScratch(data string, do func(folder string) error) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(filepath.Clean(data)), "konto-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return do(folder)
}

// measured shows that one more part is done.
func (b *benching) measured() {
	b.parts++
	b.out.Progress(uint64(float64(b.parts)*b.Seconds), uint64(float64(b.of)*b.Seconds), "seconds of measurements")
}

func (b *benching) measureRunning(ctx context.Context) error {
	file, err := os.Open(b.Targets)
	if err != nil {
		return err
	}
	defer file.Close()
	targets, err := bench.ReadTargets(file)
	if err != nil {
		return fmt.Errorf("%s: %w", b.Targets, err)
	}
	server, err := bench.ParseServer(b.URL)
	if err != nil {
		return err
	}
	b.of, b.report.Accounts = 4, len(targets)
	b.report.HTTP, err = b.subject(server, 0, targets).HTTP(ctx, b.measured)
	return err
}

func (b *benching) subject(server bench.Server, process bench.Process, targets []bench.Target) bench.Subject {
	return bench.Subject{Server: server, Process: process, Targets: targets, Connections: b.Connections, Length: b.length()}
}

func (b *benching) length() time.Duration { return time.Duration(b.Seconds * float64(time.Second)) }

// prepare makes a data folder with accounts, and a file of targets.
func (b *benching) prepare(ctx context.Context) error {
	data, targets := filepath.Join(b.Prepare, "data"), filepath.Join(b.Prepare, "targets")
	if !datafolder.Missing(data) || !datafolder.Missing(targets) {
		return fmt.Errorf("%s is prepared already", b.Prepare)
	}
	f, err := b.makeAccounts(ctx, data, b.PrepareEvents)
	if err != nil {
		return errors.Join(err, os.RemoveAll(data))
	}
	file, err := os.OpenFile(targets, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(bench.WriteTargets(file, f.targets()), file.Close()); err != nil {
		return err
	}
	if b.out.JSON {
		return b.out.Object(struct {
			Data    string `json:"data"`
			Targets string `json:"targets"`
		}{data, targets})
	}
	return errors.Join(b.out.Line("konto serve --data %s --rate-limit off", data),
		b.out.Line("kontobench --url http://127.0.0.1:8080 --targets %s", targets))
}

// makeAccounts makes a data folder with accounts, whose log has so many events at least, and closes
// it.
func (b *benching) makeAccounts(ctx context.Context, folder string, events int) (*filling, error) {
	f, err := newFilling(ctx, folder, b.out.Progress)
	if err != nil {
		return nil, err
	}
	err = f.openAccounts(ctx, b.Accounts)
	if err == nil {
		err = f.update(ctx, events)
	}
	if err == nil {
		err = f.caughtUp(ctx)
	}
	return f, errors.Join(err, f.close())
}
