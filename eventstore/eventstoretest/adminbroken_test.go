package eventstoretest

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// openSQLite opens copies.
func openSQLite(ctx context.Context, path string) (eventstore.AdminLog, error) {
	return sqlite.Open(ctx, path)
}

// runAdmin runs a check against a log with a fault, and returns what it reports.
func runAdmin(t *testing.T, check AdminCheck, in func(eventstore.AdminLog) eventstore.AdminLog) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.db")
	log, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var rec recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		check.Run(t.Context(), &rec, in(log), Admin{OpenCopy: openSQLite, Change: changeIn(path)})
	}()
	<-done
	return rec.failures
}

// changeIn changes records in a file of package sqlite.
func changeIn(path string) func(context.Context, eventstore.AdminLog, uint64, *eventstore.Record) error {
	return func(ctx context.Context, _ eventstore.AdminLog, position uint64, r *eventstore.Record) error {
		db, err := sqlitefile.OpenWriter(path)
		if err != nil {
			return err
		}
		defer db.Close()
		return unguarded(ctx, db, func() error {
			if r == nil {
				_, err = db.ExecContext(ctx, "DELETE FROM events WHERE position = ?", position)
			} else {
				_, err = db.ExecContext(ctx, `UPDATE events SET stream = ?, version = ?, id = ?, type = ?, time = ?, metadata = ?, data = ?
					WHERE position = ?`, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data, position)
			}
			return err
		})
	}
}

// unguarded drops the triggers of a file and makes them again afterwards.
func unguarded(ctx context.Context, db *sql.DB, do func() error) error {
	triggers := map[string]string{}
	rows, err := db.QueryContext(ctx, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
	if err != nil {
		return err
	}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		triggers[name] = text
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for name := range triggers {
		if _, err := db.ExecContext(ctx, "DROP TRIGGER "+name); err != nil {
			return err
		}
	}
	err = do()
	for _, text := range triggers {
		_, made := db.ExecContext(ctx, text)
		err = errors.Join(err, made)
	}
	return err
}

func TestACorrectAdminLogPasses(t *testing.T) {
	for _, check := range AdminChecks() {
		if failures := runAdmin(t, check, func(log eventstore.AdminLog) eventstore.AdminLog { return log }); len(failures) > 0 {
			t.Errorf("a correct log fails %q: %q", check.Name, failures)
		}
	}
}

func TestBrokenAdminLogsFail(t *testing.T) {
	caught := map[string]bool{}
	for name, fault := range adminFaults {
		t.Run(name, func(t *testing.T) {
			at := slices.IndexFunc(AdminChecks(), func(c AdminCheck) bool { return c.Name == fault.caughtBy })
			if at < 0 {
				t.Fatalf("there is no check %q", fault.caughtBy)
			}
			caught[fault.caughtBy] = true
			if len(runAdmin(t, AdminChecks()[at], fault.in)) == 0 {
				t.Errorf("%q passes", fault.caughtBy)
			}
		})
	}
	for _, check := range AdminChecks() {
		if !caught[check.Name] {
			t.Errorf("no broken log fails %q", check.Name)
		}
	}
}

// faultyAdmin is an AdminLog with some of its methods replaced, if they are set.
type faultyAdmin struct {
	eventstore.AdminLog
	id         func(context.Context) ([]byte, error)
	adopt      func(context.Context, []byte) error
	extent     func(context.Context, uint64) (eventstore.Extent, error)
	copy       func(context.Context, string) error
	newest     func(context.Context, string, int) ([]events.Stream, error)
	appendAll  func(context.Context, []eventstore.Batch) (uint64, error)
	storage    func(context.Context) error
	checkChain func(context.Context, func(done, total uint64)) error
	checkEnd   func(context.Context, uint64) error
	receipts   func(context.Context, eventstore.ReceiptKey, int) ([]eventstore.StoredReceipt, error)
}

func (f *faultyAdmin) ID(ctx context.Context) ([]byte, error)       { return f.id(ctx) }
func (f *faultyAdmin) Adopt(ctx context.Context, id []byte) error   { return f.adopt(ctx, id) }
func (f *faultyAdmin) Copy(ctx context.Context, to string) error    { return f.copy(ctx, to) }
func (f *faultyAdmin) CheckStorage(ctx context.Context) error       { return f.storage(ctx) }
func (f *faultyAdmin) CheckEnd(ctx context.Context, n uint64) error { return f.checkEnd(ctx, n) }
func (f *faultyAdmin) Extent(ctx context.Context, position uint64) (eventstore.Extent, error) {
	return f.extent(ctx, position)
}
func (f *faultyAdmin) NewestStreams(ctx context.Context, category string, n int) ([]events.Stream, error) {
	return f.newest(ctx, category, n)
}
func (f *faultyAdmin) AppendAll(ctx context.Context, batches []eventstore.Batch) (uint64, error) {
	return f.appendAll(ctx, batches)
}
func (f *faultyAdmin) CheckChain(ctx context.Context, progress func(done, total uint64)) error {
	return f.checkChain(ctx, progress)
}
func (f *faultyAdmin) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error) {
	return f.receipts(ctx, after, limit)
}

