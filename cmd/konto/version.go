package main

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"konto/cmd/konto/control"
)

type versionCommand struct{}

func (c *versionCommand) Help() string {
	return `Example:

    konto version --json`
}

func (c *versionCommand) run(_ context.Context, l *line, stdout, _ io.Writer) error {
	out := control.NewOutput(stdout, l.json)
	v := builtFrom()
	if err := out.Row(v, "konto %s (%s)", v.Version, strings.Join(v.details(), ", ")); err != nil {
		return err
	}
	return out.Flush()
}

// built says which konto this is, as far as the build knows. All but Go comes from git: Version is
// the tag, or follows from the one before.
type built struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitzero"` // the commit
	Date     string `json:"date,omitzero"`     // of the commit, RFC 3339
	Modified bool   `json:"modified,omitzero"` // whether files differed from the commit
	Go       string `json:"go"`
}

func (v *built) details() (all []string) {
	if v.Revision != "" {
		all = append(all, "commit "+v.Revision, v.Date)
	}
	return append(all, v.Go)
}

func builtFrom() built {
	v := built{Version: "(devel)", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
