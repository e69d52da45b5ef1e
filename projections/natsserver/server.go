package natsserver

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"konto/projections/nats/subjects"
)

// ErrPortTaken is returned when another process listens on Config.Listen. Nothing was started. Choose
// another address.
var ErrPortTaken = errors.New("address is already in use")

// startTimeout bounds the wait for a server that listens already.
const startTimeout = 10 * time.Second

// Config configures the embedded server.
type Config struct {
	Dir    string // JetStream's files; required
	Listen string // host:port (port 0: any free one), or "off": connections from this process only
	Key    []byte // encrypts JetStream's files; required
	// TLS is how clients' connections are encrypted, except those from this process. nil: they are not.
	TLS *tls.Config
	// Authenticate returns the consumer that a token belongs to. nil refuses everybody.
	Authenticate func(token string) (consumer Holder, ok bool)
	// Consumers names all consumers with a usable key, for the permissions. A consumer that is not
	// among them is refused, so an empty list refuses everybody.
	Consumers func() []string
	// AuthenticateSender returns the system that may send facts with a token, and may do nothing else.
	// nil refuses everybody.
	AuthenticateSender func(token string) (sender Holder, ok bool)

	Log *slog.Logger // nil means slog.Default()

	freeBytes func(dir string) (int64, error) // of a folder's disk; nil asks the system
}

// Server is an embedded NATS server with JetStream.
type Server struct {
	srv         *server.Server
	permissions *permissions
	disk        *disk // nil until the server runs
	gate        *gate // nil until the server runs
	log         *slog.Logger
}

// Start starts the server and returns when it accepts connections. Its error matches ErrPortTaken when
// the address is not free.
//
// After a crash in any step the next start repeats all of them. Only repair changes files, and only
// those that it has read and found damaged.
func Start(cfg Config) (*Server, error) {
	if len(cfg.Key) == 0 {
		return nil, errors.New("start NATS: no key to encrypt its files with")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.freeBytes == nil {
		cfg.freeBytes = freeBytes
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep NATS's files in %s: %w", cfg.Dir, err)
	}
	if err := checkWritable(cfg.Dir); err != nil {
		return nil, fmt.Errorf("cannot keep NATS's files in %s: %w", cfg.Dir, err)
	}
	repair := newRepair(cfg.Dir, cfg.Log)
	if err := repair.checkReadable(); err != nil {
		return nil, fmt.Errorf("cannot start NATS: %w", err)
	}
	if err := repair.beforeStart(); err != nil {
		return nil, fmt.Errorf("cannot check NATS's files: %w", err)
	}
	s := &Server{permissions: newPermissions(cfg), log: cfg.Log}
	opts.CustomClientAuthentication = s.permissions
	if s.srv, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s.permissions.srv = s.srv
	if err := s.start(cfg, repair); err != nil {
		s.Close()
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	return s, nil
}

func (s *Server) start(cfg Config, repair *repair) (err error) {
	if err := export(s.srv); err != nil {
		return err
	}
	logger := &logger{log: cfg.Log}
	s.srv.SetLoggerV2(logger, false, false, false)
	s.srv.Start() // returns once it listens, or after it logged why it cannot
	if err := logger.failure(); err != nil {
		return err
	}
	if !s.srv.ReadyForConnections(startTimeout) {
		return fmt.Errorf("not ready after %s", startTimeout)
	}
	// Until the gate is open no consumer can create a stream or a consumer.
	if err := repair.afterStart(s.srv); err != nil {
		return err
	}
	if s.gate, err = openGate(s.log, s.ClientOptions()); err != nil {
		return err
	}
	if s.disk, err = watchDisk(s.srv, cfg); err != nil {
		return fmt.Errorf("cannot read the free space of the disk: %w", err)
	}
	return nil
}

// options returns the server's options. It opens the listener for a moment, because the server reports
// a taken port only as a line of its log.
func options(cfg Config) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "konto",
		NoSigs:     true, // konto shuts it down, in order
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// JetStream's sync interval stays at two minutes: the log is the truth, and the publisher sends
		// again what a power failure destroyed.
		JetStreamKey:    string(cfg.Key),
		JetStreamCipher: server.AES,

		JetStreamMaxStore: noLimit,
		// Each account has a subject of its own: the cache of a thousand subjects would be filled and
		// thrown away all the time (1 to 2 µs a message).
		NoSublistCache: true,
		MaxSubs:        maxSubscriptions,

		TLS:       cfg.TLS != nil,
		TLSConfig: cfg.TLS,
	}
	if cfg.Listen == "off" {
		opts.DontListen = true
		return opts, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("NATS cannot listen on %q: %w", cfg.Listen, err)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("NATS cannot listen on %s: %w", cfg.Listen, ErrPortTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("NATS cannot listen on %s: %w", cfg.Listen, err)
	}
	l.Close()
	opts.Host = host
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("NATS cannot listen on %s: %w", cfg.Listen, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT // the server's own 0 means 4222
	}
	return opts, nil
}

// checkWritable checks that files can be made and written in a folder. Its error is one sentence,
// while the server would log a fatal line.
func checkWritable(dir string) error {
	probe, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return err
	}
	_, err = probe.Write(make([]byte, 4096)) // a full disk still has space for a name
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}

