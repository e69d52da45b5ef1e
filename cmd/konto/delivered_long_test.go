//go:build long

package main

import "time"

// catchUpTime bounds how long a third party may take to receive what it missed.
const catchUpTime = 5 * time.Minute

// How much TestEveryChangeIsDeliveredInOrderWhateverFails changes.
const (
	deliveredChanges  = 10_000
	deliveredAccounts = 250
	hangingRequests   = 2_000 // 16 at a time, a second each: two minutes
)
