package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is the id of a server's process. 0 means one on another machine or of another user, of
// which nothing is known. On systems without /proc everything is unknown.
type Process int

// Memory returns a process's resident memory, and the most it ever had. nil means unknown.
func (p Process) Memory() *Memory {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
	if p == 0 || err != nil {
		return nil
	}
	m := new(Memory)
	for name, member := range map[string]*float64{"VmRSS": &m.Ended, "VmHWM": &m.Most} {
		_, rest, _ := strings.Cut(string(status), "\n"+name+":")
		kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if *member, err = strconv.ParseFloat(kib, 64); err != nil {
			return nil
		}
		*member /= 1024
	}
	return m
}

// After adds the memory that the process had before.
func (m *Memory) After(before *Memory) *Memory {
	if m != nil && before != nil {
		m.Begun = before.Ended
	}
	return m
}

// tick is Linux's unit of CPU time in /proc: USER_HZ, which is 100 on every machine.
const tick = 10 * time.Millisecond

// cpu returns how long a process has run on a CPU.
func (p Process) cpu() (used time.Duration, known bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if p == 0 || err != nil {
		return 0, false
	}
	// The name, which may hold anything, ends with the last parenthesis.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, false
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errUser == nil && errSystem == nil
}

// ownCPU returns how long this process has run on a CPU.
func ownCPU() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
