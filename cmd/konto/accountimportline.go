package main

import (
	"errors"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// importedAccount is a line of an import.
type importedAccount struct {
	Email         string `json:"email"`
	PaywayID      string `json:"paywayId"`
	Administrator bool   `json:"administrator"`
	PasswordHash  string `json:"passwordHash"`
	events.ProfileUpdated
	Facts events.FactsRecorded `json:"facts"`
}

// readAccount reads a line. reasons is everything that is wrong with it, nil if nothing is.
func readAccount(line []byte) (open commands.Open, reasons []commands.FieldError) {
	var a importedAccount
	var rest jsontext.Value = slices.Clone(line)
	for {
		a = importedAccount{}
		err := json.Unmarshal(rest, &a, json.RejectUnknownMembers(true))
		if err == nil {
			break
		}
		wrong, ok := misfit(err)
		// The decoder stops at the first wrong member. It is removed, and the rest is read again.
		if ok {
			rest, ok = without(rest, slices.Collect(jsontext.Pointer(wrong.Field).Tokens()))
		}
		if !ok {
			return open, append(reasons, commands.FieldError{Code: commands.CodeInvalidType, Detail: "The line must be one JSON object in UTF-8, without members of the same name."})
		}
		reasons = append(reasons, wrong)
	}
	open = commands.Open{
		Email: a.Email, PaywayID: a.PaywayID, Administrator: a.Administrator, PasswordHash: a.PasswordHash,
		Profile: a.ProfileUpdated, Facts: a.Facts,
	}
	if open.PaywayID == "" {
		open.PaywayID = commands.NewPaywayID()
	}
	var invalid *commands.Invalid
	if errors.As(open.Check(time.Now()), &invalid) {
		for _, f := range invalid.Fields {
			if f.Field == "/password" {
				f.Field = "/passwordHash"
			}
			// A member of the wrong type is already among the reasons. For the rules it is missing.
			known := func(r commands.FieldError) bool { return r.Field == f.Field }
			if !slices.ContainsFunc(reasons, known) {
				reasons = append(reasons, f)
			}
		}
	}
	return open, reasons
}

// misfit returns what is wrong with the member that the decoder stopped at. ok is false if it
// stopped at none.
func misfit(err error) (wrong commands.FieldError, ok bool) {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) || semantic.JSONPointer == "" {
		return wrong, false
	}
	wrong.Field = string(semantic.JSONPointer)
	if errors.Is(err, json.ErrUnknownName) {
		wrong.Code, wrong.Detail = commands.CodeUnknownField, "An account has no such member."
		return wrong, true
	}
	wrong.Code, wrong.Detail = commands.CodeInvalidType, "The value has the wrong type."
	return wrong, true
}

// without returns an object without the member at a path. ok is false if it has no such member.
func without(object jsontext.Value, path []string) (rest jsontext.Value, ok bool) {
	var members map[string]jsontext.Value
	if json.Unmarshal(object, &members) != nil {
		return nil, false
	}
	value, ok := members[path[0]]
	if !ok {
		return nil, false
	}
	delete(members, path[0])
	if len(path) > 1 {
		if members[path[0]], ok = without(value, path[1:]); !ok {
			return nil, false
		}
	}
	rest, err := json.Marshal(members)
	return rest, err == nil
}
