package eventstoretest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// Admin is what the suite needs to check an eventstore.AdminLog.
type Admin struct {
	// OpenCopy opens the file that Copy made. The suite closes it.
	OpenCopy func(ctx context.Context, path string) (eventstore.AdminLog, error)

	// Change replaces the stored record at a position, or removes it if r is nil, as somebody
	// does who can write to the store. The record keeps its position and its hash.
	Change func(ctx context.Context, log eventstore.AdminLog, position uint64, r *eventstore.Record) error
}

// AdminCheck is one rule of the contract of AdminLog.
type AdminCheck struct {
	Name string
	// Run reports violations to t. log is empty.
	Run func(ctx context.Context, t T, log eventstore.AdminLog, a Admin)
}

// AdminChecks returns the checks of an AdminLog.
func AdminChecks() []AdminCheck { return slices.Concat(loading, copying, checking) }

var loading = []AdminCheck{
	{"a log has an id of 16 bytes and keeps it", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		before := idOf(ctx, t, log)
		mustAppend(ctx, t, log, batch(newStream(), 0, 1))
		if after := idOf(ctx, t, log); len(before) != 16 || !bytes.Equal(before, after) {
			t.Errorf("the id is %x, and then %x", before, after)
		}
	}},
	{"only a log without records adopts an id", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		id := bytes.Repeat([]byte{7}, 16)
		if err := log.Adopt(ctx, id[:15]); err == nil {
			t.Errorf("an id of 15 bytes was adopted")
		}
		if err := log.Adopt(ctx, id); err != nil {
			t.Fatalf("adopt: %v", err)
		}
		if got := idOf(ctx, t, log); !bytes.Equal(got, id) {
			t.Errorf("the adopted id is %x", got)
		}
		mustAppend(ctx, t, log, batch(newStream(), 0, 1))
		if err := log.Adopt(ctx, bytes.Repeat([]byte{8}, 16)); err == nil {
			t.Errorf("a log with records adopted an id")
		}
		if got := idOf(ctx, t, log); !bytes.Equal(got, id) {
			t.Errorf("the id became %x", got)
		}
	}},
	{"an extent has the hash of the chain at its position", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		last := fill(ctx, t, log, 5)
		want := eventstore.Extent{ID: idOf(ctx, t, log)}
		expectExtent(ctx, t, log, 0, want)
		for _, r := range feed(ctx, t, log, last) {
			want.Position, want.Chain = r.Position, eventstore.ChainHash(want.Chain, r)
			expectExtent(ctx, t, log, r.Position, want)
		}
		if _, err := log.Extent(ctx, last+1); err == nil {
			t.Errorf("there is an extent of a position after the last")
		}
	}},
	{"many batches are appended in order, with nothing in between", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		const n = 2500 // more than a group of appends
		var batches []eventstore.Batch
		for range n {
			batches = append(batches, batch(newStream(), 0, 1))
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() { // others append meanwhile
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					mustAppend(ctx, t, log, batch(newStream(), 0, 1))
				}
			}
		}()
		last, err := log.AppendAll(ctx, batches)
		close(stop)
		<-stopped
		if err != nil {
			t.Fatalf("append all: %v", err)
		}
		got := feed(ctx, t, log, last)
		if last < n || uint64(len(got)) < last {
			t.Fatalf("the last position is %d of %d", last, len(got))
		}
		for i, r := range got[last-n : last] {
			if r.ID != batches[i].Records[0].ID {
				t.Fatalf("position %d has another record than that of batch %d", r.Position, i+1)
			}
		}
	}},
	{"many batches return the first refusal", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		one, other := batch(newStream(), 0, 1), batch(newStream(), 0, 1)
		mustAppend(ctx, t, log, one)
		mustAppend(ctx, t, log, other)
		_, err := log.AppendAll(ctx, []eventstore.Batch{batch(newStream(), 0, 1), one, other})
		if conflict, ok := isConflict(err); !ok || conflict.Stream != one.Stream {
			t.Errorf("append all: %v, want a conflict of %s", err, one.Stream)
		}
	}},
	{"many batches with an invalid one are not appended", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		good, wrong := batch(newStream(), 0, 1), batch(newStream(), 0, 1)
		wrong.Records[0].Version = 5
		if _, err := log.AppendAll(ctx, []eventstore.Batch{good, wrong}); err == nil {
			t.Errorf("an invalid batch was appended")
		}
		expectHead(ctx, t, log, good.Stream, eventstore.StreamHead{})
	}},
	{"the newest streams of a category are listed once, with the highest ids first", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		made := map[string][]events.Stream{}
		for _, category := range []string{"account", "credential", "third-party", "third"} {
			for range 3 {
				stream := events.Stream(category + "-" + ulid.Make().String())
				made[category] = append(made[category], stream)
				mustAppend(ctx, t, log, batch(stream, 0, 2))
			}
			slices.Sort(made[category])
			slices.Reverse(made[category])
		}
		for category, n := range map[string]int{"account": 2, "third-party": 9, "third": 3, "credential": 0, "nothing": 2, "zzz": 2} {
			want := made[category]
			want = want[:min(n, len(want))]
			if got, err := log.NewestStreams(ctx, category, n); err != nil || !slices.Equal(got, want) {
				t.Errorf("the newest %d streams of %s are %q, %v; want %q", n, category, got, err, want)
			}
		}
	}},
	{"receipts are listed in pages", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		var want []eventstore.StoredReceipt
		for range 5 {
			b := leaving(batch(newStream(), 0, 1), newReceipt())
			mustAppend(ctx, t, log, b)
			want = append(want, eventstore.StoredReceipt{Receipt: b.Receipts[0], Stream: b.Stream})
		}
		slices.SortFunc(want, func(a, b eventstore.StoredReceipt) int { return bytes.Compare(a.Key[:], b.Key[:]) })
		for _, size := range []int{1, 2, 100} {
			expectReceipts(t, receiptsOf(ctx, t, log, size), want)
		}
		if got, err := log.Receipts(ctx, eventstore.ReceiptKey{}, 0); err != nil || len(got) != 0 {
			t.Errorf("a page of no receipts has %d, %v", len(got), err)
		}
	}},
}

