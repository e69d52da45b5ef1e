// Package commands is the write side of konto. It has the rules for accounts,
// credentials and third parties, and it appends the events that follow from a
// command to the log.
//
// A command on an account (Accounts.Do) takes this path. commit.go has the steps
// and says what a crash does at each:
//
//	prepare   verify a password, make an id (few commands)
//	queue     wait for the other commands on the account
//	load      the account's state, cached or folded from a snapshot   accounts.go
//	decide    the rules, pure: from state and command to events       open.go,
//	          or an error                                             update.go,
//	                                                                  emailchange.go,
//	                                                                  changepassword.go
//	receipt   the outcome, for a request with an idempotency key      once.go
//	append    events, claims and receipts in one transaction
//	answer    to each caller its own outcome
//
// Rules for single values: check.go has the rule for each field and for all text,
// formats.go and swedish.go have the rules for email addresses, phone numbers and
// other formats. Passwords: password.go (hashes, and how easy to guess) and
// changepassword.go (the proof of the current one, and how many may be wrong).
//
// Credentials (credentials.go) and third parties (thirdparties.go) change too
// seldom to need a queue: each change reads its stream, decides and appends
// (streamwriter.go).
//
// DESIGN.md explains the decisions.
package commands
