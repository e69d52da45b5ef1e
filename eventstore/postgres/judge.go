package postgres

import (
	"bytes"
	"context"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore"
)

// changes is what a turn stores beside its records.
type changes struct {
	claims   map[eventstore.HeldClaim]bool // true: taken, false: released
	receipts map[eventstore.ReceiptKey]receipt
	drops    []string // streams whose receipts are deleted, before receipts are inserted
	sweep    int      // how many expired receipts are deleted at most
}

type receipt struct {
	eventstore.Receipt
	stream events.Stream
}

// judge sets the verdict of each append of the group, in order. An append is judged by what the
// log has and by what the appends before it in the group change; it changes k accordingly.
func (t *turn) judge(k *known) *changes {
	c := &changes{claims: map[eventstore.HeldClaim]bool{}, receipts: map[eventstore.ReceiptKey]receipt{}}
	for _, p := range t.group {
		p.last, p.err = 0, nil
		if last, ok := k.storedBefore(p); ok {
			p.last = last
			continue
		}
		if p.err = k.refuse(p.batch); p.err != nil {
			continue
		}
		for _, op := range p.batch.Claims {
			k.claim(c, op, p.batch.Stream)
		}
		k.keepReceipts(c, p.batch)
		if len(p.batch.Records) > 0 {
			p.last = t.accept(k, p.batch)
		}
	}
	return c
}

// storedBefore reports whether a doubted append was stored after all: if it has records, by their
// ids; otherwise by its receipts. One that has neither only changes claims, and is repeated
// without harm.
func (k *known) storedBefore(p *pending) (last uint64, ok bool) {
	if !p.doubted {
		return 0, false
	}
	for _, r := range p.batch.Records {
		found, there := k.stored[place{r.Stream, r.Version}]
		if !there || found.id != r.ID {
			return 0, false
		}
		last = found.position
	}
	if len(p.batch.Records) > 0 {
		return last, true
	}
	for _, r := range p.batch.Receipts {
		if !bytes.Equal(k.receipts[r.Key].Data, r.Data) { // encrypted, so no other append has the same
			return 0, false
		}
	}
	return 0, len(p.batch.Receipts) > 0
}

// refuse returns why an append cannot be stored, nil if it can.
func (k *known) refuse(b eventstore.Batch) error {
	for _, r := range b.Receipts {
		if there, ok := k.receipts[r.Key]; ok {
			return &eventstore.Repeated{Key: r.Key, Stream: there.stream}
		}
	}
	if actual := k.heads[b.Stream].Version; actual != b.Expected {
		return &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: actual}
	}
	for _, op := range b.Claims {
		holders := k.holders[op.Key]
		if !op.Release && len(holders) > 0 && !slices.Contains(holders, b.Stream) {
			return &eventstore.ClaimTaken{Key: op.Key, Holder: holders[0]}
		}
	}
	return nil
}

func (k *known) claim(c *changes, op eventstore.ClaimOp, stream events.Stream) {
	holders := k.holders[op.Key]
	at, held := slices.BinarySearch(holders, stream)
	if held != op.Release {
		return
	}
	if op.Release {
		k.holders[op.Key] = slices.Delete(holders, at, at+1)
	} else {
		k.holders[op.Key] = slices.Insert(holders, at, stream)
	}
	change := eventstore.HeldClaim{Key: op.Key, Stream: stream}
	if _, opposite := c.claims[change]; opposite {
		delete(c.claims, change)
		return
	}
	c.claims[change] = !op.Release
}

func (k *known) keepReceipts(c *changes, b eventstore.Batch) {
	if b.DropReceipts {
		c.drops = append(c.drops, string(b.Stream))
		for key, there := range k.receipts {
			if there.stream == b.Stream {
				delete(k.receipts, key)
				delete(c.receipts, key)
			}
		}
	}
	for _, r := range b.Receipts {
		k.receipts[r.Key] = receipt{r, b.Stream}
		c.receipts[r.Key] = receipt{r, b.Stream}
	}
}

