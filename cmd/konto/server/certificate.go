package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// certificate is a server's certificate, in files that may be replaced while konto runs. A file
// that cannot be used leaves the last good certificate in use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu   sync.Mutex
	good *tls.Certificate
	read [2]string // the states of the files when they were last read
}

// openCertificate returns nil if no files are given.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// config returns how a server encrypts with the certificate, nil if c is nil. Connections that are
// open keep the certificate that they began with.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current}
}

// current looks at the files at each new connection, so that a replaced one counts at once. That
// takes microseconds, where a handshake takes a millisecond.
func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read != c.states() {
		c.reload()
	}
	return c.good, nil
}

// reload is called with mu held.
func (c *certificate) reload() {
	if err := c.load(); err != nil {
		c.log.Warn("the new TLS certificate cannot be used, so the old one stays in use", "error", err)
		return
	}
	c.log.Info("the TLS certificate was read again", "file", c.certFile, "expires", c.good.Leaf.NotAfter)
}

func (c *certificate) load() error {
	c.read = c.states() // before the files are read, so that a change meanwhile is not missed
	good, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("cannot use the TLS certificate %s with the key %s: %w", c.certFile, c.keyFile, err)
	}
	c.good = &good
	return nil
}

// states says when each file was changed, and its length; "" for one that is not there.
func (c *certificate) states() (states [2]string) {
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			states[i] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
		}
	}
	return states
}
