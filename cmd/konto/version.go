package main

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

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
	if err := out.Row(v, "konto %s (%s)", v.Version, v.Go); err != nil {
		return err
	}
	return out.Flush()
}

// built says which konto this is, as far as the build knows.
type built struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitzero"`
	Go       string `json:"go"`
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
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
