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
	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/projections"
)

// Subject is the only subject that the reactor subscribes to.
const Subject = events.SubjectPrefix + "*.EmailChangeRequested"

// sendTimeout bounds one try. It is well below the time after which the server delivers the message to
// another node.
const sendTimeout = 20 * time.Second

// Accounts reads accounts.
type Accounts interface {
	// Account returns an account as of the log's last event, or an error that matches
	// projections.ErrNoAccount.
	Account(ctx context.Context, id ulid.ULID) (events.Account, error)
}

// Config configures a Reactor.
type Config struct {
	// Subscriber delivers each message to one reactor of a cluster, at least once; required.
	Subscriber message.Subscriber
	Accounts   Accounts          // required
	Codes      events.EmailCodes // of the keyring that the commands use; required
	// SMTPURL is smtp://user:password@host:port, which is encrypted if the server offers it (port 587 by
	// default), or smtps://, which is always encrypted (465). "" writes files to Dir instead.
	SMTPURL string
	Dir     string // for .eml files; required without SMTPURL
	From    string // the sender's address; "" means konto@localhost
	// Name is of who runs konto, for the letters and beside the sender's address. "" leaves it out.
	Name string
	// Templates is a folder with letters, LANGUAGE.txt, that replace konto's own; "" means none.
	Templates string
	// Handled is called for each message that reached the reactor, with its event's id and whether it was
	// mailed, for tests; nil means no call.
	Handled func(event string, mailed bool)
	Metrics prometheus.Registerer // nil: nobody reads them
	Now     func() time.Time      // nil means time.Now
	Log     *slog.Logger          // nil means slog.Default()
}

// sender sends mails. To send one again does no harm.
type sender interface {
	// send returns an error that matches errUndeliverable if a retry would not help. No error holds an
	// address.
	send(ctx context.Context, c *confirmation) error
}

// errUndeliverable is matched by the error for a mail that can never be sent.
var errUndeliverable = errors.New("mail cannot be delivered")

// errDeferred is matched by the error for a mail that the server may accept later, for example because it
// does not know konto yet. Other mails are not concerned.
var errDeferred = errors.New("SMTP server did not take the mail")

// Reactor mails codes.
type Reactor struct {
	cfg     Config
	from    *mail.Address
	letters letters
	sender  sender
	codes   *prometheus.CounterVec // by outcome
	trouble projections.Trouble
}

// The outcomes of handling a message.
const (
	outcomeSent          = "sent"
	outcomeUnneeded      = "unneeded" // the account does not wait for this code any more
	outcomeFailed        = "failed"   // and is tried again
	outcomeUndeliverable = "undeliverable"
)

// Trouble says why the last code could not be mailed, if the reason concerns all mails, such as a server
// that is unavailable. It is "" otherwise.
func (r *Reactor) Trouble() string { return r.trouble.Text() }

// New makes a reactor; Run starts it. An error says what is wrong with the configuration.
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
	if from.Name == "" {
		from.Name = cfg.Name
	}
	r := &Reactor{cfg: cfg, from: from, codes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "konto_mail_codes_total",
		Help: "Codes to mail: sent, unneeded (the account does not wait for it any more), failed (and tried again), undeliverable.",
	}, []string{"outcome"})}
	for _, outcome := range []string{outcomeSent, outcomeUnneeded, outcomeFailed, outcomeUndeliverable} {
		r.codes.WithLabelValues(outcome) // so that the first failure is an increase
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(r.codes)
	}
	if r.letters, err = openLetters(cfg.Templates, cfg.Name); err != nil {
		return nil, err
	}
	if cfg.SMTPURL != "" {
		r.sender, err = newRelay(cfg.SMTPURL)
	} else {
		r.sender, err = newFolder(cfg.Dir)
	}
	return r, err
}

// Run mails codes until ctx ends. Then it finishes the mail that it is sending and returns nil.
func (r *Reactor) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: sendTimeout}, watermill.NewSlogLoggerWithLevelMapping(r.cfg.Log,
		map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})) // the router logs its own start and stop as info
	if err != nil {
		return fmt.Errorf("start mailer: %w", err)
	}
	router.AddConsumerHandler("mailer", Subject, r.cfg.Subscriber, r.handle)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run mailer: %w", err)
	}
	return nil
}

// handle mails the code of one request. After an error the message is delivered again.
//
// After a crash the message is delivered again, too. A code that was mailed by then is mailed twice, with
// the same Message-ID.
func (r *Reactor) handle(msg *message.Message) error {
	// The message's own context ends when Run is to end. A mail that is being sent is finished all the
	// same: it may have arrived and would be sent again.
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	c, err := r.confirmation(ctx, msg)
	if err == nil && c != nil {
		err = r.sender.send(ctx, c)
	}
	outcome := outcomeSent
	switch {
	case errors.Is(err, errUndeliverable):
		outcome = outcomeUndeliverable
	case err != nil:
		outcome = outcomeFailed
	case c == nil:
		outcome = outcomeUnneeded
	}
	r.codes.WithLabelValues(outcome).Inc()
	r.cfg.Handled(msg.UUID, outcome == outcomeSent)
	if errors.Is(err, errUndeliverable) || errors.Is(err, errDeferred) {
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

// confirmation returns the mail for a message, nil if there is nothing to mail.
func (r *Reactor) confirmation(ctx context.Context, msg *message.Message) (*confirmation, error) {
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
	if !a.EmailChange.Pending(r.cfg.Now()) || a.EmailChange.Request != hint.Request {
		return nil, nil // the account does not wait for this code, or not any more
	}
	subject, body, err := r.letters.write(a.Profile.LanguageCode, values{
		Code: r.cfg.Codes.Code(hint.Request), Expires: a.EmailChange.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC"), Name: r.cfg.Name,
	})
	return &confirmation{
		event: event, from: r.from, to: a.EmailChange.NewEmail, subject: subject, body: body, requested: ulid.Time(event.Time()),
	}, err
}
