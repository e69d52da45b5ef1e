package copies

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/eventstore/transfer"
)

// Exported describes an export.
type Exported struct {
	File   string `json:"file"`
	Events uint64 `json:"events"`
	// Chain is the hash of the last event and all before it, of an encrypted export. The log that
	// is imported from it has the same.
	Chain     string `json:"chain,omitzero"`
	Bytes     int64  `json:"bytes"`
	Encrypted bool   `json:"encrypted"`
	Warning   string `json:"warning,omitzero"`
}

const clearWarning = "in clear: it holds personal data, password hashes and third parties' secrets; delete it when it was imported"

// Export writes the log to a new file, and reads the file again to check it.
func Export(ctx context.Context, folder *datafolder.Folder, file string, encrypted bool, progress Progress) (Exported, error) {
	done := Exported{File: file, Encrypted: encrypted}
	if !folder.Copying.TryLock() {
		return done, errCopying
	}
	defer folder.Copying.Unlock()
	if !encrypted {
		done.Warning = clearWarning
	}
	err := makeFile(file, func(partial string) (err error) {
		var end transfer.End
		end, done.Bytes, err = exportTo(ctx, folder, partial, encrypted, progress)
		done.Events, done.Chain = end.Events, hex.EncodeToString(end.Chain)
		return err
	})
	if err != nil {
		return done, fmt.Errorf("no export was made: %w", err)
	}
	return done, nil
}

// exportTo writes a file and reads it again.
func exportTo(ctx context.Context, folder *datafolder.Folder, path string, encrypted bool, progress Progress) (end transfer.End, bytes int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return end, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := ExportStream(ctx, folder, f, encrypted, progress); err != nil {
		return end, 0, err
	}
	if bytes, err = f.Seek(0, io.SeekCurrent); err != nil {
		return end, 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return end, 0, err
	}
	r, err := transfer.NewReader(f)
	if err != nil {
		return end, 0, err
	}
	end, err = r.Check(ctx)
	return end, bytes, err
}

// ExportStream writes the log to a stream. It cannot check what arrives.
func ExportStream(ctx context.Context, folder *datafolder.Folder, to io.Writer, encrypted bool, progress Progress) (transfer.End, error) {
	id, err := folder.Log.ID(ctx)
	if err != nil {
		return transfer.End{}, err
	}
	cfg := transfer.Config{Log: folder.Log, ID: id, Created: time.Now(), Progress: progress}
	if !encrypted {
		cfg.Clear = folder.Store
	}
	return transfer.Export(ctx, to, cfg)
}