var copying = []AdminCheck{
	{"a copy is the same log", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		last := fill(ctx, t, log, 2500)
		copied(ctx, t, log, a, func(copy eventstore.AdminLog) {
			want, err := log.Extent(ctx, last)
			if err != nil {
				t.Fatalf("extent: %v", err)
			}
			expectExtent(ctx, t, copy, last, want)
			expectRecords(t, "the copy", feed(ctx, t, copy, last), feed(ctx, t, log, last))
			expectReceipts(t, receiptsOf(ctx, t, copy, 1000), receiptsOf(ctx, t, log, 1000))
			held, err := log.Claims(ctx, eventstore.HeldClaim{}, 10_000)
			if err != nil {
				t.Fatalf("claims: %v", err)
			}
			expectClaims(ctx, t, copy, eventstore.HeldClaim{}, 10_000, held)
			if rule, err := copy.ClaimRule(ctx); err != nil || rule.Number != events.ClaimRule {
				t.Errorf("the claims follow rule %d, %v", rule.Number, err)
			}
		})
	}},
	{"a copy of a log in use is the log of one moment", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		before := fill(ctx, t, log, 100)
		stop := keepAppending(ctx, t, log)
		copied(ctx, t, log, a, func(copy eventstore.AdminLog) {
			head, err := copy.Head(ctx)
			if err != nil || head < before {
				t.Errorf("the copy ends at %d, %v; the log was at %d before", head, err, before)
			}
			// Each record came with a claim and a receipt.
			held, err := copy.Claims(ctx, eventstore.HeldClaim{}, 100_000)
			if err != nil || uint64(len(held)) != head {
				t.Errorf("%d records have %d claims, %v", head, len(held), err)
			}
			if left := receiptsOf(ctx, t, copy, 1000); uint64(len(left)) != head {
				t.Errorf("%d records have %d receipts", head, len(left))
			}
			if err := copy.CheckChain(ctx, nil); err != nil {
				t.Errorf("the copy: %v", err)
			}
		})
		stop()
	}},
	{"a copy that fails leaves nothing and replaces nothing", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		fill(ctx, t, log, 10)
		inFolder(t, func(dir string) {
			there := filepath.Join(dir, "there")
			if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
				t.Fatalf("%v", err)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			for _, failing := range []struct {
				ctx  context.Context
				to   string
				want error
			}{
				{ctx, there, fs.ErrExist}, {ctx, filepath.Join(dir, "none", "copy"), fs.ErrNotExist}, {ended, filepath.Join(dir, "copy"), context.Canceled},
			} {
				if err := log.Copy(failing.ctx, failing.to); !errors.Is(err, failing.want) {
					t.Errorf("a copy to %s: %v, want %v", failing.to, err, failing.want)
				}
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("beside a file that was there are %v, %v", entries, err)
			}
			if data, err := os.ReadFile(there); err != nil || string(data) != "mine" {
				t.Errorf("a file that was there has %q, %v", data, err)
			}
		})
	}},
	{"only the owner can read a copy", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		inFolder(t, func(dir string) {
			to := filepath.Join(dir, "copy")
			if err := log.Copy(ctx, to); err != nil {
				t.Fatalf("copy: %v", err)
			}
			if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}},
}

