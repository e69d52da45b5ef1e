package natsserver

import (
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// watchEvery is how often konto looks at the free space of the disk.
	watchEvery = time.Second

	// noLimit is the server's own storage limit. By default the server computes it from what is free
	// when it starts, and to change it ends all connections. konto limits the account instead.
	noLimit = 1 << 60
)

// disk raises JetStream's storage limit when space becomes free on the disk. Without it a server that
// started with a full disk could not make the streams of inbound facts, which reserve their space,
// until konto is started again.
type disk struct {
	srv       *server.Server
	dir       string
	freeBytes func(dir string) (int64, error)
	log       *slog.Logger
	limit     int64
	end       chan struct{}
	loop      sync.WaitGroup
}

// watchDisk sets the limit, and raises it until close is called.
func watchDisk(srv *server.Server, cfg Config) (*disk, error) {
	d := &disk{srv: srv, dir: cfg.Dir, freeBytes: cfg.freeBytes, log: cfg.Log, end: make(chan struct{})}
	if err := d.raiseLimit(); err != nil {
		return nil, err
	}
	d.loop.Go(d.watch)
	return d, nil
}

func (d *disk) close() {
	close(d.end)
	d.loop.Wait()
}

func (d *disk) watch() {
	failed := false
	for {
		select {
		case <-d.end:
			return
		case <-time.After(watchEvery):
			if err := d.raiseLimit(); err != nil && !failed {
				failed = true
				d.log.Warn("cannot raise NATS's storage limit", "error", err)
			}
		}
	}
}

// raiseLimit raises the limit to what JetStream holds and three quarters of what is free, which is also
// the server's own default. The rest is for the log. The limit is never lowered, so everything that
// JetStream stores counts towards it.
func (d *disk) raiseLimit() error {
	left, err := d.freeBytes(d.dir)
	if err != nil {
		return err
	}
	now, err := d.srv.Jsz(nil)
	if err != nil {
		return err
	}
	limit := int64(now.Store) + left/4*3
	if limit <= d.limit {
		return nil
	}
	d.limit = limit
	return d.srv.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxStore: limit, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}})
}

func freeBytes(dir string) (int64, error) {
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk)
	return int64(disk.Bavail) * int64(disk.Bsize), err
}
