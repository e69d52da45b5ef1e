package projections

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
)

// spill keeps records apart by part, each part in the order in which they were
// added, in a file that has no name: nothing of it is left when the process ends,
// however it does. Payloads are in it as the log has them, encrypted; metadata is
// left out.
type spill struct {
	file  *os.File
	end   int64
	parts []spillPart
	buf   []byte
}

// spillPart is the tail of a part, and where the rest is.
type spillPart struct {
	tail    []byte
	extents []extent
}

type extent struct{ at, length int64 }

// spillTail is how much of a part is kept before it is written, in bytes.
const spillTail = 8 << 10

// newSpill makes the file beside the one at path.
func newSpill(path string, parts int) (*spill, error) {
	name := path + ".spill"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(name); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &spill{file: file, parts: make([]spillPart, parts)}, nil
}

func closeSpills(all []*spill) {
	for _, s := range all {
		s.file.Close()
	}
}

// add puts a record into a part.
func (s *spill) add(part int, category byte, owner ulid.ULID, r eventstore.Record) error {
	b := append(s.buf[:0], category)
	b = append(append(b, owner[:]...), r.ID[:]...)
	b = binary.AppendUvarint(b, r.Position)
	b = binary.AppendUvarint(b, r.Version)
	b = binary.AppendVarint(b, r.Time.UnixMilli())
	b = append(binary.AppendUvarint(b, uint64(len(r.Type))), r.Type...)
	b = append(b, r.Data...)
	s.buf = b

	p := &s.parts[part]
	if len(p.tail) > 0 && len(p.tail)+len(b)+binary.MaxVarintLen64 > spillTail {
		if err := s.write(p); err != nil {
			return err
		}
	}
	if p.tail == nil {
		p.tail = make([]byte, 0, spillTail)
	}
	p.tail = append(binary.AppendUvarint(p.tail, uint64(len(b))), b...)
	return nil
}

func (s *spill) write(p *spillPart) error {
	if _, err := s.file.WriteAt(p.tail, s.end); err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	p.extents = append(p.extents, extent{s.end, int64(len(p.tail))})
	s.end += int64(len(p.tail))
	p.tail = p.tail[:0]
	return nil
}

// part reads all that was added to a part.
func (s *spill) part(i int) io.Reader {
	p := &s.parts[i]
	var all []io.Reader
	for _, e := range p.extents {
		all = append(all, io.NewSectionReader(s.file, e.at, e.length))
	}
	return io.MultiReader(append(all, bytes.NewReader(p.tail))...)
}

// spilled is a record out of a spill; its Stream is not set.
type spilled struct {
	category byte
	owner    ulid.ULID
	eventstore.Record
}

// spillReader reads records; each is good until the next is read.
type spillReader struct {
	from  *bufio.Reader
	buf   []byte
	types map[string]string // one string for all records of a type
}

// readPart reads one part of several spills, one after the other.
func readPart(all []*spill, part int) *spillReader {
	var from []io.Reader
	for _, s := range all {
		from = append(from, s.part(part))
	}
	return &spillReader{from: bufio.NewReaderSize(io.MultiReader(from...), 64<<10), types: make(map[string]string)}
}

// errSpill tells that a temporary file does not hold what was written to it.
var errSpill = errors.New("a temporary file is damaged")

// next reads a record, or io.EOF.
func (s *spillReader) next() (r spilled, err error) {
	length, err := binary.ReadUvarint(s.from)
	if err != nil {
		return r, err
	}
	if uint64(cap(s.buf)) < length {
		s.buf = make([]byte, length*2)
	}
	b := s.buf[:length]
	if _, err := io.ReadFull(s.from, b); err != nil {
		return r, errSpill
	}
	const fixed = 1 + 2*len(ulid.ULID{})
	if len(b) < fixed {
		return r, errSpill
	}
	r.category = b[0]
	copy(r.owner[:], b[1:])
	copy(r.ID[:], b[1+len(r.owner):])
	return r, s.rest(&r, b[fixed:])
}

// rest reads what has no fixed place.
func (s *spillReader) rest(r *spilled, b []byte) error {
	var at int64
	var typeLength uint64
	var n [4]int
	r.Position, n[0] = binary.Uvarint(b)
	b = b[max(n[0], 0):]
	r.Version, n[1] = binary.Uvarint(b)
	b = b[max(n[1], 0):]
	at, n[2] = binary.Varint(b)
	b = b[max(n[2], 0):]
	typeLength, n[3] = binary.Uvarint(b)
	b = b[max(n[3], 0):]
	if min(n[0], n[1], n[2], n[3]) <= 0 || typeLength > uint64(len(b)) {
		return errSpill
	}
	name, known := s.types[string(b[:typeLength])]
	if !known {
		name = string(b[:typeLength])
		s.types[name] = name
	}
	r.Type, r.Time, r.Data = name, time.UnixMilli(at).UTC(), b[typeLength:]
	return nil
}
