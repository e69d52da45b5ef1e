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

const SocketName = "konto.sock"

// maxSocketPath is the longest path that fits the kernel's address of a socket
// everywhere: 108 bytes on Linux, 104 elsewhere, the closing zero included.
const maxSocketPath = 103

// inSocketFolder calls do with a path to the folder that is short enough for
// the sockets in it. The path is good until do returns.
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
	if _, err := os.Stat(short); err != nil { // no such folder but on Linux
		return fmt.Errorf("the path of %s is too long for a control socket; choose a data folder with a shorter one", folder)
	}
	return do(short)
}

// listenSocket makes the control socket of a folder whose lock the caller
// holds; a file that a killed server left there is replaced. It is moved into
// its place only when nobody but konto's user may connect.
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
		listener.SetUnlinkOnClose(false) // it would not know the name after the move
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

// Dial connects to whoever holds the folder.
func Dial(ctx context.Context, folder string) (conn net.Conn, err error) {
	err = inSocketFolder(folder, func(folder string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, SocketName))
		return err
	})
	return conn, err
}
