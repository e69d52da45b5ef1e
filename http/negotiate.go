package http

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// acceptsJSON reports whether this Accept allows answers in JSON. Without the
// header everything is allowed (RFC 9110, section 12.5.1).
func acceptsJSON(accept []string) bool {
	q, named := weight(accept, mediaJSON, "application/*", "*/*")
	return q > 0 || !named && blank(accept)
}

// acceptsGzip reports whether this Accept-Encoding allows gzip.
func acceptsGzip(acceptEncoding []string) bool {
	q, _ := weight(acceptEncoding, "gzip", "*")
	return q > 0
}

// weight returns the quality value of a choice in a header of preferences (RFC 9110,
// section 12.4.2). The choice has several names, and the first one that the header
// contains decides. named is false if the header contains none of them.
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

// quality returns the q of a choice's parameters. It is 1 if q is missing or not a
// number.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if q, err := strconv.ParseFloat(value, 64); err == nil && strings.EqualFold(name, "q") {
			return q
		}
	}
	return 1
}

// blank reports whether the header has no values.
func blank(values []string) bool {
	return strings.Trim(strings.Join(values, ""), " \t,") == ""
}

// minGzip is the length, in bytes, from which an answer is compressed. A shorter
// one fits into about one packet anyway.
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
	_, _ = w.Write(data) // never fails for a bytes.Buffer
	_ = w.Close()
	gzipWriters.Put(w)
	return out.Bytes()
}
