package events_test

import (
	"testing"

	"konto/events"
)

func TestStreamNames(t *testing.T) {
	for stream, category := range map[events.Stream]string{
		events.AccountStream(accountID):    events.CategoryAccount,
		events.CredentialStream(accountID): events.CategoryCredential,
		events.ThirdPartyStream(accountID): events.CategoryThirdParty,
	} {
		if want := events.Stream(category + "-01HXA3B4C5D6E7F8G9H0J1K2M3"); stream != want {
			t.Errorf("%s, want %s", stream, want)
		}
		got, owner, err := stream.Split()
		if err != nil || got != category || owner != accountID || stream.Category() != category {
			t.Errorf("%s: %s, %s, %v", stream, got, owner, err)
		}
	}
}

func TestMalformedStreamNames(t *testing.T) {
	for _, stream := range []events.Stream{
		"", "-", "account", "account-", "account-1",
		"01HXA3B4C5D6E7F8G9H0J1K2M3", "-01HXA3B4C5D6E7F8G9H0J1K2M3",
		"account-01HXA3B4C5D6E7F8G9H0J1K2M", "account-01HXA3B4C5D6E7F8G9H0J1K2M33",
		"account-81HXA3B4C5D6E7F8G9H0J1K2M3", "account-01HXA3B4C5D6E7F8G9H0J1K2MU",
		"account-01hxa3b4c5d6e7f8g9h0j1k2m3", // two names would be two streams of one owner
	} {
		if category, owner, err := stream.Split(); err == nil || category != "" || !owner.IsZero() || stream.Category() != "" {
			t.Errorf("%q: %q, %s, %v", stream, category, owner, err)
		}
	}
}
