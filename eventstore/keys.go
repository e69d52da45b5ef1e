package eventstore

import (
	"context"
	"crypto/cipher"

	"konto/events"
)

// Keys holds the key of each stream. Its methods may be called concurrently.
type Keys interface {
	// Create returns the stream's cipher, and creates the key if the stream has none. The
	// key is durable when Create returns, because no event may outlive its key. A
	// stream whose key was destroyed never gets another: the error is ErrDestroyed.
	Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error)

	// Cipher returns the stream's cipher, which puts a random nonce in front of what it
	// seals. Errors: ErrNoKey, ErrDestroyed.
	Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error)

	// Derive returns a 256-bit secret for a purpose. It is always the same.
	Derive(purpose string) []byte
}

// Prefetcher is implemented by Keys that read the keys of many streams at once for what one costs,
// such as those on another machine.
type Prefetcher interface {
	// Prefetch caches what Cipher needs to answer for streams, so far as the cache has room. A key
	// that is missing or damaged is no error here. It is one of Cipher.
	Prefetch(ctx context.Context, streams ...events.Stream) error
}

// Prefetch prepares keys for records that are about to be decrypted. It does nothing unless keys is
// a Prefetcher.
func Prefetch(ctx context.Context, keys Keys, records []Record) error {
	prefetcher, ok := keys.(Prefetcher)
	if !ok || len(records) < 2 {
		return nil
	}
	streams := make([]events.Stream, 0, len(records))
	for _, r := range records {
		if events.Sealed(r.Type) {
			streams = append(streams, r.Stream)
		}
	}
	return prefetcher.Prefetch(ctx, streams...)
}

// KeyStore is Keys with what a program needs that opens them, erases accounts, and checks what is
// stored. Several nodes may have one open, if it is not a file.
type KeyStore interface {
	Keys

	// Destroy destroys the keys of streams for good. Afterwards Cipher and Create return
	// ErrDestroyed, even for a stream that had no key, and what holds the keys no longer has
	// the old bytes, not even wrapped. Other nodes may still have a cipher in memory; see
	// Ended. A key that is destroyed already is not an error. After an error, call it again.
	Destroy(ctx context.Context, streams ...events.Stream) error

	// Ended is called when this node has read the event that ends a stream. Afterwards the
	// node has no cipher of the stream in memory once its key is destroyed, whichever node
	// destroys it. A cipher that was returned before may still be in use.
	Ended(streams ...events.Stream)

	// Bind binds the keys to the log with an id when it is called for the first time, and
	// checks the id afterwards. If the log is not empty, the keys must be bound already:
	// otherwise they are new ones in place of keys that were lost. The error for keys of
	// another log matches keyring.ErrOtherLog; nothing was changed.
	Bind(ctx context.Context, log []byte, empty bool) error

	// Bound reports whether the keys are bound to a log.
	Bound(ctx context.Context) (bool, error)

	// Check checks everything that is stored while it is in use, and changes nothing: each
	// key must be one that can be unwrapped. Errors: ErrDamagedKey, and those of the store.
	Check(ctx context.Context) error

	// Count returns the number of keys, including destroyed keys and the store's own.
	Count(ctx context.Context) (uint64, error)

	// Close frees what the store uses. Calls under way succeed or return an error.
	Close() error
}
