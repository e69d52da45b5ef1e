package http

import (
	"crypto/sha256"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/commands"
)

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// do runs a command on an account, once for each Idempotency-Key of the credential.
// If the request was executed before, do returns the outcome of that time. Every
// endpoint that changes an account calls do and never Accounts.Do. Its answer must
// depend only on the outcome, the body, x.caller and x.at, so that a replay gives
// the same answer.
func (x *exchange) do(id ulid.ULID, c commands.Command) (commands.Outcome, error) {
	once, err := x.once()
	if err != nil {
		return commands.Outcome{}, err
	}
	out, err := x.Accounts.DoOnce(x.r.Context(), id, x.metadata(), once, c)
	if out.Replayed {
		x.w.Header().Set("Idempotent-Replayed", "true")
		x.at = out.At // the answer may contain the time, or what had expired then
	}
	return out, err
}

// once returns the name of the request for its Idempotency-Key. Without the header
// it returns no name.
func (x *exchange) once() (commands.Once, error) {
	values := x.r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return commands.Once{}, nil
	}
	if len(values) > 1 || !isIdempotencyKey(values[0]) {
		return commands.Once{}, errIdempotencyKey
	}
	return commands.Once{
		Name:        x.caller.ID.String() + " " + values[0],
		Fingerprint: x.fingerprint(),
		At:          x.at,
	}, nil
}

// fingerprint hashes all that the request asks for, byte by byte. The same JSON with
// other white space is another request.
func (x *exchange) fingerprint() (sum [sha256.Size]byte) {
	h := sha256.New()
	conditions := strings.Join(x.r.Header["If-Match"], ",")
	// Without the header nothing is added, so that receipts of earlier builds, which
	// ignored the header, are still found.
	if values := x.r.Header["If-None-Match"]; len(values) > 0 {
		conditions += "\n" + strings.Join(values, ",")
	}
	for _, part := range []string{x.r.Method, x.r.URL.RequestURI(), conditions} {
		h.Write([]byte(part))
		h.Write([]byte{0}) // none of them can contain it
	}
	h.Write(x.body)
	h.Sum(sum[:0])
	return sum
}

// isIdempotencyKey accepts 1 to 255 printable ASCII characters.
func isIdempotencyKey(key string) bool {
	unprintable := func(c rune) bool { return c < ' ' || c > '~' }
	return key != "" && len(key) <= maxIdempotencyKey && !strings.ContainsFunc(key, unprintable)
}
