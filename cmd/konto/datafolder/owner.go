package datafolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Make makes a data folder durably. Until a folder's name is synced in its parent, a loss of
// power loses the folder and everything that was synced in it.
func Make(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	var parents []string // of the folders that are to be made
	for made := folder; Missing(made); made = filepath.Dir(made) {
		parents = append(parents, filepath.Dir(made))
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	for _, parent := range parents {
		if err := Sync(parent); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
	}
	return nil
}

// Sync makes the names in a folder durable.
func Sync(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// othersMayWrite are the bits of a mode that let others than the owner write. An access
// control list that lets another user write sets the bit of the group.
const othersMayWrite = 0o022

// checkFolder refuses a data folder that another user owns or can change, and such files in
// it. It refuses links, because they lead out of the folder. The caller has opened the folder.
// After the check only the owner and root can put a link there, so the files that konto opens
// in it are those that konto made.
//
// The folders above are not checked. Whoever can replace the data folder can replace it only
// by a folder of their own, which is refused.
func checkFolder(opened *os.File, folder string) error {
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	owner := ownerOf(info)
	if me := os.Geteuid(); owner != me {
		return fmt.Errorf("the data folder %s belongs to user %s; run konto as that user (sudo -u %s konto ...), or name another folder with --data",
			folder, userName(owner), forSudo(owner))
	}
	if info.Mode().Perm()&othersMayWrite != 0 {
		return errOthersMayWrite("the data folder "+folder, folder, info)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // konto.sock, and whatever another process just removed
			continue
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link, and konto follows none in its data folder; put there what it leads to", path)
		case !info.IsDir() && !info.Mode().IsRegular() && info.Mode()&fs.ModeSocket == 0: // to open a pipe may take for ever
			return fmt.Errorf("%s is neither a file nor a folder, and konto opens nothing else in its data folder; remove it", path)
		case ownerOf(info) != owner && entry.Name() != "lost+found": // root's, where a disk is mounted
			return fmt.Errorf("%s belongs to user %s, and the data folder to user %s; put that right: chown -R %s %s",
				path, userName(ownerOf(info)), userName(owner), userName(owner), forShell(folder))
		case info.Mode().Perm()&othersMayWrite != 0:
			return errOthersMayWrite(path, path, info)
		}
	}
	return nil
}

func errOthersMayWrite(what, path string, info fs.FileInfo) error {
	return fmt.Errorf("%s can be written to by other users (mode %04o); put that right: chmod go-w %s", what, info.Mode().Perm(), forShell(path))
}

// Absolute returns the absolute path of a folder, for people who may be in another one.
func Absolute(folder string) string {
	if path, err := filepath.Abs(folder); err == nil {
		return path
	}
	return folder
}

// ActAsOwner makes a process of root a process of the user who owns the data folder, or the
// folder in which the data folder will be made. What it makes there then belongs to that user,
// and konto can open it when it runs as that user. It returns the name of the user, "" if
// nothing had to change. The process cannot become root's again.
func ActAsOwner(folder string) (name string, err error) {
	if os.Geteuid() != 0 {
		return "", nil
	}
	path, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	for Missing(path) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	owner := ownerOf(info)
	if owner == 0 {
		return "", nil
	}
	group := int(info.Sys().(*syscall.Stat_t).Gid)
	groups := []int{group}
	if known, err := user.LookupId(strconv.Itoa(owner)); err == nil {
		groups = groups[:0]
		ids, _ := known.GroupIds() // without these, konto has fewer rights, not more
		for _, id := range append([]string{known.Gid}, ids...) {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
		group = groups[0]
	}
	// The user is changed last, because only root may change any of these. Each change holds
	// for all threads of the process.
	for _, change := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(group) },
		func() error { return syscall.Setuid(owner) },
	} {
		if err := change(); err != nil {
			return "", fmt.Errorf("%s belongs to user %s, and konto cannot act as that user (%w); run it as that user", path, userName(owner), err)
		}
	}
	return userName(owner), nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// userName returns the name of a user, or the number if the user has no name here.
func userName(id int) string {
	known, err := user.LookupId(strconv.Itoa(id))
	if err != nil {
		return strconv.Itoa(id)
	}
	return known.Username
}

// forSudo returns a user as sudo -u takes it in a shell.
func forSudo(id int) string {
	if name := userName(id); name != strconv.Itoa(id) {
		return name
	}
	return fmt.Sprintf("'#%d'", id)
}

var plainWord = regexp.MustCompile(`^[\w./:=@%+,-]+$`)

// forShell quotes a word for a shell if that is necessary.
func forShell(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
