package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

// Subject is all that the reactor takes from the stream.
const Subject = events.SubjectPrefix + "*.EmailChangeRequested"

// sendTimeout bounds one try. It is well below the time after which the
// server gives a message to another reader.
const sendTimeout = 20 * time.Second

// Accounts gives an account as of the log's last event, or an error that
// matches projections.ErrNoAccount.
type Accounts interface {
	Account(ctx context.Context, id ulid.ULID) (events.Account, error)
}

// Config configures a Reactor.
type Config struct {
	// Subscriber delivers each message to one reactor of a cluster, at least
	// once; required.
	Subscriber message.Subscriber
	Accounts   Accounts          // required
	Codes      events.EmailCodes // of the keyring that the commands use; required
	// SMTPURL is smtp://user:password@host:port, which becomes encrypted when
	// the server can (587 by default), or smtps://, which is from the start
	// (465). "" writes files to Dir instead.
	SMTPURL string
	Dir     string // for .eml files; required without SMTPURL
	From    string // the sender's address; "" means konto@localhost
	// Handled is told of each message that reached the reactor, by its event's
	// id, and whether it was mailed, for metrics; nil tells nobody.
	Handled func(event string, mailed bool)
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means slog.Default()
}

// sender takes a letter to where it can be read from. Sending one again is harmless.
type sender interface {
	// send returns an error that matches errUndeliverable when trying again
	// would not help. No error holds an address.
	send(ctx context.Context, l *letter) error
}

// errUndeliverable is matched by the error for a letter that can never be sent.
var errUndeliverable = errors.New("letter cannot be delivered")

// errPutOff is matched by the error for a letter that the server may take later,
// as when it does not know konto yet. Other letters are not concerned.
var errPutOff = errors.New("SMTP server did not take the letter")

// Reactor mails codes.
type Reactor struct {
	cfg     Config
	from    *mail.Address
	sender  sender
	trouble projections.Trouble
}

// Trouble tells why the last code could not be mailed, "" when it could. It is for
// what concerns all of them, such as a server that is away.
func (r *Reactor) Trouble() string { return r.trouble.Text() }

// New makes a reactor; Run starts it. An error tells what of the configuration is wrong.
func New(cfg Config) (*Reactor, error) {
	if cfg.From == "" {
		cfg.From = "konto@localhost"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Handled == nil {
		cfg.Handled = func(string, bool) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	from, err := mail.ParseAddress(cfg.From)
	if err != nil {
		return nil, fmt.Errorf("mail's sender %q is no address", cfg.From)
	}
	if from.Address, err = mailable(from.Address); err != nil {
		return nil, fmt.Errorf("the domain of mail's sender %q cannot exist", cfg.From)
	}
	r := &Reactor{cfg: cfg, from: from}
	if cfg.SMTPURL != "" {
		r.sender, err = newRelay(cfg.SMTPURL)
	} else {
		r.sender, err = newFolder(cfg.Dir)
	}
	return r, err
}

// Run mails codes until ctx ends, when it returns nil after the letter under way.
func (r *Reactor) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: sendTimeout}, watermill.NewSlogLoggerWithLevelMapping(r.cfg.Log,
		map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})) // the router's own comings and goings
	if err != nil {
		return fmt.Errorf("start mailer: %w", err)
	}
	router.AddConsumerHandler("mailer", Subject, r.cfg.Subscriber, r.handle)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run mailer: %w", err)
	}
	return nil
}

// handle mails the code of one request. An error makes the message come again.
func (r *Reactor) handle(msg *message.Message) error {
	// A letter under way is finished although Run is to end: half sent, it may
	// have arrived and would be sent again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(msg.Context()), sendTimeout)
	defer cancel()
	l, err := r.letter(ctx, msg)
	if err == nil && l != nil {
		err = r.sender.send(ctx, l)
	}
	r.cfg.Handled(msg.UUID, l != nil && err == nil)
	if errors.Is(err, errUndeliverable) || errors.Is(err, errPutOff) {
		r.trouble.Set(nil) // the server answered
	} else {
		r.trouble.Set(err)
	}
	if errors.Is(err, errUndeliverable) {
		r.cfg.Log.Warn("code was not mailed", "event", msg.UUID, "error", err)
		return nil
	}
	return err
}

// letter is what a message comes to; nil when there is nothing to mail.
func (r *Reactor) letter(ctx context.Context, msg *message.Message) (*letter, error) {
	event, eventErr := ulid.ParseStrict(msg.Metadata.Get("ce-id"))
	account, accountErr := ulid.ParseStrict(msg.Metadata.Get("ce-subject"))
	var hint struct {
		Request ulid.ULID `json:"request"`
	}
	if eventErr != nil || accountErr != nil || json.Unmarshal(msg.Payload, &hint) != nil {
		return nil, fmt.Errorf("%w: message is no event of konto", errUndeliverable)
	}
	a, err := r.cfg.Accounts.Account(ctx, account)
	if errors.Is(err, projections.ErrNoAccount) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !due(&a, hint.Request, r.cfg.Now()) {
		return nil, nil
	}
	return &letter{
		event: event, from: r.from, to: a.EmailChange.NewEmail, language: a.Profile.LanguageCode,
		code: r.cfg.Codes.Code(hint.Request), asked: ulid.Time(event.Time()), expires: a.EmailChange.ExpiresAt,
	}, nil
}

// due tells whether a request's code is still to be mailed: it is the one that
// the account waits for. Nothing else is ever mailed.
func due(a *events.Account, request ulid.ULID, at time.Time) bool {
	return a.EmailChange.Pending(at) && a.EmailChange.Request == request
}