// accept gives the records of an append their positions and hashes, and returns the last position.
func (t *turn) accept(k *known, b eventstore.Batch) uint64 {
	for _, r := range b.Records {
		t.position++
		r.Position = t.position
		r.Metadata, r.Data = bytes.Clone(r.Metadata), bytes.Clone(r.Data) // the caller's
		t.hash = eventstore.ChainHash(t.hash, r)
		t.records, t.hashes = append(t.records, r), append(t.hashes, slices.Clone(t.hash[:]))
	}
	k.heads[b.Stream] = eventstore.StreamHead{Version: b.Expected + uint64(len(b.Records)), Position: t.position}
	return t.position
}

// store writes what was accepted and commits, in one round trip. An error of a statement keeps the
// server from executing those behind it, COMMIT among them.
func (t *turn) store(ctx context.Context, conn *pgx.Conn, c *changes) error {
	b := &pgx.Batch{}
	t.queueRecords(b)
	c.queue(b, t.now)
	b.Queue("COMMIT").Exec(isCommitted("a turn"))
	return conn.SendBatch(ctx, b).Close()
}

func (t *turn) queueRecords(b *pgx.Batch) {
	n := len(t.records)
	if n == 0 {
		return
	}
	positions, versions, times := make([]int64, n), make([]int64, n), make([]int64, n)
	streams, types := make([]string, n), make([]string, n)
	ids, metadata, data := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, r := range t.records {
		positions[i], versions[i], times[i] = int64(r.Position), int64(r.Version), r.Time.UnixMilli()
		streams[i], types[i] = string(r.Stream), r.Type
		ids[i], metadata[i], data[i] = r.ID[:], present(r.Metadata), present(r.Data)
	}
	b.Queue(`INSERT INTO log.events (position, stream, version, id, type, time, metadata, data, hash)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[])`,
		positions, streams, versions, ids, types, times, metadata, data, t.hashes)
	b.Queue(`UPDATE log.head SET position = $1, hash = $2`, int64(t.position), t.hash[:])
	b.Queue(`SELECT pg_notify('`+channel+`', $1)`, strconv.FormatUint(t.position, 10))
}

func (c *changes) queue(b *pgx.Batch, now int64) {
	var keys, released [][]byte
	var streams, releasing []string
	for change, taken := range c.claims {
		if key := slices.Clone(change.Key[:]); taken {
			keys, streams = append(keys, key), append(streams, string(change.Stream))
		} else {
			released, releasing = append(released, key), append(releasing, string(change.Stream))
		}
	}
	if len(released) > 0 {
		b.Queue(`DELETE FROM log.claims USING unnest($1::bytea[], $2::text[]) AS released (key, stream)
			WHERE claims.key = released.key AND claims.stream = released.stream`, released, releasing)
	}
	if len(keys) > 0 {
		b.Queue(`INSERT INTO log.claims (key, stream) SELECT * FROM unnest($1::bytea[], $2::text[])`, keys, streams)
	}
	if len(c.drops) > 0 {
		b.Queue(`DELETE FROM log.receipts WHERE stream = ANY($1)`, c.drops)
	}
	if c.sweep > 0 {
		b.Queue(`DELETE FROM log.receipts WHERE key IN
			(SELECT key FROM log.receipts WHERE expires <= $1 ORDER BY expires LIMIT $2)`, now, c.sweep)
	}
	if len(c.receipts) == 0 {
		return
	}
	var names, contents [][]byte
	var owners []string
	var expires []int64
	for _, r := range c.receipts {
		names, contents = append(names, slices.Clone(r.Key[:])), append(contents, present(r.Data))
		owners, expires = append(owners, string(r.stream)), append(expires, r.Expires.UnixMilli())
	}
	// One that is there has expired, or the append would have been refused.
	b.Queue(`INSERT INTO log.receipts (key, stream, data, expires)
		SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bigint[])
		ON CONFLICT (key) DO UPDATE SET stream = excluded.stream, data = excluded.data, expires = excluded.expires`,
		names, owners, contents, expires)
}

// present makes nil an empty value, which pgx would store as NULL.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
