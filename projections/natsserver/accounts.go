package natsserver

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"

	"konto/projections/nats/subjects"
)

// The names of the NATS accounts of consumers and of senders begin with these, so that a consumer and
// a sender may have the same name. JetStream and the streams are in the server's global account, which
// only konto uses.
const (
	consumerAccountPrefix = "konto-consumer-"
	senderAccountPrefix   = "konto-inbound-"
)

// gatePrefix begins the subjects on which the gate receives requests to JetStream's API. The next
// token is the name of the consumer that asks. The import of the consumer's account puts it there, so
// the gate can trust it. What follows is the API's subject without apiPrefix.
const gatePrefix = "$JS.KONTO."

const (
	pullPrefix = "$JS.API.CONSUMER.MSG.NEXT.KONTO."
	ackPrefix  = "$JS.ACK.KONTO."
)

// direct are the subjects that a consumer's account imports unchanged, so that they bypass the gate.
var direct = []string{pullPrefix + "*", ackPrefix + ">"}

// refusedPrefix begins subjects that nobody may publish to. See Server.Reserve.
const refusedPrefix = "$JS.KONTO_REFUSED."

// durableSubjects are the subjects with which a consumer on the stream is used or changed.
func durableSubjects(name string) []string {
	return []string{
		apiPrefix + createPrefix + name,
		apiPrefix + createPrefix + name + ".>",
		apiPrefix + infoPrefix + name,
		apiPrefix + deletePrefix + name,
		pullPrefix + name,
		ackPrefix + name + ".>",
	}
}

// export exports from konto's account what the accounts of consumers and senders import.
//
// All that consumers request is one export, because a message never passes the same export twice. If
// a client has an answer sent to a subject that its account imports, the answer ends there. It does
// not become a request for which no permission was checked.
//
// That export is streamed, because a pull has many answers.
func export(srv *server.Server) error {
	own := srv.GlobalAccount()
	if err := own.AddServiceExportWithResponse("$JS.>", server.Streamed, nil); err != nil {
		return fmt.Errorf("export JetStream: %w", err)
	}
	for _, subject := range []string{subjects.Accounts, subjects.Replays} {
		if err := own.AddStreamExport(subject, nil); err != nil {
			return fmt.Errorf("export %s: %w", subject, err)
		}
	}
	// No account imports from both service exports, so the argument above holds for each. A fact has
	// one answer, JetStream's acknowledgement, so this export is not streamed.
	if err := own.AddServiceExportWithResponse(subjects.FactsOfSenders, server.Singleton, nil); err != nil {
		return fmt.Errorf("export %s: %w", subjects.FactsOfSenders, err)
	}
	return nil
}

// senderAccount returns the account of a sender of facts, and makes it when it is first needed. Its
// only import is the sender's own subject in konto's account. The last token of that subject says who
// sent a message, and no client can choose it.
func senderAccount(srv *server.Server, sender string) (*server.Account, error) {
	account, isNew := srv.LookupOrRegisterAccount(senderAccountPrefix + sender)
	if !isNew {
		return account, nil
	}
	if err := account.AddServiceImport(srv.GlobalAccount(), subjects.Facts, subjects.Facts+"."+sender); err != nil {
		return nil, fmt.Errorf("import %s: %w", subjects.Facts, err)
	}
	return account, nil
}

// consumerAccount returns the account of a consumer, and makes it when it is first needed. Whatever
// is answered or delivered to the consumer's connections goes to subjects of this account. None of
// them is a subject of konto's or of another consumer's account.
func consumerAccount(srv *server.Server, consumer string) (*server.Account, error) {
	account, isNew := srv.LookupOrRegisterAccount(consumerAccountPrefix + consumer)
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
		if err := account.AddServiceImport(own, apiPrefix+r.subject, gatePrefix+consumer+"."+r.subject); err != nil {
			return nil, fmt.Errorf("import %s: %w", r.subject, err)
		}
	}
	for _, subject := range []string{subjects.Accounts, subjects.Replays} {
		if err := account.AddStreamImport(own, subject, ""); err != nil {
			return nil, fmt.Errorf("import %s: %w", subject, err)
		}
	}
	return account, nil
}
