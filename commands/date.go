package commands

import "time"

// date is the rule for calendar dates. It does not ask whether the date has
// come: that needs a clock.
func date(value string) (string, *fault) {
	if _, err := time.Parse(time.DateOnly, value); err != nil {
		return "", &fault{CodeInvalidFormat, "The date must be one of the calendar, in the form YYYY-MM-DD."}
	}
	return value, nil
}
