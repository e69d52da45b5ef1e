package http

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"konto/commands"
)

// etag returns the strong entity tag of an account's version.
func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// condition returns what If-Match and If-None-Match require of the account's
// version (RFC 9110, sections 13.1.1 and 13.1.2). A command is refused if they do not
// hold. Reads answer If-None-Match in their own way (answerRead).
func condition(h http.Header) commands.Condition {
	return commands.Condition{Match: versions(h["If-Match"], false), NoneMatch: versions(h["If-None-Match"], true)}
}

// versions returns the versions that a header names, or nil without the header. Tags
// that konto never sent name no version. If the comparison is strong (If-Match), neither
// do weak tags nor texts that are not tags. If it is weak (If-None-Match), a text that
// is not a tag, such as 7 for "7", counts as any version: the caller wants to prevent
// something, so it is prevented.
func versions(values []string, weak bool) *commands.Versions {
	if len(values) == 0 {
		return nil
	}
	named := &commands.Versions{}
	for _, tag := range tags(values) {
		named.Any = named.Any || tag == "*" || weak && !isTag(tag)
		if weak {
			tag = strings.TrimPrefix(tag, "W/")
		}
		if v, ok := versionOf(tag); ok {
			named.List = append(named.List, v)
		}
	}
	return named
}

// unchanged reports whether If-None-Match names the entity tag. The comparison is
// weak (RFC 9110, section 13.1.2).
func unchanged(h http.Header, current string) bool {
	return slices.ContainsFunc(tags(h["If-None-Match"]), func(tag string) bool {
		return tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(current, "W/")
	})
}

// tags splits the header's lists at commas outside of tags.
func tags(values []string) []string {
	var all []string
	for _, value := range values {
		begin, quoted := 0, false
		for i := range len(value) + 1 {
			if i < len(value) && value[i] == '"' {
				quoted = !quoted
			}
			if i < len(value) && (quoted || value[i] != ',') {
				continue
			}
			if tag := strings.Trim(value[begin:i], " \t"); tag != "" {
				all = append(all, tag)
			}
			begin = i + 1
		}
	}
	return all
}

// isTag reports whether the text is an entity tag (RFC 9110, section 8.8.3).
func isTag(text string) bool {
	text = strings.TrimPrefix(text, "W/")
	inside := strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`)
	return len(text) == len(inside)+2 && !strings.ContainsFunc(inside, func(c rune) bool { return c <= ' ' || c == '"' || c == 0x7f })
}

// versionOf returns the version whose entity tag the text is.
func versionOf(tag string) (uint64, bool) {
	version, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	return version, err == nil && etag(version) == tag // "07" and 7 are not "7"
}

// answerAt answers with an account and the entity tag of its version.
func (x *exchange) answerAt(version uint64, body any) error {
	x.w.Header().Set("ETag", etag(version))
	return x.answer(http.StatusOK, mediaJSON, body)
}

// answerRead answers a conditional read. It returns *commands.VersionMismatch if
// If-Match does not name the version, and answers 304 if the caller has the version
// already. The order is that of RFC 9110, section 13.2.2.
func (x *exchange) answerRead(version uint64, body func() any) error {
	if err := (commands.Condition{Match: versions(x.r.Header["If-Match"], false)}).Check(version); err != nil {
		return err
	}
	if unchanged(x.r.Header, etag(version)) {
		x.w.Header().Set("ETag", etag(version))
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return x.answerAt(version, body())
}
