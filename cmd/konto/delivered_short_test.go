//go:build !long

package main

import "time"

// catchUpTime bounds how long a third party may take to receive what it missed.
const catchUpTime = time.Minute

// How much TestEveryChangeIsDeliveredInOrderWhateverFails changes.
const (
	deliveredChanges  = 300
	deliveredAccounts = 30
	hangingRequests   = 100
)
