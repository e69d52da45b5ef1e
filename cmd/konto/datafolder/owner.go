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

// Make makes a data folder, durably: a folder is lost with the power,
// and all that was synced in it, until its name is synced in its parent.
func Make(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	var parents []string // of what is about to be made
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

func Sync(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// othersMayWrite are the bits of a mode with which others than the owner write. An
// access control list that lets somebody write sets the group's.
const othersMayWrite = 0o022

// checkFolder refuses a data folder, or something in it, that another user could
// have put there or can change, and links, which lead out of it. Its caller has
// opened the folder. After the check nobody but the owner and root can put a
// link there, so what konto opens in it is what konto made.
//
// The folders above are not judged: whoever can exchange the data folder can
// put only a folder of their own in its place, which is refused.
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

// Absolute is a folder as it is told to people who may be in another one.
func Absolute(folder string) string {
	if path, err := filepath.Abs(folder); err == nil {
		return path
	}
	return folder
}

// ActAsOwner makes root's process one of the user who owns the data folder, or the
// folder that the data folder will be made in. All that it makes there is that user's
// then, and konto can open it when it runs as that user. It returns the name of
// the user, "" if nothing had to change. The process cannot become root's again.
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
		ids, _ := known.GroupIds() // without them, konto has fewer rights and not more
		for _, id := range append([]string{known.Gid}, ids...) {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
		group = groups[0]
	}
	// The user last: who is not root may change none of them. Each holds for all
	// threads of the process.
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

// userName is the name of a user, or its number if it has none here.
func userName(id int) string {
	known, err := user.LookupId(strconv.Itoa(id))
	if err != nil {
		return strconv.Itoa(id)
	}
	return known.Username
}

// forSudo is how sudo -u wants a user, in a shell.
func forSudo(id int) string {
	if name := userName(id); name != strconv.Itoa(id) {
		return name
	}
	return fmt.Sprintf("'#%d'", id)
}

var plainWord = regexp.MustCompile(`^[\w./:=@%+,-]+$`)

// forShell quotes a word of a command, if it needs that.
func forShell(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
