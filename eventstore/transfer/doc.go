// Package transfer exports a log as text, and imports it again, to move it to another backend
// or machine.
//
// The text is NDJSON: one object a line, with one member that names its kind.
//
//	{"export":{"format":1,"log":"...","encrypted":false,"head":3,"created":"..."}}
//	{"event":{"position":1,"stream":"account-...","version":1,"id":"...","type":"AccountOpened.v1","time":"...","metadata":{...},"data":{...}}}
//	...
//	{"end":{"events":3,"sha256":"..."}}
//
// The last line has the hash of all bytes before it. So an export that was cut off or changed
// is noticed before anyone relies on it.
//
// In clear, events are decrypted. An event whose key was destroyed has "shredded" in place of
// metadata and data. The imported log has another id and other keys, and therefore other
// ciphertexts and hashes. Positions, versions, ids and times stay.
//
// Encrypted, metadata and data are the stored bytes in base64, and the last line also has the
// hash of the chain. The imported log is the same log, for the same keys. Its receipts come
// before the events:
//
//	{"receipt":{"key":"...","stream":"account-...","data":"...","expires":"..."}}
//
// The export reads the receipts first and then the head of the log, so each receipt belongs to
// an event that is exported too. An import drops a stream's receipts where the stream ends.
//
// Claims are not exported, because they follow from the events. An export in clear has no
// receipts either: the names of receipts are hashed with a key that the imported log does not
// have. Receipts only prevent that a request is carried out twice within a day.
//
// Format 1 has no receipts, and is what an export in clear is written in. An encrypted export has
// format 2, which an earlier konto refuses.
package transfer
