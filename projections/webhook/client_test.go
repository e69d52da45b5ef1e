package webhook

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"konto/events"
)

func TestOnlyPublicAddressesAreAllowed(t *testing.T) {
	g := publicOnly(nil)
	for addr, allowed := range map[string]bool{
		"93.184.215.14": true, "8.8.8.8": true, "172.15.255.255": true, "172.32.0.1": true, "100.63.255.255": true, "100.128.0.1": true,
		"2606:4700::1111": true, "2a00:1450:4001:80e::200e": true,
		"::ffff:8.8.8.8": true, // dialled as 8.8.8.8

		"127.0.0.1": false, "127.255.255.254": false, "::1": false, // loopback
		"0.0.0.0": false, "0.1.2.3": false, "::": false, // this host
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, // private
		"fc00::1": false, "fd12:3456::1": false, "fec0::1": false, // unique local, site-local
		"169.254.0.1": false, "fe80::1": false, "fe80::1%eth0": false, // link-local
		"169.254.169.254": false, "fd00:ec2::254": false, "fd20:ce::254": false, "100.100.100.200": false, "192.0.0.192": false, "168.63.129.16": false, // metadata
		"100.64.0.1": false, "100.127.255.255": false, // carriers'
		"224.0.0.1": false, "239.255.255.250": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false, // multicast, broadcast, reserved
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "2001:db8::1": false, "3fff::1": false, "198.18.0.1": false, // examples, benchmarks
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:7f00:1": false, // mapped
		"::127.0.0.1": false, "::ffff:0:7f00:1": false, // compatible, translated
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b::8.8.8.8": false, "64:ff9b:1::a00:1": false, // NAT64
		"2002:7f00:1::": false, "2002:a9fe:a9fe::1": false, // 6to4
		"2001:0:4136:e378:8000:63bf:80ff:fffe": false,                                    // Teredo
		"192.88.99.1":                          false, "5f00::1": false, "100::1": false, // relay anycast, SRv6, discard
	} {
		if err := g(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestAllowedAddressesMayBePrivate(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128")}
	secure, insecure := publicOnly(allow), allowedOnly(allow)
	for addr, test := range map[string]struct{ secure, insecure error }{
		"10.1.2.3":        {nil, nil},
		"::ffff:10.1.2.3": {nil, nil},
		"fe80::1%eth0":    {nil, nil},
		"::1":             {nil, nil},
		"10.2.0.1":        {errAddress, errPlain},
		"127.0.0.1":       {errAddress, errPlain},
		"8.8.8.8":         {nil, errPlain},
		"2606:4700::1111": {nil, errPlain},
	} {
		a := netip.MustParseAddr(addr)
		if got := secure(a); got != test.secure {
			t.Errorf("%s with TLS: %v", addr, got)
		}
		if got := insecure(a); got != test.insecure {
			t.Errorf("%s without: %v", addr, got)
		}
	}
}

// secureEndpoint is an endpoint with TLS whose certificate h's senders know, at
// its address and by the name example.com.
func secureEndpoint(t *testing.T, h *harness) (byAddress, byName string, got <-chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	h.cfg.roots = x509.NewCertPool()
	h.cfg.roots.AddCert(server.Certificate())
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, "https://example.com:" + u.Port(), requests
}

func TestAddressesThatAreNotAllowedAreNotDialled(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	plain, plainly := endpoint(t, status(200))
	secure, _, securely := secureEndpoint(t, h)
	h.cfg.Allow = nil
	for url, want := range map[string]string{plain: errPlain.Error(), secure: errAddress.Error()} {
		if a := h.sender().Send(t.Context(), party(events.FormatCloudEvents, url), e); a.Verdict != Failed || a.Status != 0 || a.Problem != want {
			t.Errorf("%s: %+v", url, a)
		}
	}
	if len(plainly)+len(securely) > 0 {
		t.Error("an endpoint got a request")
	}
}

// A name that had a public address when it was checked, and has another one when it is dialled,
// is sent nothing.
func TestDNSRebindingIsRefused(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	_, byName, got := secureEndpoint(t, h)
	names := resolver(t, "93.184.215.14", "127.0.0.1")
	seen, err := names.LookupNetIP(t.Context(), "ip4", "example.com")
	if err != nil || len(seen) != 1 || publicOnly(nil)(seen[0]) != nil {
		t.Fatalf("at first the name has %v, %v", seen, err)
	}
	allow := h.cfg.Allow
	h.cfg.resolver, h.cfg.Allow = names, nil
	to := party(events.FormatCloudEvents, byName)
	if a := h.sender().Send(t.Context(), to, e); a.Problem != errAddress.Error() || len(got) > 0 {
		t.Errorf("%+v, and %d requests", a, len(got))
	}
	h.cfg.Allow = allow // without the rule it would have got there
	if a := h.sender().Send(t.Context(), to, e); a.Verdict != Delivered || len(got) != 1 {
		t.Errorf("an allowed address: %+v, and %d requests", a, len(got))
	}
	if r := <-got; r.ProtoMajor != 2 {
		t.Errorf("%s although both speak HTTP/2", r.Proto)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	other, got := endpoint(t, status(200))
	for _, target := range []string{other, "http://169.254.169.254/latest/meta-data/"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			url, _ := endpoint(t, http.RedirectHandler(target, code).ServeHTTP)
			a := h.sender().Send(t.Context(), party(events.FormatPayway, url), e)
			if a.Verdict != Failed || a.Status != code || a.Problem != "" || len(got) > 0 {
				t.Errorf("%d to %s: %+v, and %d requests", code, target, a, len(got))
			}
		}
	}
}

// The environment cannot be used for this test, because net/http reads it once in a process.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	s := newHarness(t).sender()
	for _, client := range []http.Client{s.secure, s.insecure} {
		if client.Transport.(*http.Transport).Proxy != nil {
			t.Error("a proxy would dial instead of konto")
		}
	}
}

func TestUnknownHostsAreReported(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	h.cfg.resolver = resolver(t)
	if a := h.sender().Send(t.Context(), party(events.FormatPayway, "http://example.com"), e); a.Verdict != Failed || a.Problem != "host not found" {
		t.Errorf("%+v", a)
	}
}
