package control

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress is how much of a task a command has done.
type Progress struct {
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"` // at least Done; it may grow
	Unit  string `json:"unit"`  // what is counted, such as "events"; another unit is another task
}

const (
	// ReportEvery is how often progress is sent to the caller and a bar moves.
	ReportEvery = 100 * time.Millisecond
	// lineEvery is how often progress is printed where no bar can be drawn.
	lineEvery = 5 * time.Second
)

// Meter shows progress to the person who waits for a command.
type Meter interface {
	// Show shows the state of a task.
	Show(p Progress)
	// Clear removes the bar before a line of the answer is printed.
	Clear()
}

// NewMeter returns a meter for stderr: a bar if it is a terminal, and a line from time to time if
// it is not.
func NewMeter(stderr io.Writer) Meter {
	terminal := stderr
	if p, ok := stderr.(Printing); ok { // a bar is drawn with control characters
		terminal = p.To
	}
	if IsTerminal(terminal) {
		return &barMeter{to: terminal}
	}
	return &lineMeter{to: stderr}
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// barMeter draws a bar with count, rate and the time that is left.
type barMeter struct {
	to   io.Writer
	unit string
	bar  *progressbar.ProgressBar
}

// Show implements Meter.
func (m *barMeter) Show(p Progress) {
	if p.Total == 0 {
		return
	}
	if m.bar == nil || m.unit != p.Unit || m.bar.IsFinished() {
		m.Clear()
		m.unit, m.bar = p.Unit, progressbar.NewOptions64(int64(p.Total),
			progressbar.OptionSetWriter(m.to), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(p.Unit), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(ReportEvery), progressbar.OptionClearOnFinish())
	}
	if m.bar.GetMax64() != int64(p.Total) {
		m.bar.ChangeMax64(int64(p.Total))
	}
	m.bar.Set64(int64(p.Done))
}

// Clear implements Meter.
func (m *barMeter) Clear() {
	if m.bar != nil && !m.bar.IsFinished() {
		m.bar.Clear()
	}
}

// lineMeter prints lines for tasks that take long. It prints nothing for a task that is soon
// done.
type lineMeter struct {
	to    io.Writer
	unit  string
	begun time.Time
	first uint64    // what was done at begun
	shown time.Time // when the last line was printed
}

// Show implements Meter.
func (m *lineMeter) Show(p Progress) {
	now := time.Now()
	if m.unit != p.Unit || m.begun.IsZero() {
		m.unit, m.begun, m.first, m.shown = p.Unit, now, p.Done, now
		return
	}
	if now.Sub(m.shown) < lineEvery && (p.Done < p.Total || m.shown.Equal(m.begun)) {
		return
	}
	m.shown = now
	rate := float64(p.Done-min(m.first, p.Done)) / now.Sub(m.begun).Seconds()
	line := fmt.Sprintf("%d of %d %s, %.0f/s", p.Done, p.Total, p.Unit, rate)
	if p.Done < p.Total && rate > 0 {
		left := time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	fmt.Fprintln(m.to, line)
}

// Clear implements Meter.
func (*lineMeter) Clear() {}

// clearing removes the bar before the answer is written to the same terminal.
type clearing struct {
	io.Writer
	meter Meter
}

// Write implements io.Writer.
func (c clearing) Write(p []byte) (int, error) {
	c.meter.Clear()
	return c.Writer.Write(p)
}
