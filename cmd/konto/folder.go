package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// makeFolder makes a data folder, durably: a folder is lost with the power,
// and all that was synced in it, until its name is synced in its parent.
func makeFolder(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	var parents []string // of what is about to be made
	for made := folder; missing(made); made = filepath.Dir(made) {
		parents = append(parents, filepath.Dir(made))
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	for _, parent := range parents {
		if err := syncFolder(parent); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
	}
	return nil
}

func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
