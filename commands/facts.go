package commands

import (
	"context"

	"konto/events"
)

// RecordFacts records what other systems know of the account.
type RecordFacts struct{ Facts events.FactsRecorded }

func (r RecordFacts) prepare(context.Context, *Accounts, caller) (Command, error) { return r, nil }

// decide records what other systems know, as far as it is news.
func (r RecordFacts) decide(state events.Account) (decision, error) {
	f := unknownOf(r.Facts, state.Facts) // what is known already is not judged again
	var c checker
	c.facts("", &f)
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if !state.Exists() {
		return decision{}, ErrNotFound
	}
	if f = unknownOf(f, state.Facts); f == (events.FactsRecorded{}) {
		return decision{}, nil
	}
	return decision{payloads: []events.Payload{f}}, nil
}

// facts checks what is below a place in the caller's fields.
func (c *checker) facts(below string, f *events.FactsRecorded) {
	c.count(below+"/activeDomains", f.ActiveDomains)
	c.count(below+"/seNuDomains", f.SeNuDomains)
	c.field(below+"/pendingOrder", &f.PendingOrder, nil)
	c.field(below+"/bankidName", &f.BankIDName, nil)
}

// unknownOf is f without what is known already.
func unknownOf(f events.FactsRecorded, known events.Facts) events.FactsRecorded {
	f.ActiveDomains = news(f.ActiveDomains, known.ActiveDomains)
	f.SeNuDomains = news(f.SeNuDomains, known.SeNuDomains)
	f.Verified = news(f.Verified, known.Verified)
	if f.PendingOrder.To == known.PendingOrder {
		f.PendingOrder = events.Change[string]{}
	}
	if f.BankIDName.To == known.BankIDName {
		f.BankIDName = events.Change[string]{}
	}
	return f
}

// count is the rule for a number of things.
func (c *checker) count(field string, n *int) {
	if n != nil && *n < 0 {
		c.reject(field, &fault{CodeInvalidValue, "The number cannot be negative."})
	}
}

// news forgets a fact that is known already.
func news[T comparable](fact *T, known T) *T {
	if fact != nil && *fact == known {
		return nil
	}
	return fact
}
