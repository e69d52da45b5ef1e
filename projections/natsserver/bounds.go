package natsserver

import (
	"cmp"
	"encoding/json" // the decoder of the server, see gate.go
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"konto/events"
	"konto/projections/nats/subjects"
)

// The bounds of what a consumer may ask of JetStream. They are far above what client libraries send by
// themselves.
const (
	// maxText bounds each name, subject and text, in bytes.
	maxText = 256

	// maxFilters bounds filter_subjects. The server compares each filter with each other.
	maxFilters = 64

	maxMetadata   = 16      // entries
	maxMetadataOf = 2 << 10 // bytes, of all entries together
	maxBackoff    = 16
	maxGroups     = 4

	// maxPending bounds max_ack_pending, whose default is 1,000. The server looks through all messages
	// that wait for an acknowledgement, again and again.
	maxPending = 10_000

	// maxPulls bounds max_waiting, whose default is 512.
	maxPulls = 2048

	// maxNumber bounds numbers that cost nothing.
	maxNumber = 1 << 30

	// minWait is the shortest time after which a message is delivered again.
	minWait = 100 * time.Millisecond

	// maxWait bounds all durations.
	maxWait = 366 * 24 * time.Hour

	// maxIdle is how long an ephemeral consumer may exist without being used.
	maxIdle = time.Hour
)

func checkCreate(asker string, body []byte) (any, error) {
	var req server.CreateConsumerRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	return &req, checkConsumer(asker, &req.Config)
}

// checkConsumer says why a key of asker may not create such a consumer on the stream. It lowers
// max_ack_pending to its bound.
func checkConsumer(asker string, cfg *server.ConsumerConfig) error {
	switch {
	case cfg.DeliverSubject != "" || cfg.DeliverGroup != "":
		// Its messages would go to a subject of konto's account, such as one of JetStream's.
		return errors.New("push consumers are not offered: pull, or subscribe to konto.account.>")
	case cfg.Direct || cfg.Sourcing:
		return errors.New("consumers of mirrors and sources are not offered") // no limit counts them
	case cfg.Durable != "" && cfg.Durable != asker:
		return errors.New("a durable consumer must be called " + asker)
	case cfg.Durable == "" && cfg.InactiveThreshold > maxIdle:
		return errors.New("an ephemeral consumer's inactive_threshold must not exceed " + maxIdle.String())
	}
	// Client libraries ask for more by themselves: nats.go's older API for 524,288, others for no limit
	// (-1). So a higher value is lowered, not refused.
	if cfg.MaxAckPending == -1 || cfg.MaxAckPending > maxPending {
		cfg.MaxAckPending = maxPending
	}
	return cmp.Or(checkLists(cfg), checkNumbers(cfg), checkDurations(cfg))
}

func checkLists(cfg *server.ConsumerConfig) error {
	tooLong := func(text string) bool { return len(text) > maxText }
	for _, text := range []struct {
		member string
		have   []string
	}{
		{"name", []string{cfg.Name}},
		{"description", []string{cfg.Description}},
		{"sample_freq", []string{cfg.SampleFrequency}},
		{"filter_subject", []string{cfg.FilterSubject}},
		{"filter_subjects", cfg.FilterSubjects},
		{"priority_groups", cfg.PriorityGroups},
	} {
		if slices.ContainsFunc(text.have, tooLong) {
			return fmt.Errorf("%s must not be longer than %d bytes", text.member, maxText)
		}
	}
	for _, list := range []struct {
		member    string
		have, may int
	}{
		{"filter_subjects", len(cfg.FilterSubjects), maxFilters},
		{"backoff", len(cfg.BackOff), maxBackoff},
		{"priority_groups", len(cfg.PriorityGroups), maxGroups},
		{"metadata", len(cfg.Metadata), maxMetadata},
	} {
		if list.have > list.may {
			return fmt.Errorf("%s must not have more than %d entries", list.member, list.may)
		}
	}
	bytes := 0
	for key, value := range cfg.Metadata {
		bytes += len(key) + len(value)
	}
	if bytes > maxMetadataOf {
		return fmt.Errorf("metadata must not be longer than %d bytes", maxMetadataOf)
	}
	return nil
}

