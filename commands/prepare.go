package commands

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// preparing is a command that needs something of the handler before it is
// decided: the time, an id, or a password's verification, which takes tens of
// milliseconds and many megabytes. That must not happen in decide, which is
// pure, nor in a lane, where others wait. So it happens here, on an account
// that may change meanwhile, and decide checks what it found against the state.
type preparing interface {
	Command
	prepare(ctx context.Context, h *Accounts, by guesser) (Command, error)
}

// Without these lines, a prepare with another signature would compile and not be called.
var (
	_ preparing = Open{}
	_ preparing = (*Update)(nil)
	_ preparing = ChangePassword{}
	_ preparing = RequestEmailChange{}
	_ preparing = ConfirmEmailChange{}
	_ preparing = CancelEmailChange{}
)

func (h *Accounts) prepare(ctx context.Context, id ulid.ULID, meta *events.Metadata, c Command) (Command, error) {
	if p, ok := c.(preparing); ok {
		return p.prepare(ctx, h, guesser{id, meta.Actor.ID})
	}
	return c, nil
}

// known is Load, with the zero state for an account that does not exist: to
// refuse that is up to decide, in its own order.
func (h *Accounts) known(ctx context.Context, id ulid.ULID) (events.Account, error) {
	state, err := h.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return events.Account{}, nil
	}
	return state, err
}
