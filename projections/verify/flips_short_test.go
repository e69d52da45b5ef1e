//go:build !long

package verify

// flips is how many bytes are changed, one at a time.
const flips = 30

// flipAccounts is how many accounts there are in what is changed: the more, the
// less free space is in the files' pages.
const flipAccounts = 12
