package transfer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The versions of the text. A newer konto may write a higher one.
const (
	formatEvents   = 1 // events only; also what an earlier konto wrote encrypted
	formatReceipts = 2 // receipts before the events
)

var (
	// ErrFormat is matched by the error for a text that is not an export, or is damaged.
	// Delete what was imported from it.
	ErrFormat = errors.New("not an export of konto, or a damaged one")

	// ErrCutOff is matched by the error for an export whose end is missing. Delete what was
	// imported from it.
	ErrCutOff = errors.New("the export is cut off")

	// ErrNewer is matched by the error for an export that a newer konto wrote.
	ErrNewer = errors.New("a newer konto wrote the export")
)

// Header is the first line.
type Header struct {
	Format    int      `json:"format"`
	Log       hexBytes `json:"log"` // id of the log
	Encrypted bool     `json:"encrypted"`
	// Head is the position of the last event when the export began. In format 2 events that
	// were appended a moment later may follow; End has their number.
	Head    uint64    `json:"head"`
	Created time.Time `json:"created"`
}

// End is the last line.
type End struct {
	Events uint64   `json:"events"`
	Chain  hexBytes `json:"chain,omitzero"` // of the log's last record, when the events are encrypted
	SHA256 hexBytes `json:"sha256"`         // of all bytes before the line
}

// line is one line. Exactly one of its fields is set.
type line struct {
	Export  *Header  `json:"export,omitzero"`
	Receipt *receipt `json:"receipt,omitzero"`
	Event   *entry   `json:"event,omitzero"`
	End     *End     `json:"end,omitzero"`
}

// receipt is one stored receipt.
type receipt struct {
	Key     hexBytes      `json:"key"`
	Stream  events.Stream `json:"stream"`
	Data    []byte        `json:"data"`
	Expires time.Time     `json:"expires"`
}

// entry is one event. Metadata and Data are JSON, or the stored bytes in base64.
type entry struct {
	Position uint64         `json:"position"`
	Stream   events.Stream  `json:"stream"`
	Version  uint64         `json:"version"`
	ID       ulid.ULID      `json:"id"`
	Type     string         `json:"type"`
	Time     time.Time      `json:"time"`
	Shredded bool           `json:"shredded,omitzero"`
	Metadata jsontext.Value `json:"metadata,omitzero"`
	Data     jsontext.Value `json:"data,omitzero"`
}

// hexBytes is encoded in hexadecimal.
type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(nil, text)
	return err
}

// damaged returns an error that names a line and quotes nothing of it.
func damaged(line uint64, reason string) error {
	return fmt.Errorf("%w: line %d %s", ErrFormat, line, reason)
}
