package events

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// The stored names of events. A name is never reused for other bytes: a
// payload that changes shape gets the next version and is lifted in Decode.
const (
	TypeAccountOpened            = "AccountOpened.v1"
	TypeProfileUpdated           = "ProfileUpdated.v1"
	TypeEmailChanged             = "EmailChanged.v1"
	TypeEmailChangeRequested     = "EmailChangeRequested.v1"
	TypeEmailChangeCancelled     = "EmailChangeCancelled.v1"
	TypeEmailChangeAttemptFailed = "EmailChangeAttemptFailed.v1"
	TypePasswordChanged          = "PasswordChanged.v1"
	TypeFactsRecorded            = "FactsRecorded.v1"
	TypeAccountErased            = "AccountErased.v1"
	TypeKeyIssued                = "KeyIssued.v1"
	TypeSessionOpened            = "SessionOpened.v1"
	TypeCredentialRevoked        = "CredentialRevoked.v1"
	TypeThirdPartyAdded          = "ThirdPartyAdded.v1"
	TypeThirdPartySecretRotated  = "ThirdPartySecretRotated.v1"
	TypeThirdPartyPaused         = "ThirdPartyPaused.v1"
	TypeThirdPartyResumed        = "ThirdPartyResumed.v1"
	TypeThirdPartyDisabled       = "ThirdPartyDisabled.v1"
	TypeThirdPartyCheckpointed   = "ThirdPartyCheckpointed.v1"
	TypeThirdPartyRemoved        = "ThirdPartyRemoved.v1"
)

// AccountTypes names all that can happen to an account, without versions: what
// is published, and what a third party can ask to be told of.
func AccountTypes() []string {
	return []string{
		"AccountOpened", "ProfileUpdated", "EmailChanged", "EmailChangeRequested", "EmailChangeCancelled",
		"EmailChangeAttemptFailed", "PasswordChanged", "FactsRecorded", "AccountErased",
	}
}

// ErrUnknownType is matched by the error of Encode, Decode and Event.Payload
// for a payload or a name that this version of konto does not know: an event
// written by a newer one. The log is intact; run the newer version.
var ErrUnknownType = errors.New("unknown event type")

// ErrMisfit is matched by the error of Decode and Event.Payload for bytes that
// are not of the type that they are stored under.
var ErrMisfit = errors.New("payload does not fit its type")

// DecodeError says which event could not be decoded.
type DecodeError struct {
	Type     string
	Position uint64
	Err      error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("event %s at position %d: %v", e.Type, e.Position, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Encode gives a payload's stored name and bytes.
func Encode(p Payload) (name string, data []byte, err error) {
	switch p := p.(type) {
	case AccountOpened:
		name = TypeAccountOpened
	case ProfileUpdated:
		name = TypeProfileUpdated
		data, err = p.encode()
	case EmailChanged:
		name = TypeEmailChanged
	case EmailChangeRequested:
		name = TypeEmailChangeRequested
	case EmailChangeCancelled:
		name = TypeEmailChangeCancelled
	case EmailChangeAttemptFailed:
		name = TypeEmailChangeAttemptFailed
	case PasswordChanged:
		name = TypePasswordChanged
	case FactsRecorded:
		name = TypeFactsRecorded
	case AccountErased:
		name = TypeAccountErased
	case KeyIssued:
		name = TypeKeyIssued
	case SessionOpened:
		name = TypeSessionOpened
	case CredentialRevoked:
		name = TypeCredentialRevoked
	case ThirdPartyAdded:
		name = TypeThirdPartyAdded
	case ThirdPartySecretRotated:
		name = TypeThirdPartySecretRotated
	case ThirdPartyPaused:
		name = TypeThirdPartyPaused
	case ThirdPartyResumed:
		name = TypeThirdPartyResumed
	case ThirdPartyDisabled:
		name = TypeThirdPartyDisabled
	case ThirdPartyCheckpointed:
		name = TypeThirdPartyCheckpointed
	case ThirdPartyRemoved:
		name = TypeThirdPartyRemoved
	default:
		return "", nil, fmt.Errorf("encode %T: %w", p, ErrUnknownType)
	}
	if data == nil && err == nil {
		data, err = json.Marshal(p)
	}
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return name, data, nil
}

// Decode reads the bytes stored under a name.
func Decode(name string, data []byte) (Payload, error) {
	switch name {
	case TypeAccountOpened:
		return decode[AccountOpened](data)
	case TypeProfileUpdated:
		return decode[ProfileUpdated](data)
	case TypeEmailChanged:
		return decode[EmailChanged](data)
	case TypeEmailChangeRequested:
		return decode[EmailChangeRequested](data)
	case TypeEmailChangeCancelled:
		return decode[EmailChangeCancelled](data)
	case TypeEmailChangeAttemptFailed:
		return decode[EmailChangeAttemptFailed](data)
	case TypePasswordChanged:
		return decode[PasswordChanged](data)
	case TypeFactsRecorded:
		return decode[FactsRecorded](data)
	case TypeAccountErased:
		return decode[AccountErased](data)
	case TypeKeyIssued:
		return decode[KeyIssued](data)
	case TypeSessionOpened:
		return decode[SessionOpened](data)
	case TypeCredentialRevoked:
		return decode[CredentialRevoked](data)
	case TypeThirdPartyAdded:
		return decode[ThirdPartyAdded](data)
	case TypeThirdPartySecretRotated:
		return decode[ThirdPartySecretRotated](data)
	case TypeThirdPartyPaused:
		return decode[ThirdPartyPaused](data)
	case TypeThirdPartyResumed:
		return decode[ThirdPartyResumed](data)
	case TypeThirdPartyDisabled:
		return decode[ThirdPartyDisabled](data)
	case TypeThirdPartyCheckpointed:
		return decode[ThirdPartyCheckpointed](data)
	case TypeThirdPartyRemoved:
		return decode[ThirdPartyRemoved](data)
	}
	return nil, ErrUnknownType
}

// Sealed tells whether events of this type are stored encrypted. Those that
// end a stream hold no personal data and stay readable without its key.
func Sealed(name string) bool {
	switch name {
	case TypeAccountErased, TypeCredentialRevoked, TypeThirdPartyRemoved:
		return false
	}
	return true
}

// decode is strict: an unknown member means that a newer konto wrote it, and
// dropping it would change what the event says. Its error tells where the bytes
// do not fit and never quotes them, because errors are logged.
func decode[P Payload](data []byte) (Payload, error) {
	var p P
	err := json.Unmarshal(data, &p, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &semantic):
		return nil, fmt.Errorf("%w at %q", ErrMisfit, semantic.JSONPointer)
	}
	return nil, ErrMisfit
}
