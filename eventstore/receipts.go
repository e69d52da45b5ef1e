package eventstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"konto/events"
)

// NamedReceipt is a Receipt before it is hashed and encrypted.
type NamedReceipt struct {
	Name    string // of what must not be repeated
	Data    []byte
	Expires time.Time // UTC, milliseconds
}

// Receipt returns the stream and the data of a receipt, or "" if there is none. The error
// matches ErrDestroyed if the receipt exists but the key of its stream was destroyed.
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

// CheckReceipt returns an error if a receipt cannot be read. Errors: those of Receipt.
func (s *Store) CheckReceipt(ctx context.Context, r StoredReceipt) error {
	_, err := s.openReceipt(ctx, r.Stream, r.Key, r.Data)
	return err
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

// sealReceipts encrypts receipts with the key of their stream, so that an erasure of the
// stream erases them.
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

// receipt hashes a name, so that the log can compare names and read none.
func (s *Store) receipt(name string) (key ReceiptKey) {
	mac := hmac.New(sha256.New, s.receiptKey)
	mac.Write([]byte(name))
	mac.Sum(key[:0])
	return key
}

// receiptBinding binds a receipt to its stream and to the hash of its name, so that it can be
// checked by who does not know the name. It differs from the binding of every record, which
// begins with a stream, because no stream has this name.
func receiptBinding(stream events.Stream, key ReceiptKey) []byte {
	return fmt.Appendf(nil, "receipt|%s|%x", stream, key)
}
