// Package transfer writes a log down as text and makes a log of it again: the move
// from one backend to another, or to a machine of another kind.
//
// The text is NDJSON, one object a line, each with one member that says what it is:
//
//	{"export":{"format":1,"log":"...","encrypted":false,"head":3,"created":"..."}}
//	{"event":{"position":1,"stream":"account-...","version":1,"id":"...","type":"AccountOpened.v1","time":"...","metadata":{...},"data":{...}}}
//	...
//	{"end":{"events":3,"sha256":"..."}}
//
// The last line has the hash of all bytes before it: a file that was cut off,
// put together or changed is found out before anyone relies on what was read.
//
// In clear, events are decrypted. Those whose key was destroyed say "shredded"
// in the place of metadata and data. The log that is made has another id, other keys
// and therefore other ciphertexts and hashes; positions, versions, ids and times stay.
//
// Encrypted, metadata and data are the stored bytes in base64 and the last line
// has the hash of the log's chain too. The log that is made is the same log, for the
// same keys.
//
// Claims are not in the file. They follow from the accounts as of the last event,
// while those of a log in use belong to a later one. Receipts are left behind: they
// keep a request from being carried out twice, for a day.
package transfer
