// Package commands is the write side of konto: the rules about what may happen
// to an account, and the handler that makes it happen once.
//
// The path of a command:
//
//	Accounts.Do     queues it in its account's lane          accounts.go, lane.go
//	  prepare       what takes long or is not pure           prepare.go
//	  lead          takes the lane's waiting commands        commit.go
//	  recall        the account's state: cached, or folded  cache.go
//	                from a snapshot on
//	  decide        the rules, pure: state and command in,   decide.go, open.go,
//	                payloads or an error out                 update.go, facts.go,
//	                                                         emailchange.go, changepassword.go,
//	                                                         erase.go
//	  replays       what was carried out before              once.go
//	  round         events with ids and times, and claims    round.go
//	  Store.Append  all of it in one durable append
//	  settle        to each caller the verdict of its own    round.go
//
// The rules for single values are in files named for what they check: text.go,
// name.go, email.go, phone.go, identifier.go, swedish.go, locale.go, date.go and
// vat.go; profile.go says which field follows which, and check.go collects what
// is wrong.
//
// Credentials (credentials.go, scope.go) and third parties (thirdparties.go,
// thirdpartystate.go, thirdpartycheck.go, webhookurl.go) change too seldom to
// need lanes: each change reads its stream, decides and appends (streamwriter.go).
//
// Why it is built this way is in DESIGN.md.
package commands
