// Package events defines what can happen to an account, a credential or a third
// party, how events are stored and published, and how they are folded into a
// state.
//
// It imports no other package of konto, does no I/O and reads no clock.
//
//   - event.go: the event around a payload, and the names of streams
//   - account.go, profile.go, credential.go, thirdparty.go: the payloads of each,
//     and the fold into its state. The write side and the read models use the same
//     fold, so it is here, below both.
//   - codec.go: the stored names and bytes, a public format (testdata has an
//     example of each)
//   - claims.go: the unique keys of an account, and which spellings of an email
//     address are one address
//   - shredded.go: the state of a stream whose key was destroyed
//   - published.go: the published form, without secrets
//   - schema: JSON Schemas and the AsyncAPI document for consumers
//   - emailcode.go: the code of an email change, computed in the same way where it
//     is checked and where it is mailed
//
// An account's states:
//
//	            AccountOpened                    AccountErased
//	(nothing) ────────────────▶ active ─────────────────────────▶ erased
//	                            │    ▲
//	                            └────┘ ProfileUpdated, EmailChanged, EmailChangeRequested,
//	                                   EmailChangeAttemptFailed, EmailChangeCancelled,
//	                                   PasswordChanged, FactsRecorded, IdentityLinked,
//	                                   IdentityUnlinked
//
// A third party's states. Each state except removed keeps its position in the log.
// ThirdPartySecretRotated and ThirdPartyCheckpointed do not change the state.
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
