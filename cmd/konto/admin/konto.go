package admin

import (
	"log/slog"
	"strings"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/events"
)

// Konto is an open data folder, and the server that runs on it. Its methods are the operations.
type Konto struct {
	*datafolder.Folder
	Server  *server.Running // nil if no server runs
	Version string          // of this build, for Status
	Audit   *slog.Logger    // gets a line for each act; nil: nothing is logged
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of the next page. "" means that this is the last one. A page may have fewer
	// items than it could, even none, and a next page.
	Next string `json:"next,omitzero"`
}

// How many items a page over HTTP has, and at most. To decrypt 1,000 rows that are not cached took
// 350 ms on a busy machine, and a page is to take less than 100.
const (
	defaultLimit = 100
	maxLimit     = 200
)

// The kinds of Problem.
var (
	ErrMissing  = problemKind("there is no such thing")
	ErrConflict = problemKind("that is not possible now")
	ErrInvalid  = problemKind("the request is wrong")
)

type problemKind string

// Error implements error.
func (k problemKind) Error() string { return string(k) }

// Problem says why an operation cannot be done. Nothing was changed. Its text is for whoever asked,
// and holds nothing personal. errors.Is matches its kind: ErrMissing, ErrConflict or ErrInvalid.
type Problem struct {
	kind problemKind
	text string
}

// Error implements error.
func (p *Problem) Error() string { return p.text }

// Is reports whether target is the kind of the problem.
func (p *Problem) Is(target error) bool { return target == p.kind }

func missing(text string) error  { return &Problem{ErrMissing, text} }
func conflict(text string) error { return &Problem{ErrConflict, text} }
func invalid(text string) error  { return &Problem{ErrInvalid, text} }

// Acted logs who did what to which subjects: pairs of a name and an id, never anything personal.
func (k *Konto) Acted(meta events.Metadata, act string, subjects ...any) {
	if k.Audit == nil {
		return
	}
	actor := strings.TrimSpace(meta.Actor.Kind + " " + meta.Actor.ID)
	k.Audit.Info("admin", append([]any{"actor", actor, "act", act, "request", meta.RequestID}, subjects...)...)
}
