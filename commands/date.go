package commands

import "time"

// earliestBirth is the first year in which anybody with an account can be born.
// Nobody was ever known to become older than 122 years.
const earliestBirth = 1850

// birthDate is the rule for dates of birth, at a point in time.
func birthDate(now time.Time) rule {
	return func(value string) (string, *fault) {
		born, err := time.Parse(time.DateOnly, value)
		if err != nil {
			return "", &fault{CodeInvalidFormat, "The date must be one of the calendar, in the form YYYY-MM-DD."}
		}
		if born.Year() < earliestBirth || hasNotCome(born, now) {
			return "", &fault{CodeInvalidValue, "The date of birth cannot be before 1850 or in the future."}
		}
		return value, nil
	}
}

// hasNotCome tells whether a day has begun nowhere yet. Where days begin first,
// they do so 14 hours before UTC's.
func hasNotCome(day, now time.Time) bool { return day.After(now.UTC().Add(14 * time.Hour)) }
