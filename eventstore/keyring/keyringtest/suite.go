// Package keyringtest is the conformance suite of eventstore.KeyStore: a store of keys is correct if
// it passes Run.
package keyringtest

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
)

// Backend opens stores of keys for the suite, all with one master key.
type Backend struct {
	// Open returns a store without keys. The backend closes it when the test ends.
	Open func(t *testing.T) eventstore.KeyStore

	// Another opens the same keys once more, as another node does, or as a restart does if keys
	// was closed.
	Another func(t *testing.T, keys eventstore.KeyStore) eventstore.KeyStore
}

// place is where a check runs.
type place struct {
	*testing.T
	keys    eventstore.KeyStore
	another func() eventstore.KeyStore
}

// Run checks a store of keys against the whole contract.
func Run(t *testing.T, b Backend) {
	for name, check := range map[string]func(p place){
		"keys survive reopening":                                 reopen,
		"Create keeps an existing key":                           createAgain,
		"concurrent Creates of one stream get one key":           createOne,
		"concurrent Creates of many streams all last":            createMany,
		"streams have keys of their own":                         separate,
		"a missing key is ErrNoKey":                              missing,
		"secrets differ by purpose":                              derive,
		"destroyed keys stay destroyed":                          destroyed,
		"only keys of streams can be destroyed":                  onlyStreams,
		"a stream that ended is read until its key is destroyed": ended,
		"keys belong to one log":                                 bind,
		"new keys do not fit a log that has events":              bindLate,
		"keys are counted and checked":                           count,
		"what is closed refuses":                                 closed,
	} {
		t.Run(name, func(t *testing.T) {
			keys := b.Open(t)
			check(place{t, keys, func() eventstore.KeyStore { return b.Another(t, keys) }})
		})
	}
}

var secret = []byte("Åsa Öberg")

func stream() events.Stream { return events.AccountStream(ulid.Make()) }

func (p place) create(k eventstore.KeyStore, s events.Stream) cipher.AEAD {
	p.Helper()
	aead, err := k.Create(p.Context(), s)
	if err != nil {
		p.Fatal(err)
	}
	return aead
}

func (p place) seal(s events.Stream) []byte {
	p.Helper()
	return p.create(p.keys, s).Seal(nil, nil, secret, nil)
}

// unseals expects that a store has the key that sealed.
func (p place) unseals(k eventstore.KeyStore, s events.Stream, sealed []byte) {
	p.Helper()
	aead, err := k.Cipher(p.Context(), s)
	if err != nil {
		p.Fatal(err)
	}
	if clear, err := aead.Open(nil, nil, sealed, nil); err != nil || !bytes.Equal(clear, secret) {
		p.Errorf("%s: unsealed %q, %v", s, clear, err)
	}
}

func (p place) destroy(streams ...events.Stream) {
	p.Helper()
	if err := p.keys.Destroy(p.Context(), streams...); err != nil {
		p.Fatal(err)
	}
}

// reopened closes the store and opens it again.
func (p place) reopened() eventstore.KeyStore {
	p.Helper()
	if err := p.keys.Close(); err != nil {
		p.Fatal(err)
	}
	return p.another()
}

func reopen(p place) {
	s := stream()
	sealed, derived := p.seal(s), p.keys.Derive("claims")
	k := p.reopened()
	p.unseals(k, s, sealed)
	if !bytes.Equal(k.Derive("claims"), derived) {
		p.Error("a derived secret changed")
	}
}

func createAgain(p place) {
	s := stream()
	sealed := p.seal(s)
	p.create(p.keys, s)
	p.unseals(p.keys, s, sealed)
	another := p.another()
	p.create(another, s)
	p.unseals(another, s, sealed)
}

func createOne(p place) {
	nodes := []eventstore.KeyStore{p.keys, p.another()}
	s := stream()
	sealed := make([][]byte, 32)
	var all sync.WaitGroup
	for i := range sealed {
		all.Go(func() {
			if aead, err := nodes[i%2].Create(p.Context(), s); err != nil {
				p.Error(err)
			} else {
				sealed[i] = aead.Seal(nil, nil, secret, nil)
			}
		})
	}
	all.Wait()
	for _, sealed := range sealed {
		p.unseals(p.keys, s, sealed)
	}
}

func createMany(p place) {
	nodes := []eventstore.KeyStore{p.keys, p.another()}
	streams, sealed := make([]events.Stream, 200), make([][]byte, 200)
	var all sync.WaitGroup
	for i := range streams {
		streams[i] = stream()
		all.Go(func() {
			if aead, err := nodes[i%2].Create(p.Context(), streams[i]); err != nil {
				p.Error(err)
			} else {
				sealed[i] = aead.Seal(nil, nil, secret, nil)
			}
		})
	}
	all.Wait()
	third := p.another()
	for i, s := range streams {
		p.unseals(third, s, sealed[i])
	}
}

