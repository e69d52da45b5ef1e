// Package events is konto's vocabulary: what can happen to an account, a
// credential or a third party, how it is written down, and what the events of
// each add up to.
//
// It is a leaf: it imports no other room, does no I/O and reads no clock.
//
//   - payloads: account.go, profile.go, credential.go, thirdparty.go
//   - the envelope around a payload: event.go, stream.go
//   - names and bytes: codec.go, profileencode.go (stored bytes are a public format, see testdata)
//   - the fold: state.go. Both the write side and the read models need it, and
//     two folds would be two truths, so it lives here, below both. Those of credentials
//     and third parties are beside their payloads, for the same reason.
//   - which spellings of an email address are one address, for claims: email.go
//   - what is left of a stream whose key was destroyed: shredded.go
//   - the published form: cloudevents.go, and what of a payload leaves konto: published.go
//   - what consumers are promised of it, as JSON Schemas and AsyncAPI: the folder schema
//   - the text forms of what webhooks are signed with: webhooksecret.go
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
//
// A third party's life. In each state but the last its place in the log is kept;
// ThirdPartySecretRotated and ThirdPartyCheckpointed change no state.
//
//	            ThirdPartyAdded           ThirdPartyPaused
//	(nothing) ──────────────────▶ active ─────────────────▶ paused ◀──┐
//	                              │ ▲  ▲  ThirdPartyResumed  │  │     │
//	           ThirdPartyDisabled │ │  └─────────────────────┘  │     │
//	                              │ │ ThirdPartyResumed         │     │
//	                              ▼ │         ThirdPartyDisabled│     │
//	                            disabled ◀──────────────────────┘     │
//	                                │                ThirdPartyPaused │
//	                                └─────────────────────────────────┘
//	      any of the three ──ThirdPartyRemoved──▶ removed
package events
