package commands

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// MaxSecretOverlap is how long a third party's previous secrets can sign.
const MaxSecretOverlap = 30 * 24 * time.Hour

// maxSecrets is how many secrets of a third party sign at once. Each adds two signatures to a
// header of every delivery.
const maxSecrets = 4

// thirdPartyName allows few characters, because the name is typed on the command line and is a
// label of metrics. It has no capitals, so that no two names look alike.
var thirdPartyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// formatTypes are the event types, without versions, of each delivery format. The format's
// specification has no message for the other types.
func formatTypes() map[string][]string {
	return map[string][]string{
		events.FormatCloudEvents: events.AccountTypes(),
		events.FormatPayway:      {"EmailChanged", "ProfileUpdated", "FactsRecorded", "EmailChangeRequested", "AccountErased"},
		events.FormatPaywaySSI:   {"EmailChanged", "ProfileUpdated", "FactsRecorded", "AccountErased"},
		events.FormatRISC:        {"EmailChanged", "AccountErased"},
	}
}

// checkThirdParty sets defaults and returns what is wrong.
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
	types, known := formatTypes()[spec.Format]
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

// checkOverlap returns what is wrong with an overlap, if that many secrets sign already.
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

// maxWebhookURL is the longest URL of a third party, in bytes. Few servers accept longer ones.
const maxWebhookURL = 2048

// webhookURL returns what is wrong with a third party's URL. It must be absolute, https or http,
// printable ASCII, and without user and fragment. Its host is not checked here: the host is
// resolved and checked against --third-party-allow when a delivery dials it, and so is whether
// http is allowed.
func webhookURL(value string) *fault {
	switch {
	case len(value) > maxWebhookURL:
		return &fault{CodeTooLong, "The URL can have at most 2048 characters."}
	case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return &fault{CodeInvalidFormat, "The URL must be printable ASCII; percent-encode anything else, and white space."}
	case strings.Contains(value, "#"):
		return &fault{CodeNotAllowed, "The URL cannot have a fragment: it would never be sent."}
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || !validPort(u) {
		return &fault{CodeInvalidFormat, "The URL must be absolute, with https or http and a host."}
	}
	if u.User != nil {
		return &fault{CodeNotAllowed, "The URL cannot have a user or a password: deliveries are signed instead."}
	}
	return nil
}

// validPort reports whether the port is left out or can be dialled.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}