func separate(p place) {
	sealed := p.seal(stream())
	if _, err := p.create(p.keys, stream()).Open(nil, nil, sealed, nil); err == nil {
		p.Error("another stream's key unsealed it")
	}
}

func missing(p place) {
	s := stream()
	if _, err := p.keys.Cipher(p.Context(), s); !errors.Is(err, eventstore.ErrNoKey) || !strings.Contains(err.Error(), string(s)) {
		p.Errorf("%v", err)
	}
}

func derive(p place) {
	a, b := p.keys.Derive("claims"), p.keys.Derive("codes")
	if len(a) != 32 || len(b) != 32 || bytes.Equal(a, b) {
		p.Errorf("%d and %d bytes, the same: %t", len(a), len(b), bytes.Equal(a, b))
	}
	if !bytes.Equal(p.another().Derive("claims"), a) {
		p.Error("two nodes derive different secrets")
	}
}

func (p place) expectDestroyed(k eventstore.KeyStore, streams ...events.Stream) {
	p.Helper()
	for _, s := range streams {
		_, read := k.Cipher(p.Context(), s)
		_, made := k.Create(p.Context(), s)
		for _, err := range []error{read, made} {
			if !errors.Is(err, eventstore.ErrDestroyed) || errors.Is(err, eventstore.ErrNoKey) || errors.Is(err, eventstore.ErrDamagedKey) {
				p.Errorf("%s: %v", s, err)
			}
		}
	}
}

func destroyed(p place) {
	cached, stored, never, kept := stream(), stream(), stream(), stream()
	sealed := p.seal(kept)
	p.seal(cached)
	p.create(p.another(), stored)
	p.destroy(cached, stored, never, cached)
	p.destroy(cached, never) // once more is no error
	p.destroy()
	p.expectDestroyed(p.keys, cached, stored, never)
	p.unseals(p.keys, kept, sealed)
	k := p.reopened()
	p.expectDestroyed(k, cached, stored, never)
	p.unseals(k, kept, sealed)
}

func onlyStreams(p place) {
	if err := p.keys.Bind(p.Context(), []byte("a log"), true); err != nil {
		p.Fatal(err)
	}
	kept := stream()
	sealed := p.seal(kept)
	for _, name := range []events.Stream{keyring.RootName, keyring.LogName, "", "account-x"} {
		if err := p.keys.Destroy(p.Context(), kept, name); err == nil {
			p.Errorf("%q was destroyed", name)
		}
	}
	p.unseals(p.keys, kept, sealed) // nothing was destroyed with it
	if bound, err := p.another().Bound(p.Context()); !bound || err != nil {
		p.Errorf("bound %t, %v", bound, err)
	}
}

func ended(p place) {
	s := stream()
	sealed := p.seal(s)
	p.keys.Ended(s, stream())
	for range 2 {
		p.unseals(p.keys, s, sealed)
	}
	p.destroy(s)
	p.expectDestroyed(p.keys, s)
}

func bind(p place) {
	if bound, err := p.keys.Bound(p.Context()); bound || err != nil {
		p.Fatalf("bound before: %t, %v", bound, err)
	}
	if err := p.keys.Bind(p.Context(), []byte("a log"), true); err != nil {
		p.Fatal(err)
	}
	for _, k := range []eventstore.KeyStore{p.keys, p.another()} {
		for _, empty := range []bool{true, false} {
			if err := k.Bind(p.Context(), []byte("a log"), empty); err != nil {
				p.Errorf("its own log, empty %t: %v", empty, err)
			}
			if err := k.Bind(p.Context(), []byte("a log begun again"), empty); !errors.Is(err, keyring.ErrOtherLog) {
				p.Errorf("another log, empty %t: %v", empty, err)
			}
		}
		if bound, err := k.Bound(p.Context()); !bound || err != nil {
			p.Errorf("bound %t, %v", bound, err)
		}
	}
}

func bindLate(p place) {
	if err := p.keys.Bind(p.Context(), []byte("a log of others"), false); !errors.Is(err, keyring.ErrOtherLog) {
		p.Errorf("%v", err)
	}
	if bound, err := p.keys.Bound(p.Context()); bound || err != nil {
		p.Errorf("bound %t, %v", bound, err)
	}
}

func count(p place) {
	before, err := p.keys.Count(p.Context())
	if err != nil || before != 1 { // the root key
		p.Fatalf("%d, %v", before, err)
	}
	dead := stream()
	p.seal(stream())
	p.seal(dead)
	p.destroy(dead)
	if n, err := p.keys.Count(p.Context()); n != 3 || err != nil {
		p.Errorf("%d, %v", n, err)
	}
	if err := p.keys.Check(p.Context()); err != nil {
		p.Error(err)
	}
}

func closed(p place) {
	if err := p.keys.Close(); err != nil {
		p.Fatal(err)
	}
	if _, err := p.keys.Create(context.Background(), stream()); err == nil {
		p.Error("created a key")
	}
}
