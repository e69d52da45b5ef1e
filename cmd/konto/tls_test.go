package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// certified writes a certificate for 127.0.0.1 with a serial number, and its key.
type certified struct {
	t         *testing.T
	cert, key string // files
	trusted   *x509.CertPool
}

func newCertified(t *testing.T) *certified {
	folder := t.TempDir()
	c := &certified{t: t, cert: filepath.Join(folder, "cert.pem"), key: filepath.Join(folder, "key.pem"), trusted: x509.NewCertPool()}
	c.write(1)
	return c
}

func (c *certified) write(serial int64) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	c.trusted.AddCert(made)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.replace(c.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c.replace(c.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func (c *certified) replace(file string, content []byte) {
	c.t.Helper()
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		c.t.Fatal(err)
	}
}

// serial connects to an address and returns the serial number of what it shows.
func (c *certified) serial(address string) int64 {
	c.t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: c.trusted})
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificatesAreReplacedWithoutEndingConnections(t *testing.T) {
	c := newCertified(t)
	data := t.TempDir()
	server, url, _ := serve(t, data, "--tls-cert", c.cert, "--tls-key", c.key)
	address, encrypted := strings.CutPrefix(url, "https://")
	if !encrypted {
		t.Fatalf("the URL is %s", url)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.trusted}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	reused := false
	get := func() {
		t.Helper()
		trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		r, err := http.NewRequestWithContext(trace, http.MethodGet, url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 200 || answer.ProtoMajor != 2 {
			t.Errorf("%s %s", answer.Proto, answer.Status)
		}
	}
	get()
	c.write(2)
	if got := c.serial(address); got != 2 {
		t.Errorf("a new connection gets the certificate %d", got)
	}
	if get(); !reused {
		t.Error("the connection that was open was ended")
	}
	c.replace(c.cert, []byte("broken"))
	if got := c.serial(address); got != 2 {
		t.Errorf("with a broken file a new connection gets the certificate %d", got)
	}
	server.stderr.find(t, regexp.MustCompile(`level=WARN msg="the new TLS certificate cannot be used.*failed to find any PEM data`))
	c.write(3)
	if got := c.serial(address); got != 3 {
		t.Errorf("after the broken file was replaced a new connection gets the certificate %d", got)
	}
	if text := must(t, "health", "--data", data); !strings.Contains(text, "konto is ready") {
		t.Errorf("konto health says %q", text)
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: c.trusted, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestNATSIsEncrypted(t *testing.T) {
	c, folder := newCertified(t), t.TempDir()
	_, _, url := serve(t, folder, "--nats-tls-cert", c.cert, "--nats-tls-key", c.key)
	token := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "billing")["token"].(string)
	if _, err := natsgo.Connect(url, natsgo.Token(token)); err == nil {
		t.Error("a client that does not know the certificate connects")
	}
	nc, err := natsgo.Connect(url, natsgo.Token(token), natsgo.Secure(&tls.Config{RootCAs: c.trusted}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if state, err := nc.TLSConnectionState(); err != nil || state.Version < tls.VersionTLS12 {
		t.Errorf("%v, %v", state.Version, err)
	}
	c.write(2)
	if nc, err = natsgo.Connect(url, natsgo.Token(token), natsgo.Secure(&tls.Config{RootCAs: c.trusted})); err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if state, err := nc.TLSConnectionState(); err != nil || state.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("a new connection does not get the new certificate: %v", err)
	}
}

func TestWrongCertificatesPreventTheStart(t *testing.T) {
	c := newCertified(t)
	for _, flags := range [][]string{{"--tls-cert", c.key, "--tls-key", c.key}, {"--nats-tls-cert", c.cert, "--nats-tls-key", c.cert + ".none"}} {
		args := append([]string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}, flags...)
		refused(t, exitFailed, konto(t, args...), "cannot use the TLS certificate", flags[1], flags[3])
	}
}
