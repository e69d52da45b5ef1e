package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"konto/cmd/konto/datafolder"
)

// serviceUser is a user who is neither root nor, as a rule, the one who tests.
const serviceUser = 65534

// asUser runs the built konto as a user, from a folder that everyone may enter.
func asUser(t *testing.T, uid int, stdin string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", strings.NewReader(stdin), &stdout, &stderr
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ownedFolder is an empty folder of a user, which that user can reach.
func ownedFolder(t *testing.T, uid int) string {
	t.Helper()
	folder := t.TempDir()
	for _, err := range []error{os.Chmod(filepath.Dir(folder), 0o711), os.Chmod(folder, 0o700), os.Chown(folder, uid, uid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// ownedBy checks that everything in a folder belongs to one user, the folder too.
func ownedBy(t *testing.T, uid int, folder, after string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != uid {
			t.Errorf("after konto %s, %s belongs to user %d", after, path, int(info.Sys().(*syscall.Stat_t).Uid))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What root does in a folder of another user leaves only files of that user, of
// whatever command. Who is not root can try the refusal alone.
func TestRootActsAsTheOwnerOfTheDataFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		refused(t, exitFailed, konto(t, "account", "list", "--data", "/usr"), "/usr belongs to user root", "sudo -u root konto")
		return
	}
	folder := ownedFolder(t, serviceUser)
	data := filepath.Join(folder, "data") // which the first command makes
	root := func(stdin string, args ...string) result {
		t.Helper()
		r := asUser(t, 0, stdin, append(args, "--data", data)...)
		if r.status != exitDone {
			t.Fatalf("konto %s: exit %d: %s", strings.Join(args, " "), r.status, r.stderr)
		}
		ownedBy(t, serviceUser, folder, strings.Join(args, " "))
		return r
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	root("", "account", "open", "--email", "anna@example.com")
	root("", "account", "open", "--email", "bo@example.com")
	root(`{"email":"carl@example.com"}`, "account", "import", "-")
	root("", "account", "facts", "anna@example.com", "--active-domains", "1")
	root("", "key", "issue", "--account", "anna@example.com", "--scope", "read:account")
	root("", "third-party", "add", "crm", "--url", "https://crm.example.com/")
	root("", "backup", in("log-backup.db"))
	if err := os.Mkdir(in("keys"), 0o700); err != nil || os.Chown(in("keys"), serviceUser, serviceUser) != nil {
		t.Fatal(err)
	}
	root("", "keys", "backup", in("keys"))
	root("", "account", "erase", "bo@example.com", "--yes")
	root("", "restore", in("log-backup.db"), "--yes")
	copies, _ := filepath.Glob(in("keys/keys-*.db"))
	root("", "keys", "restore", copies[0])
	root("", "keys", "rotate")
	root("", "replay", "read-model")
	root("", "verify")
	root("", "account", "history", "anna@example.com")
	root("", "export", in("export.ndjson"))
	if r := asUser(t, 0, "", "import", in("export.ndjson"), "--data", in("imported")); r.status != exitDone {
		t.Fatalf("import: %s", r.stderr)
	}
	ownedBy(t, serviceUser, folder, "import")

	for _, uid := range []int{0, serviceUser} { // root's server, and then the service's own
		p := launchAs(t, uid, data)
		p.stderr.find(t, readyLine)
		if r := asUser(t, 0, "", "account", "show", "anna@example.com", "--data", data); r.status != exitDone {
			t.Errorf("root asks a server: %s", r.stderr)
		}
		ownedBy(t, serviceUser, folder, "serve")
		p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the server of user %d ended with %v: %s", uid, err, p.stderr)
		}
	}
	ownedBy(t, serviceUser, folder, "serve")
}

// launchAs is launch as a user.
func launchAs(t *testing.T, uid int, folder string) *process {
	t.Helper()
	p := &process{stderr: newWatched()}
	p.cmd = exec.Command(binary(t), "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	p.cmd.Stderr, p.cmd.Dir = p.stderr, "/"
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	return p
}

// A place that the owner cannot write to is not written to as root: the user is named.
func TestErrorNamesTheOwnerOfTheDataFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		refused(t, exitFailed, konto(t, "account", "open", "--email", "a@example.com", "--data", "/usr/konto-data"), "permission denied")
		return
	}
	folder := ownedFolder(t, serviceUser)
	if r := asUser(t, 0, "", "account", "open", "--email", "anna@example.com", "--data", folder); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	place := t.TempDir() // root's
	r := asUser(t, 0, "", "backup", filepath.Join(place, "log.db"), "--data", folder)
	refused(t, exitFailed, r, "permission denied", "konto acts as user "+nameOf(t, serviceUser))
	empty(t, place)
}

func TestFolderOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		refused(t, exitFailed, konto(t, "serve", "--data", "/usr"), "/usr belongs to user root", "sudo -u root konto")
		return
	}
	folder := ownedFolder(t, 0)
	must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"serve", "account list", "backup /dev/null/x", "restore /dev/null/x"} {
		r := asUser(t, serviceUser, "", append(strings.Fields(args), "--data", folder)...)
		refused(t, exitFailed, r, folder+" belongs to user root", "sudo -u root konto")
	}
	// A file that root left in the folder of another user by other means.
	if err := os.Chown(folder, serviceUser, serviceUser); err != nil {
		t.Fatal(err)
	}
	r := asUser(t, serviceUser, "", "account", "list", "--data", folder)
	refused(t, exitFailed, r, "belongs to user root", "chown -R "+nameOf(t, serviceUser)+" "+folder)
}

