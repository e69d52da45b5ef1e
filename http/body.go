package http

import (
	"bytes"
	"cmp"
	"io"
	"maps"
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
	own      string // the member's own pointer; placed sets it
	field    string // commands' pointer to it; placed sets it to own if nothing else is given
	flag     func(*body, bool)
	members  []member
	nullable bool   // null clears
	check    format // nil means that commands decides
	blank    bool   // "" clears
	unset    string // a text that clears, "" for none; white space around it is ignored
	required bool
	readOnly bool // known in the contract, but never accepted in this body
}

// placed sets the pointers of members of the object at a pointer.
func placed(at string, members []member) []member {
	for i := range members {
		m := &members[i]
		m.own = at + "/" + m.name
		m.field = cmp.Or(m.field, m.own)
		m.members = placed(m.own, m.members)
	}
	return members
}

// set sets the text at commands' pointer.
func (b *body) set(field string, to change) {
	if c := b.update.Change(field); c != nil {
		*c = to
	} else {
		b.others = append(b.others, otherText{field, to})
	}
}

// other returns what the body does to a text that has no field in the update.
func (b *body) other(field string) change {
	for _, o := range b.others {
		if o.field == field {
			return o.change
		}
	}
	return change{}
}

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
			err = b.skip(members[i].field, commands.CodeFieldNotAllowed, "This member cannot be changed here.")
		case seen[i]:
			err = b.skip(members[i].field, commands.CodeDuplicateField, "This member appears more than once.")
		default:
			seen[i] = true
			err = b.value(&members[i])
		}
		if err != nil {
			return err
		}
	}
	for i := range members {
		if members[i].required && !seen[i] {
			b.reject(members[i].field, commands.CodeMustBeSet, "This member must be set.")
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
func (b *body) value(m *member) error {
	if m.members == nil && b.asked != nil {
		b.asked = append(b.asked, m.own)
	}
	switch kind := b.dec.PeekKind(); {
	case kind == 'n' && m.nullable:
		b.set(m.field, events.Clear[string]())
		return b.dec.SkipValue()
	case kind == 'n':
		return b.skip(m.field, commands.CodeNotNullable, "This member must not be null.")
	case kind == '"' && m.flag == nil && m.members == nil:
		return b.readText(m)
	case (kind == 't' || kind == 'f') && m.flag != nil:
		m.flag(b, kind == 't')
		return b.dec.SkipValue()
	case kind == '{' && m.members != nil:
		return b.object(m.members, m.own)
	}
	return b.skip(m.field, commands.CodeInvalidType, "This member must be "+m.kind()+".")
}

// readText reads a text.
func (b *body) readText(m *member) error {
	token, err := b.dec.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	code, detail := m.validate(text)
	switch {
	case code != "":
		b.reject(m.field, code, detail)
		if text != "" { // commands compares it with the account's value
			b.set(m.field, events.Set(text))
		}
	case m.unset != "" && strings.TrimSpace(text) == m.unset:
		b.set(m.field, events.Clear[string]())
	default:
		b.set(m.field, events.Set(text))
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
	for _, m := range members {
		if m.field != m.own {
			names[m.field] = m.own
		}
		maps.Copy(names, namesOf(m.members))
	}
	return names
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
