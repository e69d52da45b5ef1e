package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
)

// configured are the values of a --config file, by the names of flags. It is kong's resolver:
// a flag on the command line counts before a variable, that before the file, and that before the
// default.
//
// The file is JSON, because konto has a strict decoder for it, and kong's loaders of other formats
// would each bring one more library.
type configured map[string]any

// loadConfig is kong's loader of a --config file.
func loadConfig(file io.Reader) (kong.Resolver, error) {
	var values configured
	if err := json.UnmarshalRead(file, &values); err != nil {
		return nil, fmt.Errorf("the file of --config is not a JSON object: %w", err)
	}
	for name, value := range values {
		if list, ok := value.([]any); ok { // as a flag has it
			var parts []string
			for _, part := range list {
				parts = append(parts, fmt.Sprint(part))
			}
			value = strings.Join(parts, ",")
			values[name] = value
		}
		switch v := value.(type) {
		case string:
			if holdsSecret(name, v) && readableByAll(file) {
				return nil, fmt.Errorf("%s in the file of --config holds a secret, and every user of this machine can read the file: chmod o-r", name)
			}
		case bool, float64:
		default:
			return nil, fmt.Errorf("%s in the file of --config is neither a text, a number, true, false, nor a list", name)
		}
	}
	return values, nil
}

// readableByAll reports whether any user may read a file. Its group may: that of konto, usually.
func readableByAll(file io.Reader) bool {
	f, ok := file.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err != nil || info.Mode().Perm()&0o004 != 0
}

// Validate implements kong.Resolver. The file may have all flags that can be variables, so that
// one file serves all commands.
func (c configured) Validate(app *kong.Application) error {
	var known []string
	for _, leaf := range app.Leaves(false) {
		for _, flag := range slices.Concat(leaf.AllFlags(false)...) {
			if mayBeConfigured(flag) {
				known = append(known, flag.Name)
			}
		}
	}
	for name := range c {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q in the file of --config is no flag that can be given there%s", name, suggestion(name, known))
		}
	}
	return nil
}

// Resolve implements kong.Resolver.
func (c configured) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !mayBeConfigured(flag) {
		return nil, nil
	}
	if _, given := os.LookupEnv(flag.Envs[0]); given {
		return nil, nil
	}
	return c[flag.Name], nil
}

func mayBeConfigured(flag *kong.Flag) bool { return len(flag.Envs) > 0 && flag.Name != "config" }
