package http

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/realclientip/realclientip-go"
)

// proxies find the client behind proxies that are trusted. A nil proxies trusts none.
type proxies struct {
	networks                []netip.Prefix
	xForwardedFor, standard realclientip.RightmostTrustedRangeStrategy
}

func newProxies(networks []netip.Prefix) *proxies {
	if len(networks) == 0 {
		return nil
	}
	var ranges []net.IPNet
	for _, n := range networks {
		ranges = append(ranges, net.IPNet{IP: n.Masked().Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), n.Addr().BitLen())})
	}
	p := &proxies{networks: networks}
	// They fail only for other headers.
	p.xForwardedFor, _ = realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", ranges)
	p.standard, _ = realclientip.NewRightmostTrustedRangeStrategy("Forwarded", ranges)
	return p
}

// clientAddress returns the address that a request comes from. For IPv6 it is the /64 network,
// because a caller owns all of it.
//
// Any caller can write the headers, so they count only if the connection comes from a trusted
// proxy. Each proxy adds its peer at the end: the last address that is no proxy's is the client.
// Forwarded (RFC 7239) counts only without X-Forwarded-For, because a proxy that writes one of
// them may pass on the other as the client wrote it.
func (p *proxies) clientAddress(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a socket without addresses: all its callers count as one
	}
	address := from.Addr().Unmap().WithZone("")
	if p.trusts(address) {
		strategy := p.standard
		if len(r.Header["X-Forwarded-For"]) > 0 {
			strategy = p.xForwardedFor
		}
		if client, err := netip.ParseAddr(strategy.ClientIP(r.Header, "")); err == nil {
			address = client.Unmap().WithZone("")
		}
	}
	if address.Is6() {
		network, _ := address.Prefix(64) // fails only for more than 128 bits
		return network.Addr()
	}
	return address
}

func (p *proxies) trusts(address netip.Addr) bool {
	if p != nil {
		for _, n := range p.networks {
			if n.Contains(address) {
				return true
			}
		}
	}
	return false
}
