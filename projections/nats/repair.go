package nats

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

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
//
// Only what was read and is wrong is damaged. The server itself makes no such
// difference: after any error it deletes a stream's folder, with the places of its
// durables, or leaves a consumer out. So prove comes first, and again before
// anything is removed.
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

// descriptors is how many files the server may have open at once while it starts.
// It recovers streams and consumers a few at a time, and each opens a few files.
const descriptors = 64

// prove tells why the server could not use a file or folder of the streams that is
// there: its error names the file and the reason. Nothing was changed then.
func (r *repair) prove() error {
	held := make([]*os.File, 0, descriptors)
	defer func() {
		for _, f := range held {
			f.Close()
		}
	}()
	for range descriptors {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return unusable(fmt.Errorf("%d more files are needed at once: %w", descriptors, err))
		}
		held = append(held, f)
	}
	for _, f := range held {
		f.Close()
	}
	held = nil
	if _, err := os.Lstat(r.streams); errors.Is(err, fs.ErrNotExist) {
		return nil // the first start
	}
	return proveFolder(r.streams)
}

// unusable says what to do about a file that cannot be used.
func unusable(err error) error {
	return fmt.Errorf("%w; nothing was removed, mend that and start konto again", err)
}

// proveFolder proves a folder, and all that is in it.
func proveFolder(folder string) error {
	if err := writable(folder); err != nil {
		return unusable(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return unusable(err)
	}
	skip, err := unread(folder)
	if err != nil {
		return unusable(err)
	}
	for _, e := range entries {
		if e.Name()[0] == '.' { // the server marks what it is deleting
			continue
		}
		path := filepath.Join(folder, e.Name())
		info, err := os.Stat(path) // an operator may have put a stream elsewhere, with a link
		switch {
		case err != nil:
			return unusable(err)
		case info.IsDir() && isFile(e.Name()):
			return unusable(&fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR})
		case info.IsDir():
			err = proveFolder(path)
		case !info.Mode().IsRegular():
			return unusable(fmt.Errorf("%s is neither a file nor a folder", path)) // to open a pipe may take for ever
		default:
			err = proveFile(path, !skip[e.Name()])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isFile tells by its name what the server keeps in a file: all but streams,
// consumers and what it files them under.
func isFile(name string) bool {
	switch filepath.Ext(name) {
	case ".inf", ".sum", ".dat", ".blk", ".key", ".db":
		return true
	}
	return false
}

// proveFile opens a file and reads it, all of it or its first bytes.
func proveFile(path string, wholly bool) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return unusable(err)
	}
	defer f.Close()
	var from io.Reader = f
	if !wholly {
		from = io.LimitReader(f, 1)
	}
	if _, err := io.Copy(io.Discard, from); err != nil {
		return unusable(err)
	}
	return nil
}

// unread names the files with messages of the stream KONTO that the server will
// not read when it starts, which may be gigabytes: when it was stopped in order,
// its index is newer than they are, and it reads that and the newest alone.
func unread(folder string) (map[string]bool, error) {
	if filepath.Base(folder) != "msgs" || filepath.Base(filepath.Dir(folder)) != streamName {
		return nil, nil
	}
	index, err := os.Stat(filepath.Join(folder, "index.db"))
	if err != nil {
		return nil, nil // if it is there, it is met again
	}
	blocks, err := fs.Glob(os.DirFS(folder), "*.blk")
	if err != nil {
		return nil, err
	}
	var newest string
	var at time.Time
	skip := map[string]bool{}
	for _, block := range blocks {
		info, err := os.Stat(filepath.Join(folder, block))
		if err != nil || info.ModTime().After(index.ModTime()) {
			return nil, nil
		}
		if skip[block] = true; !info.ModTime().Before(at) {
			newest, at = block, info.ModTime()
		}
	}
	delete(skip, newest)
	return skip, nil
}

// beforeStart removes what the server would not survive.
func (r *repair) beforeStart() error {
	return r.each(func(folder, _, consumer string) error {
		if consumer == "" && isKept(folder) {
			if lost, err := lostKey(folder); err != nil {
				return err
			} else if lost {
				return r.remove(folder)
			}
		}
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

// lostKey tells whether a stream has a file of messages without its key. The server
// would make another key, not be able to read the file, and delete the stream; or,
// when the key is too short, delete the file. The key may be found again.
func lostKey(folder string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(folder, "msgs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".blk" {
			continue
		}
		block := filepath.Join(folder, "msgs", e.Name())
		messages, err := os.Stat(block)
		if err != nil {
			return false, err
		}
		key, err := os.Stat(strings.TrimSuffix(block, ".blk") + ".key")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if messages.Size() > 0 && (err != nil || key.Size() < shortest[server.JetStreamMetaFileKey]) {
			return true, nil
		}
	}
	return false, nil
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
		if err := proveFolder(folder); err != nil { // it could be read before the server started
			return err
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

// isKept tells whether a folder is that of a stream which is no copy.
func isKept(folder string) bool {
	name := filepath.Base(folder)
	return name == factsStream || name == deadStream
}

func (r *repair) remove(folder string) error {
	if isKept(folder) {
		kept := filepath.Join(r.aside, filepath.Base(folder)+"-"+rand.Text())
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
