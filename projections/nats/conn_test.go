package nats

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func TestDialRefusesURLsThatNameNoServer(t *testing.T) {
	for _, url := range []string{"", "://", "nats://", "nats://user:hush@host:port", "nats://host:99999", "host:0", "http://host", "a b", "host,,other", "nats://u:hush@[::1"} {
		c, err := Dial(DialConfig{URL: url, Log: quiet})
		if err == nil {
			c.Close()
			t.Errorf("%q was taken", url)
		} else if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"nats://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1, tls://u:p@[::1]:1", "ws://127.0.0.1:1/path"} {
		for one := range strings.SplitSeq(url, ",") {
			if !isServerURL(strings.TrimSpace(one)) {
				t.Errorf("%q was refused", one)
			}
		}
	}
}

func TestUnreachableServerIsReportedAsNotConnected(t *testing.T) {
	var written bytes.Buffer
	r := newFixture(t)
	conn, err := Dial(DialConfig{URL: "nats://127.0.0.1:1", Log: quiet})
	must(t, err)
	defer conn.Close()
	p := NewPublisher(PublisherConfig{Conn: conn, Cursors: r.cursors, Store: r.store, Log: slog.New(slog.NewTextHandler(&written, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), 2*retryDelay)
	defer cancel()
	_ = p.Open(ctx)
	if log := written.String(); !strings.Contains(log, "NATS is not available: not connected") || strings.Contains(log, "buffer") {
		t.Errorf("log says %s", log)
	}
}

// certificates are a CA, a server's certificate for 127.0.0.1 and a client's, in files.
type certificates struct{ ca, server, serverKey, client, clientKey string }

func newCertificates(t *testing.T) certificates {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		return k
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := key()
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(t, err)
	made := certificates{ca: write("ca.pem", "CERTIFICATE", der)}
	signed := func(name string, usage x509.ExtKeyUsage) (cert, keyFile string) {
		k := key()
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}, ca, k.Public(), caKey)
		must(t, err)
		raw, err := x509.MarshalPKCS8PrivateKey(k)
		must(t, err)
		return write(name+".pem", "CERTIFICATE", der), write(name+"-key.pem", "PRIVATE KEY", raw)
	}
	made.server, made.serverKey = signed("server", x509.ExtKeyUsageServerAuth)
	made.client, made.clientKey = signed("client", x509.ExtKeyUsageClientAuth)
	return made
}

// running starts an outside server, on a free port unless one is given.
func running(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs = "127.0.0.1", cmp.Or(opts.Port, server.RANDOM_PORT), true
	if opts.JetStream {
		opts.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(opts)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server is not ready")
	}
	return s
}

// publishes fails unless konto connects with cfg and publishes.
func publishes(t *testing.T, cfg DialConfig) {
	t.Helper()
	r := newFixture(t)
	cfg.Log = quiet
	var err error
	r.conn, err = Dial(cfg)
	must(t, err)
	t.Cleanup(r.conn.Close)
	r.account(3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := r.publisher()
	must(t, p.Open(ctx))
	r.feed(p, 0)
	r.holds(r.published(0))
}

// neverConnects fails if the server accepts a client with these options.
func neverConnects(t *testing.T, srv *server.Server, options ...natsgo.Option) {
	t.Helper()
	if nc, err := natsgo.Connect(srv.ClientURL(), options...); err == nil {
		nc.Close()
		t.Error("the server takes anybody")
	}
}

func TestKontoLogsInWithAClientCertificate(t *testing.T) {
	files := newCertificates(t)
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{
		CertFile: files.server, KeyFile: files.serverKey, CaFile: files.ca, Verify: true,
	})
	must(t, err)
	srv := running(t, &server.Options{JetStream: true, TLSConfig: config, TLSVerify: true, TLSTimeout: 5})
	neverConnects(t, srv, natsgo.RootCAs(files.ca))
	publishes(t, DialConfig{URL: srv.ClientURL(), Cert: files.client, Key: files.clientKey, CA: files.ca})
}

