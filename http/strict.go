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

// jsonBody reads the request's body, whose content type must be JSON in UTF-8, or
// a merge patch when the method is PATCH.
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

// maxAtOnce bounds the room that is made for a body before it comes, in bytes:
// who only announces bodies must not cost much. It holds nearly every body.
const maxAtOnce = 4 << 10

// readBody reads up to maxBody of a body that has no content coding.
func (x *exchange) readBody() ([]byte, error) {
	if isCoded(x.r.Header["Content-Encoding"]) {
		x.w.Header().Set("Accept-Encoding", "identity") // RFC 9110, section 15.5.16
		return nil, errContentCoding
	}
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

// isCoded tells whether the header names a content coding. Identity is none
// (RFC 9110, section 12.5.3).
func isCoded(contentEncoding []string) bool {
	for _, value := range contentEncoding {
		for coding := range strings.SplitSeq(value, ",") {
			if coding = strings.Trim(coding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}

// isMedia tells whether the header names the media type, in UTF-8. Parameters
// other than the charset do not count. Many clients write the charset as utf8.
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