var checking = []AdminCheck{
	{"an intact log passes its checks, while others append", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		expectIntact(ctx, t, log)
		fill(ctx, t, log, 2100) // more than a page
		stop := keepAppending(ctx, t, log)
		expectIntact(ctx, t, log)
		stop()
		expectIntact(ctx, t, log)
	}},
	{"the first record that was changed is found", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		const n = 1100
		last := fill(ctx, t, log, n)
		records := feed(ctx, t, log, last)
		for i, change := range []func(r *eventstore.Record){
			func(r *eventstore.Record) { r.Data[len(r.Data)-1] ^= 1 },
			func(r *eventstore.Record) { r.Data = append(r.Data, 0) },
			func(r *eventstore.Record) { r.Metadata[0] ^= 1 },
			func(r *eventstore.Record) { r.Type = "Tested.v2" },
			func(r *eventstore.Record) { r.Time = r.Time.Add(1e6) },
			func(r *eventstore.Record) { r.ID[15] ^= 1 },
			func(r *eventstore.Record) { r.Stream = newStream() },
			func(r *eventstore.Record) { r.Version = 9 },
		} {
			for _, position := range []uint64{1, n / 2, 1001, n} {
				r := eventstore.CloneAll(records[position-1 : position])[0]
				change(&r)
				mustChange(ctx, t, log, a, position, &r)
				expectBroken(t, log.CheckChain(ctx, nil), position, "change", i)
				mustChange(ctx, t, log, a, position, &records[position-1])
			}
		}
		expectIntact(ctx, t, log)
	}},
	{"the first record that is missing is found", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		fill(ctx, t, log, 50)
		for _, position := range []uint64{50, 33, 1} { // the last one too, while the log is open
			mustChange(ctx, t, log, a, position, nil)
			expectBroken(t, log.CheckChain(ctx, nil), position, "without", position)
		}
	}},
	{"the last records are checked alone", func(ctx context.Context, t T, log eventstore.AdminLog, a Admin) {
		last := fill(ctx, t, log, 20)
		records := feed(ctx, t, log, last)
		for _, n := range []uint64{0, 1, 10, 20, 100} {
			if err := log.CheckEnd(ctx, n); err != nil {
				t.Errorf("the last %d: %v", n, err)
			}
		}
		r := records[14]
		r.Type = "Tested.v2"
		mustChange(ctx, t, log, a, 15, &r)
		if err := log.CheckEnd(ctx, 5); err != nil {
			t.Errorf("the last 5: %v", err)
		}
		for _, n := range []uint64{6, 20, 100} {
			expectBroken(t, log.CheckEnd(ctx, n), 15, "the last", n)
		}
	}},
}

func idOf(ctx context.Context, t T, log eventstore.AdminLog) []byte {
	t.Helper()
	id, err := log.ID(ctx)
	if err != nil {
		t.Fatalf("id: %v", err)
	}
	return id
}

