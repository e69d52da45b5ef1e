package deliveries

import "testing"

// storeOpener opens an empty store.
type storeOpener func(t *testing.T, bounds ...FileConfig) *storeHarness

// storeContract are the tests that every Store passes.
var storeContract = map[string]func(t *testing.T, open storeOpener){
	"ConcurrentSavesAreAllStored":           testConcurrentSavesAreAllStored,
	"DeleteAccountKeepsDeliveriesThatWait":  testDeleteAccountKeepsDeliveriesThatWait,
	"DeletePartyLeavesOtherParties":         testDeletePartyLeavesOtherParties,
	"DeliveriesWaitUntilTheyHaveCaughtUp":   testDeliveriesWaitUntilTheyHaveCaughtUp,
	"DeliveryLogIsBounded":                  testDeliveryLogIsBounded,
	"ExcerptsEndWithTheKeyOfTheirAccount":   testExcerptsEndWithTheKeyOfTheirAccount,
	"FiltersOfTheDeliveryLog":               testFiltersOfTheDeliveryLog,
	"OldAttemptsAreNotShownAndThenDeleted":  testOldAttemptsAreNotShownAndThenDeleted,
	"RedeliveryDoesNotChangeTheDelivery":    testRedeliveryDoesNotChangeTheDelivery,
	"RewindDeletesWhatCameAfterThePosition": testRewindDeletesWhatCameAfterThePosition,
	"RewindNeverSkipsAnything":              testRewindNeverSkipsAnything,
	"SaveDoesNotEndWithItsContext":          testSaveDoesNotEndWithItsContext,
	"SavedResultsAreThereAfterReopening":    testSavedResultsAreThereAfterReopening,
}

func TestFileKeepsTheContract(t *testing.T) {
	for name, test := range storeContract {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, bounds ...FileConfig) *storeHarness { return newStoreHarness(t, bounds...) })
		})
	}
}
