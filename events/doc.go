// Package events is konto's vocabulary: what can happen to an account or a
// credential, how it is written down, and what an account's events add up to.
//
// It is a leaf: it imports no other room, does no I/O and reads no clock.
//
//   - payloads: account.go, profile.go, credential.go
//   - the envelope around a payload: event.go, stream.go
//   - names and bytes: codec.go (stored bytes are a public format, see testdata)
//   - the fold: state.go. Both the write side and the read models need it, and
//     two folds would be two truths, so it lives here, below both.
//   - the published form: cloudevents.go
//   - the code of a change of address, made alike by who checks it and who mails it: emailcode.go
//
// An account's life:
//
//	            AccountOpened                    AccountErased
//	(nothing) ────────────────▶ active ─────────────────────────▶ erased
//	                            │    ▲
//	                            └────┘ ProfileUpdated, EmailChanged, EmailChangeRequested,
//	                                   EmailChangeAttemptFailed, EmailChangeCancelled,
//	                                   PasswordChanged, FactsRecorded
package events