func TestKontoLogsInWithAnNkey(t *testing.T) {
	pair, err := nkeys.CreateUser()
	must(t, err)
	public, err := pair.PublicKey()
	must(t, err)
	seed, err := pair.Seed()
	must(t, err)
	file := filepath.Join(t.TempDir(), "konto.nk")
	must(t, os.WriteFile(file, seed, 0o600))
	srv := running(t, &server.Options{JetStream: true, Nkeys: []*server.NkeyUser{{Nkey: public}}})
	neverConnects(t, srv)
	publishes(t, DialConfig{URL: srv.ClientURL(), Nkey: file})
}

func TestKontoLogsInWithCredentials(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	must(t, err)
	operatorID, err := operator.PublicKey()
	must(t, err)
	account := func() (nkeys.KeyPair, string) {
		pair, err := nkeys.CreateAccount()
		must(t, err)
		id, err := pair.PublicKey()
		must(t, err)
		return pair, id
	}
	_, system := account()
	signer, id := account()
	claims := jwt.NewAccountClaims(id)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for id, claims := range map[string]*jwt.AccountClaims{system: jwt.NewAccountClaims(system), id: claims} {
		signed, err := claims.Encode(operator)
		must(t, err)
		must(t, resolver.Store(id, signed))
	}
	user, err := nkeys.CreateUser()
	must(t, err)
	userID, err := user.PublicKey()
	must(t, err)
	signed, err := jwt.NewUserClaims(userID).Encode(signer)
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	creds, err := jwt.FormatUserConfig(signed, seed)
	must(t, err)
	file := filepath.Join(t.TempDir(), "konto.creds")
	must(t, os.WriteFile(file, creds, 0o600))
	srv := running(t, &server.Options{
		JetStream: true, TrustedKeys: []string{operatorID}, SystemAccount: system, AccountResolver: resolver,
	})
	neverConnects(t, srv)
	publishes(t, DialConfig{URL: srv.ClientURL(), Creds: file})
}

// The server that konto connects to has no JetStream, but is a leaf of one that has.
func TestKontoUsesAJetStreamDomain(t *testing.T) {
	hub := running(t, &server.Options{
		ServerName: "hub", JetStream: true, JetStreamDomain: "hub",
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT},
	})
	info, err := hub.Varz(nil)
	must(t, err)
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(info.LeafNode.Port))
	leaf := running(t, &server.Options{
		ServerName: "leaf",
		LeafNode:   server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats", Host: at}}}}},
	})
	publishes(t, DialConfig{URL: leaf.ClientURL(), Domain: "hub"})
}

func TestDialRefusesFilesThatCannotLogIn(t *testing.T) {
	files := newCertificates(t)
	broken := filepath.Join(t.TempDir(), "broken")
	must(t, os.WriteFile(broken, []byte("hush"), 0o600))
	account, err := nkeys.CreateAccount()
	must(t, err)
	seed, err := account.Seed()
	must(t, err)
	foreign := filepath.Join(t.TempDir(), "account.nk")
	must(t, os.WriteFile(foreign, seed, 0o600))
	missing := filepath.Join(t.TempDir(), "none")
	for name, cfg := range map[string]DialConfig{
		"missing credentials":  {Creds: missing},
		"broken credentials":   {Creds: broken},
		"seed as credentials":  {Creds: foreign},
		"missing nkey":         {Nkey: missing},
		"broken nkey":          {Nkey: broken},
		"nkey of an account":   {Nkey: foreign},
		"both":                 {Creds: missing, Nkey: missing},
		"certificate alone":    {Cert: files.client},
		"key alone":            {Key: files.clientKey},
		"missing certificate":  {Cert: missing, Key: files.clientKey},
		"key of another":       {Cert: files.client, Key: files.serverKey},
		"missing CA":           {CA: missing},
		"broken CA":            {CA: broken},
		"domain of two tokens": {Domain: "a.b"},
		"wildcard as domain":   {Domain: "*"},
	} {
		cfg.URL, cfg.Log = "nats://127.0.0.1:1", quiet
		c, err := Dial(cfg)
		if err == nil {
			c.Close()
			t.Errorf("%s was taken", name)
		} else if text := err.Error(); strings.Contains(text, "hush") || strings.Contains(text, string(seed)) || strings.Contains(text, "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
