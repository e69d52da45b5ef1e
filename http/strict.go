package http

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// jsonBody reads the request's body, whose content type must be JSON in UTF-8.
func (x *exchange) jsonBody() ([]byte, error) {
	if !isMedia(x.r.Header["Content-Type"], mediaJSON) {
		return nil, errContentType
	}
	return x.readBody()
}

// maxAtOnce bounds the room that is made for a body before it comes, in bytes:
// who only announces bodies must not cost much. It holds nearly every body.
const maxAtOnce = 4 << 10

// readBody reads up to maxBody.
func (x *exchange) readBody() ([]byte, error) {
	if x.r.ContentLength > maxBody {
		x.w.Header().Set("Connection", "close") // else net/http waits for the body before it answers
		return nil, errTooLarge
	}
	data, err := x.bodyBytes()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errTooSlow
	case err != nil: // the caller broke off, or broke HTTP
		return nil, errMalformed
	}
	x.body = data
	return data, nil
}

func (x *exchange) bodyBytes() ([]byte, error) {
	if n := x.r.ContentLength; 0 <= n && n <= maxAtOnce {
		data := make([]byte, n)
		_, err := io.ReadFull(x.r.Body, data)
		return data, err
	}
	return io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
}

// isMedia tells whether the header names the media type, in UTF-8.
func isMedia(contentType []string, wanted string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == wanted {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	charset, given := params["charset"]
	return err == nil && media == wanted && (!given || strings.EqualFold(charset, "utf-8"))
}
