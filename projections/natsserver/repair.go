package natsserver

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

	"konto/projections/nats/subjects"
)

// shortest are the sizes below which nats-server 2.15 panics when it decrypts one of its files. The
// panic is in a goroutine where nobody can recover it, so it would end the process at every start. A
// power cut leaves such files. A key has 64 bytes and more. An encrypted file has a nonce and a tag of
// 16 bytes each.
var shortest = map[string]int64{
	server.JetStreamMetaFileKey: 64,
	server.JetStreamMetaFile:    32,
	"o.dat":                     32, // a consumer's state
}

// repair removes the folders of streams and consumers that the server cannot use. Before the start it
// removes those that would end the process. After the start it removes those that the server did not
// load, because nobody could use their names again. The publisher fills a stream again from the log,
// and a consumer that is made again starts over.
//
// The streams of inbound facts are no copy. repair moves their folders instead.
//
// Only files that were read and have wrong content are damaged. The server does not make that
// distinction: after any error it deletes a stream's folder, with the state of its durables, or does not
// load a consumer. So checkReadable comes first, and its check is repeated before anything is removed.
type repair struct {
	streams string // the folder that holds the streams' folders
	damaged string // where damaged folders are moved to
	log     *slog.Logger
}

func newRepair(dir string, log *slog.Logger) *repair {
	return &repair{
		streams: filepath.Join(dir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams"),
		damaged: filepath.Join(dir, "damaged"), log: log,
	}
}

// descriptors is how many files the server may have open at once while it starts. It loads streams and
// consumers a few at a time, and each opens a few files.
const descriptors = 64

// checkReadable says why the server could not use a file or folder of the streams. Its error names the
// file and the reason. It changes nothing.
func (r *repair) checkReadable() error {
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
	return checkFolder(r.streams)
}

// unusable adds what to do about a file that cannot be used.
func unusable(err error) error {
	return fmt.Errorf("%w; nothing was removed, repair that and start konto again", err)
}

// checkFolder checks a folder and everything in it.
func checkFolder(folder string) error {
	if err := checkWritable(folder); err != nil {
		return unusable(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return unusable(err)
	}
	skip, err := notRead(folder)
	if err != nil {
		return unusable(err)
	}
	for _, e := range entries {
		if e.Name()[0] == '.' { // the server is deleting it
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
			err = checkFolder(path)
		case !info.Mode().IsRegular():
			return unusable(fmt.Errorf("%s is neither a file nor a folder", path)) // to open a pipe may block forever
		default:
			err = checkFile(path, !skip[e.Name()])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isFile reports whether the server stores a file, not a folder, under a name.
func isFile(name string) bool {
	switch filepath.Ext(name) {
	case ".inf", ".sum", ".dat", ".blk", ".key", ".db":
		return true
	}
	return false
}

// checkFile opens a file and reads all of it, or only its first byte.
func checkFile(path string, all bool) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return unusable(err)
	}
	defer f.Close()
	var from io.Reader = f
	if !all {
		from = io.LimitReader(f, 1)
	}
	if _, err := io.Copy(io.Discard, from); err != nil {
		return unusable(err)
	}
	return nil
}

// notRead names the files with messages of the stream KONTO that the server will not read when it
// starts. They may hold gigabytes. If the server was stopped in order, its index is newer than they are,
// and it reads only the index and the newest of them.
func notRead(folder string) (map[string]bool, error) {
	if filepath.Base(folder) != "msgs" || filepath.Base(filepath.Dir(folder)) != subjects.Stream {
		return nil, nil
	}
	index, err := os.Stat(filepath.Join(folder, "index.db"))
	if err != nil {
		return nil, nil // if it exists, checkFolder comes to it
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

// beforeStart removes what would end the process.
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
				continue // the server can do without it
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

// lostKey reports whether a stream has a file of messages without its key. The server would make
// another key, fail to read the file, and delete the stream. If the key is too short, it would delete
// the file. The operator may find the key again.
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

// afterStart removes what the server did not load. Nobody may create streams or consumers meanwhile.
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
		if err := checkFolder(folder); err != nil { // it could be read before the server started
			return err
		}
		return r.remove(folder)
	})
}

// each calls visit for the folder of every stream, with consumer "", and then for the folders of its
// consumers, unless visit removed them.
func (r *repair) each(visit func(folder, stream, consumer string) error) error {
	streams, err := folders(r.streams)
	if err != nil {
		return err
	}
	for _, stream := range streams {
		folder := filepath.Join(r.streams, stream)
		if err := visit(folder, stream, ""); err != nil {
			return err
		}
		consumers, err := folders(filepath.Join(folder, "obs"))
		if err != nil {
			return err
		}
		for _, consumer := range consumers {
			if err := visit(filepath.Join(folder, "obs", consumer), stream, consumer); err != nil {
				return err
			}
		}
	}
	return nil
}

// isKept reports whether a folder is that of a stream of inbound messages, which are not a copy.
func isKept(folder string) bool {
	name := filepath.Base(folder)
	return name == subjects.FactsStream || name == subjects.DeadLettersStream
}

// remove removes a damaged folder. If it is one of inbound messages, it moves it instead.
func (r *repair) remove(folder string) error {
	if isKept(folder) {
		kept := filepath.Join(r.damaged, filepath.Base(folder)+"-"+rand.Text())
		r.log.Error("inbound messages in NATS's files are damaged and set aside", "folder", kept)
		return errors.Join(os.MkdirAll(r.damaged, 0o700), os.Rename(folder, kept))
	}
	r.log.Warn("NATS's copy is damaged and is made again", "folder", folder)
	return os.RemoveAll(folder)
}

// folders names the folders in a folder, none if there is no such folder.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name()[0] != '.' { // the server is deleting those
			names = append(names, e.Name())
		}
	}
	return names, err
}
