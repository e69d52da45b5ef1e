package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"konto/eventstore"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/verify"
)

type verifyCommand struct {
	Quick bool `name:"quick" help:"Check only the end of the log and the state of what follows it, within milliseconds, as a health probe."`
}

func (c *verifyCommand) Help() string {
	return `Checks the log and all that follows from it, while the server runs or not, and changes nothing: files, hash chain,
positions, versions, that every event can be read, that claims, receipts and the read model are what the events
come to. The first position that is wrong is named, and the exit status is 1.

Examples:

    konto verify
    konto verify --json | jq .problems
    konto verify --quick`
}

// examiner is a command that must see a house as it is: no file is made anew
// because it does not fit the log, and nothing follows the log beside it.
type examiner interface{ examines() }

func (*verifyCommand) examines() {}

func (c *verifyCommand) Run(ctx context.Context, h *house, out *output) error {
	if c.Quick {
		report, err := verify.Quick(ctx, verify.QuickConfig{
			Log: h.log, Model: h.model, Followers: h.followers, Files: h.presentFiles(),
		})
		if err != nil {
			return err
		}
		return errors.Join(out.object(report), damaged(report.Problems, len(report.Problems)))
	}
	report, err := verify.Run(ctx, verify.Config{
		Log: h.log, Store: h.store, Model: h.model, Files: h.files(), Tell: out.progress,
	})
	if err != nil {
		return err
	}
	return errors.Join(out.object(report), damaged(report.Problems, report.Found))
}

// damaged is the error for what was found, whose first is the one to look at.
func damaged(problems []verify.Problem, found int) error {
	if found == 0 {
		return nil
	}
	first := problems[0]
	var where string
	if first.Position > 0 {
		where = fmt.Sprintf("position %d: ", first.Position)
	}
	if first.Stream != "" {
		where += string(first.Stream) + ": "
	}
	if found == 1 {
		return fmt.Errorf("%s%s", where, first.What)
	}
	return fmt.Errorf("%s%s; and %d more problems", where, first.What, found-1)
}

// files are those of the house that can be checked on their own.
func (h *house) files() []verify.File {
	model := verify.File{Name: "read.db", Check: func(ctx context.Context) error {
		return projections.CheckReadModel(ctx, h.file("read.db"), h.log, h.keys)
	}}
	if h.model != nil {
		model.Check = h.model.Check
	}
	return append(h.bound(),
		verify.File{Name: "log.db", Check: h.log.CheckFile},
		verify.File{Name: "keys.db", Check: h.keys.Check},
		verify.File{Name: erasuresName, Check: h.checkErasures},
		h.unlessMissing(model),
		h.unlessMissing(verify.File{Name: "deliveries.db", Check: func(ctx context.Context) error {
			return deliveries.CheckStore(ctx, deliveries.StoreConfig{Path: h.file("deliveries.db"), Log: h.log, Keys: h.keys})
		}}))
}

// unlessMissing lets a file be missing that a start makes anew.
func (h *house) unlessMissing(f verify.File) verify.File {
	check := f.Check
	f.Check = func(ctx context.Context) error {
		if h.ledger == nil && missing(h.file(f.Name)) {
			return nil
		}
		return check(ctx)
	}
	return f
}

// bound checks that log and keys still belong together, and are of the same time.
func (h *house) bound() []verify.File {
	return []verify.File{{Name: "keys.db", Check: func(ctx context.Context) error {
		id, err := h.log.ID(ctx)
		if err != nil {
			return err
		}
		if err := h.keys.Bind(ctx, id, false); err != nil {
			return err
		}
		err = h.checkNewestKeys(ctx)
		if errors.Is(err, eventstore.ErrNoKey) {
			return errors.New(err.Error()) // verify would say it of an event, and it is the file's fault
		}
		return err
	}}}
}

// presentFiles checks that the files are still there: those that are open would be
// gone with the process.
func (h *house) presentFiles() []verify.File {
	names := []string{"log.db", "keys.db"}
	if h.master.Given == "" {
		names = append(names, "master.key")
	}
	if h.ledger != nil { // the house is in use
		names = append(names, "read.db", "deliveries.db")
	}
	files := h.bound()
	for _, name := range names {
		files = append(files, verify.File{Name: name, Check: func(context.Context) error {
			if missing(h.file(name)) {
				return errors.New("the file is missing")
			}
			return nil
		}})
	}
	return files
}

func (h *house) file(name string) string { return filepath.Join(h.folder, name) }

// openToExamine opens what can be opened as it is. A read model that a start
// would make anew stays closed, and is among the problems.
func (h *house) openToExamine(ctx context.Context) (err error) {
	if err := h.openLogAndKeys(ctx, h.file("log.db"), h.file("keys.db"), h.master); err != nil {
		return err
	}
	path := h.file("read.db")
	if missing(path) || projections.ReadModelFits(ctx, path, h.log, h.keys) != nil {
		return nil
	}
	h.model, err = projections.OpenReadModel(ctx, path, h.log, h.keys)
	return err
}
