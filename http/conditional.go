package http

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// etag is the strong entity tag of an account's version.
func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// ifMatch lists the versions that the request's If-Match names; nil when there
// is no such header or it is "*", which every account that exists matches
// (RFC 9110, section 13.1.1). Weak tags and tags that konto never gave match
// nothing; a header of only such gives a list that no account's version is in.
func ifMatch(h http.Header) []uint64 {
	values := h["If-Match"]
	if len(values) == 0 {
		return nil
	}
	versions := []uint64{0} // the version of no account: the list is never empty
	for _, tag := range tags(values) {
		if tag == "*" {
			return nil
		}
		if v, ok := versionOf(tag); ok {
			versions = append(versions, v)
		}
	}
	return versions
}

// unchanged tells whether If-None-Match names the entity tag; whether either is
// weak does not count (RFC 9110, section 13.1.2).
func unchanged(h http.Header, current string) bool {
	return slices.ContainsFunc(tags(h["If-None-Match"]), func(tag string) bool {
		return tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(current, "W/")
	})
}

// tags splits the header's lists. konto's own tags hold no comma, so a foreign
// tag that does falls apart into pieces that match nothing.
func tags(values []string) []string {
	var all []string
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			all = append(all, strings.Trim(tag, " \t"))
		}
	}
	return all
}

func versionOf(tag string) (uint64, bool) {
	version, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	return version, err == nil && etag(version) == tag // neither "07" nor 7 is "7"
}

// answerAt answers with an account at a version.
func (x *exchange) answerAt(version uint64, body any) error {
	x.w.Header().Set("ETag", etag(version))
	return x.answer(http.StatusOK, mediaJSON, body)
}

// answerRead is answerAt for a conditional read: 304 when the caller has the
// version already, errPrecondition when If-Match names others.
func (x *exchange) answerRead(version uint64, body func() any) error {
	if wanted := ifMatch(x.r.Header); wanted != nil && !slices.Contains(wanted, version) {
		return errPrecondition
	}
	if unchanged(x.r.Header, etag(version)) {
		x.w.Header().Set("ETag", etag(version))
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return x.answerAt(version, body())
}
