package commands

import (
	"net/url"
	"strconv"
	"strings"
)

// maxWebhookURL is the longest URL of a third party, in bytes: servers take
// hardly more.
const maxWebhookURL = 2048

// webhookURL returns what is wrong with a third party's URL. It must be
// absolute, https or http, printable ASCII, and without user or fragment. What
// it names is not looked at: that is resolved, and refused where --third-party-allow
// does not let it pass, when it is dialled. An http URL is one of those.
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

// validPort tells whether the port is a number that can be dialled, or left out.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}
