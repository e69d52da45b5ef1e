package http

import (
	"fmt"
	"strings"
	"testing"

	"konto/commands"
	"konto/events"
)

var tables = map[string][]member{"hostup": hostupBody, "payway.v1": paywayV1, "payway.v0": paywayV0, "generic": genericBody}

// TestEveryMemberSetsItsOwnField looks for the fields that members name. A text
// without a field in the update goes where no command finds it.
func TestEveryMemberSetsItsOwnField(t *testing.T) {
	elsewhere := map[string]bool{ // not in the update, or composed of several members
		"/id": true, "/registrationIdentifier/value": true, "/registrationIdentifier/countryCode": true,
	}
	for name, members := range tables {
		fields := map[string]bool{}
		eachText(members, "", func(own string, m *member) {
			field := m.field
			var b body
			if found := b.update.Change(field) != nil; found == elsewhere[field] || fields[field] {
				t.Errorf("%s: %s sets %s", name, own, field)
			}
			fields[field] = true
		})
	}
}

func eachText(members []member, at string, visit func(own string, m *member)) {
	for i := range members {
		m := &members[i]
		if m.flag == nil && m.members == nil && !m.readOnly {
			visit(at+"/"+m.name, m)
		}
		eachText(m.members, at+"/"+m.name, visit)
	}
}

func TestTablesOfMembersAreWithinTheLimit(t *testing.T) {
	for name, members := range tables {
		names := map[string]bool{}
		for _, m := range members {
			names[m.name] = true
		}
		if len(members) > maxMembers || len(names) != len(members) {
			t.Errorf("%s has %d members of %d names", name, len(members), len(names))
		}
	}
}

// TestReadOnlyFieldsAreRejected compares the table with AccountMe: every member of
// the answer is known in a request, and the read-only ones are rejected.
func TestReadOnlyFieldsAreRejected(t *testing.T) {
	var w jsonWriter
	if err := w.encode(accountMe{account: &events.Account{}, caller: &events.Credential{}}); err != nil {
		t.Fatal(err)
	}
	data := w.data
	var b body
	if err := b.read(data, hostupBody); err != nil {
		t.Fatal(err)
	}
	for _, f := range b.wrong {
		if f.Code == commands.CodeUnknownField {
			t.Errorf("%s is unknown", f.Field)
		}
	}
}

func TestBodiesThatAreNotAnObjectAreMalformed(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for _, text := range []string{
		"", " ", "null", "true", "7", `"a"`, "[]", "[{}]", "{", "{}}", "{}{}", "{} x", "{}\x00", `{"a"}`, `{"a":}`, `{"a":1,}`,
		`{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":NaN}`, `{"a":1 "b":2}`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`,
		"{\"a\":\"\xff\"}", "{\"\xff\":1}", `{"a":"\ud800"}`, "\ufeff{}", "{/**/}", `{"a":` + deep + `}`,
	} {
		var b body
		if err := b.read([]byte(text), hostupBody); err != errMalformed {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestNumberOfReportedMembersIsLimited(t *testing.T) {
	var text strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&text, `,"%d":0`, i)
	}
	var b body
	if err := b.read([]byte("{"+text.String()[1:]+"}"), hostupBody); err != nil || len(b.wrong) != maxWrong {
		t.Errorf("%d wrong members, %v", len(b.wrong), err)
	}
}

func TestPaywayFormats(t *testing.T) {
	for name, test := range map[string]struct {
		format format
		text   string
		code   string
	}{
		"1024 characters":              {shortText, strings.Repeat("å", 1024), ""},
		"1025 characters":              {shortText, strings.Repeat("å", 1025), commands.CodeTooLong},
		"an email of 1024 characters":  {paywayEmail, strings.Repeat("a", 1015) + "@a.example"[:9], ""},
		"an email of 1025 characters":  {paywayEmail, strings.Repeat("a", 1016) + "@a.example"[:9], commands.CodeTooLong},
		"an email with a line feed":    {paywayEmail, "a@b.se\n", commands.CodeInvalidFormat},
		"an email with two lines":      {paywayEmail, "a@b.se\nb@b.se", commands.CodeInvalidFormat},
		"letters of both cases":        {paywayEmail, "Anna.B+c_d-1@Ex-1.Co.SE", ""},
		"a digit in the last label":    {paywayEmail, "a@b.c0m", commands.CodeInvalidFormat},
		"a mobile number with a comma": {paywayMobile, ",734567890123"[:12], ""},
		"nine digits":                  {paywayMobile, "734567890", commands.CodeInvalidFormat},
		"a zero and twelve digits":     {paywayMobile, "0234567890123", ""},
		"thirteen digits":              {paywayMobile, "1234567890123", commands.CodeInvalidFormat},
		"a leap day":                   {calendarDate, "2024-02-29", ""},
		"no leap day":                  {calendarDate, "2023-02-29", commands.CodeInvalidFormat},
		"a date and a time":            {calendarDate, "2024-02-29T00:00:00Z", commands.CodeInvalidFormat},
	} {
		if code, detail := test.format(test.text); code != test.code || (detail == "") != (code == "") {
			t.Errorf("%s: %q %q", name, code, detail)
		}
	}
}
