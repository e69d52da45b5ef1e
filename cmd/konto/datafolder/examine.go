package datafolder

import (
	"context"
	"errors"
	"path/filepath"

	"konto/eventstore"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/verify"
)

// files are those of the house that can be checked on their own.
func (h *Folder) Files() []verify.File {
	model := verify.File{Name: "read.db", Check: func(ctx context.Context) error {
		return projections.CheckReadModel(ctx, h.file("read.db"), h.Log, h.Keys)
	}}
	if h.Model != nil {
		model.Check = h.Model.Check
	}
	return append(h.bound(),
		verify.File{Name: "log.db", Check: h.Log.CheckFile},
		verify.File{Name: "keys.db", Check: h.Keys.Check},
		verify.File{Name: ErasuresName, Check: h.checkErasures},
		h.unlessMissing(model),
		h.unlessMissing(verify.File{Name: "deliveries.db", Check: func(ctx context.Context) error {
			return deliveries.CheckStore(ctx, deliveries.StoreConfig{Path: h.file("deliveries.db"), Log: h.Log, Keys: h.Keys})
		}}))
}

// unlessMissing lets a file be missing that a start makes anew.
func (h *Folder) unlessMissing(f verify.File) verify.File {
	check := f.Check
	f.Check = func(ctx context.Context) error {
		if h.DeliveryStore == nil && Missing(h.file(f.Name)) {
			return nil
		}
		return check(ctx)
	}
	return f
}

// bound checks that log and keys still belong together, and are of the same time.
func (h *Folder) bound() []verify.File {
	return []verify.File{{Name: "keys.db", Check: func(ctx context.Context) error {
		id, err := h.Log.ID(ctx)
		if err != nil {
			return err
		}
		if err := h.Keys.Bind(ctx, id, false); err != nil {
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
func (h *Folder) PresentFiles() []verify.File {
	names := []string{"log.db", "keys.db"}
	if h.Master.Given == "" {
		names = append(names, "master.key")
	}
	if h.DeliveryStore != nil { // the house is in use
		names = append(names, "read.db", "deliveries.db")
	}
	files := h.bound()
	for _, name := range names {
		files = append(files, verify.File{Name: name, Check: func(context.Context) error {
			if Missing(h.file(name)) {
				return errors.New("the file is missing")
			}
			return nil
		}})
	}
	return files
}

func (h *Folder) file(name string) string { return filepath.Join(h.Path, name) }

// openToExamine opens what can be opened as it is. A read model that a start
// would make anew stays closed, and is among the problems.
func (h *Folder) openToExamine(ctx context.Context) (err error) {
	if err := h.openLogAndKeys(ctx, h.file("log.db"), h.file("keys.db"), h.Master); err != nil {
		return err
	}
	path := h.file("read.db")
	if Missing(path) || projections.ReadModelFits(ctx, path, h.Log, h.Keys) != nil {
		return nil
	}
	h.Model, err = projections.OpenReadModel(ctx, path, h.Log, h.Keys)
	return err
}
