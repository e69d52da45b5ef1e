package commands

import (
	"time"

	"konto/events"
)

// rule brings a value into the form in which it is stored, or tells what is
// wrong with it. It sees values that text has passed.
type rule func(value string) (stored string, wrong *fault)

// fault is a FieldError without its field. The detail never holds the value.
type fault struct{ code, detail string }

// checker collects what is wrong with a command.
type checker struct {
	now   time.Time // when the command was given: no date of birth can be later
	wrong []FieldError
}

func (c *checker) reject(field string, f *fault) {
	c.wrong = append(c.wrong, FieldError{Field: field, Code: f.code, Detail: f.detail})
}

// field checks one change, by the rule for all text and then its own, if any.
// A change that clears is always fine here: whether a field may be cleared is
// for the contracts to decide. A wrong change is dropped.
func (c *checker) field(field string, change *events.Change[string], own rule) {
	if change.To == "" {
		return
	}
	stored, wrong := text(change.To)
	if wrong == nil && own != nil {
		stored, wrong = own(stored)
	}
	if wrong != nil {
		c.reject(field, wrong)
		*change = events.Change[string]{}
		return
	}
	change.To = stored
}

// requiredIfMade checks a change to a field that cannot be cleared.
func (c *checker) requiredIfMade(field string, change *events.Change[string], own rule) {
	if change.Made && change.To == "" {
		c.reject(field, &fault{CodeMustBeSet, "The field cannot be removed."})
		*change = events.Change[string]{}
		return
	}
	c.field(field, change, own)
}

// required checks a value that must be there.
func (c *checker) required(field string, value *string, own rule) {
	change := events.Set(*value)
	c.requiredIfMade(field, &change, own)
	*value = change.To
}
