package http

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// takesJSON tells whether a caller with this Accept takes answers in JSON. One
// who says nothing takes anything (RFC 9110, section 12.5.1).
func takesJSON(accept []string) bool {
	q, named := weight(accept, mediaJSON, "application/*", "*/*")
	return q > 0 || !named && blank(accept)
}

// takesGzip tells whether a caller with this Accept-Encoding takes gzip.
func takesGzip(acceptEncoding []string) bool {
	q, _ := weight(acceptEncoding, "gzip", "*")
	return q > 0
}

// weight is the quality value that a header of preferences gives to a choice
// (RFC 9110, section 12.4.2). The choice goes by several names, of which the
// first that the header has decides; named is false when it has none.
func weight(values []string, names ...string) (q float64, named bool) {
	for _, name := range names {
		for _, value := range values {
			for item := range strings.SplitSeq(value, ",") {
				choice, params, _ := strings.Cut(item, ";")
				if strings.EqualFold(strings.Trim(choice, " \t"), name) {
					return quality(params), true
				}
			}
		}
	}
	return 0, false
}

// quality is the q of a choice's parameters: 1 when it is not given or no number.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if q, err := strconv.ParseFloat(value, 64); err == nil && strings.EqualFold(name, "q") {
			return q
		}
	}
	return 1
}

func blank(values []string) bool {
	return strings.Trim(strings.Join(values, ""), " \t,") == ""
}

// minGzip is the length, in bytes, below which an answer is about one packet
// anyway.
const minGzip = 1 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for an unknown level
	return w
}}

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(data) / 2)
	w := gzipWriters.Get().(*gzip.Writer)
	w.Reset(&out)
	_, _ = w.Write(data) // a Buffer takes all
	_ = w.Close()
	gzipWriters.Put(w)
	return out.Bytes()
}
