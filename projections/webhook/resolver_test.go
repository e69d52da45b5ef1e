package webhook

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// resolver answers each look-up of a name with the next of the addresses, the
// last one for ever; without any there is no such name.
func resolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	answers := make([]netip.Addr, len(addresses))
	for i, a := range addresses {
		answers[i] = netip.MustParseAddr(a)
	}
	var mu sync.Mutex
	next := func(kind uint16) (addr netip.Addr, found bool) {
		const typeA = 1
		mu.Lock()
		defer mu.Unlock()
		if len(answers) == 0 || kind != typeA {
			return addr, len(answers) > 0
		}
		addr = answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return addr, true
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // no packets: DNS over TCP
		go answerDNS(theirs, next)
		return ours, nil
	}}
}

// answerDNS answers one query for one name.
func answerDNS(c net.Conn, next func(kind uint16) (netip.Addr, bool)) {
	defer c.Close()
	length := make([]byte, 2)
	if _, err := io.ReadFull(c, length); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length))
	if _, err := io.ReadFull(c, query); err != nil {
		return
	}
	end := 12
	for query[end] != 0 { // the labels of the name
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	addr, found := next(binary.BigEndian.Uint16(question[len(question)-4:]))
	const response, noSuchName = 0x81, 0x83
	head := []byte{query[0], query[1], response, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}
	if !found {
		head[3] = noSuchName
	}
	answer := append(head, question...)
	if addr.IsValid() {
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // of that name, an A, not to be kept
		answer = append(answer, addr.AsSlice()...)
	}
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}
