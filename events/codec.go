package events

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
)

// The stored names of events. The bytes of a name never change their meaning: a payload that
// changes its members gets the next version, and Decode converts the older ones.
const (
	TypeAccountOpened            = "AccountOpened.v1"
	TypeProfileUpdated           = "ProfileUpdated.v1"
	TypeEmailChanged             = "EmailChanged.v1"
	TypeEmailChangeRequested     = "EmailChangeRequested.v1"
	TypeEmailChangeCancelled     = "EmailChangeCancelled.v1"
	TypeEmailChangeAttemptFailed = "EmailChangeAttemptFailed.v1"
	TypePasswordChanged          = "PasswordChanged.v1"
	TypeFactsRecorded            = "FactsRecorded.v1"
	TypeIdentityLinked           = "IdentityLinked.v1"
	TypeIdentityUnlinked         = "IdentityUnlinked.v1"
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

// AccountTypes lists the event types of accounts, without versions: those that are published and
// that a third party can subscribe to.
func AccountTypes() []string {
	return []string{
		"AccountOpened", "ProfileUpdated", "EmailChanged", "EmailChangeRequested", "EmailChangeCancelled",
		"EmailChangeAttemptFailed", "PasswordChanged", "FactsRecorded", "IdentityLinked", "IdentityUnlinked", "AccountErased",
	}
}

// ErrUnknownType is matched by the error of Encode, Decode and Event.Payload for a payload or a
// name that this version of konto does not know, because a newer version wrote the event. The log
// is intact; run the newer version.
var ErrUnknownType = errors.New("unknown event type")

// ErrMisfit is matched by the error of Decode and Event.Payload for bytes that do not have the
// members of the type that they are stored as.
var ErrMisfit = errors.New("payload does not fit its type")

// DecodeError is the error of an event that cannot be decoded.
type DecodeError struct {
	Type     string
	Position uint64
	Err      error
}

// Error names the event and the member that does not fit, without its value.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("event %s at position %d: %v", e.Type, e.Position, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Encode returns a payload's stored name and bytes.
func Encode(p Payload) (name string, data []byte, err error) {
	// A pointer has the name too, but no switch on payloads would know it.
	if reflect.ValueOf(p).Kind() == reflect.Struct {
		name = p.storedName()
	}
	if name == "" {
		return "", nil, fmt.Errorf("encode %T: %w", p, ErrUnknownType)
	}
	if update, ok := p.(ProfileUpdated); ok {
		data, err = update.encode()
	} else {
		data, err = json.Marshal(p)
	}
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return name, data, nil
}

// decoders has the type of each stored name.
var decoders = map[string]func(data []byte) (Payload, error){
	TypeAccountOpened:            decode[AccountOpened],
	TypeProfileUpdated:           decode[ProfileUpdated],
	TypeEmailChanged:             decode[EmailChanged],
	TypeEmailChangeRequested:     decode[EmailChangeRequested],
	TypeEmailChangeCancelled:     decode[EmailChangeCancelled],
	TypeEmailChangeAttemptFailed: decode[EmailChangeAttemptFailed],
	TypePasswordChanged:          decode[PasswordChanged],
	TypeFactsRecorded:            decode[FactsRecorded],
	TypeIdentityLinked:           decode[IdentityLinked],
	TypeIdentityUnlinked:         decode[IdentityUnlinked],
	TypeAccountErased:            decode[AccountErased],
	TypeKeyIssued:                decode[KeyIssued],
	TypeSessionOpened:            decode[SessionOpened],
	TypeCredentialRevoked:        decode[CredentialRevoked],
	TypeThirdPartyAdded:          decode[ThirdPartyAdded],
	TypeThirdPartySecretRotated:  decode[ThirdPartySecretRotated],
	TypeThirdPartyPaused:         decode[ThirdPartyPaused],
	TypeThirdPartyResumed:        decode[ThirdPartyResumed],
	TypeThirdPartyDisabled:       decode[ThirdPartyDisabled],
	TypeThirdPartyCheckpointed:   decode[ThirdPartyCheckpointed],
	TypeThirdPartyRemoved:        decode[ThirdPartyRemoved],
}

// Decode decodes the bytes that are stored with a name.
func Decode(name string, data []byte) (Payload, error) {
	if decode, ok := decoders[name]; ok {
		return decode(data)
	}
	return nil, ErrUnknownType
}

// Sealed reports whether events of this type are stored encrypted. Events that end a stream have
// no personal data and stay readable without the stream's key.
func Sealed(name string) bool {
	switch name {
	case TypeAccountErased, TypeCredentialRevoked, TypeThirdPartyRemoved:
		return false
	}
	return true
}

// decode is strict: an unknown member means that a newer konto wrote the event, and without that
// member the event would say something else. Its error says where the bytes do not fit. It never
// contains the bytes, because errors are logged.
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
