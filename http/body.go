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

// body is a request's JSON object, read strictly, and the update that it asks for.
type body struct {
	dec    *jsontext.Decoder
	asked  []string              // pointers to the known members that are not objects, in order; nil means not collected
	wrong  []commands.FieldError // in order, with commands' pointers
	update commands.Update
	others []otherText
}

// otherText is a text that has no field in the update, such as a password.
type otherText struct {
	field  string
	change change
}

type change = events.Change[string]

// member is one member that an object in a body may have: a boolean if flag is set,
// an object if members is, and otherwise a string.
type member struct {
	name     string
	field    string // commands' pointer to it, if it differs from the member's own
	flag     func(*body, bool)
	members  []member
	nullable bool   // null clears
	check    format // nil means that commands decides
	blank    bool   // "" clears
	unset    string // a text that clears, "" for none; white space around it is ignored
	required bool
	readOnly bool // known in the contract, but never accepted in this body
}

// pointer returns commands' pointer to a member of the object at a pointer.
func (m *member) pointer(at string) string {
	if m.field != "" {
		return m.field
	}
	return at + "/" + m.name
}

// change returns what the body does to the text at commands' pointer.
func (b *body) change(field string) *change {
	if c := b.update.Change(field); c != nil {
		return c
	}
	i := slices.IndexFunc(b.others, func(o otherText) bool { return o.field == field })
	if i < 0 {
		i = len(b.others)
		b.others = append(b.others, otherText{field: field})
	}
	return &b.others[i].change
}

// text returns the text at commands' pointer, or "" if the body has none.
func (b *body) text(field string) string { return b.change(field).To }

// format checks a text by the contract's own rules. An empty code means that the
// text is valid.
type format func(text string) (code, detail string)

// maxMembers is the largest table of members of one object.
const maxMembers = 80

// maxWrong is how many wrong members an answer lists at most. Without it a small
// request with many short members would get an answer many times its size.
const maxWrong = 100

// read reads data by a table of members. Its error is errMalformed. Wrong members
// are no error: they are collected in b.wrong, so that all are found at once.
func (b *body) read(data []byte, members []member) error {
	// object finds duplicate names itself, as wrong members with a pointer.
	b.dec = jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	if b.dec.PeekKind() != '{' || b.object(members, "") != nil {
		return errMalformed
	}
	if _, err := b.dec.ReadToken(); err != io.EOF {
		return errMalformed // something follows the object
	}
	return nil
}

// object reads the next object, whose pointer is at. Its errors are syntax errors.
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
			err = b.skip(at+"/"+pointerEscape.Replace(name), commands.CodeUnknownField, "This member is not known.")
		case members[i].readOnly:
			err = b.skip(members[i].pointer(at), commands.CodeFieldNotAllowed, "This member cannot be changed here.")
		case seen[i]:
			err = b.skip(members[i].pointer(at), commands.CodeDuplicateField, "This member appears more than once.")
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
			b.reject(members[i].pointer(at), commands.CodeMustBeSet, "This member must be set.")
		}
	}
	_, err := b.dec.ReadToken()
	return err
}

// find returns the index of a member by its name, or -1.
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
	field := m.pointer(at)
	switch kind := b.dec.PeekKind(); {
	case kind == 'n' && m.nullable:
		*b.change(field) = events.Clear[string]()
		return b.dec.SkipValue()
	case kind == 'n':
		return b.skip(field, commands.CodeNotNullable, "This member must not be null.")
	case kind == '"' && m.flag == nil && m.members == nil:
		return b.readText(m, field)
	case (kind == 't' || kind == 'f') && m.flag != nil:
		m.flag(b, kind == 't')
		return b.dec.SkipValue()
	case kind == '{' && m.members != nil:
		return b.object(m.members, at+"/"+m.name)
	}
	return b.skip(field, commands.CodeInvalidType, "This member must be "+m.kind()+".")
}

// readText reads a text.
func (b *body) readText(m *member, field string) error {
	token, err := b.dec.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	code, detail := m.validate(text)
	switch {
	case code != "":
		b.reject(field, code, detail)
		if text != "" { // commands compares it with the account's value
			*b.change(field) = events.Set(text)
		}
	case m.unset != "" && strings.TrimSpace(text) == m.unset:
		*b.change(field) = events.Clear[string]()
	default:
		*b.change(field) = events.Set(text)
	}
	return nil
}

// validate checks a text by the member's rules.
func (m *member) validate(text string) (code, detail string) {
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

// kind describes the member's type in an error.
func (m *member) kind() string {
	switch {
	case m.flag != nil:
		return "a boolean"
	case m.members != nil:
		return "an object"
	}
	return "a string"
}

// skip rejects a member and skips its value.
func (b *body) skip(field, code, detail string) error {
	b.reject(field, code, detail)
	return b.dec.SkipValue()
}

// reject records what is wrong with a member.
func (b *body) reject(field, code, detail string) {
	if len(b.wrong) < maxWrong {
		b.wrong = append(b.wrong, commands.FieldError{Field: field, Code: code, Detail: detail})
	}
}

// pointerEscape escapes a name in a JSON pointer (RFC 6901, section 3).
var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// namesOf maps commands' pointers to the contract's own, if they differ.
func namesOf(members []member) map[string]string {
	names := map[string]string{}
	addNames(members, "", names)
	return names
}

func addNames(members []member, at string, names map[string]string) {
	for _, m := range members {
		own := at + "/" + m.name
		if m.field != "" {
			names[m.field] = own
		}
		addNames(m.members, own, names)
	}
}

// oneOf accepts only the given texts, in the same letter case.
func oneOf(values ...string) format {
	return func(text string) (code, detail string) {
		switch {
		case slices.Contains(values, text):
			return "", ""
		case text == "":
			return commands.CodeEmpty, "This member must not be empty."
		}
		return commands.CodeInvalidValue, "This member must be one of " + strings.Join(values, ", ") + "."
	}
}
