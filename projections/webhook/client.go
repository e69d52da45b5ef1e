package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

var (
	// errAddress means that an address is not on the public internet.
	errAddress = errors.New("address not allowed")
	// errPlain means that nothing is sent to an address without TLS.
	errPlain = errors.New("address not allowed without TLS")
)

// addressRule decides whether an address may be dialled. It is applied after name
// resolution, in the dialer's Control: a name that was checked earlier could have another
// address by the time it is dialled (DNS rebinding).
type addressRule func(addr netip.Addr) error

// alsoDenied are addresses that are not in any special-purpose range, but belong to the
// machine's own network.
var alsoDenied = []netip.Prefix{
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's platform, from inside any machine there
}

// publicOnly allows public addresses, and those of allow. ssrf denies the special-purpose
// ranges of IPv4, and of IPv6 everything outside 2000::/3 (loopback, link-local, unique
// local, mapped, NAT64) as well as the special ranges within (Teredo, 6to4, documentation).
func publicOnly(allow []netip.Prefix) addressRule {
	public := ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(alsoDenied...))
	return func(addr netip.Addr) error {
		if addr = addr.Unmap(); contains(allow, addr) {
			return nil
		}
		if public.SafeAddr(addr) != nil { // an error whose text has the address
			return errAddress
		}
		return nil
	}
}

// allowedOnly is for http without TLS. It allows only the addresses of allow, which are in
// the operator's own networks. Elsewhere an account's data would travel in clear.
func allowedOnly(allow []netip.Prefix) addressRule {
	return func(addr netip.Addr) error {
		if !contains(allow, addr.Unmap()) {
			return errPlain
		}
		return nil
	}
}

// contains ignores zones: an operator who lists fe80::/10 means every link.
func contains(allow []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(addr.WithZone("")) })
}

// maxHeader bounds the head of an answer, in bytes.
const maxHeader = 16 << 10

// client makes an HTTP client that dials only the addresses that the rule allows.
//
//   - It uses no proxy, whatever the environment says. A proxy dials instead of konto, and
//     the rule would be applied to the proxy's address.
//   - It follows no redirect. To follow one would post an account's data to whatever address
//     the redirect names.
//   - It does not bound the number of connections to one host. Third parties on the same host
//     would wait for each other's connections. The caller bounds the requests to each third party.
//   - It finds dead HTTP/2 connections by pings. A request that times out leaves its
//     connection open, and later requests would use it.
func (s *Sender) client(rule addressRule) http.Client {
	dialer := &net.Dialer{
		Timeout:  s.Timeout,
		Resolver: s.resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return errAddress
			}
			return rule(to.Addr())
		},
	}
	return http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots},
			TLSHandshakeTimeout:    s.Timeout,
			ForceAttemptHTTP2:      true, // DialContext turns HTTP/2 off
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: s.Timeout, PingTimeout: s.Timeout},
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // only the first bytes of an answer are kept
			MaxIdleConns:           128,  // each uses a file descriptor, and HTTP needs some too
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
