package commands

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// MaxSecretOverlap bounds for how long a third party's previous secrets sign.
const MaxSecretOverlap = 30 * 24 * time.Hour

// maxSecrets bounds how many secrets of a third party sign at once: each adds
// two signatures to a header of every delivery.
const maxSecrets = 4

// thirdPartyName is narrow because the name is typed on the command line, and
// stands in the labels of metrics. It has no capitals, so that no two names look alike.
var thirdPartyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// tellable gives the formats and the types that each can tell of, without
// versions. What is missing from one has no shape in its specification.
func tellable() map[string][]string {
	return map[string][]string{
		events.FormatCloudEvents: events.AccountTypes(),
		events.FormatPayway:      {"EmailChanged", "ProfileUpdated", "FactsRecorded", "EmailChangeRequested", "AccountErased"},
		events.FormatPaywaySSI:   {"EmailChanged", "ProfileUpdated", "FactsRecorded", "AccountErased"},
		events.FormatRISC:        {"EmailChanged", "AccountErased"},
	}
}

// checkThirdParty fills in what is left out, and returns what is wrong.
func checkThirdParty(spec AddThirdParty) (AddThirdParty, []FieldError) {
	var c checker
	if !thirdPartyName.MatchString(spec.Name) {
		c.reject("/name", &fault{CodeInvalidFormat, "The name can have 64 of a-z, 0-9 and -, and begins with a letter or digit."})
	} else if _, err := ulid.ParseStrict(spec.Name); err == nil {
		c.reject("/name", &fault{CodeNotAllowed, "The name looks like an id, which would stand for another third party."})
	}
	spec.URL = strings.TrimSpace(spec.URL)
	if wrong := webhookURL(spec.URL); wrong != nil {
		c.reject("/url", wrong)
	}
	if spec.Format == "" {
		spec.Format = events.FormatCloudEvents
	}
	types, known := tellable()[spec.Format]
	if !known {
		c.reject("/format", &fault{CodeInvalidValue, "The format is one of cloudevents, payway, payway-ssi and risc."})
		return spec, c.wrong
	}
	if len(spec.Events) == 0 {
		spec.Events = []string{"EmailChanged"}
	}
	if slices.ContainsFunc(spec.Events, func(name string) bool { return !slices.Contains(types, name) }) {
		c.reject("/events", &fault{CodeInvalidValue, "The events that this format can tell of are " + strings.Join(types, ", ") + "."})
	}
	spec.Events = slices.Compact(slices.Sorted(slices.Values(spec.Events)))
	return spec, c.wrong
}

// checkOverlap returns what is wrong with rotating a secret while some sign.
func checkOverlap(overlap time.Duration, signing int) error {
	switch {
	case overlap < 0 || overlap > MaxSecretOverlap:
		return invalid("/overlap", CodeInvalidValue, "The overlap is between 0 and 30 days.")
	case overlap > 0 && signing >= maxSecrets:
		return invalid("/overlap", CodeNotAllowed, "Four secrets sign already; an overlap of 0 ends those before the new one.")
	}
	return nil
}

// invalid is the error for one wrong field.
func invalid(field, code, detail string) *Invalid {
	return &Invalid{Fields: []FieldError{{Field: field, Code: code, Detail: detail}}}
}
