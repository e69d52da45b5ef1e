package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/cmd/konto/control"
	"konto/events"
)

// change is what an event did to one field. null is no value.
type change struct {
	Field string         `json:"field"` // its path, such as address.city
	From  jsontext.Value `json:"from"`
	To    jsontext.Value `json:"to"`
}

// compared is the part of an account's state that a history compares. It has no secret: of a
// password or a code it only says that there is one.
type compared struct {
	Email         string `json:"email,omitzero"`
	PaywayID      string `json:"paywayId,omitzero"`
	Administrator bool   `json:"administrator"`
	Password      string `json:"password,omitzero"`
	events.Profile
	Facts struct { // 0 and false are facts too
		ActiveDomains int    `json:"activeDomains"`
		SeNuDomains   int    `json:"seNuDomains"`
		PendingOrder  string `json:"pendingOrder,omitzero"`
		Verified      bool   `json:"verified"`
		BankIDName    string `json:"bankidName,omitzero"`
	} `json:"facts"`
	EmailChange struct {
		NewEmail   string    `json:"newEmail,omitzero"`
		ExpiresAt  time.Time `json:"expiresAt,omitzero"`
		WrongCodes int       `json:"wrongCodes"`
	} `json:"emailChange"`
}

// hidden stands for a secret.
const hidden = "(secret)"

func compare(a *events.Account) (c compared) {
	c.Email, c.PaywayID, c.Administrator, c.Profile = a.Email, a.PaywayID, a.Administrator, a.Profile
	if a.PasswordHash != "" {
		c.Password = hidden
	}
	c.Facts.ActiveDomains, c.Facts.SeNuDomains = a.Facts.ActiveDomains, a.Facts.SeNuDomains
	c.Facts.PendingOrder, c.Facts.BankIDName = a.Facts.PendingOrder, a.Facts.BankIDName
	c.Facts.Verified = a.Facts.Verified
	c.EmailChange.NewEmail, c.EmailChange.ExpiresAt = a.EmailChange.NewEmail, a.EmailChange.ExpiresAt
	c.EmailChange.WrongCodes = a.EmailChange.Failed
	return c
}

// changesBetween lists the differences between two states of an account. For an erased account
// it lists none, since they would repeat what was erased.
func changesBetween(before, after *events.Account) ([]change, error) {
	changes := []change{}
	if after.Erased {
		return changes, nil
	}
	old, err := fieldsOf(compare(before))
	if err != nil {
		return nil, err
	}
	present, err := fieldsOf(compare(after))
	if err != nil {
		return nil, err
	}
	for _, f := range present {
		was := valueOf(old, f.path)
		// One password looks like another.
		renewed := f.path == "password" && before.PasswordHash != after.PasswordHash
		if renewed || !bytes.Equal(was, f.value) {
			changes = append(changes, change{f.path, was, f.value})
		}
	}
	for _, f := range old {
		if now := valueOf(present, f.path); now.Kind() == 'n' {
			changes = append(changes, change{f.path, f.value, now})
		}
	}
	return changes, nil
}

// field is a value in a JSON object, nested ones included.
type field struct {
	path  string
	value jsontext.Value
}

func valueOf(fields []field, path string) jsontext.Value {
	at := slices.IndexFunc(fields, func(f field) bool { return f.path == path })
	if at < 0 {
		return jsontext.Value("null")
	}
	return fields[at].value
}

// fieldsOf lists the values in an object, in its order.
func fieldsOf(v any) (all []field, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for kind := dec.PeekKind(); kind != 0; kind = dec.PeekKind() {
		if kind == '{' || kind == '}' || control.NameComesNext(dec) {
			if _, err := dec.ReadToken(); err != nil {
				return nil, err
			}
			continue
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		path := strings.ReplaceAll(strings.Trim(string(dec.StackPointer()), "/"), "/", ".")
		all = append(all, field{path, slices.Clone(value)})
	}
	return all, nil
}

// plain returns a value for people. It quotes text with control characters, which an earlier
// rule may have allowed.
func plain(value jsontext.Value) string {
	if value.Kind() == 'n' {
		return "–"
	}
	var text string
	if value.Kind() != '"' || json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