func TestFolderThatOthersMayWriteToIsRefused(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data of konto")
	must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
	backup := filepath.Join(t.TempDir(), "log.db")
	must(t, "backup", backup, "--data", folder)
	export := filepath.Join(t.TempDir(), "export")
	must(t, "export", export, "--data", folder)
	for _, path := range []string{folder, filepath.Join(folder, "log.db"), filepath.Join(folder, "master.key")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []os.FileMode{0o777, 0o770, 0o720, 0o702} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"account", "list"}, {"account", "open", "--email", "b@example.com"}, {"verify"},
				{"restore", backup, "--yes"}, {"keys", "restore", backup}, {"import", export},
				{"serve"}, {"demo"},
			} {
				if t.Failed() {
					return // a server that is not refused runs on
				}
				refused(t, exitFailed, konto(t, append(args, "--data", folder)...), path, "can be written to by other users", "chmod go-w '"+path+"'")
			}
		}
		if err := os.Chmod(path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	must(t, "account", "show", "anna@example.com", "--data", folder)
}

func TestLinksInTheDataFolderAreRefused(t *testing.T) {
	for _, name := range []string{
		"log.db", "log.db-wal", "log.db-shm", "keys.db", "keys.db-stamp", "keys.db-wal", "read.db", "read.db.spill", "deliveries.db", "erasures.db",
		"master.key", "erasures.ndjson", "konto.lock", "konto.sock", "konto.sock.new", "mail", "jetstream", "incoming.partial",
		"incoming-20260101T000000.000Z", "replaced-20260101T000000.000Z",
	} {
		t.Run(name, func(t *testing.T) {
			folder, elsewhere := furnished(t), t.TempDir()
			path, target := filepath.Join(folder, name), filepath.Join(elsewhere, "target")
			if !datafolder.Missing(path) { // what it leads to is right, and is refused all the same
				if err := os.Rename(path, target); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(target)
			refused(t, exitFailed, konto(t, "account", "open", "--email", "b@example.com", "--data", folder), path+" is a link")
			refused(t, exitFailed, konto(t, "serve", "--http", "127.0.0.1:0", "--nats-listen", "off", "--data", folder), path+" is a link")
			if after, _ := os.ReadFile(target); !bytes.Equal(after, before) {
				t.Error("what the link leads to was changed")
			}
		})
	}
}

// To open a pipe waits for somebody at its other end, and no signal ends that.
func TestPipesInTheDataFolderAreRefused(t *testing.T) {
	for _, name := range []string{"erasures.ndjson", "keys.db-stamp", "keys.db", "log.db", "master.key", "mail", "konto.lock"} {
		t.Run(name, func(t *testing.T) {
			folder := furnished(t)
			path := filepath.Join(folder, name)
			if err := errors.Join(os.RemoveAll(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			refused(t, exitFailed, konto(t, "account", "list", "--data", folder), path+" is neither a file nor a folder")
			refused(t, exitFailed, konto(t, "serve", "--http", "127.0.0.1:0", "--nats-listen", "off", "--data", folder), path+" is neither a file nor a folder")
		})
	}
}

func TestNameOfTheDataFolderIsNotAPattern(t *testing.T) {
	for _, name := range []string{"[", "[a-c]", "*", `\`} {
		folder := filepath.Join(t.TempDir(), name)
		must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
		must(t, "account", "show", "anna@example.com", "--data", folder)
	}
}

func TestEveryFileInTheDataFolderIsItsOwnersAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	p := startProcess(t, folder)
	must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
	p.kill() // so that write-ahead logs are there
	must(t, "keys", "rotate", "--data", folder)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// nameOf is how a user is called here.
func nameOf(t *testing.T, id int) string {
	t.Helper()
	known, err := user.LookupId(strconv.Itoa(id))
	if err != nil {
		t.Fatal(err)
	}
	return known.Username
}