func checkNumbers(cfg *server.ConsumerConfig) error {
	for _, number := range []struct {
		member          string
		have, from, end int
	}{
		{"max_ack_pending", cfg.MaxAckPending, 0, maxPending},
		{"max_waiting", cfg.MaxWaiting, 0, maxPulls},
		{"max_deliver", cfg.MaxDeliver, -1, maxNumber},
		{"max_batch", cfg.MaxRequestBatch, 0, maxNumber},
		{"max_bytes", cfg.MaxRequestMaxBytes, 0, maxNumber},
		{"num_replicas", cfg.Replicas, 0, 1}, // the embedded server is one
	} {
		if number.have < number.from || number.have > number.end {
			return fmt.Errorf("%s must be from %d to %d", number.member, number.from, number.end)
		}
	}
	return nil
}

func checkDurations(cfg *server.ConsumerConfig) error {
	if slices.Contains(cfg.BackOff, 0) {
		return errors.New("backoff must not be 0")
	}
	for _, span := range []struct {
		member string
		have   []time.Duration
		least  time.Duration // 0 is allowed too and means the default
	}{
		{"ack_wait", []time.Duration{cfg.AckWait}, minWait},
		{"backoff", cfg.BackOff, minWait},
		{"priority_timeout", []time.Duration{cfg.PinnedTTL}, minWait},
		{"idle_heartbeat", []time.Duration{cfg.Heartbeat}, minWait},
		{"max_expires", []time.Duration{cfg.MaxRequestExpires}, 0},
		{"inactive_threshold", []time.Duration{cfg.InactiveThreshold}, 0},
	} {
		for _, d := range span.have {
			if d != 0 && d < span.least || d < 0 || d > maxWait {
				return fmt.Errorf("%s must be from %s to %s", span.member, span.least, maxWait)
			}
		}
	}
	return nil
}

func checkNames(_ string, body []byte) (any, error) {
	var req server.JSApiStreamNamesRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	if len(req.Subject) > maxText {
		return nil, fmt.Errorf("subject must not be longer than %d bytes", maxText)
	}
	return &req, nil
}

// checkList makes a list of streams one of KONTO alone, whatever was asked for.
func checkList(string, []byte) (any, error) {
	return &server.JSApiStreamListRequest{Subject: subjects.Accounts}, nil
}

func checkStreamInfo(_ string, body []byte) (any, error) {
	var req server.JSApiStreamInfoRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	if req.SubjectsFilter != "" && !ofOneAccount(req.SubjectsFilter) {
		return nil, errors.New("subjects_filter must name one account: konto.account.ID.>")
	}
	// Each erased account leaves deleted messages. The answer has their number, but not the list.
	req.DeletedDetails = false
	return &req, nil
}

func checkMessageGet(_ string, body []byte) (any, error) {
	var req server.JSApiMsgGetRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	for _, subject := range []string{req.LastFor, req.NextFor} {
		if subject != "" && subject != subjects.Accounts && subject != ">" && !ofOneAccount(subject) {
			return nil, errors.New("a message is found by its sequence, or by a subject of one account: konto.account.ID.>")
		}
	}
	return &server.JSApiMsgGetRequest{Seq: req.Seq, LastFor: req.LastFor, NextFor: req.NextFor, NoHeaders: req.NoHeaders}, nil
}

// ofOneAccount reports whether a subject names one account. For one that does not, the server would
// look through the subjects of all accounts.
func ofOneAccount(subject string) bool {
	rest, ok := strings.CutPrefix(subject, events.SubjectPrefix)
	id, _, _ := strings.Cut(rest, ".")
	return ok && len(subject) <= maxText && subjects.IsToken(id)
}

// decode decodes a body, which may be empty.
func decode(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	return json.Unmarshal(body, into)
}
