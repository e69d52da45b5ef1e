package bench

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
)

// Report is the result of a run, in the order in which it is printed. A section that was not
// measured is absent.
type Report struct {
	Machine     Machine   `json:"machine"`
	Accounts    int       `json:"accounts"`
	Connections int       `json:"connections"`
	Seconds     float64   `json:"seconds"` // of each measurement
	Store       *Store    `json:"store,omitzero"`
	HTTP        []Request `json:"http,omitzero"`
	Lags        []Lags    `json:"lags,omitzero"`
	Rebuild     *Rebuild  `json:"rebuild,omitzero"`
	Memory      *Memory   `json:"memory,omitzero"`
	Growth      []Grown   `json:"growth,omitzero"`
}

// Machine describes the machine, on which all figures depend.
type Machine struct {
	CPUs   int    `json:"cpus"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine that kontobench runs on.
func ThisMachine() Machine {
	return Machine{CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
}

// Store is how fast the log stores appends of one record each.
type Store struct {
	// RawRows is how many of the same rows SQLite stores a second, 100 in a transaction.
	RawRows float64   `json:"rawRowsPerSecond"`
	Appends []Appends `json:"appends"`
}

// Appends is the result with some clients, each of which waits for its append.
type Appends struct {
	Clients   int     `json:"clients"`
	PerSecond float64 `json:"perSecond"`
	OfRaw     float64 `json:"ofRaw"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
}

// Request is the result of requests of one kind, over all accounts in turn or over one.
type Request struct {
	Method    string  `json:"method"`
	Accounts  int     `json:"accounts"`
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	Errors    int64   `json:"errors"`
	// CPU time a request, of the server (absent if unknown) and of the bench.
	ServerCPU float64 `json:"serverCpuUs,omitzero"`
	BenchCPU  float64 `json:"benchCpuUs"`
}

// Lags is how long after its acknowledgement an update was visible elsewhere, at one rate.
type Lags struct {
	Load      string  `json:"load"` // "maximum" or "half"
	PerSecond float64 `json:"updatesPerSecond"`
	P50       float64 `json:"p50Ms"` // of the updates
	P99       float64 `json:"p99Ms"`
	Errors    int64   `json:"errors"`
	To        []Lag   `json:"to"`
}

// Lag is how long one effect took.
type Lag struct {
	What      string  `json:"what"` // "read model", "published" or "webhook"
	Events    int64   `json:"events"`
	P50       float64 `json:"p50Ms"`
	P99       float64 `json:"p99Ms"`
	Most      float64 `json:"maxMs"`
	Recovered float64 `json:"recoveredMs"` // after the load's end
}

// Rebuild is how fast the read model is rebuilt.
type Rebuild struct {
	Events    uint64  `json:"events"`
	PerSecond float64 `json:"perSecond"`
	// Raw is how fast one goroutine reads the same records and decodes payloads like theirs.
	Raw   float64 `json:"rawPerSecond"`
	OfRaw float64 `json:"ofRaw"`
}

// Memory is the server's resident memory, in MiB. It is absent if it is unknown.
type Memory struct {
	Begun float64 `json:"begunMiB,omitzero"` // when it was ready
	Ended float64 `json:"endedMiB"`          // after the load
	Most  float64 `json:"mostMiB"`
}

// Grown is the result for a log of some length with some accounts.
type Grown struct {
	Events   uint64  `json:"events"`
	Accounts int     `json:"accounts"`
	Log      float64 `json:"logMiB"`
	Start    float64 `json:"startMs"`
	Patch    Request `json:"patch"`
	Get      Request `json:"get"`
	Memory   *Memory `json:"memory,omitzero"`
}

// Print prints the report for people.
func (r *Report) Print(to io.Writer) error {
	t := table{tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)}
	fmt.Fprintf(t, "%d CPUs, %s, %s; %d connections, %g s a measurement\n",
		r.Machine.CPUs, r.Machine.System, r.Machine.Go, r.Connections, r.Seconds)
	if s := r.Store; s != nil {
		t.section("store", "clients", "appends/s", "of raw", "p50 ms", "p99 ms")
		for _, a := range s.Appends {
			t.row("", a.Clients, whole(a.PerSecond), fmt.Sprintf("%.2f", a.OfRaw), a.P50, a.P99)
		}
		t.row("raw, 100 a transaction", "", whole(s.RawRows), "", "", "")
	}
	if len(r.HTTP) > 0 {
		t.section("http", "accounts", "requests/s", "p50 ms", "p99 ms", "errors", "server CPU µs", "bench CPU µs")
		for _, q := range r.HTTP {
			t.row(q.Method, q.Accounts, whole(q.PerSecond), q.P50, q.P99, q.Errors, unknown(q.ServerCPU), whole(q.BenchCPU))
		}
	}
	r.printLags(t)
	if b := r.Rebuild; b != nil {
		t.section("rebuild", "events", "events/s", "raw events/s", "of raw")
		t.row("read model", b.Events, whole(b.PerSecond), whole(b.Raw), fmt.Sprintf("%.2f", b.OfRaw))
	}
	if r.Store != nil { // the run had a server process of its own
		t.section("memory", "ready MiB", "after MiB", "most MiB")
		m := valueOr(r.Memory)
		t.row("server", unknown(m.Begun), unknown(m.Ended), unknown(m.Most))
	}
	r.printGrowth(t)
	return t.Flush()
}

func (r *Report) printLags(t table) {
	if len(r.Lags) == 0 {
		return
	}
	t.section("after an update was acknowledged", "updates/s", "events", "p50 ms", "p99 ms", "max ms", "recovered ms")
	for _, l := range r.Lags {
		t.row(l.Load+" rate: the updates", whole(l.PerSecond), "", l.P50, l.P99, "", "")
		for _, to := range l.To {
			t.row(to.What, "", to.Events, to.P50, to.P99, to.Most, whole(to.Recovered))
		}
	}
}

func (r *Report) printGrowth(t table) {
	if len(r.Growth) == 0 {
		return
	}
	t.section("growth", "events", "accounts", "log MiB", "start ms", "PATCH/s", "p50 ms", "p99 ms", "GET/s", "p99 ms", "errors", "memory MiB", "most MiB")
	for _, g := range r.Growth {
		m := valueOr(g.Memory)
		t.row("", g.Events, g.Accounts, whole(g.Log), whole(g.Start), whole(g.Patch.PerSecond), g.Patch.P50, g.Patch.P99,
			whole(g.Get.PerSecond), g.Get.P99, g.Patch.Errors+g.Get.Errors, unknown(m.Ended), unknown(m.Most))
	}
}

// table prints sections of columns, with figures aligned to the right.
type table struct{ *tabwriter.Writer }

// section begins new columns, after an empty line.
func (t table) section(name string, columns ...any) {
	fmt.Fprintln(t)
	t.row(name, columns...)
}

// row adds a line. A fraction is printed in hundredths.
func (t table) row(name string, cells ...any) {
	fmt.Fprintf(t, "%s\t", name)
	for _, cell := range cells {
		if f, ok := cell.(float64); ok {
			cell = fmt.Sprintf("%.2f", f)
		}
		fmt.Fprintf(t, "%v\t", cell)
	}
	fmt.Fprintln(t)
}

func whole(n float64) string { return fmt.Sprintf("%.0f", n) }

// unknown formats a figure, for which 0 means unknown.
func unknown(n float64) string {
	if n == 0 {
		return "unknown"
	}
	return whole(n)
}

func valueOr[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
}
