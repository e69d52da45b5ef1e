package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

func TestMasterKeyIsCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	made, err := LoadMaster(path, "", true)
	if err != nil || len(made) != keySize {
		t.Fatalf("%d bytes, %v", len(made), err)
	}
	for _, fresh := range []bool{true, false} {
		if kept, err := LoadMaster(path, "", fresh); err != nil || !bytes.Equal(kept, made) {
			t.Errorf("fresh %v: another key, %v", fresh, err)
		}
	}
	other, err := LoadMaster(filepath.Join(t.TempDir(), "master.key"), "", true)
	if err != nil || bytes.Equal(other, made) {
		t.Errorf("two files have one key, %v", err)
	}
}

func TestOnlyTheOwnerCanReadTheMasterKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if _, err := LoadMaster(path, "", true); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestConcurrentStartsNeverReplaceAMasterKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var wg sync.WaitGroup
	keys := make([][]byte, 16)
	for i := range keys {
		wg.Go(func() { keys[i], _ = LoadMaster(path, "", true) }) // a loser may fail
	}
	wg.Wait()
	kept, err := LoadMaster(path, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key != nil && !bytes.Equal(key, kept) {
			t.Error("a key was used that is not the kept one")
		}
	}
}

func TestGivenMasterKeyNeedsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	key, err := LoadMaster(path, digits, true)
	if err != nil || key[1] != 0x11 || len(key) != keySize {
		t.Fatalf("%x, %v", key, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("a file was made")
	}
}

func TestErrorForAMissingMasterKeySaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	_, err := LoadMaster(path, "", false)
	if !errors.Is(err, ErrNoMaster) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{path, "restore the file", "KONTO_MASTER_KEY"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("a file was made")
	}
}

func TestMasterKeyFilesThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		content string
		mode    os.FileMode
		says    string
	}{
		"empty":                  {"", 0o600, "is not 64 hex digits"},
		"too short":              {digits[:62] + "\n", 0o600, "is not 64 hex digits"},
		"too long":               {digits + "00\n", 0o600, "is not 64 hex digits"},
		"no hex digits":          {strings.Repeat("x", 64) + "\n", 0o600, "is not 64 hex digits"},
		"readable by its group":  {digits + "\n", 0o640, "chmod 600"},
		"readable by everybody":  {digits + "\n", 0o604, "chmod 600"},
		"writable by its group":  {digits + "\n", 0o620, "chmod 600"},
		"malformed and readable": {"", 0o644, "chmod 600"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			_, err := LoadMaster(path, "", true)
			if err == nil {
				t.Fatal("accepted")
			}
			message := err.Error()
			if !strings.Contains(message, test.says) || !strings.Contains(message, path) {
				t.Errorf("%q", message)
			}
			if content, err := os.ReadFile(path); err != nil || string(content) != test.content {
				t.Error("the file was changed")
			}
		})
	}
}

func TestMalformedGivenMasterKeyIsNamedAndNotShown(t *testing.T) {
	_, err := LoadMaster("unused", "hunter2", true)
	if err == nil || !strings.Contains(err.Error(), "KONTO_MASTER_KEY") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
