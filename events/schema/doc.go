// Package schema describes account events for consumers: a JSON Schema of every
// event version as it is published, and an AsyncAPI document of the channels on
// which it is sent.
//
// Both are made from the published Go types, so they describe exactly what is
// published. A payload without a row in announced.go, or a member without a tag that
// describes it, fails a test.
//
// # What may change
//
// A version of an event keeps its members, their types and their meaning. It can
// get more members, so schemas allow further members and consumers must ignore
// unknown ones. Any other change makes the event's next version, with its own
// schema: EmailChanged.v2 in addition to EmailChanged.v1. That includes a new value
// of a member whose schema lists the values.
//
// # Dialect
//
// Schemas use draft 2020-12, and only keywords that mean the same in draft 07,
// because that is the only JSON Schema that every AsyncAPI tool supports. For the
// same reason no schema refers to another one.
package schema
