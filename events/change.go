package events

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Change is what an update does to one field: nothing (the zero Change), clear
// it, or set it. The zero value of T means "not set" throughout konto, so a
// Change to the zero value clears. In JSON an absent member is no change and an
// explicit null clears; use it with omitzero.
type Change[T comparable] struct {
	Made bool // whether there is a change at all
	To   T    // the field's new value; the zero value clears it
}

// Set changes a field to value; the zero value clears it.
func Set[T comparable](value T) Change[T] { return Change[T]{Made: true, To: value} }

// Clear removes a field's value.
func Clear[T comparable]() Change[T] { return Change[T]{Made: true} }

// IsZero tells that nothing changes; encoders then leave the member out.
func (c Change[T]) IsZero() bool { return !c.Made }

// apply makes the change.
func (c Change[T]) apply(field *T) {
	if c.Made {
		*field = c.To
	}
}

// reduce forgets a change that would leave the field as it is.
func (c *Change[T]) reduce(field T) {
	if c.Made && c.To == field {
		*c = Change[T]{}
	}
}

// MarshalJSONTo writes null for a cleared field, else its value.
func (c Change[T]) MarshalJSONTo(enc *jsontext.Encoder) error {
	if c.To == *new(T) {
		return enc.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(enc, c.To)
}

// UnmarshalJSONFrom reads a member that is present: null clears.
func (c *Change[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = Change[T]{Made: true}
	return json.UnmarshalDecode(dec, &c.To)
}
