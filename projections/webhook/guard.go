package webhook

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"code.dny.dev/ssrf"
)

var (
	// errAddress is for an address that is not on the public internet.
	errAddress = errors.New("address not allowed")
	// errPlain is for an address that may be sent to with TLS only.
	errPlain = errors.New("address not allowed without TLS")
)

// guard decides about an address that is about to be dialled. It sits below
// the resolver, in the dialer's Control: a name that was looked up and checked
// before could have another address by the time it is dialled.
type guard func(addr netip.Addr) error

// alsoDenied are addresses outside every special-purpose range that are no
// less the machine's own surroundings.
var alsoDenied = []netip.Prefix{
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's platform, from inside any machine there
}

// newGuard allows public addresses, and those of allow. ssrf denies the
// special-purpose ranges of IPv4, and of IPv6 everything outside 2000::/3
// (loopback, link-local, unique local, mapped, NAT64) as well as the special
// ranges within (Teredo, 6to4, documentation).
func newGuard(allow []netip.Prefix) guard {
	public := ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(alsoDenied...))
	return func(addr netip.Addr) error {
		if addr = addr.Unmap(); listed(allow, addr) {
			return nil
		}
		if public.SafeAddr(addr) != nil { // whose text holds the address
			return errAddress
		}
		return nil
	}
}

// newInsecureGuard is for http: it allows the addresses of allow alone, which
// are in the operator's own networks. Elsewhere an account's data would travel
// in clear.
func newInsecureGuard(allow []netip.Prefix) guard {
	return func(addr netip.Addr) error {
		if !listed(allow, addr.Unmap()) {
			return errPlain
		}
		return nil
	}
}

// listed overlooks zones: an operator who lists fe80::/10 means every link.
func listed(allow []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(addr.WithZone("")) })
}

// dialer dials what the guard allows, over TCP.
func (g guard) dialer(cfg *Config) *net.Dialer {
	return &net.Dialer{
		Timeout:  cfg.Timeout,
		Resolver: cfg.resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return errAddress
			}
			return g(to.Addr())
		},
	}
}
