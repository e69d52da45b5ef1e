package eventstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"konto/events"
)

// NamedReceipt is a Receipt in the words of the store's callers.
type NamedReceipt struct {
	Name    string // of what must not happen twice
	Data    []byte
	Expires time.Time // UTC, milliseconds
}

// Receipt returns the stream that a receipt was left with, and its data; ""
// when there is none. An error that matches ErrDestroyed tells that the receipt is
// there but went with its stream's key: what it was left for was erased.
func (s *Store) Receipt(ctx context.Context, name string) (events.Stream, []byte, error) {
	key := s.receipt(name)
	stream, sealed, err := s.log.Receipt(ctx, key)
	if err != nil || stream == "" {
		return "", nil, err
	}
	data, err := s.openReceipt(ctx, stream, key, sealed)
	if err != nil {
		return "", nil, err
	}
	return stream, data, nil
}

func (s *Store) openReceipt(ctx context.Context, stream events.Stream, key ReceiptKey, sealed []byte) ([]byte, error) {
	aead, err := s.keys.Cipher(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("receipt of %s: %w", stream, err)
	}
	data, err := aead.Open(nil, nil, sealed, receiptBinding(stream, key))
	if err != nil {
		return nil, fmt.Errorf("receipt of %s: %w", stream, ErrSealBroken)
	}
	return data, nil
}

// LeftReceipt is a receipt and the stream that it was left with.
type LeftReceipt struct {
	Receipt
	Stream events.Stream
}

// CheckReceipt tells whether a receipt can still be read where it is. Errors:
// those of Receipt.
func (s *Store) CheckReceipt(ctx context.Context, r LeftReceipt) error {
	_, err := s.openReceipt(ctx, r.Stream, r.Key, r.Data)
	return err
}

// sealReceipts encrypts receipts with the key of their stream, so that they are
// forgotten with it.
func (s *Store) sealReceipts(ctx context.Context, stream events.Stream, expected uint64, named []NamedReceipt) ([]Receipt, error) {
	if len(named) == 0 {
		return nil, nil
	}
	aead, err := s.cipher(ctx, stream, expected)
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(named))
	for i, n := range named {
		key := s.receipt(n.Name)
		receipts[i] = Receipt{Key: key, Data: aead.Seal(nil, nil, n.Data, receiptBinding(stream, key)), Expires: n.Expires}
	}
	return receipts, nil
}

// receipt hashes a name, so that the log can compare names and never read one.
func (s *Store) receipt(name string) (key ReceiptKey) {
	mac := hmac.New(sha256.New, s.receiptKey)
	mac.Write([]byte(name))
	mac.Sum(key[:0])
	return key
}

// receiptBinding ties a receipt to its stream and name. The name goes in as the
// hash that it is stored under, so that receipts can be checked when nobody knows
// their names. No record's binding is like it: those begin with a stream, and no
// stream is called so.
func receiptBinding(stream events.Stream, key ReceiptKey) []byte {
	return fmt.Appendf(nil, "receipt|%s|%x", stream, key)
}
