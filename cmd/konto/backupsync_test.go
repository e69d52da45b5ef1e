//go:build long

package main

import (
	"path/filepath"
	"testing"

	"konto/cmd/konto/datafolder"
)

// What was not synced when konto says that it is there may be gone with the power.
func TestBackupsAndRestoredLogsAreSynced(t *testing.T) {
	folder, safe := furnished(t), t.TempDir()
	file := filepath.Join(safe, "backup.db")
	syncedBy := func(args []string, paths ...string) {
		t.Helper()
		cmd, trace := traced(t, binary(t), append(args, "--data", folder)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, path := range paths {
			if syncs, err := readSyncs(trace, path); err != nil || len(syncs) == 0 {
				t.Errorf("konto %s did not sync %s, %v", args[0], path, err)
			}
		}
	}
	syncedBy([]string{"backup", file}, file+".partial", safe)
	syncedBy([]string{"export", filepath.Join(safe, "e")}, filepath.Join(safe, "e")+".partial", safe)
	staged := filepath.Join(folder, datafolder.IncomingPartial)
	syncedBy([]string{"restore", file}, filepath.Join(staged, "log.db"), staged, folder)
	copied := mustJSON(t, "keys", "backup", safe, "--data", folder)["file"].(string)
	syncedBy([]string{"keys", "restore", copied}, filepath.Join(staged, "keys.db"), staged, folder)
}
