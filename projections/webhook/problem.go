package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// problems are what is said of errors. The errors' own texts hold the URL, in
// which there may be a secret, or what the endpoint sent.
var problems = []struct {
	err  error
	says string
}{
	{errAddress, errAddress.Error()},
	{errPlain, errPlain.Error()},
	{context.DeadlineExceeded, "timeout"},
	{http.ErrSchemeMismatch, "TLS: endpoint answers without it"},
	{syscall.EMFILE, "konto has too many files open"},
	{syscall.ENFILE, "konto's machine has too many files open"},
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.ECONNRESET, "connection reset"},
	{syscall.EPIPE, "connection reset"},
	{syscall.EHOSTUNREACH, "host unreachable"},
	{syscall.ENETUNREACH, "network unreachable"},
	{io.EOF, "connection closed"},
	{io.ErrUnexpectedEOF, "connection closed"},
}

// problem says in a few words why there was no answer. parent is the caller's
// context, whose end is not the endpoint's doing.
func problem(parent context.Context, err error) string {
	if parent.Err() != nil {
		return "interrupted"
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return p.says
		}
	}
	var (
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		record      tls.RecordHeaderError
		network     net.Error
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "host not found"
	case errors.As(err, &name):
		return "host could not be looked up"
	case errors.As(err, &certificate):
		return "TLS: certificate not valid"
	case errors.As(err, &alert), errors.As(err, &record):
		return "TLS: no handshake"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return "no HTTP answer"
}
