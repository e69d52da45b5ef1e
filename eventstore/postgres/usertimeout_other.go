//go:build !linux

package postgres

import (
	"context"
	"syscall"
)

func limitUnacknowledged(context.Context, string, string, syscall.RawConn) error { return nil }
