package nats

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// shortest is the size below which nats-server 2.15 panics when it decrypts one
// of its files, in a goroutine that nobody can recover: it would end the process
// at every start. A power cut leaves such files. Keys are 64 bytes and more;
// what is sealed has a nonce and a tag of 16 each.
var shortest = map[string]int64{
	server.JetStreamMetaFileKey: 64,
	server.JetStreamMetaFile:    32,
	"o.dat":                     32, // a consumer's state
}

// repair removes the folders of streams and consumers that the server cannot
// use: before it starts those that would end it, afterwards those that it left
// out, because they keep their names from being used again. The publisher fills
// a stream again from the log, and a consumer that is made again starts over.
//
// What waits in the streams of inbound facts is nowhere else: their folders are
// set aside instead.
type repair struct {
	streams string // the folder of their folders
	aside   string
	log     *slog.Logger
}

func newRepair(dir string, log *slog.Logger) *repair {
	return &repair{
		streams: filepath.Join(dir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams"),
		aside:   filepath.Join(dir, "damaged"), log: log,
	}
}

// beforeStart removes what the server would not survive.
func (r *repair) beforeStart() error {
	return r.each(func(folder, _, _ string) error {
		for name, size := range shortest {
			info, err := os.Stat(filepath.Join(folder, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // the server copes
			}
			if err != nil {
				return err
			}
			if info.Size() < size {
				return r.remove(folder)
			}
		}
		return nil
	})
}

// afterStart removes what the server did not take back. Nobody may create
// streams or consumers meanwhile.
func (r *repair) afterStart(srv *server.Server) error {
	info, err := srv.Jsz(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Consumer: true})
	if err != nil {
		return err
	}
	type id struct{ stream, consumer string }
	loaded := map[id]bool{}
	for _, account := range info.AccountDetails {
		for _, stream := range account.Streams {
			loaded[id{stream.Name, ""}] = true
			for _, c := range stream.Consumer {
				loaded[id{stream.Name, c.Name}] = true
			}
		}
	}
	return r.each(func(folder, stream, consumer string) error {
		if loaded[id{stream, consumer}] {
			return nil
		}
		return r.remove(folder)
	})
}

// each calls check for the folder of every stream, whose consumer is "", and
// then for those of its consumers that are left.
func (r *repair) each(check func(folder, stream, consumer string) error) error {
	streams, err := folders(r.streams)
	if err != nil {
		return err
	}
	for _, stream := range streams {
		folder := filepath.Join(r.streams, stream)
		if err := check(folder, stream, ""); err != nil {
			return err
		}
		consumers, err := folders(filepath.Join(folder, "obs"))
		if err != nil {
			return err
		}
		for _, consumer := range consumers {
			if err := check(filepath.Join(folder, "obs", consumer), stream, consumer); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *repair) remove(folder string) error {
	if name := filepath.Base(folder); name == factsStream || name == deadStream {
		kept := filepath.Join(r.aside, name+"-"+rand.Text())
		r.log.Error("inbound messages in NATS's files are damaged and set aside", "folder", kept)
		return errors.Join(os.MkdirAll(r.aside, 0o700), os.Rename(folder, kept))
	}
	r.log.Warn("NATS's copy is damaged, it is made again", "folder", folder)
	return os.RemoveAll(folder)
}

// folders names the folders in a folder, none when there is no such folder.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name()[0] != '.' { // the server marks what it is deleting
			names = append(names, e.Name())
		}
	}
	return names, err
}
