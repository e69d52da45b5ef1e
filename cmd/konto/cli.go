package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/alecthomas/kong"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
)

// cli is the command line. The flags of konto itself, of serve and of demo can also be given
// as variables; see nameVariables.
type cli struct {
	Data folder `name:"data" placeholder:"DIR" help:"Data folder; konto-data unless given."`
	JSON bool   `name:"json" help:"Print JSON: one object, or one a line."`

	Config kong.ConfigFlag `name:"config" placeholder:"FILE" help:"File (JSON) with values of flags that can also be variables, by their names. A flag and a variable count before it."`

	datafolder.Postgres

	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Demo    demoCommand    `cmd:"" help:"Run a server with demo accounts and print curl lines to try."`
	Health  healthCommand  `cmd:"" help:"Ask the running server whether it takes updates."`
	Version versionCommand `cmd:"" help:"Print konto's version, and what it was built from."`

	Completion completionCommand `cmd:"" help:"Print the completion of commands and flags for a shell."`
	Manual     manualCommand     `cmd:"" help:"Print the manual page (roff)."`

	Account struct {
		Open    accountOpen    `cmd:"" help:"Open an account."`
		Show    accountShow    `cmd:"" help:"Show an account."`
		History accountHistory `cmd:"" help:"Show what happened to an account."`
		List    accountList    `cmd:"" help:"List all accounts."`
		Facts   accountFacts   `cmd:"" help:"Record what other systems know of an account."`
		Link    accountLink    `cmd:"" help:"Link a user of an identity provider to an account."`
		Unlink  accountUnlink  `cmd:"" help:"End the link of a user of an identity provider to an account."`
		Import  accountImport  `cmd:"" help:"Open accounts from a file, one a line."`
		Erase   accountErase   `cmd:"" help:"Erase an account for good."`
	} `cmd:"" help:"Accounts."`
	Key struct {
		Issue  keyIssue  `cmd:"" help:"Issue a key and print its token, this once."`
		List   keyList   `cmd:"" help:"List all keys."`
		Revoke keyRevoke `cmd:"" help:"Revoke a key."`
	} `cmd:"" help:"Keys of accounts, clients, NATS consumers and systems that send facts."`
	Keys struct {
		Backup  keysBackup  `cmd:"" help:"Copy keys.db, and delete older copies."`
		Restore keysRestore `cmd:"" help:"Replace keys.db with a copy; no server may run."`
		Rotate  keysRotate  `cmd:"" help:"Wrap all keys with another master key."`
	} `cmd:"" help:"The keys that the log is encrypted with."`
	Session struct {
		Open  sessionOpen  `cmd:"" help:"Open a session and print its cookie, this once."`
		List  sessionList  `cmd:"" help:"List all sessions."`
		Close sessionClose `cmd:"" help:"Close a session."`
	} `cmd:"" help:"Dashboard sessions (hostup_session)."`
	ThirdParty struct {
		Add          thirdPartyAdd          `cmd:"" help:"Register a third party and print its secret, this once."`
		List         thirdPartyList         `cmd:"" help:"List all third parties."`
		Show         thirdPartyShow         `cmd:"" help:"Show a third party."`
		Test         thirdPartyTest         `cmd:"" help:"Send a test event and print the answer."`
		Deliveries   thirdPartyDeliveries   `cmd:"" help:"List attempted deliveries and their results."`
		Redeliver    thirdPartyRedeliver    `cmd:"" help:"Send one event again, at once."`
		Pause        thirdPartyPause        `cmd:"" help:"Pause deliveries."`
		Resume       thirdPartyResume       `cmd:"" help:"Continue deliveries where they stopped."`
		Remove       thirdPartyRemove       `cmd:"" help:"Remove a third party for good."`
		RotateSecret thirdPartyRotateSecret `cmd:"" help:"Make a new secret and print it, this once."`
	} `cmd:"" help:"Third parties, which receive events as webhooks."`
	Replay struct {
		ThirdParty replayThirdParty `cmd:"" help:"Deliver events to a third party again."`
		ReadModel  replayReadModel  `cmd:"" help:"Rebuild the read model, compare it with the one in use, and replace that one."`
		Publish    replayPublish    `cmd:"" help:"Publish events on NATS again."`
	} `cmd:"" help:"Repeat what follows from the log."`
	Inbound struct {
		DeadLetters inboundDeadLetters `cmd:"" help:"List messages that could not be recorded."`
		Retry       inboundRetry       `cmd:"" help:"Send a dead letter again, and remove it."`
	} `cmd:"" help:"Facts that other systems send over NATS."`
	Backup  backupCommand  `cmd:"" help:"Copy the log, and check the copy."`
	Restore restoreCommand `cmd:"" help:"Replace the log with a backup; no server may run."`
	Export  exportCommand  `cmd:"" help:"Write the log as text."`
	Import  importCommand  `cmd:"" help:"Make a log from an export; no server may run."`
	Events  struct {
		List eventsList `cmd:"" help:"List events."`
		Tail eventsTail `cmd:"" help:"Show events as they happen, until interrupted."`
	} `cmd:"" help:"The log of all events."`
	Verify verifyCommand `cmd:"" help:"Check the log and everything that follows from it."`
	NATS   struct {
		Issuer natsIssuer `cmd:"" help:"Print konto's public key for the configuration of NATS servers."`
	} `cmd:"" name:"nats" help:"The NATS servers of several nodes."`
	Nodes nodesCommand `cmd:"" help:"List the nodes that share a log in Postgres."`
}

