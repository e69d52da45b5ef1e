package nats

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

// ErrPortTaken tells that another process listens on ServerConfig.Listen.
// Nothing was started; choose another address.
var ErrPortTaken = errors.New("address is already in use")

// startTimeout bounds the wait for a server whose listener is open already.
const startTimeout = 10 * time.Second

// ServerConfig configures the embedded server.
type ServerConfig struct {
	Dir    string // JetStream's files; required
	Listen string // host:port (port 0: any free one), or "off": connections from this process only
	Key    []byte // encrypts JetStream's files; required
	// Authenticate returns the consumer whose token it is. nil refuses everybody.
	Authenticate func(token string) (consumer Holder, ok bool)
	// Consumers names all consumers with a usable key, for the permissions. One
	// that is not among them is refused, so an empty list refuses everybody.
	Consumers func() []string
	// AuthenticateSender returns the system that may send facts with the token, and
	// may do nothing else. nil refuses everybody.
	AuthenticateSender func(token string) (sender Holder, ok bool)

	Log *slog.Logger // nil means slog.Default()

	free func(dir string) (int64, error) // bytes that are left on a folder's disk; nil asks the system
}

// Server is an embedded NATS server with JetStream.
type Server struct {
	srv   *server.Server
	guard *guard
	gate  *gate
	asks  *Conn // the gate's connection
	log   *slog.Logger

	cfg     ServerConfig
	limit   int64 // of what JetStream may store
	end     chan struct{}
	growing sync.WaitGroup
}

// StartServer starts the server and returns when it accepts connections. Its
// error matches ErrPortTaken when the address is not free.
func StartServer(cfg ServerConfig) (*Server, error) {
	if len(cfg.Key) == 0 {
		return nil, errors.New("start NATS: no key to encrypt its files with")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.free == nil {
		cfg.free = free
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep NATS's files in %s: %w", cfg.Dir, err)
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, fmt.Errorf("cannot keep NATS's files in %s: %w", cfg.Dir, err)
	}
	repair := newRepair(cfg.Dir, cfg.Log)
	if err := repair.prove(); err != nil {
		return nil, fmt.Errorf("cannot start NATS: %w", err)
	}
	if err := repair.beforeStart(); err != nil {
		return nil, fmt.Errorf("cannot look at NATS's files: %w", err)
	}
	s := &Server{guard: newGuard(cfg), log: cfg.Log, cfg: cfg, end: make(chan struct{})}
	opts.CustomClientAuthentication = s.guard
	if s.srv, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	s.guard.srv = s.srv
	if err := share(s.srv); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	logger := &logger{log: cfg.Log}
	s.srv.SetLoggerV2(logger, false, false, false)
	s.srv.Start() // returns once it listens, or after it told the logger why it cannot
	if err := logger.failure(); err != nil {
		s.Close()
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	if !s.srv.ReadyForConnections(startTimeout) {
		s.Close()
		return nil, fmt.Errorf("start NATS: not ready after %s", startTimeout)
	}
	if err := s.open(repair); err != nil {
		s.Close()
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	if err := s.grow(); err != nil {
		s.Close()
		return nil, fmt.Errorf("start NATS: cannot tell how much room there is: %w", err)
	}
	s.growing.Go(s.keepGrowing)
	return s, nil
}

func free(dir string) (int64, error) {
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk)
	return int64(disk.Bavail) * int64(disk.Bsize), err
}

const (
	growEvery = time.Second

	// noLimit is the server's own limit. It would take that from what is free when it
	// starts, and a change of it ends all connections. What holds is the account's.
	noLimit = 1 << 60
)

// keepGrowing lets JetStream have what gets free on the disk. With a limit of what
// was free at the start, on a disk that was full then, the streams of inbound facts,
// which reserve their room, could not be made until konto is started again.
func (s *Server) keepGrowing() {
	failed := false
	for {
		select {
		case <-s.end:
			return
		case <-time.After(growEvery):
			if err := s.grow(); err != nil && !failed {
				failed = true
				s.log.Warn("NATS cannot be given more room", "error", err)
			}
		}
	}
}

// grow raises JetStream's limit to what it holds and three quarters of what is
// free, as much as it would take by itself. The rest is the log's: the limit is not
// lowered, so all that JetStream stores counts against it.
func (s *Server) grow() error {
	left, err := s.cfg.free(s.cfg.Dir)
	if err != nil {
		return err
	}
	now, err := s.srv.Jsz(nil)
	if err != nil {
		return err
	}
	limit := int64(now.Store) + left/4*3
	if limit <= s.limit {
		return nil
	}
	s.limit = limit
	return s.srv.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {
		MaxStore: limit, MaxMemory: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}})
}

