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

// asked is where the gate gets requests to JetStream's API, with the name of the
// consumer who asks as the next token. The import puts it there, so it can be
// trusted. What is after it is the API's subject without apiPrefix.
const asked = "$JS.KONTO."

// direct is what an account imports under the subject's own name, past the gate.
var direct = []string{
	pullPrefix + "*",
	ackPrefix + ">",
}

const (
	pullPrefix = "$JS.API.CONSUMER.MSG.NEXT.KONTO."
	ackPrefix  = "$JS.ACK.KONTO."
)

// refusedPrefix begins subjects that nobody may publish to. See Server.Reserve.
const refusedPrefix = "$JS.KONTO_REFUSED."

// subjectsOf are those with which a consumer on the stream is used or changed.
func subjectsOf(name string) []string {
	return []string{
		apiPrefix + createPrefix + name,
		apiPrefix + createPrefix + name + ".>",
		apiPrefix + infoPrefix + name,
		apiPrefix + deletePrefix + name,
		pullPrefix + name,
		ackPrefix + name + ".>",
	}
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
	for _, subject := range direct {
		if err := account.AddServiceImport(own, subject, subject); err != nil {
			return nil, fmt.Errorf("import %s: %w", subject, err)
		}
	}
	for _, r := range apiRequests {
		if err := account.AddServiceImport(own, apiPrefix+r.subject, asked+consumer+"."+r.subject); err != nil {
			return nil, fmt.Errorf("import %s: %w", r.subject, err)
		}
	}
	for _, heard := range []string{subjects, replaySubjects} {
		if err := account.AddStreamImport(own, heard, ""); err != nil {
			return nil, fmt.Errorf("import %s: %w", heard, err)
		}
	}
	return account, nil
}
