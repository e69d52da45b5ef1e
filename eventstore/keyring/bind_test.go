package keyring

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestKeysBelongToOneLog(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "keys.db"), t.Context()
	k := open(t, path)
	if err := k.Bind(ctx, []byte("log of another"), false); !errors.Is(err, ErrOtherLog) {
		t.Fatalf("new keys were bound to a log that has events: %v", err)
	}
	if bound, err := k.Bound(ctx); bound || err != nil {
		t.Fatalf("bound: %v, %v", bound, err)
	}
	if err := k.Bind(ctx, []byte("log"), true); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = open(t, path)
	for _, empty := range []bool{true, false} {
		if err := k.Bind(ctx, []byte("log"), empty); err != nil {
			t.Errorf("its own log, empty: %v: %v", empty, err)
		}
		if err := k.Bind(ctx, []byte("log begun again"), empty); !errors.Is(err, ErrOtherLog) {
			t.Errorf("another log, empty: %v: %v", empty, err)
		}
	}
	if bound, err := k.Bound(ctx); !bound || err != nil {
		t.Errorf("bound: %v, %v", bound, err)
	}
}