// URL is where consumers connect. It is "" if the server does not listen.
func (s *Server) URL() string {
	if s.srv.Addr() == nil {
		return ""
	}
	return s.srv.ClientURL()
}

// ClientOptions are the options of konto's own connections, in this process, which may do everything.
func (s *Server) ClientOptions() []natsgo.Option {
	return []natsgo.Option{
		natsgo.InProcessServer(s.srv),
		natsgo.Token(s.permissions.secret),
		// Nobody can guess the inbox, so no consumer can subscribe to it and read the answers to konto's
		// requests.
		natsgo.CustomInboxPrefix("_KONTO." + rand.Text()),
	}
}

// Disconnect closes the connections that were made with a key. Call it when the key was revoked:
// Config.Authenticate must refuse its token by then.
func (s *Server) Disconnect(key string) {
	// Check registers users under the same lock, so no client that it admitted before the key was revoked
	// is missing here.
	s.permissions.mu.Lock()
	defer s.permissions.mu.Unlock()
	conns, err := s.srv.Connz(&server.ConnzOptions{Username: true, Limit: s.srv.NumClients() + 1})
	if err != nil {
		return // only if the options above were malformed
	}
	for _, c := range conns.Conns {
		if strings.HasSuffix(c.AuthorizedUser, "."+key) {
			_ = s.srv.DisconnectClientByID(c.Cid) // fails if the client has just left
		}
	}
}

// Reserve denies a consumer's name to all other consumers that are connected. Their connections stay.
// Call it when a consumer with a new name got its first key, before anybody has the token. Consumers
// that connect later are denied the name because Config.Consumers has it.
func (s *Server) Reserve(consumer string) error { return s.permissions.reserve(consumer) }

// Close stops the server after its files are flushed.
func (s *Server) Close() {
	if s.disk != nil {
		s.disk.close()
	}
	if s.gate != nil {
		s.gate.close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Trouble says that the server has stopped writing a stream. It is "" if it has not.
//
// After one failed write, nats-server 2.15 stores nothing more in the stream, and does not answer
// publishers. That ends only with a restart, also when the disk has space again. Only the server's
// health check reports it.
func (s *Server) Trouble() string {
	check, err := http.NewRequest(http.MethodGet, "/healthz?details=true&account="+server.DEFAULT_GLOBAL_ACCOUNT, nil)
	if err != nil {
		return err.Error()
	}
	var report body
	s.srv.HandleHealthz(&report, check)
	var health server.HealthStatus
	if err := json.Unmarshal(report.Bytes(), &health); err != nil {
		return "NATS does not report its health: " + err.Error()
	}
	for _, failed := range health.Errors {
		switch failed.Stream {
		case subjects.Stream, subjects.FactsStream, subjects.DeadLettersStream:
			return failed.Error + "; nothing is stored in it until you start konto again"
		}
	}
	return ""
}

// body is an answer over HTTP that stays in this process.
type body struct{ bytes.Buffer }

func (*body) Header() http.Header { return http.Header{} }
func (*body) WriteHeader(int)     {}
