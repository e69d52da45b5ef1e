package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// SocketName is the name of the control socket in the data folder.
const SocketName = "konto.sock"

// maxSocketPath is the longest path that fits into the kernel's address of a socket on all
// systems: 108 bytes on Linux and 104 elsewhere, with the closing zero.
const maxSocketPath = 103

// inSocketFolder calls do with a path to the folder that is short enough for sockets in it.
// The path is valid until do returns.
func inSocketFolder(folder string, do func(folder string) error) error {
	if len(filepath.Join(folder, SocketName))+len(".new") <= maxSocketPath {
		return do(folder)
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := os.Stat(short); err != nil { // only Linux has this folder
		return fmt.Errorf("the path of %s is too long for a control socket; choose a data folder with a shorter one", folder)
	}
	return do(short)
}

// listenSocket makes the control socket of a folder whose lock the caller holds. It replaces a
// socket that a killed server left. The new socket gets its name only after its mode lets only
// konto's user connect.
func listenSocket(folder string) (listener *net.UnixListener, err error) {
	err = inSocketFolder(folder, func(folder string) error {
		path := filepath.Join(folder, SocketName)
		fresh := path + ".new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"}); err != nil {
			return err
		}
		listener.SetUnlinkOnClose(false) // the listener does not learn of the new name
		if err = os.Chmod(fresh, 0o600); err == nil {
			err = os.Rename(fresh, path)
		}
		if err != nil {
			listener.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return listener, nil
}

// Dial connects to the process that holds a folder.
func Dial(ctx context.Context, folder string) (conn net.Conn, err error) {
	err = inSocketFolder(folder, func(folder string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, SocketName))
		return err
	})
	return conn, err
}
