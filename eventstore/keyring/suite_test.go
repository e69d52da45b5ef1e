package keyring_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/keyring/keyringtest"
)

func TestKeyringKeepsTheContract(t *testing.T) {
	paths := map[eventstore.KeyStore]string{}
	open := func(t *testing.T, path string) eventstore.KeyStore {
		k, err := keyring.Open(t.Context(), path, bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		paths[k] = path
		return k
	}
	keyringtest.Run(t, keyringtest.Backend{
		Open:    func(t *testing.T) eventstore.KeyStore { return open(t, filepath.Join(t.TempDir(), "keys.db")) },
		Another: func(t *testing.T, keys eventstore.KeyStore) eventstore.KeyStore { return open(t, paths[keys]) },
	})
}