// open opens the gate, when nothing stands in the way of consumers' names.
func (s *Server) open(repair *repair) (err error) {
	if err = repair.afterStart(s.srv); err != nil {
		return err
	}
	if s.asks, err = s.Dial(); err != nil {
		return err
	}
	s.gate, err = openGate(s.asks, s.log)
	return err
}

// options translates the configuration. It opens the listener for a moment:
// the server itself reports a taken port only as a line of its log.
func options(cfg ServerConfig) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "konto",
		NoSigs:     true, // konto shuts it down, in order
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// JetStream's sync interval stays at its two minutes: the log is the
		// truth, and the publisher sends again what a power failure took.
		JetStreamKey:    string(cfg.Key),
		JetStreamCipher: server.AES,

		JetStreamMaxStore: noLimit,
		// Each account is a subject of its own: the cache of a thousand subjects
		// would be filled and thrown away all the time (1 to 2 µs a message).
		NoSublistCache: true,
		MaxSubs:        maxSubscriptions,
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
		opts.Port = server.RANDOM_PORT // its own 0 means 4222
	}
	return opts, nil
}

// writable proves that files can be made and written in a folder, so that the
// answer is one sentence and not a fatal line in the server's log.
func writable(dir string) error {
	probe, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return err
	}
	_, err = probe.Write(make([]byte, 4096)) // a full disk has room for a name
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}

// URL is where consumers connect, "" when it does not listen.
func (s *Server) URL() string {
	if s.srv.Addr() == nil {
		return ""
	}
	return s.srv.ClientURL()
}

// Dial opens konto's own connection, in process.
func (s *Server) Dial() (*Conn, error) {
	conn, err := connect("", "", s.log,
		natsgo.InProcessServer(s.srv),
		natsgo.Token(s.guard.secret),
		// Nobody can subscribe to an inbox that nobody can name, so no consumer
		// reads the replies to konto's requests.
		natsgo.CustomInboxPrefix("_KONTO."+rand.Text()))
	if err == nil {
		conn.embedded = true
	}
	return conn, err
}

// Disconnect closes the connections that were made with a key. Call it when the key
// was revoked: Authenticate must refuse its token by then.
func (s *Server) Disconnect(key string) {
	// The guard registers users under the same lock, so no client slips in with
	// rights from before the change after its turn here has passed.
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	conns, err := s.srv.Connz(&server.ConnzOptions{Username: true, Limit: s.srv.NumClients() + 1})
	if err != nil {
		return // only when the options above were malformed
	}
	for _, c := range conns.Conns {
		if strings.HasSuffix(c.AuthorizedUser, "."+key) {
			_ = s.srv.DisconnectClientByID(c.Cid) // fails when it has just left by itself
		}
	}
}

// Reserve takes the right to a consumer's name from all other consumers that are
// connected; their connections stay. Call it when a consumer with a new name got its
// first key, before somebody has its token. Consumers that connect later are refused
// the name because Consumers has it.
func (s *Server) Reserve(consumer string) error { return s.guard.reserve(consumer) }

// Close stops the server after its files are flushed.
func (s *Server) Close() {
	close(s.end)
	s.growing.Wait()
	if s.asks != nil {
		s.asks.Close()
	}
	if s.gate != nil {
		s.gate.close()
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}
