package commands

import (
	"context"

	"konto/events"
)

// RecordFacts records what other systems know of the account.
type RecordFacts struct{ Facts events.FactsRecorded }

func (r RecordFacts) prepare(context.Context, *Accounts, caller) (Command, error) { return r, nil }

// decide records the facts that the account does not have yet.
func (r RecordFacts) decide(state events.Account) (decision, error) {
	f := unknownOf(r.Facts, state.Facts) // what is known already is not checked again
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

// facts checks facts. below is the JSON pointer of the object that has them.
func (c *checker) facts(below string, f *events.FactsRecorded) {
	c.count(below+"/activeDomains", f.ActiveDomains)
	c.count(below+"/seNuDomains", f.SeNuDomains)
	c.field(below+"/pendingOrder", &f.PendingOrder, nil)
	c.field(below+"/bankidName", &f.BankIDName, nil)
}

// unknownOf is f without the facts that are known already.
func unknownOf(f events.FactsRecorded, known events.Facts) events.FactsRecorded {
	f.ActiveDomains = unlessKnown(f.ActiveDomains, known.ActiveDomains)
	f.SeNuDomains = unlessKnown(f.SeNuDomains, known.SeNuDomains)
	f.Verified = unlessKnown(f.Verified, known.Verified)
	if f.PendingOrder.To == known.PendingOrder {
		f.PendingOrder = events.Change[string]{}
	}
	if f.BankIDName.To == known.BankIDName {
		f.BankIDName = events.Change[string]{}
	}
	return f
}

// count checks a number of things.
func (c *checker) count(field string, n *int) {
	if n != nil && *n < 0 {
		c.reject(field, &fault{CodeInvalidValue, "The number cannot be negative."})
	}
}

// unlessKnown is nil for a fact that is known already.
func unlessKnown[T comparable](fact *T, known T) *T {
	if fact != nil && *fact == known {
		return nil
	}
	return fact
}
