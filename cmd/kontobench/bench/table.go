package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

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
	if r.Store != nil { // what knows the server's process, or could
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

// table is sections of columns, figures on the right.
type table struct{ *tabwriter.Writer }

// section begins columns of its own, after an empty line.
func (t table) section(name string, columns ...any) {
	fmt.Fprintln(t)
	t.row(name, columns...)
}

// row adds a line. A fraction is told in hundredths.
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

// unknown is a figure that is above 0 wherever it is known.
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
