// Package schema is what consumers of account events are promised: a JSON
// Schema of every event version as it is published, and an AsyncAPI document of
// where and how it reaches them.
//
// Both are made of the types that are published, so they cannot say anything
// else: a payload without a row in announced.go, or a member without one in
// members.go, fails a test.
//
// # What may change
//
// A version of an event keeps its members, their types and their meaning. It may
// get more members, so schemas leave objects open and consumers have to ignore
// what they do not know. Anything else gets the event's next version, with a
// schema of its own: EmailChanged.v2 beside EmailChanged.v1. That includes a new
// value of a member whose schema lists the values.
//
// # Dialect
//
// Schemas are of draft 2020-12 and keep to keywords that mean the same in draft
// 07, the only JSON Schema that every AsyncAPI tool reads. For the same reason
// they stand alone: nothing refers to another schema.
package schema
