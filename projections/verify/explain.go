package verify

import (
	"errors"

	"konto/events"
	"konto/eventstore"
)

// explain returns the text of an error without anything of a payload, which a
// decoder's message may quote.
func explain(err error) string {
	var decode *events.DecodeError
	switch {
	case errors.As(err, &decode) && errors.Is(decode, events.ErrUnknownType):
		return "its type is unknown"
	case errors.As(err, &decode):
		return "its data does not decode"
	case errors.Is(err, eventstore.ErrNoKey):
		return "the key of its stream is missing"
	case errors.Is(err, eventstore.ErrSealBroken):
		return "what is stored does not fit its key"
	}
	return err.Error()
}
