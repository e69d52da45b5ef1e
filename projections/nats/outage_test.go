package nats

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// certificate returns a certificate that no authority signed.
func certificate(t *testing.T, left time.Duration) tls.Certificate {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(left), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestReasonWhyNATSCannotBeReachedIsLogged(t *testing.T) {
	const secret = "pa%24%24word-of-konto"
	withPassword := running(t, &server.Options{Username: "konto", Password: "another"})
	withTLS := running(t, &server.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t, time.Hour)}}})
	expired := running(t, &server.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t, -time.Hour)}}})
	web := httptest.NewServer(nil)
	t.Cleanup(web.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { silent.Close() })
	address := func(s *server.Server) string { return s.Addr().String() }
	for name, test := range map[string]struct{ url, says string }{
		"a wrong password":     {"nats://konto:" + secret + "@" + address(withPassword), "does not take konto's password"},
		"a wrong token":        {"nats://" + secret + "@" + address(withPassword), "does not take konto's password"},
		"nobody listens":       {"nats://konto:" + secret + "@127.0.0.1:1", "nothing listens there"},
		"an unknown host":      {"nats://konto:" + secret + "@nats.invalid:4222", "the server's host"},
		"an unknown authority": {"tls://konto:" + secret + "@" + address(withTLS), "an authority that konto does not know"},
		"an old certificate":   {"tls://konto:" + secret + "@" + address(expired), "certificate is not valid"},
		"a server without TLS": {"tls://konto:" + secret + "@" + address(withPassword), "offers no TLS"},
		"no NATS at all":       {"nats://konto:" + secret + "@" + web.Listener.Addr().String(), ""},
		"a server that hangs":  {"nats://konto:" + secret + "@" + silent.Addr().String(), "does not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lines{}
			conn, err := Dial(DialConfig{URL: test.url, Log: slog.New(slog.NewTextHandler(log, nil))})
			must(t, err)
			defer conn.Close()
			eventually(t, func() bool { return conn.Trouble() != "not connected" && strings.Contains(conn.Trouble(), test.says) })
			tries := conn.tries.Load()
			eventually(t, func() bool { return conn.tries.Load() > tries+1 })
			all, _ := url.PathUnescape(log.String() + conn.Trouble())
			if hidden, _ := url.PathUnescape(secret); strings.Contains(all, hidden) || strings.Contains(log.String(), secret) {
				t.Errorf("the secret is logged: %s", all)
			}
			if n := strings.Count(log.String(), "NATS cannot be reached"); n != 1 || !strings.Contains(log.String(), test.says) {
				t.Errorf("logged %d times: %s", n, log)
			}
		})
	}
}

func TestReasonThatChangesIsLoggedAgain(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := free.Addr().(*net.TCPAddr)
	free.Close()
	log := &lines{}
	conn, err := Dial(DialConfig{URL: "nats://konto:hush@" + address.String(), Log: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	defer conn.Close()
	eventually(t, func() bool { return strings.Contains(conn.Trouble(), "nothing listens") })
	other := running(t, &server.Options{Port: address.Port, Username: "konto", Password: "another"})
	eventually(t, func() bool { return strings.Contains(conn.Trouble(), "does not take") })
	other.Shutdown()
	other.WaitForShutdown()
	running(t, &server.Options{Port: address.Port, Username: "konto", Password: "hush"})
	eventually(t, func() bool {
		return conn.Trouble() == "" && strings.Contains(log.String(), "level=INFO msg=\"connected to NATS\"")
	})
	for _, part := range []string{"nothing listens", "does not take"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in %s", part, log)
		}
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestSecretsOfURLsAreReplaced(t *testing.T) {
	of := secretsIn("nats://konto:p%40ss@a:1, hush@b, tls://c")
	if got := of.Replace("p@ss p%40ss hush konto"); got != "xxxxx xxxxx xxxxx konto" {
		t.Errorf("got %s", got)
	}
}
