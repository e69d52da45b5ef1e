// Package keyring keeps the keys of streams in keys.db, apart from the log and
// its backups: whoever has the log alone can read nothing, and an account whose
// key is destroyed is forgotten in every copy of the log.
//
//	master key   32 bytes, in a file of its own or given by the environment
//	   │ wraps
//	   ├──▶ one random key per stream: seals the stream's payloads
//	   └──▶ the random root key: what Derive gives comes from it
//
// Nothing is computed from the master key. All it does is to wrap, so it can be
// exchanged by wrapping every row anew, while payloads and claims stay as they are.
package keyring