const defaultData = "konto-data"

// folder is a path that was given. A script whose variable was never set gives an empty path,
// which must not mean the default.
type folder string

// UnmarshalText refuses an empty path.
func (f *folder) UnmarshalText(text []byte) error {
	if *f = folder(text); *f == "" {
		return errors.New("the path of a folder is empty")
	}
	return nil
}

// local commands run in the process that was started for them.
type local interface {
	run(ctx context.Context, l *line, stdout, stderr io.Writer) error
}

// line is a parsed command line.
type line struct {
	data     string // "" when not given
	postgres datafolder.Postgres
	json     bool
	path     string // such as "account open"
	command  any    // a local or an administrative command
}

// alone is a command that works on the files of a data folder, which a log in Postgres does not have.
// instead says what to do with --store.
type alone interface{ instead() string }

func (*keysBackup) instead() string {
	return "the keys are in Postgres, so back up that server, with a base backup and its write-ahead log"
}

func (*keysRestore) instead() string {
	return "the keys are in Postgres, so restore that server from its own backup"
}

func (*restoreCommand) instead() string {
	return "the log is in Postgres, so restore that server from its own backup, or import an export into an empty database with konto import"
}

func (*demoCommand) instead() string { return "the demo has a log of its own, so leave --store out" }

// errHelpShown is the error of parse when it printed the help that the user asked for.
var errHelpShown = errors.New("help was shown")

// parse reads the command line. Any other error than errHelpShown is wrong usage.
func parse(args []string, stdout io.Writer) (*line, error) {
	var c cli
	helped := false
	parser := newParser(&c, kong.Writers(stdout, io.Discard), kong.Exit(func(int) { helped = true }))
	parsed, err := parser.Parse(args)
	switch {
	case helped: // kong continues after its exit hook returns, and its later errors mean nothing
		return nil, errHelpShown
	case err != nil:
		command := "konto"
		var failed *kong.ParseError
		if errors.As(err, &failed) && failed.Context != nil && failed.Context.Selected() != nil {
			command += " " + failed.Context.Selected().Path()
		}
		return nil, fmt.Errorf("%w (see %s --help)", err, command)
	}
	if err := cmp.Or(refuseSecrets(parsed), refuseEmpty(parsed)); err != nil {
		return nil, err
	}
	node := parsed.Selected()
	return &line{data: string(c.Data), postgres: c.Postgres, json: c.JSON, path: node.Path(), command: node.Target.Addr().Interface()}, nil
}

// refuseSecrets refuses a secret on the command line. While the process runs, every user of
// the machine can read the command line in the list of processes.
func refuseSecrets(parsed *kong.Context) error {
	for _, part := range parsed.Path {
		if part.Flag == nil || part.Resolved { // the values of variables and of --config are not part of the command line
			continue
		}
		if value, ok := part.Flag.Target.Interface().(string); !ok || !holdsSecret(part.Flag.Name, value) {
			continue
		}
		instead := "give the URL in the variable " + variableOf(part.Flag.Name)
		switch {
		case len(part.Flag.Envs) == 0:
			instead = "give the URL without it"
		case part.Flag.Name == "smtp-url":
			instead += ", or the password with --smtp-password-file"
		}
		return fmt.Errorf("--%s holds a secret, and every user of this machine can read the command line; %s", part.Flag.Name, instead)
	}
	return nil
}

