package metrics

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTime bounds each of the two questions of a scrape that may take long.
const scrapeTime = 2 * time.Second

// Queues are messages in NATS.
type Queues struct {
	Mail        uint64 // codes that were not mailed yet
	Inbound     uint64 // facts that were not recorded yet
	DeadLetters uint64
}

// state collects how a server is doing when Prometheus asks.
type state struct{ cfg Config }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("konto_"+name, help, labels, nil)
}

var (
	buildDesc       = desc("build_info", "1, with konto's version and Go's.", "version", "goversion")
	readyDesc       = desc("ready", "1 if konto takes updates, as /readyz says.")
	notReadyDesc    = desc("not_ready", "1 for each reason why konto takes no updates.", "reason")
	componentDesc   = desc("component_state", "1 for the state that a part is in which depends on NATS.", "component", "state")
	natsDesc        = desc("nats_up", "1 if konto is connected to NATS.")
	mailDesc        = desc("mail_waiting_codes", "Codes that were not mailed yet.")
	inboundDesc     = desc("inbound_waiting_messages", "Messages of other systems that were not recorded yet.")
	deadLettersDesc = desc("inbound_dead_letters", "Messages of other systems that konto refused and still keeps.")
	fileDesc        = desc("file_size_bytes", "Size of a file of the data folder, and of jetstream/ as a whole.", "file")
	freeDesc        = desc("disk_free_bytes", "What konto can still write on the disk of the data folder.")
	sizeDesc        = desc("disk_size_bytes", "Size of the disk of the data folder.")
	backupDesc      = desc("last_backup_timestamp_seconds", "When a copy of the log or the keys was last made, since 1970; 0 if never.", "of")
)

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildDesc, readyDesc, notReadyDesc, componentDesc, natsDesc, mailDesc, inboundDesc, deadLettersDesc,
		fileDesc, freeDesc, sizeDesc, backupDesc,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector. What cannot be found out is left out.
func (s *state) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	send(buildDesc, 1, s.cfg.Version, runtime.Version())
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	ready := true
	for reason, is := range s.cfg.NotReady(ctx) {
		send(notReadyDesc, number(is), reason)
		ready = ready && !is
	}
	send(readyDesc, number(ready))
	for _, c := range s.cfg.Components() {
		send(componentDesc, 1, c.Name, c.State)
	}
	connected := s.cfg.Connected()
	send(natsDesc, number(connected))
	if connected {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
		defer cancel()
		if q, err := s.cfg.Queues(ctx); err == nil {
			send(mailDesc, float64(q.Mail))
			send(inboundDesc, float64(q.Inbound))
			send(deadLettersDesc, float64(q.DeadLetters))
		}
	}
	s.files(send)
	for of, at := range s.cfg.Backups() {
		seconds := 0.0
		if !at.IsZero() {
			seconds = float64(at.Unix())
		}
		send(backupDesc, seconds, of)
	}
}

// files sends sizes. Files may come and go meanwhile.
func (s *state) files(send func(d *prometheus.Desc, value float64, labels ...string)) {
	for _, pattern := range []string{"*.db", "*.db-wal"} {
		found, _ := filepath.Glob(filepath.Join(s.cfg.Folder, pattern)) // fails only for a malformed pattern
		for _, path := range found {
			if info, err := os.Stat(path); err == nil {
				send(fileDesc, float64(info.Size()), info.Name())
			}
		}
	}
	streams := int64(0)
	_ = filepath.WalkDir(filepath.Join(s.cfg.Folder, "jetstream"), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				streams += info.Size()
			}
		}
		return nil
	})
	send(fileDesc, float64(streams), "jetstream")
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.Folder, &disk); err == nil {
		send(freeDesc, float64(disk.Bavail)*float64(disk.Bsize))
		send(sizeDesc, float64(disk.Blocks)*float64(disk.Bsize))
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
