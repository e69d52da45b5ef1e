package postgres

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadAfter is how long a machine may not acknowledge bytes that were sent to it before its
// connection counts as broken. A statement may wait for longer: its machine acknowledges.
const deadAfter = 10 * time.Second

// limitUnacknowledged sets deadAfter. Linux by default sends again for a quarter of an hour.
func limitUnacknowledged(_ context.Context, _, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
	if errors.Is(failed, unix.EOPNOTSUPP) || errors.Is(failed, unix.ENOPROTOOPT) { // a Unix socket
		failed = nil
	}
	return errors.Join(err, failed)
}
