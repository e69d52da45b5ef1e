package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/events"
	"konto/eventstore/sqlitefile"
)

// rewrite changes the file without the keyring.
func rewrite(t *testing.T, path, statement string, args ...any) {
	t.Helper()
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	used := func(t *testing.T, path string) {
		k := open(t, path)
		create(t, k, stream())
		k.Close()
	}
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		master  []byte
		want    error
	}{
		"another master key": {used, bytes.Repeat([]byte{8}, keySize), ErrWrongMaster},
		"a lost root key beside other keys": {func(t *testing.T, path string) {
			used(t, path)
			rewrite(t, path, "DELETE FROM keys WHERE stream = ?", RootName)
		}, master, ErrNoRoot},
		"a file that is no database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, master, sqlitefile.ErrMalformed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.db")
			test.prepare(t, path)
			_, err := Open(t.Context(), path, test.master)
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if message := err.Error(); !strings.Contains(message, path) || strings.Contains(message, "\n") {
				t.Errorf("not one line that names the file: %q", message)
			}
		})
	}
	t.Run("a master key of another length", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.db")
		if _, err := Open(t.Context(), path, master[:16]); err == nil {
			t.Error("accepted")
		}
	})
}

func TestWrongMasterChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	s := stream()
	k := open(t, path)
	sealed := create(t, k, s).Seal(nil, nil, secret, nil)
	k.Close()
	if _, err := Open(t.Context(), path, bytes.Repeat([]byte{8}, keySize)); err == nil {
		t.Fatal("accepted")
	}
	aead, err := open(t, path).Cipher(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	unseals(t, aead, sealed)
}

func TestRowsThatWereChangedAreDetected(t *testing.T) {
	for name, change := range map[string]string{
		"two rows swapped": `UPDATE keys SET wrapped = other.wrapped FROM (SELECT * FROM keys) AS other
			WHERE keys.stream IN (?1, ?2) AND other.stream IN (?1, ?2) AND other.stream <> keys.stream`,
		"bytes overwritten": "UPDATE keys SET wrapped = zeroblob(60) WHERE stream IN (?1, ?2)",
		"a byte lost":       "UPDATE keys SET wrapped = substr(wrapped, 1, 59) WHERE stream IN (?1, ?2)",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.db")
			a, b := stream(), stream()
			k := open(t, path)
			create(t, k, a)
			create(t, k, b)
			k.Close()
			rewrite(t, path, change, string(a), string(b))

			k = open(t, path)
			for _, s := range []events.Stream{a, b} {
				_, err := k.Cipher(t.Context(), s)
				if !errors.Is(err, ErrDamagedKey) || !strings.Contains(err.Error(), string(s)) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}
