package keyring

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestAllHasEveryKeyAndTombstone(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	if err := k.Bind(t.Context(), []byte("the log's id 16b"), true); err != nil {
		t.Fatal(err)
	}
	sealed := map[string][]byte{}
	for range rewrapPage + 10 { // more than a page
		s := stream()
		sealed[string(s)] = create(t, k, s).Seal(nil, nil, secret, nil)
	}
	dead := stream()
	create(t, k, dead)
	if err := k.Destroy(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	var names []string
	for key, err := range k.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, key.Name)
		switch key.Name {
		case RootName:
			if !bytes.Equal(key.Key, k.root) {
				t.Error("another root key")
			}
		case LogName:
			if string(key.Key) != "the log's id 16b" {
				t.Errorf("the log is %q", key.Key)
			}
		case string(dead):
			if !bytes.Equal(key.Key, make([]byte, keySize)) {
				t.Error("a destroyed key is no tombstone")
			}
		default:
			aead, err := NewCipher(key.Key)
			if err != nil {
				t.Fatal(err)
			}
			unseals(t, aead, sealed[key.Name])
			delete(sealed, key.Name)
		}
	}
	if len(sealed) > 0 || len(names) != rewrapPage+13 || names[0] != RootName || names[len(names)-1] != LogName {
		t.Errorf("%d keys, from %s to %s; %d are missing", len(names), names[0], names[len(names)-1], len(sealed))
	}
}

func TestAllEndsWithADamagedKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	s := stream()
	create(t, k, s)
	rewrite(t, path, "UPDATE keys SET wrapped = zeroblob(60) WHERE stream = ?", string(s))
	var last error
	for _, err := range k.All(t.Context()) {
		last = err
	}
	if last == nil {
		t.Error("a damaged key was passed over")
	}
}
