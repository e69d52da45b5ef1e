package natscallout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"konto/projections/nats"
)

// Purpose is what Config.Secret is derived for (keyring.Derive).
const Purpose = "nats auth callout"

const (
	subject = "$SYS.REQ.USER.AUTH" // where servers ask
	queue   = "konto"              // so that one node answers

	// defaultLifetime is how long a client may stay after its key was revoked.
	defaultLifetime = 10 * time.Minute

	// answerTime bounds Authenticate. The server waits for two seconds, unless configured otherwise.
	answerTime = 2 * time.Second
)

// Config configures a Service.
type Config struct {
	// Conn is konto's connection to the servers. Its user is one of auth_users, in the callout's
	// account; required.
	Conn *nats.Conn
	// Secret is 32 bytes that are the same on all nodes, derived for Purpose; required.
	Secret []byte
	// Authenticate returns who a token belongs to; required. It must know of all revocations that were
	// acknowledged before it was called.
	Authenticate func(ctx context.Context, token string) (Client, bool)
	// ConsumerAccount and SenderAccount are the accounts of the servers' configuration that clients
	// are placed in; "" means CONSUMER and SENDER.
	ConsumerAccount, SenderAccount string
	// Lifetime is how long a connection lasts at most. Then the client connects again by itself, if
	// its key was not revoked; 0 means 10 minutes.
	Lifetime time.Duration
	Log      *slog.Logger // nil means slog.Default()
}

// Service answers servers that ask who a client is.
type Service struct {
	cfg    Config
	issuer nkeys.KeyPair
}

// New makes a service. Run starts it.
func New(cfg Config) (*Service, error) {
	cfg.ConsumerAccount = cmp.Or(cfg.ConsumerAccount, "CONSUMER")
	cfg.SenderAccount = cmp.Or(cfg.SenderAccount, "SENDER")
	cfg.Lifetime = cmp.Or(cfg.Lifetime, defaultLifetime)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	issuer, err := keyPair(cfg.Secret)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, issuer: issuer}, nil
}

// PublicKey returns what the servers' configuration needs as the issuer of auth_callout: A and 55
// letters and digits. secret is Config.Secret.
func PublicKey(secret []byte) (string, error) {
	pair, err := keyPair(secret)
	if err != nil {
		return "", err
	}
	return pair.PublicKey()
}

func keyPair(secret []byte) (nkeys.KeyPair, error) {
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteAccount, secret)
	if err != nil {
		return nil, fmt.Errorf("make the key of the NATS auth callout: %w", err)
	}
	return nkeys.FromSeed(seed)
}

// Run answers until ctx ends. It returns an error only if it cannot begin.
func (s *Service) Run(ctx context.Context) error {
	return s.cfg.Conn.Serve(ctx, subject, queue, s.answer)
}

// answer returns the answer to a server's request. An empty one is a refusal too.
func (s *Service) answer(ctx context.Context, request []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	asked, err := jwt.DecodeAuthorizationRequestClaims(string(request))
	if err != nil {
		s.cfg.Log.Warn("a request of the NATS auth callout cannot be read", "error", err)
		return nil
	}
	response := jwt.NewAuthorizationResponseClaims(asked.UserNkey)
	response.Audience = asked.Server.ID
	if response.Jwt, err = s.user(ctx, asked); err != nil {
		response.Error = err.Error()
	}
	answer, err := response.Encode(s.issuer)
	if err != nil {
		s.cfg.Log.Error("the NATS auth callout cannot answer", "error", err)
		return nil
	}
	return []byte(answer)
}

// errRefused says nothing about the reason: the server logs it.
var errRefused = errors.New("konto knows no such key")

// user returns a user's JWT for the client that a request is about.
func (s *Service) user(ctx context.Context, asked *jwt.AuthorizationRequestClaims) (string, error) {
	client, ok := s.cfg.Authenticate(ctx, cmp.Or(asked.ConnectOptions.Token, asked.ConnectOptions.Password))
	if !ok {
		return "", errRefused
	}
	if !client.usable() {
		s.cfg.Log.Warn("a key's name cannot be used on NATS", "name", client.Name)
		return "", errRefused
	}
	user := jwt.NewUserClaims(asked.UserNkey)
	user.Name = client.Name + "." + client.Key // as the servers report the connection
	user.Audience = s.cfg.ConsumerAccount
	if client.Sender {
		user.Audience = s.cfg.SenderAccount
	}
	user.Expires = time.Now().Add(s.cfg.Lifetime).Unix()
	if !client.Expires.IsZero() {
		user.Expires = min(user.Expires, client.Expires.Unix())
	}
	user.Permissions = client.permissions()
	// On a leaf node other permissions count.
	user.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}
	return user.Encode(s.issuer)
}
