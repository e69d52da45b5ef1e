package webhook

import (
	"crypto/tls"
	"net/http"
	"time"
)

// headLimit bounds the head of an answer, in bytes.
const headLimit = 16 << 10

// client makes an HTTP client behind a guard.
//
//   - No proxy, whatever the environment says: a proxy dials in konto's place,
//     and the guard would see the proxy's address alone.
//   - Redirects are answers like others. Following one would post an account's
//     data to whatever it names.
//   - The number of connections to one host has no bound here: third parties
//     that share a host would wait for each other's. How much is sent to a third
//     party at once is for the caller to bound.
//   - A dead HTTP/2 connection is found by pings, since requests that time out
//     leave it open and later ones would use it.
func (s *Sender) client(g guard) http.Client {
	return http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            g.dialer(&s.Config).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots},
			TLSHandshakeTimeout:    s.Timeout,
			ForceAttemptHTTP2:      true, // a dialer of one's own turns it off
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: s.Timeout, PingTimeout: s.Timeout},
			MaxResponseHeaderBytes: headLimit,
			DisableCompression:     true, // a few bytes of the answer are kept, and none unpacked
			MaxIdleConns:           128,  // each holds a file descriptor, of which HTTP needs some
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
