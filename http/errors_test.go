package http

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strings"
	"testing"

	"konto/commands"
	"konto/projections"
)

// answered lists every error for which a contract's table must have a row.
var answered = map[string]error{
	"errNoRoute": errNoRoute, "errMethod": errMethod, "errNoCredential": errNoCredential, "errScheme": errScheme, "errForbidden": errForbidden, "errDelegated": errDelegated,
	"errNotElevated": errNotElevated, "commands.ErrEmailNeedsProof": commands.ErrEmailNeedsProof,
	"errScope": errScope, "errContentType": errContentType, "errContentEncoding": errContentEncoding, "errMalformed": errMalformed, "errTooLarge": errTooLarge,
	"errIssuerAway": errIssuerAway, "errRateLimited": errRateLimited,
	"errCrossSite": errCrossSite, "errNotAcceptable": errNotAcceptable, "errTooSlow": errTooSlow,

	"errIdempotencyKey": errIdempotencyKey, "commands.ErrReused": commands.ErrReused,
	"commands.ErrNotFound": commands.ErrNotFound, "commands.ErrAdministratorEmail": commands.ErrAdministratorEmail,
	"commands.ErrVersion": commands.ErrVersion, "commands.ErrInvalid": commands.ErrInvalid,
	"errBehind": errBehind, "commands.ErrUnavailable": commands.ErrUnavailable,
	"commands.ErrBusy": commands.ErrBusy, "commands.ErrTaken": commands.ErrTaken, "commands.ErrTooMany": commands.ErrTooMany,
	"commands.ErrPendingOrder": commands.ErrPendingOrder, "commands.ErrNoEmailChange": commands.ErrNoEmailChange,

	"projections.ErrUnauthenticated": projections.ErrUnauthenticated, "projections.ErrNoAccount": projections.ErrNoAccount,
}

func contracts() map[string]*contract {
	return map[string]*contract{"hostup": &hostup, "payway.v1": &payway, "payway.v0": &paywayEarlier, "generic": &generic}
}

func TestErrorTablesAnswerEveryDeclaredError(t *testing.T) {
	for source, prefix := range map[string]string{"errors.go": "", "../commands/command.go": "commands."} {
		names := errorNames(t, source)
		if len(names) == 0 {
			t.Errorf("%s declares no errors", source)
		}
		for _, name := range names {
			if _, ok := answered[prefix+name]; !ok && name != "errPanic" {
				t.Errorf("%s declares %s, which no contract answers", source, name)
			}
		}
	}
}

// errorNames lists the package variables of a file that errors.New makes.
func errorNames(t *testing.T, file string) (names []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if strings.HasPrefix(strings.ToLower(name.Name), "err") {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

func TestEveryContractAnswersEveryError(t *testing.T) {
	for name, c := range contracts() {
		for text, err := range answered {
			row := c.errors.find(fmt.Errorf("while testing: %w", err))
			// Only if something else cannot be reached a caller gets a status above 499.
			away := row.status == http.StatusServiceUnavailable && row.code == "unavailable"
			if row.err == nil || row.status < 400 || row.status >= 500 && !away || row.code == "" {
				t.Errorf("%s answers %s with %+v", name, text, row)
			}
		}
		if row := c.errors.find(errors.New("another")); row.err != nil || row.status != http.StatusInternalServerError || row.text == "" {
			t.Errorf("%s answers an unknown error with %+v", name, row)
		}
	}
}

func TestEveryRowOfAnErrorTableIsReachable(t *testing.T) {
	for name, c := range contracts() {
		for i, row := range c.errors[:len(c.errors)-1] {
			if found := c.errors.find(row.err); found != row {
				t.Errorf("%s: row %d for %q is never found", name, i, row.err)
			}
		}
	}
}

func TestEveryHostUpCodeHasATitle(t *testing.T) {
	for _, row := range hostup.errors {
		if hostupTitles[row.code] == "" {
			t.Errorf("%s has no title", row.code)
		}
	}
}

func TestPaywayAnswersEveryFieldErrorWithAMessage(t *testing.T) {
	for _, code := range []string{
		commands.CodeUnknownField, commands.CodeFieldNotAllowed, commands.CodeDuplicateField, commands.CodeInvalidType,
		commands.CodeNotNullable, commands.CodeEmpty, commands.CodeTooLong, commands.CodeInvalidFormat,
		commands.CodeInvalidValue, commands.CodeMustBeSet, commands.CodeTaken, commands.CodeNotAllowed,
	} {
		err := &commands.Invalid{Fields: []commands.FieldError{{Field: "/address/city", Code: code, Detail: "A detail."}}}
		e := renderPayway(&exchange{contract: &payway}, payway.errors.find(err), err).(paywayError)
		if e.code == "" || e.field != "address city" || e.message == "" {
			t.Errorf("%s is answered with %+v", code, e)
		}
	}
}
