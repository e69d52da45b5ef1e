package http

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// body is a request's JSON object, read strictly into what it asks for.
type body struct {
	dec    *jsontext.Decoder
	asked  []string              // pointers to the known members that are not objects, in order; nil: not collected
	wrong  []commands.FieldError // in order, with pointers into the body
	update commands.Update

	// What has no place of its own in the update.
	paywayID, password         events.Change[string]
	newEmail, currentPassword  events.Change[string]
	code                       events.Change[string]
	identifier, identifierLand events.Change[string]
}

// member is one member that an object in a body may have. Which of to, flag
// and members is set decides its type: string, boolean or object.
type member struct {
	name     string
	field    string // commands' pointer to it, where that is not the member's own
	to       func(*body) *events.Change[string]
	flag     func(*body, bool)
	members  []member
	clear    func(*body) // what null does; nil: null is wrong
	check    format      // nil: commands decides
	blank    bool        // "" clears
	unset    string      // a text that clears, if any; white space around it does not count
	required bool
	foreign  bool // known from elsewhere in the contract, never taken here
}

// format tells what is wrong with a text by the contract's own rules; an empty
// code: nothing.
type format func(text string) (code, detail string)

// maxMembers bounds the table of one object.
const maxMembers = 80

// maxWrong bounds how many wrong members are told of, so that a small request
// of many short members does not get an answer many times its size.
const maxWrong = 100

// read reads data by a table of members. Its error is errMalformed; wrong
// members are collected in b.wrong instead, so that all are found at once.
func (b *body) read(data []byte, members []member) error {
	// Duplicate names are found in object, as wrong members with a pointer.
	b.dec = jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	if b.dec.PeekKind() != '{' || b.object(members, "") != nil {
		return errMalformed
	}
	if _, err := b.dec.ReadToken(); err != io.EOF {
		return errMalformed // something follows the object
	}
	return nil
}

// object reads the object that comes next, whose pointer is at. Its errors are
// those of syntax.
func (b *body) object(members []member, at string) error {
	if _, err := b.dec.ReadToken(); err != nil {
		return err
	}
	var seen [maxMembers]bool
	for b.dec.PeekKind() != '}' {
		token, err := b.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		i := find(members, name)
		switch {
		case i < 0:
			err = b.skip(at, name, commands.CodeUnknownField, "This member is not known.")
		case members[i].foreign:
			err = b.skip(at, name, commands.CodeFieldNotAllowed, "This member cannot be changed here.")
		case seen[i]:
			err = b.skip(at, name, commands.CodeDuplicateField, "This member appears more than once.")
		default:
			seen[i] = true
			err = b.value(&members[i], at)
		}
		if err != nil {
			return err
		}
	}
	for i := range members {
		if members[i].required && !seen[i] {
			b.reject(at, members[i].name, commands.CodeMustBeSet, "This member must be set.")
		}
	}
	_, err := b.dec.ReadToken()
	return err
}

func find(members []member, name string) int {
	for i := range members {
		if members[i].name == name {
			return i
		}
	}
	return -1
}

// value reads the value of a known member.
func (b *body) value(m *member, at string) error {
	if m.members == nil && b.asked != nil {
		b.asked = append(b.asked, at+"/"+m.name)
	}
	switch kind := b.dec.PeekKind(); {
	case kind == 'n' && m.clear != nil:
		m.clear(b)
		return b.dec.SkipValue()
	case kind == 'n':
		return b.skip(at, m.name, commands.CodeNotNullable, "This member must not be null.")
	case kind == '"' && m.to != nil:
		return b.text(m, at)
	case (kind == 't' || kind == 'f') && m.flag != nil:
		m.flag(b, kind == 't')
		return b.dec.SkipValue()
	case kind == '{' && m.members != nil:
		return b.object(m.members, at+"/"+m.name)
	}
	return b.skip(at, m.name, commands.CodeInvalidType, "This member must be "+m.kind()+".")
}

func (b *body) text(m *member, at string) error {
	token, err := b.dec.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	code, detail := m.judge(text)
	switch {
	case code != "":
		b.reject(at, m.name, code, detail)
		if text != "" { // commands compares it with what the account has
			*m.to(b) = events.Set(text)
		}
	case m.unset != "" && strings.TrimSpace(text) == m.unset:
		*m.to(b) = events.Clear[string]()
	default:
		*m.to(b) = events.Set(text)
	}
	return nil
}

func (m *member) judge(text string) (code, detail string) {
	switch {
	case text == "" && m.required:
		return commands.CodeMustBeSet, "This member must be set."
	case text == "" && !m.blank && m.check == nil:
		return commands.CodeEmpty, "This member must not be empty."
	case m.check != nil:
		return m.check(text)
	}
	return "", ""
}

func (m *member) kind() string {
	switch {
	case m.flag != nil:
		return "a boolean"
	case m.members != nil:
		return "an object"
	}
	return "a string"
}

// skip reads past a wrong member's value.
func (b *body) skip(at, name, code, detail string) error {
	b.reject(at, name, code, detail)
	return b.dec.SkipValue()
}

func (b *body) reject(at, name, code, detail string) {
	if len(b.wrong) < maxWrong {
		pointer := at + "/" + pointerEscape.Replace(name)
		b.wrong = append(b.wrong, commands.FieldError{Field: pointer, Code: code, Detail: detail})
	}
}

// isWrong tells whether something is wrong with the member at a pointer itself.
func (b *body) isWrong(pointer string) bool {
	return slices.ContainsFunc(b.wrong, func(f commands.FieldError) bool { return f.Field == pointer })
}

// pointerEscape is that of JSON pointers (RFC 6901, section 3).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// namesOf maps commands' pointers to the contract's own, where they differ.
func namesOf(members []member) map[string]string {
	names := map[string]string{}
	collectNames(members, "", names)
	return names
}

func collectNames(members []member, at string, names map[string]string) {
	for _, m := range members {
		own := at + "/" + m.name
		if m.field != "" {
			names[m.field] = own
		}
		collectNames(m.members, own, names)
	}
}
