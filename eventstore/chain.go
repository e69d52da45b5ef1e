package eventstore

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// ChainHash links a record to everything before it: SHA-256 over the hash of
// the record at the position before (zeros for the first) and all of the
// record's stored members, each variable one behind its length. It covers the
// payload as stored, so the chain can be checked without keys and after an
// erasure.
func ChainHash(previous [sha256.Size]byte, r Record) [sha256.Size]byte {
	buf := slices.Grow(make([]byte, 0, 1024), 256+len(r.Metadata)+len(r.Data)) // on the stack, when a record is no larger than most
	buf = append(buf, previous[:]...)
	buf = binary.BigEndian.AppendUint64(buf, r.Position)
	buf = binary.BigEndian.AppendUint64(buf, r.Version)
	buf = binary.BigEndian.AppendUint64(buf, uint64(r.Time.UnixMilli()))
	buf = append(buf, r.ID[:]...)
	for _, member := range [][]byte{[]byte(r.Stream), []byte(r.Type), r.Metadata, r.Data} {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(member)))
		buf = append(buf, member...)
	}
	return sha256.Sum256(buf)
}
