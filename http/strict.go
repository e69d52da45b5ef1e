package http

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// jsonBody reads the request's body, whose content type must be JSON in UTF-8.
func (x *exchange) jsonBody() ([]byte, error) {
	if !isJSON(x.r.Header["Content-Type"]) {
		return nil, errContentType
	}
	if x.r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil: // the caller broke off, or broke HTTP
		return nil, errMalformed
	}
	return data, nil
}

func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == mediaJSON {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType[0])
	charset, given := params["charset"]
	return err == nil && media == mediaJSON && (!given || strings.EqualFold(charset, "utf-8"))
}
