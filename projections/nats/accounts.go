package nats

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// These start the names of the NATS accounts of consumers and of senders of
// facts, so that the two may be called the same. JetStream and the streams are
// in the server's global account, which is konto's alone.
const (
	accountPrefix       = "konto-consumer-"
	senderAccountPrefix = "konto-inbound-"
)

// creations is where requests to create a consumer on the stream arrive, with
// the name of the one who asks as the next token. The import puts it there, so
// it can be trusted.
const creations = "$JS.KONTO.CREATE."

// shared is what an account imports under the subject's own name. Creating is
// not among it: see gate.
var shared = []string{
	"$JS.API.INFO",
	"$JS.API.STREAM.NAMES",
	"$JS.API.STREAM.INFO.KONTO",
	"$JS.API.STREAM.MSG.GET.KONTO",
	"$JS.API.CONSUMER.INFO.KONTO.*",
	"$JS.API.CONSUMER.MSG.NEXT.KONTO.*",
	"$JS.API.CONSUMER.DELETE.KONTO.*", // ordered consumers remove their predecessors
	"$JS.ACK.KONTO.>",
}

// share exports what consumers' accounts import.
//
// It is one export for all, because a message never passes the same export
// twice: an answer that a client has sent to a subject which its account imports
// ends there, and does not become a request that no permission was checked for.
//
// It must be a streamed one, because a pull has many answers.
func share(srv *server.Server) error {
	own := srv.GlobalAccount()
	if err := own.AddServiceExportWithResponse("$JS.>", server.Streamed, nil); err != nil {
		return fmt.Errorf("export JetStream: %w", err)
	}
	if err := own.AddStreamExport(subjects, nil); err != nil {
		return fmt.Errorf("export %s: %w", subjects, err)
	}
	if err := own.AddStreamExport(replaySubjects, nil); err != nil {
		return fmt.Errorf("export %s: %w", replaySubjects, err)
	}
	// No account imports from both service exports, so each is still one for
	// all. A fact has one answer, JetStream's acknowledgement, so this one need
	// not be streamed.
	if err := own.AddServiceExportWithResponse(senderSubjects, server.Singleton, nil); err != nil {
		return fmt.Errorf("export %s: %w", senderSubjects, err)
	}
	return nil
}

// senderAccountOf returns the account of a sender of facts, made when it first
// comes. All that it imports is its own subject in konto's account, whose last
// token is thereby who sent the message: no client can write it.
func senderAccountOf(srv *server.Server, sender string) (*server.Account, error) {
	account, isNew := srv.LookupOrRegisterAccount(senderAccountPrefix + sender)
	if !isNew {
		return account, nil
	}
	if err := account.AddServiceImport(srv.GlobalAccount(), factsSubject, factsSubject+"."+sender); err != nil {
		return nil, fmt.Errorf("import %s: %w", factsSubject, err)
	}
	return account, nil
}

// accountOf returns the account of a consumer, made when it first comes. What
// is answered or delivered to its connections goes to subjects of this account,
// whatever they are called: none is konto's or another consumer's.
func accountOf(srv *server.Server, consumer string) (*server.Account, error) {
	account, isNew := srv.LookupOrRegisterAccount(accountPrefix + consumer)
	if !isNew {
		return account, nil
	}
	own := srv.GlobalAccount()
	for _, subject := range shared {
		if err := account.AddServiceImport(own, subject, subject); err != nil {
			return nil, fmt.Errorf("import %s: %w", subject, err)
		}
	}
	if err := account.AddServiceImport(own, "$JS.API.CONSUMER.CREATE.KONTO.>", creations+consumer+".>"); err != nil {
		return nil, fmt.Errorf("import the creation of consumers: %w", err)
	}
	for _, heard := range []string{subjects, replaySubjects} {
		if err := account.AddStreamImport(own, heard, ""); err != nil {
			return nil, fmt.Errorf("import %s: %w", heard, err)
		}
	}
	return account, nil
}
