package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/go-json-experiment/json"
)

// longest is the length of the longest line in bytes. An event is much shorter.
const longest = 16 << 20

// Reader reads an export, line by line.
type Reader struct {
	header Header
	lines  *bufio.Scanner
	digest hash.Hash
	number uint64 // of the line that was read last
	done   uint64 // position of the event that was read last
}

// NewReader reads the first line. Errors: ErrFormat, ErrCutOff, ErrNewer.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{lines: bufio.NewScanner(from), digest: sha256.New()}
	r.lines.Buffer(make([]byte, 1<<16), longest)
	r.lines.Split(whole)
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	// The first decoding ignores unknown members, because a newer konto may write more.
	var first struct {
		Export *struct {
			Format int `json:"format"`
		} `json:"export"`
	}
	if json.Unmarshal(text, &first) != nil || first.Export == nil || first.Export.Format < 1 {
		return nil, ErrFormat
	}
	if first.Export.Format > formatReceipts {
		return nil, ErrNewer
	}
	l, err := r.decode(text)
	if err != nil {
		return nil, err
	}
	r.header = *l.Export
	return r, nil
}

// Header returns the first line.
func (r *Reader) Header() Header { return r.header }

// Check reads the whole export, and returns an error if it is wrong.
func (r *Reader) Check(ctx context.Context) (End, error) {
	for {
		if err := ctx.Err(); err != nil {
			return End{}, err
		}
		if _, _, end, err := r.next(); err != nil {
			return End{}, err
		} else if end != nil {
			return *end, nil
		}
	}
}

// next returns the next receipt, the next event, or the last line. The last line must fit all
// lines before it, and nothing may follow.
func (r *Reader) next() (*receipt, *entry, *End, error) {
	before := r.digest.Sum(nil)
	text, err := r.text()
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := r.decode(text)
	more := r.header.Format >= formatReceipts
	switch {
	case err != nil:
		return nil, nil, nil, err
	case l.Receipt != nil:
		if !more || r.done > 0 {
			return nil, nil, nil, damaged(r.number, "is out of place")
		}
		return l.Receipt, nil, nil, nil
	case l.Event != nil:
		if r.done++; l.Event.Position != r.done || r.done > r.header.Head && !more {
			return nil, nil, nil, damaged(r.number, "is not the next event")
		}
		return nil, l.Event, nil, nil
	case l.End == nil:
		return nil, nil, nil, damaged(r.number, "is neither an event nor the end")
	case l.End.Events != r.done || r.done < r.header.Head || !bytes.Equal(l.End.SHA256, before):
		return nil, nil, nil, damaged(r.number, "does not fit the lines before it")
	}
	if _, err := r.text(); !errors.Is(err, ErrCutOff) {
		return nil, nil, nil, damaged(r.number, "follows the end")
	}
	return nil, nil, l.End, nil
}

// text returns the next line without its end. It is valid until the next call.
func (r *Reader) text() ([]byte, error) {
	r.number++
	if r.lines.Scan() {
		r.digest.Write(r.lines.Bytes())
		r.digest.Write([]byte("\n"))
		return r.lines.Bytes(), nil
	}
	switch err := r.lines.Err(); {
	case err == nil && r.number == 1:
		return nil, ErrFormat
	case err == nil:
		return nil, ErrCutOff
	case errors.Is(err, bufio.ErrTooLong):
		return nil, damaged(r.number, "is too long")
	default:
		return nil, err
	}
}

// decode quotes nothing in its errors.
func (r *Reader) decode(text []byte) (l line, err error) {
	if json.Unmarshal(text, &l, json.RejectUnknownMembers(true)) != nil {
		return l, damaged(r.number, "is not what konto writes")
	}
	if r.number == 1 != (l.Export != nil) {
		return l, damaged(r.number, "is out of place")
	}
	return l, nil
}

// whole is bufio.ScanLines, except that it ignores a last line that was cut off.
func whole(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}
