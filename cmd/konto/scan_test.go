package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// forms are the ways in which a text may lie in a file.
func forms(text string) map[string][]byte {
	all := map[string][]byte{}
	for name, s := range map[string]string{"as it is": text, "in lower case": strings.ToLower(text), "in upper case": strings.ToUpper(text)} {
		all[name] = []byte(s)
		all[name+", hex"] = []byte(hex.EncodeToString([]byte(s)))
		all[name+", HEX"] = bytes.ToUpper(all[name+", hex"])
		for _, unit := range utf16.Encode([]rune(s)) {
			low, high := byte(unit), byte(unit>>8)
			all[name+", UTF-16LE"] = append(all[name+", UTF-16LE"], low, high)
			all[name+", UTF-16BE"] = append(all[name+", UTF-16BE"], high, low)
		}
		for shift := range 3 { // where the text begins within three bytes
			padded := append(make([]byte, shift), s...)
			whole := padded[:len(padded)/3*3]
			skip := []int{0, 2, 3}[shift] // characters that hold bits of what is in front
			all[name+", base64 "+string(rune('0'+shift))] = []byte(base64.StdEncoding.EncodeToString(whole)[skip:])
			all[name+", base64url "+string(rune('0'+shift))] = []byte(base64.URLEncoding.EncodeToString(whole)[skip:])
		}
	}
	return all
}

// finder finds many texts in one pass. It is filled before it is used.
type finder struct {
	pairs [1 << 16]bool // the first two bytes of each text
	texts map[[4]byte][]sought
}

// sought is a text and what a finder calls it.
type sought struct {
	what string
	bits []byte
}

// add adds a text of at least four bytes.
func (f *finder) add(what string, bits []byte) {
	if f.texts == nil {
		f.texts = map[[4]byte][]sought{}
	}
	first := [4]byte(bits)
	f.pairs[int(first[0])<<8|int(first[1])] = true
	f.texts[first] = append(f.texts[first], sought{what, bits})
}

// find returns which texts are in content, some of them more than once.
func (f *finder) find(content []byte) (found []string) {
	for i := 0; i+4 <= len(content); i++ {
		if !f.pairs[int(content[i])<<8|int(content[i+1])] {
			continue
		}
		for _, s := range f.texts[[4]byte(content[i:])] {
			if bytes.HasPrefix(content[i:], s.bits) {
				found = append(found, s.what)
			}
		}
	}
	return found
}

// walk looks into every file of a folder, and says what it found where. A server may write to the
// files, and delete some, meanwhile.
func (f *finder) walk(t testing.TB, folder string) (found []string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return ignoreGone(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		looked++
		name, _ := filepath.Rel(folder, path)
		for _, what := range append(f.find(content), f.find([]byte(name))...) {
			found = append(found, what+" in "+name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked == 0 {
		t.Fatalf("%s has no files", folder)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// scan looks for texts, in all forms, in every byte of files, and says which it found where.
func scan(t testing.TB, folder string, texts map[string]string) (found []string) {
	t.Helper()
	var f finder
	for label, text := range texts {
		for form, bits := range forms(text) {
			f.add(label+" "+form, bits)
		}
	}
	return f.walk(t, folder)
}

// A scan that finds nothing means little unless it would find something.
func TestScanFindsEveryForm(t *testing.T) {
	const text = "Kanariefågel@example.com"
	for form, bits := range forms(text) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "log.db-wal"), slices.Concat([]byte("\x00\xff"), bits, []byte{7}), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := scan(t, folder, map[string]string{"name": text}); !slices.Contains(found, "name "+form+" in log.db-wal") {
			t.Errorf("%s was not found: %v", form, found)
		}
	}
	encoded := base64.StdEncoding
	for shift := range 3 {
		folder := t.TempDir()
		content := encoded.EncodeToString([]byte(strings.Repeat("x", shift) + text + "yyy"))
		if err := os.WriteFile(filepath.Join(folder, "file"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := scan(t, folder, map[string]string{"name": text}); len(found) == 0 {
			t.Errorf("base64 with %d bytes in front was not found among %v", shift, slices.Sorted(maps.Keys(forms(text))))
		}
	}
}

// mentions lists the texts that are in another, in any case.
func mentions(text string, texts map[string]string) (found []string) {
	for label, one := range texts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(one)) {
			found = append(found, label)
		}
	}
	slices.Sort(found)
	return found
}
