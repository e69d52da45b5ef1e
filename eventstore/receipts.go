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
// when there is none. An error that matches ErrNoKey tells that the receipt is
// there but went with its stream's key: what it was left for was erased.
func (s *Store) Receipt(ctx context.Context, name string) (events.Stream, []byte, error) {
	stream, sealed, err := s.log.Receipt(ctx, s.receipt(name))
	if err != nil || stream == "" {
		return "", nil, err
	}
	aead, err := s.keys.Cipher(ctx, stream)
	if err != nil {
		return "", nil, fmt.Errorf("receipt of %s: %w", stream, err)
	}
	data, err := aead.Open(nil, nil, sealed, receiptBinding(stream, name))
	if err != nil {
		return "", nil, fmt.Errorf("receipt of %s: %w", stream, ErrSealBroken)
	}
	return stream, data, nil
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
		receipts[i] = Receipt{
			Key:     s.receipt(n.Name),
			Data:    aead.Seal(nil, nil, n.Data, receiptBinding(stream, n.Name)),
			Expires: n.Expires,
		}
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

// receiptBinding ties a receipt to its stream and name. No record's binding is
// like it: those begin with a stream, and no stream is called so.
func receiptBinding(stream events.Stream, name string) []byte {
	return fmt.Appendf(nil, "receipt|%s|%s", stream, name)
}
