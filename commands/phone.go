package commands

import (
	"regexp"

	"github.com/nyaruka/phonenumbers"
)

// writtenPhone is how people write phone numbers. Google's rules would also
// read letters, addresses and text around a number.
var writtenPhone = regexp.MustCompile(`^\+?[0-9 ()./-]+$`)

// phoneNumber is the rule for phone numbers in E.164, normalised by the
// libphonenumber port. A number without a country code is one of the region's.
func phoneNumber(region string) rule {
	return func(value string) (string, *fault) {
		value = plain(value)
		if !writtenPhone.MatchString(value) {
			return "", &fault{CodeInvalidFormat, "The phone number can contain digits, spaces and ( ) . / - after an optional +."}
		}
		number, err := phonenumbers.Parse(value, region)
		if err != nil {
			return "", &fault{CodeInvalidFormat, "The phone number cannot be read as an international or national number."}
		}
		// The strictest of the library's checks: assigned ranges, not length alone.
		if !phonenumbers.IsValidNumber(number) {
			return "", &fault{CodeInvalidValue, "The phone number is not a valid one in its country."}
		}
		return phonenumbers.Format(number, phonenumbers.E164), nil
	}
}

// phoneNumberIfReadable is the rule where the contract's own format has decided
// that the number is fine: one that cannot be normalised is kept as given.
func phoneNumberIfReadable(region string) rule {
	normalise := phoneNumber(region)
	return func(value string) (string, *fault) {
		if stored, wrong := normalise(value); wrong == nil {
			return stored, nil
		}
		return value, nil
	}
}