// fill appends n records, each with a claim and a receipt, and returns the last position.
func fill(ctx context.Context, t T, log eventstore.AdminLog, n int) uint64 {
	t.Helper()
	var batches []eventstore.Batch
	for range n {
		batches = append(batches, leaving(batch(newStream(), 0, 1, take(newKey())), newReceipt()))
	}
	last, err := log.AppendAll(ctx, batches)
	if err != nil {
		t.Fatalf("append all: %v", err)
	}
	return last
}

// keepAppending appends as fill does until stop is called. It returns once some were appended.
func keepAppending(ctx context.Context, t T, log eventstore.AdminLog) (stop func()) {
	t.Helper()
	end, begun := make(chan struct{}), make(chan struct{}, 1)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := log.Append(ctx, leaving(batch(newStream(), 0, 1, take(newKey())), newReceipt())); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	return func() {
		close(end)
		all.Wait()
	}
}

func inFolder(t T, do func(dir string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "konto-copy-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer os.RemoveAll(dir)
	do(dir)
}

// copied opens a copy.
func copied(ctx context.Context, t T, log eventstore.AdminLog, a Admin, do func(copy eventstore.AdminLog)) {
	t.Helper()
	inFolder(t, func(dir string) {
		to := filepath.Join(dir, "copy")
		if err := log.Copy(ctx, to); err != nil {
			t.Fatalf("copy: %v", err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("a copy made %v, %v", entries, err)
		}
		copy, err := a.OpenCopy(ctx, to)
		if err != nil {
			t.Fatalf("open a copy: %v", err)
		}
		defer closeLog(t, copy)
		do(copy)
	})
}

func expectExtent(ctx context.Context, t T, log eventstore.AdminLog, position uint64, want eventstore.Extent) {
	t.Helper()
	got, err := log.Extent(ctx, position)
	if err != nil || got.Position != want.Position || got.Chain != want.Chain || !bytes.Equal(got.ID, want.ID) {
		t.Errorf("the extent at %d is %x, %v; want %x", position, got, err, want)
	}
}

// receiptsOf lists all receipts in pages.
func receiptsOf(ctx context.Context, t T, log eventstore.AdminLog, size int) (all []eventstore.StoredReceipt) {
	t.Helper()
	for after := (eventstore.ReceiptKey{}); ; {
		page, err := log.Receipts(ctx, after, size)
		if err != nil {
			t.Fatalf("receipts: %v", err)
		}
		if len(page) == 0 {
			return all
		}
		if len(page) > size || bytes.Compare(page[0].Key[:], after[:]) <= 0 {
			t.Fatalf("a page of %d receipts has %d, or repeats the last one", size, len(page))
		}
		all, after = append(all, page...), page[len(page)-1].Key
	}
}

func expectReceipts(t T, got, want []eventstore.StoredReceipt) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b eventstore.StoredReceipt) bool {
		return a.Key == b.Key && a.Stream == b.Stream && bytes.Equal(a.Data, b.Data) && a.Expires == b.Expires
	}) {
		t.Errorf("the receipts are %d others than the %d that were stored", len(got), len(want))
	}
}

func expectIntact(ctx context.Context, t T, log eventstore.AdminLog) {
	t.Helper()
	for what, err := range map[string]error{
		"storage": log.CheckStorage(ctx), "chain": log.CheckChain(ctx, nil), "end": log.CheckEnd(ctx, 100),
	} {
		if err != nil {
			t.Errorf("check of the %s: %v", what, err)
		}
	}
}

func mustChange(ctx context.Context, t T, log eventstore.AdminLog, a Admin, position uint64, r *eventstore.Record) {
	t.Helper()
	if err := a.Change(ctx, log, position, r); err != nil {
		t.Fatalf("change of position %d: %v", position, err)
	}
}

// expectBroken expects an error that names the first position that is wrong.
func expectBroken(t T, err error, position uint64, what string, n any) {
	t.Helper()
	var broken *eventstore.ChainError
	if !errors.As(err, &broken) || broken.Position != position {
		t.Errorf("%s %v: %v, want a chain that is broken at %d", what, n, err, position)
	}
}