type adminFault struct {
	in       func(eventstore.AdminLog) eventstore.AdminLog
	caughtBy string
}

// admin returns a fault that replaces methods.
func admin(replace func(f *faultyAdmin, log eventstore.AdminLog)) func(eventstore.AdminLog) eventstore.AdminLog {
	return func(log eventstore.AdminLog) eventstore.AdminLog {
		f := &faultyAdmin{log, log.ID, log.Adopt, log.Extent, log.Copy, log.NewestStreams, log.AppendAll, log.CheckStorage, log.CheckChain, log.CheckEnd, log.Receipts}
		replace(f, log)
		return f
	}
}

// copies returns a fault that changes a copy.
func copies(change func(ctx context.Context, copy eventstore.AdminLog) error) func(eventstore.AdminLog) eventstore.AdminLog {
	return admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.copy = func(ctx context.Context, to string) error {
			if err := log.Copy(ctx, to); err != nil {
				return err
			}
			copy, err := openSQLite(ctx, to)
			if err != nil {
				return err
			}
			return errors.Join(change(ctx, copy), copy.Close())
		}
	})
}

var adminFaults = map[string]adminFault{
	"has another id each time": {admin(func(f *faultyAdmin, _ eventstore.AdminLog) {
		f.id = func(context.Context) ([]byte, error) {
			id := make([]byte, 16)
			for i := range id {
				id[i] = byte(rand.N(256))
			}
			return id, nil
		}
	}), "a log has an id of 16 bytes and keeps it"},
	"adopts at any time": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		var adopted []byte
		f.adopt = func(ctx context.Context, id []byte) error {
			if len(id) != 16 {
				return log.Adopt(ctx, id)
			}
			adopted = id
			return nil
		}
		f.id = func(ctx context.Context) ([]byte, error) {
			if adopted != nil {
				return adopted, nil
			}
			return log.ID(ctx)
		}
	}), "only a log without records adopts an id"},
	"says that it adopts": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.adopt = func(ctx context.Context, id []byte) error {
			if head, err := log.Head(ctx); err != nil || head > 0 || len(id) != 16 {
				return log.Adopt(ctx, id)
			}
			return nil
		}
	}), "only a log without records adopts an id"},
	"has one extent": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.extent = func(ctx context.Context, position uint64) (eventstore.Extent, error) {
			last, err := log.Head(ctx)
			if err != nil || position == 0 {
				return log.Extent(ctx, position)
			}
			e, err := log.Extent(ctx, last)
			e.Position = position
			return e, err
		}
	}), "an extent has the hash of the chain at its position"},
	"appends many batches backwards": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.appendAll = func(ctx context.Context, batches []eventstore.Batch) (uint64, error) {
			batches = slices.Clone(batches)
			slices.Reverse(batches)
			return log.AppendAll(ctx, batches)
		}
	}), "many batches are appended in order, with nothing in between"},
	"appends many batches in two parts": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.appendAll = func(ctx context.Context, batches []eventstore.Batch) (uint64, error) {
			half := len(batches) / 2
			if _, err := log.AppendAll(ctx, batches[:half]); err != nil {
				return 0, err
			}
			if _, err := log.Append(ctx, batch(newStream(), 0, 1)); err != nil {
				return 0, err
			}
			return log.AppendAll(ctx, batches[half:])
		}
	}), "many batches are appended in order, with nothing in between"},
	"returns the last refusal": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.appendAll = func(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
			for _, b := range batches {
				position, refused := log.Append(ctx, b)
				if last = max(last, position); refused != nil {
					err = refused
				}
			}
			return last, err
		}
	}), "many batches return the first refusal"},
	"appends what comes before an invalid batch": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.appendAll = func(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
			for _, b := range batches {
				if last, err = log.Append(ctx, b); err != nil {
					return last, err
				}
			}
			return last, nil
		}
	}), "many batches with an invalid one are not appended"},
	"lists the oldest streams": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.newest = func(ctx context.Context, category string, n int) ([]events.Stream, error) {
			found, err := log.NewestStreams(ctx, category, 1000)
			slices.Reverse(found)
			return found[:min(n, len(found))], err
		}
	}), "the newest streams of a category are listed once, with the highest ids first"},
	"lists a stream for each version": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.newest = func(ctx context.Context, category string, n int) (all []events.Stream, err error) {
			found, err := log.NewestStreams(ctx, category, n)
			for _, stream := range found {
				all = append(all, stream, stream)
			}
			return all[:min(n, len(all))], err
		}
	}), "the newest streams of a category are listed once, with the highest ids first"},
	"begins each page of receipts at the first": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.receipts = func(ctx context.Context, _ eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error) {
			return log.Receipts(ctx, eventstore.ReceiptKey{}, limit)
		}
	}), "receipts are listed in pages"},
	"copies no claims": {copies(func(ctx context.Context, copy eventstore.AdminLog) error {
		return copy.ReplaceClaims(ctx, events.ClaimRule, given())
	}), "a copy is the same log"},
	"copies with another id": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.id = func(context.Context) ([]byte, error) { return make([]byte, 16), nil }
		f.extent = func(ctx context.Context, position uint64) (eventstore.Extent, error) {
			e, err := log.Extent(ctx, position)
			e.ID = make([]byte, 16)
			return e, err
		}
	}), "a copy is the same log"},
	"copies a receipt of a later append": {copies(func(ctx context.Context, copy eventstore.AdminLog) error {
		_, err := copy.Append(ctx, leaving(batch(newStream(), 0, 0), newReceipt()))
		return err
	}), "a copy of a log in use is the log of one moment"},
	"copies a claim of a later append": {copies(func(ctx context.Context, copy eventstore.AdminLog) error {
		_, err := copy.Append(ctx, batch(newStream(), 0, 0, take(newKey())))
		return err
	}), "a copy of a log in use is the log of one moment"},
	"leaves a part of a copy": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.copy = func(ctx context.Context, to string) error {
			err := log.Copy(ctx, to)
			if errors.Is(err, context.Canceled) {
				err = errors.Join(err, os.WriteFile(to, nil, 0o600))
			}
			return err
		}
	}), "a copy that fails leaves nothing and replaces nothing"},
	"replaces a file by a copy": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.copy = func(ctx context.Context, to string) error {
			err := log.Copy(ctx, to)
			if errors.Is(err, os.ErrExist) {
				err = errors.Join(err, os.WriteFile(to, nil, 0o600))
			}
			return err
		}
	}), "a copy that fails leaves nothing and replaces nothing"},
	"lets all read a copy": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.copy = func(ctx context.Context, to string) error {
			return errors.Join(log.Copy(ctx, to), os.Chmod(to, 0o644))
		}
	}), "only the owner can read a copy"},
	"takes records that come meanwhile for damage": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.checkChain = func(ctx context.Context, progress func(done, total uint64)) error {
			before, err := log.Head(ctx)
			if err != nil {
				return err
			}
			if err := log.CheckChain(ctx, progress); err != nil {
				return err
			}
			if after, err := log.Head(ctx); err != nil || after > before {
				return errors.Join(err, &eventstore.ChainError{Position: before + 1})
			}
			return nil
		}
	}), "an intact log passes its checks, while others append"},
	"finds its storage damaged": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.storage = func(context.Context) error { return sqlitefile.ErrMalformed }
	}), "an intact log passes its checks, while others append"},
	"checks only the last records": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.checkChain = func(ctx context.Context, _ func(done, total uint64)) error { return log.CheckEnd(ctx, 1000) }
	}), "the first record that was changed is found"},
	"names the record after the missing one": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.checkChain = func(ctx context.Context, progress func(done, total uint64)) error {
			err := log.CheckChain(ctx, progress)
			var broken *eventstore.ChainError
			if errors.As(err, &broken) {
				broken.Position++
			}
			return err
		}
	}), "the first record that is missing is found"},
	"checks all records instead of the last": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.checkEnd = func(ctx context.Context, _ uint64) error { return log.CheckChain(ctx, nil) }
	}), "the last records are checked alone"},
	"checks none of the last records": {admin(func(f *faultyAdmin, log eventstore.AdminLog) {
		f.checkEnd = func(context.Context, uint64) error { return nil }
	}), "the last records are checked alone"},
}
