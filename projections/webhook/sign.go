package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The headers of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// sign sets the headers of a request. Each secret that is valid at the time signs in both ways:
// v1 is checked with the shared secret, v1a with the public key. While secrets are rotated there
// are two of each, and one match is enough.
//
// The id is the event's, however often it is sent. The time is the attempt's, so that a recorded
// request is too old when somebody sends it again.
func sign(h http.Header, party *events.ThirdParty, id ulid.ULID, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signed := []byte(id.String() + "." + timestamp + ".") // neither part has a full stop
	signed = append(signed, body...)
	var signatures []string
	for _, s := range party.Secrets(at) {
		mac := hmac.New(sha256.New, s.HMAC)
		mac.Write(signed)
		signatures = append(signatures,
			"v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)),
			"v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(party.SigningKey(s), signed)))
	}
	h.Set(headerID, id.String())
	h.Set(headerTimestamp, timestamp)
	h.Set(headerSignature, strings.Join(signatures, " "))
}
