// Package webhook tells one third party of one event, once: it makes one HTTP
// POST of them and says what came of it. When and how often to try, and in which
// order, is the caller's.
//
//	event ──▶ compose: the body, in the third party's format     message.go
//	            cloudevents   CloudEvents 1.0, structured        cloudevents.go
//	            payway        Payway's webhook shape             payway.go, payway_account.go
//	            payway-ssi    its subscription systems' shape    payway_ssi.go
//	            risc          a Security Event Token             risc.go, tokenkey.go
//	      ──▶ sign: Standard Webhooks, with every secret         sign.go
//	      ──▶ guard: is the address to be dialled a public one   guard.go, client.go
//	      ──▶ attempt: the POST, bounded in every direction      attempt.go, excerpt.go, trace.go
//	      ──▶ Answer: verdict, status, first bytes, problem      answer.go, verdict.go, problem.go
//
// What a third party can rely on:
//
//   - Its webhook-id is the event's id, and its body the same to the byte, however
//     often an event is sent. Only webhook-timestamp and the signatures are the
//     attempt's. A Security Event Token therefore says iat for the time of the event.
//   - Payway's shapes show the account as the event left it, not as it is by now:
//     events are told in order, so the next one tells the rest.
//   - No code, no hash and no URL with a code is in any body.
//
// What a format has no words for is not sent, and neither is what the log
// cannot tell any more because the account was erased since and its key is gone;
// both are Skipped, which settles the event. To keep trying would hold up the
// account's erasure, which everybody is told of. Only an erasure itself in a Payway
// shape needs what is encrypted, the Payway id: a notice outlives the account's
// key until it was told (Notices).
//
// An ErasureProof, signed with the same key as tokens, is for whoever asked for
// an erasure (erasureproof.go).
//
// Words that the formats' own texts lack are konto's: account_erased and test
// in Payway's shapes. In them an absent customer_number or loyalty_card_number
// is null, any other absent member "", and times with an offset are Swedish, as in
// Payway's own examples. A token's audience is the third party's name.
//
// The guard looks at the address that is dialled, after resolution, so a name
// that has another address by then is of no use. Whom the operator's Allow lists
// may be private, and is the only one who may do without TLS.
package webhook
