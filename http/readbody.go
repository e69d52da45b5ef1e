package http

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"konto/commands"
)

// maxBody is the largest body of a request, in bytes.
const maxBody = 64 << 10

// members reads the request's body into b by a table of members. Wrong members are
// no error; see body.read.
func (x *exchange) members(b *body, members []member) error {
	data, err := x.jsonBody()
	if err != nil {
		return err
	}
	return b.read(data, members)
}

// strictMembers is members, but wrong members are an error.
func (x *exchange) strictMembers(members []member) (*body, error) {
	var b body
	if err := x.members(&b, members); err != nil {
		return nil, err
	}
	if len(b.wrong) > 0 {
		return nil, &commands.Invalid{Fields: b.wrong}
	}
	return &b, nil
}

// jsonBody reads the request's body. Its content type must be JSON in UTF-8. PATCH
// also allows a merge patch.
func (x *exchange) jsonBody() ([]byte, error) {
	contentType, patch := x.r.Header["Content-Type"], x.r.Method == http.MethodPatch
	if isMedia(contentType, mediaJSON) || patch && isMedia(contentType, mediaMergePatch) {
		return x.readBody()
	}
	if patch {
		x.w.Header().Set("Accept-Patch", acceptPatch)
	}
	return nil, errContentType
}

// maxPrealloc is the largest buffer that is allocated before a body arrives, in
// bytes. Nearly every body fits. A caller who only announces large bodies must not
// cost much memory.
const maxPrealloc = 4 << 10

// readBody reads a body of at most maxBody without a content encoding.
func (x *exchange) readBody() ([]byte, error) {
	if isEncoded(x.r.Header["Content-Encoding"]) {
		x.w.Header().Set("Accept-Encoding", "identity") // RFC 9110, section 15.5.16
		return nil, errContentEncoding
	}
	if x.r.ContentLength > maxBody {
		x.w.Header().Set("Connection", "close") // otherwise net/http waits for the body before it answers
		return nil, errTooLarge
	}
	data, err := x.bodyBytes()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errTooSlow
	case err != nil: // the caller disconnected, or broke HTTP
		return nil, errMalformed
	}
	x.body = data
	return data, nil
}

// bodyBytes reads the body's bytes.
func (x *exchange) bodyBytes() ([]byte, error) {
	if n := x.r.ContentLength; 0 <= n && n <= maxPrealloc {
		data := make([]byte, n)
		_, err := io.ReadFull(x.r.Body, data)
		return data, err
	}
	return io.ReadAll(http.MaxBytesReader(x.sent.ResponseWriter, x.r.Body, maxBody))
}

// isEncoded reports whether the header names a content encoding. Identity does not
// count (RFC 9110, section 12.5.3).
func isEncoded(contentEncoding []string) bool {
	for _, value := range contentEncoding {
		for coding := range strings.SplitSeq(value, ",") {
			if coding = strings.Trim(coding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}

// isMedia reports whether the header names the media type, in UTF-8. It ignores
// parameters other than the charset. Many clients write utf8 for utf-8.
func isMedia(contentType []string, wanted string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == wanted {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	charset, given := params["charset"]
	isUTF8 := !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
	return err == nil && media == wanted && isUTF8
}
