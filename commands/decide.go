package commands

import (
	"fmt"

	"konto/events"
)

// decision is what a command comes to.
type decision struct {
	payloads []events.Payload // what happens, in order; none when nothing changes
	rejected []FieldError     // with Update.Partial: what was left out
	refusal  *Invalid         // what the caller is told, although the payloads are stored
}

// decide applies the rules to one command. It is pure: the same state and
// command always give the same decision, so a lost race is simply decided again.
//
// The zero state stands for an account that does not exist. It is an input like
// any other, because a caller learns what is wrong with a request even when
// the account is unknown (Payway answers 400 before 404).
func decide(state events.Account, c Command) (decision, error) {
	switch c := c.(type) {
	case Open:
		return decideOpen(state, c)
	case *Update:
		return decideUpdate(state, *c)
	case RecordFacts:
		return decideFacts(state, c)
	case RequestEmailChange:
		return decideRequestEmailChange(state, c)
	case ConfirmEmailChange:
		return decideConfirmEmailChange(state, c)
	case CancelEmailChange:
		return decideCancelEmailChange(state, c)
	case ChangePassword:
		return decideChangePassword(state, c)
	case Erase:
		return decideErase(state)
	}
	return decision{}, fmt.Errorf("command %T is unknown", c)
}
