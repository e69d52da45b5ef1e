package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// headerDelivery is how an endpoint says what is to become of the message.
const headerDelivery = "webhook-delivery"

// maxRetryAfter is the longest that an endpoint may put an attempt off: the
// longest step of the schedule of retries.
const maxRetryAfter = 24 * time.Hour

// verdict reads an answer as Standard Webhooks has it. A redirect is a failure.
func verdict(answer *http.Response) Verdict {
	switch status := answer.StatusCode; {
	case status >= 200 && status < 300:
		return Delivered
	case strings.EqualFold(strings.TrimSpace(answer.Header.Get(headerDelivery)), "abort-message"):
		return Aborted
	case status == http.StatusGone:
		return Gone
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		return Slow
	}
	return Failed
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds, or a date.
// It is 0 for what is neither or has passed, and maxRetryAfter at most.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseUint(header, 10, 32)
		if err != nil || seconds > uint64(maxRetryAfter/time.Second) { // more digits than a number has
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