// refuseEmpty refuses an empty value for a flag that has a default. A script whose variable was
// never set gives one. It would mean something that nobody asked for: --http on all addresses,
// no --rate-limit.
func refuseEmpty(parsed *kong.Context) error {
	for _, flag := range parsed.Flags() {
		if value, ok := flag.Target.Interface().(string); ok && value == "" && flag.HasDefault && flag.Default != "" {
			or := ""
			if len(flag.Envs) > 0 {
				or = " (or the variable " + flag.Envs[0] + ")"
			}
			return fmt.Errorf("--%s%s is empty; leave it out for %s", flag.Name, or, flag.Default)
		}
	}
	return nil
}

// holdsSecret reports whether a flag's URL has a password, or a token of NATS as its user. In
// doubt it reports true, so that no password in which / or @ is not escaped is missed.
func holdsSecret(flag, value string) bool {
	_, rest, isURL := strings.Cut(value, "://")
	switch flag {
	case "nats-url": // may be without its scheme, and may be several
		return strings.Contains(value, "@")
	case "smtp-url":
	case "store", "key-store": // may be in libpq's other form
		if strings.Contains(value, "password=") {
			return true
		}
	default: // whose path may have any character
		rest, _, _ = strings.Cut(rest, "/")
	}
	end := strings.LastIndexByte(rest, '@')
	return isURL && end >= 0 && strings.Contains(rest[:end], ":")
}

func newParser(c *cli, more ...kong.Option) *kong.Kong {
	return kong.Must(c, append(more,
		kong.Name("konto"),
		kong.Description("An event-sourced account service."),
		kong.Vars(server.Vars()),
		kong.PostBuild(nameVariables),
		kong.Configuration(loadConfig),
		kong.ValueFormatter(withDefault),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)...)
}

// withDefault is the help of a flag, with its default and its variable.
func withDefault(value *kong.Value) string {
	v := *value
	if v.Default != "" {
		v.Help = strings.TrimSuffix(v.Help, ".") + "; default " + v.Default + "."
	}
	return kong.DefaultHelpValueFormatter(&v)
}

// commandAt returns a new administrative command for a path, nil if there is none.
func commandAt(path string) command {
	for _, leaf := range newParser(new(cli)).Model.Leaves(false) {
		if leaf.Path() == path {
			c, _ := leaf.Target.Addr().Interface().(command)
			return c
		}
	}
	return nil
}

// folder returns the data folder, given or default.
func (l *line) folder() string {
	if l.data == "" {
		return defaultData
	}
	return l.data
}

// usesFolder reports whether the command uses the data folder.
func (l *line) usesFolder() bool {
	switch l.command.(type) {
	case *versionCommand, *completionCommand, *manualCommand:
		return false
	case *demoCommand:
		return l.data != "" // without --data it uses a temporary folder
	}
	return true
}

func (l *line) execute(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (failed error) {
	if c, ok := l.command.(alone); ok && l.postgres.Shared() {
		return fmt.Errorf("konto %s does not go with --store (or KONTO_STORE): %s", l.path, c.instead())
	}
	if l.usesFolder() {
		owner, err := datafolder.ActAsOwner(l.folder())
		if err != nil {
			return err
		}
		if owner != "" {
			defer func() {
				if errors.Is(failed, fs.ErrPermission) {
					failed = fmt.Errorf("%w (konto acts as user %s, to whom the data folder belongs)", failed, owner)
				}
			}()
		}
	}
	if c, ok := l.command.(inputReader); ok {
		if err := c.readInput(stdin); err != nil {
			return err
		}
	}
	if c, ok := l.command.(local); ok {
		return c.run(ctx, l, stdout, stderr)
	}
	if c, ok := l.command.(*exportCommand); ok && c.File == "-" && control.IsTerminal(stdout) {
		return errTerminal
	}
	m := control.NewMeter(stderr)
	defer m.Clear()
	err := administer(ctx, l, control.NewMeteredOutput(stdout, l.json, m), stderr)
	if _, ok := l.command.(endless); ok && ctx.Err() != nil {
		return nil // these commands end by being interrupted
	}
	return err
}
