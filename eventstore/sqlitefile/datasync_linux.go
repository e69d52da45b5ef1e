package sqlitefile

// The driver builds SQLite without HAVE_FDATASYNC, so that it syncs with fsync:
// that writes the file's times as well, which on most file systems is a second
// write, of their journal, with each commit. fdatasync leaves those out and nothing that is
// needed to read the file again, its length included; it is what SQLite uses where it is built
// for Linux. The program's own fsync takes the place of the C library's for all C
// code in it, which is SQLite; Go's syncs do not go through it. With 64 clients of
// PATCH it made 9 % more of them (3, 5, 13 and 23 % in four pairs of runs). Should the
// driver ever define HAVE_FDATASYNC for Linux, this file can go.

/*
#include <unistd.h>

int fsync(int fd) { return fdatasync(fd); }
*/
import "C"
