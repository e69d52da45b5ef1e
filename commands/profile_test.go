package commands

import (
	"archive/zip"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"konto/events"
)

// today is when these tests take place.
var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// field finds the change behind a JSON pointer such as /address/street.
func field(u *events.ProfileUpdated, pointer string) *events.Change[string] {
	v := reflect.ValueOf(u).Elem()
	for name := range strings.SplitSeq(pointer[1:], "/") {
		v = v.FieldByIndex(memberNamed(v.Type(), name).Index)
	}
	return v.Addr().Interface().(*events.Change[string])
}

func memberNamed(t reflect.Type, name string) reflect.StructField {
	for i := range t.NumField() {
		if jsonName(t.Field(i)) == name {
			return t.Field(i)
		}
	}
	panic("no member " + name)
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// textFields lists the pointer of every textual field of a profile.
func textFields(t reflect.Type, prefix string) (pointers []string) {
	for i := range t.NumField() {
		switch f := t.Field(i); f.Type {
		case reflect.TypeFor[events.Change[string]]():
			pointers = append(pointers, prefix+jsonName(f))
		case reflect.TypeFor[events.AddressUpdated]():
			pointers = append(pointers, textFields(f.Type, prefix+jsonName(f)+"/")...)
		}
	}
	return pointers
}

func TestEveryTextFieldIsChecked(t *testing.T) {
	pointers := textFields(reflect.TypeFor[events.ProfileUpdated](), "/")
	if !slices.Equal(pointers, events.TextPointers[:]) {
		t.Fatalf("found the textual fields %v, want %v", pointers, events.TextPointers)
	}
	wrong := map[string]string{
		"a\x00b":                         CodeInvalidFormat,
		"a\nb":                           CodeInvalidFormat,
		"a\u2028b":                       CodeInvalidFormat,
		"\xff":                           CodeInvalidFormat,
		" \t ":                           CodeEmpty,
		strings.Repeat("å", 1025):        CodeTooLong,
		"  " + strings.Repeat("x", 1025): CodeTooLong,
	}
	for _, pointer := range pointers {
		for value, code := range wrong {
			for _, formatsDecided := range []bool{false, true} {
				var u events.ProfileUpdated
				*field(&u, pointer) = events.Set(value)
				c := checker{now: today}
				c.profile(&u, events.Profile{}, formatsDecided)
				if len(c.wrong) != 1 || c.wrong[0].Field != pointer || c.wrong[0].Code != code {
					t.Errorf("%s: %+v, want one %s", pointer, c.wrong, code)
				}
				if !u.IsZero() {
					t.Errorf("%s: the wrong change was kept", pointer)
				}
			}
		}
		var u events.ProfileUpdated
		*field(&u, pointer) = events.Clear[string]()
		c := checker{now: today}
		c.profile(&u, events.Profile{}, false)
		if len(c.wrong) != 0 || !field(&u, pointer).Made {
			t.Errorf("%s: clearing gives %+v", pointer, c.wrong)
		}
	}
}

func TestProfileValues(t *testing.T) {
	tests := []struct {
		field, value string
		want         string // "" when code is set
		code         string
	}{
		{"/firstName", "  Anna  Maria ", "Anna  Maria", ""},
		{"/firstName", strings.Repeat("å", 1024), strings.Repeat("å", 1024), ""},
		{"/alias", "😀", "😀", ""},

		{"/accountType", "private", "private", ""},
		{"/accountType", "organisation", "organisation", ""},
		{"/accountType", "Private", "", CodeInvalidValue},
		{"/accountType", "business", "", CodeInvalidValue},

		{"/countryCode", "se", "SE", ""},
		{"/countryCode", "AX", "AX", ""},
		{"/countryCode", "\u017fe", "", CodeInvalidValue}, // whose upper case is SE
		{"/countryCode", "SWE", "", CodeInvalidValue},
		{"/countryCode", "752", "", CodeInvalidValue},
		{"/countryCode", "EU", "", CodeInvalidValue},
		{"/countryCode", "UK", "", CodeInvalidValue},
		{"/countryCode", "SU", "", CodeInvalidValue},
		{"/countryCode", "ZZ", "", CodeInvalidValue},
		{"/address/countryCode", "fi", "FI", ""},
		{"/address/countryCode", "Finland", "", CodeInvalidValue},
		{"/address/citizenshipCountryCode", "no", "NO", ""},
		{"/address/citizenshipCountryCode", "XX", "", CodeInvalidValue},

		{"/birthDate", "1985-05-07", "1985-05-07", ""},
		{"/birthDate", "2024-02-29", "2024-02-29", ""},
		{"/birthDate", "2023-02-29", "", CodeInvalidFormat},
		{"/birthDate", "1985-5-7", "", CodeInvalidFormat},
		{"/birthDate", "07-05-1985", "", CodeInvalidFormat},
		{"/birthDate", "1850-01-01", "1850-01-01", ""},
		{"/birthDate", "1849-12-31", "", CodeInvalidValue},
		{"/birthDate", "0000-01-01", "", CodeInvalidValue},
		{"/birthDate", "0085-05-07", "", CodeInvalidValue},
		{"/birthDate", "2026-11-30", "2026-11-30", ""},
		{"/birthDate", "2026-12-01", "2026-12-01", ""}, // it has begun where days begin first
		{"/birthDate", "2026-12-02", "", CodeInvalidValue},
		{"/birthDate", "2999-01-01", "", CodeInvalidValue},

		{"/languageCode", "sv", "sv", ""},
		{"/languageCode", "no", "no", ""},
		{"/languageCode", "pt-br", "pt-BR", ""},
		{"/languageCode", "english", "", CodeInvalidFormat},
		{"/languageCode", "zz", "", CodeInvalidValue},
		{"/languageCode", "und", "", CodeInvalidValue},
		{"/languageCode", "x-private", "", CodeInvalidValue},

		{"/currencyCode", "sek", "SEK", ""},
		{"/currencyCode", "EUR", "EUR", ""},
		{"/currencyCode", "mru", "MRU", ""},
		{"/currencyCode", "\u017fek", "", CodeInvalidValue},
		{"/currencyCode", "XAU", "", CodeInvalidValue},
		{"/currencyCode", "XDR", "", CodeInvalidValue},
		{"/currencyCode", "kr", "", CodeInvalidValue},
		{"/currencyCode", "ABC", "", CodeInvalidValue},
		{"/currencyCode", "XXX", "", CodeInvalidValue},
		{"/currencyCode", "XTS", "", CodeInvalidValue},

		{"/timeZone", "Europe/Berlin", "Europe/Berlin", ""},
		{"/timeZone", "UTC", "UTC", ""},
		{"/timeZone", "Asia/Calcutta", "Asia/Calcutta", ""},
		{"/timeZone", "US/Pacific", "US/Pacific", ""},
		{"/timeZone", "Etc/GMT+1", "Etc/GMT+1", ""},
		{"/timeZone", "europe/berlin", "", CodeInvalidValue},
		{"/timeZone", "./localtime", "", CodeInvalidValue},
		{"/timeZone", "Europe//Stockholm", "", CodeInvalidValue},
		{"/timeZone", "Europe/./Stockholm", "", CodeInvalidValue},
		{"/timeZone", "Europe/Stockholm/", "", CodeInvalidValue},
		{"/timeZone", "Europe/Stockholm\u200b", "", CodeInvalidValue},
		{"/timeZone", "America", "", CodeInvalidValue},
		{"/timeZone", "Factory", "", CodeInvalidValue},
		{"/timeZone", "zone.tab", "", CodeInvalidValue},
		{"/timeZone", "Europe/Atlantis", "", CodeInvalidValue},
		{"/timeZone", "Local", "", CodeInvalidValue},
		{"/timeZone", "localtime", "", CodeInvalidValue},
		{"/timeZone", "posixrules", "", CodeInvalidValue},
		{"/timeZone", "posix/UTC", "", CodeInvalidValue},
		{"/timeZone", "right/UTC", "", CodeInvalidValue},
		{"/timeZone", "../../etc/passwd", "", CodeInvalidValue},
		{"/timeZone", "+01:00", "", CodeInvalidValue},

		{"/vatNumber", "SE559999999901", "SE559999999901", ""},
		{"/vatNumber", " se 5599 9999 9901 ", "SE559999999901", ""},
		{"/vatNumber", "SE5", "", CodeInvalidFormat},
		{"/vatNumber", "559999999901", "", CodeInvalidFormat},
		{"/vatNumber", "SE" + strings.Repeat("1", 19), "", CodeInvalidFormat},
		{"/vatNumber", "SE-559999999901", "SE559999999901", ""},
		{"/vatNumber", "BE 0123.456.789", "BE0123456789", ""},
		{"/vatNumber", "be\u00a00123\u2011456\u2013789\u200e", "BE0123456789", ""},
		{"/vatNumber", "ATU 12345678", "ATU12345678", ""},
		{"/vatNumber", "FR XX 123 456 789", "FRXX123456789", ""},
		{"/vatNumber", "ES-X1234567R", "ESX1234567R", ""},
		{"/vatNumber", "IE1234567WA", "IE1234567WA", ""},
		{"/vatNumber", "IE1+23456A", "IE1+23456A", ""},
		{"/vatNumber", "ie1*23456a", "IE1*23456A", ""},
		{"/vatNumber", "NL 0000.99998.B57", "NL000099998B57", ""},
		{"/vatNumber", "NL+123456789*", "NL+123456789*", ""},
		{"/vatNumber", "EL 123456789", "EL123456789", ""},
		{"/vatNumber", "GR 123456789", "EL123456789", ""},
		{"/vatNumber", "XI 123 4567 89", "XI123456789", ""},
		{"/vatNumber", "CHE-123.456.789 MWST", "CHE123456789", ""},
		{"/vatNumber", "CHE-123.456.789 TVA", "CHE123456789", ""},
		{"/vatNumber", "che 123 456 789 iva", "CHE123456789", ""},
		{"/vatNumber", "CHE-123.456.789", "CHE123456789", ""},
		{"/vatNumber", "NO 923 456 783 MVA", "NO923456783MVA", ""},
		{"/vatNumber", "DE1+23456A", "", CodeInvalidFormat},
		{"/vatNumber", "\u017fE559999999901", "", CodeInvalidFormat},
		{"/vatNumber", "SE 5599/9999", "", CodeInvalidFormat},

		{"/phoneNumber", "+46700000000", "+46700000000", ""},
		{"/phoneNumber", "0734567890", "+46734567890", ""},
		{"/phoneNumber", "46734567890", "+46734567890", ""},
		{"/phoneNumber", "070-123 45 67", "+46701234567", ""},
		{"/phoneNumber", "0046 (0)70 123 45 67", "+46701234567", ""},
		{"/phoneNumber", "+358 40 1234567", "+358401234567", ""},
		{"/phoneNumber", "070\u2011123\u00a045\u201367", "+46701234567", ""},
		{"/phoneNumber", "\u202d+46 70-123 45 67\u202c", "+46701234567", ""},
		{"/phoneNumber", "\u202d +46 70-123 45 67 \u202c", "+46701234567", ""},
		{"/phoneNumber", "\u200e070\u2212123\u202f45\u200967\ufeff", "+46701234567", ""},
		{"/phoneNumber", "\uff0b\uff14\uff16\uff170\u30001234567", "+46701234567", ""},
		{"/phoneNumber", "\u200b", "", CodeEmpty},
		{"/phoneNumber", "070\u20281234567", "", CodeInvalidFormat},
		{"/phoneNumber", "+46 70 12", "", CodeInvalidValue},
		{"/phoneNumber", "+4670000000000", "", CodeInvalidValue},
		{"/phoneNumber", "+999123456789", "", CodeInvalidFormat},
		{"/phoneNumber", "call 0701234567", "", CodeInvalidFormat},
		{"/phoneNumber", "0701234567;ext=3", "", CodeInvalidFormat},
		{"/phoneNumber", "tel:0701234567", "", CodeInvalidFormat},

		{"/socialSecurityNumber", "850507-3412", "850507-3412", ""},
		{"/socialSecurityNumber", "8112189876", "811218-9876", ""},
		{"/socialSecurityNumber", "8112189875", "", CodeInvalidValue},
		{"/socialSecurityNumber", "165560360793", "", CodeInvalidValue}, // an organisation's
		{"/socialSecurityNumber", "121212+1212", "191212121212", ""},
		{"/companyRegistrationNumber", "556036-0793", "556036-0793", ""},
		{"/companyRegistrationNumber", "165560360793", "556036-0793", ""},
		{"/companyRegistrationNumber", "1234567-8", "1234567-8", ""},
		{"/companyRegistrationNumber", "5560360794", "", CodeInvalidValue},
		{"/companyRegistrationNumber", "5560-360793", "", CodeInvalidFormat},
	}
	for _, tt := range tests {
		t.Run(tt.field+" "+tt.value[:min(20, len(tt.value))], func(t *testing.T) {
			var u events.ProfileUpdated
			change := field(&u, tt.field)
			*change = events.Set(tt.value)
			c := checker{now: today}
			c.profile(&u, events.Profile{}, false)
			if tt.code == "" {
				if len(c.wrong) != 0 || change.To != tt.want {
					t.Fatalf("got %q, %+v; want %q", change.To, c.wrong, tt.want)
				}
				return
			}
			if len(c.wrong) != 1 || c.wrong[0].Field != tt.field || c.wrong[0].Code != tt.code {
				t.Fatalf("got %q, %+v; want %s", change.To, c.wrong, tt.code)
			}
			if strings.Contains(c.wrong[0].Detail, tt.value) {
				t.Errorf("the detail echoes the value: %s", c.wrong[0].Detail)
			}
		})
	}
}

func TestDecidedFormatsAreKept(t *testing.T) {
	tests := []struct{ field, value, want string }{
		{"/phoneNumber", "0734567890", "+46734567890"},
		{"/phoneNumber", ",0000000000", ",0000000000"},
		{"/phoneNumber", "000000000000", "000000000000"},
		{"/socialSecurityNumber", "850507-3412", "850507-3412"},
		{"/socialSecurityNumber", "198112189870", "198112189870"},
		{"/socialSecurityNumber", "999999-9999", "999999-9999"},
		{"/companyRegistrationNumber", "1234567-8", "1234567-8"},
		{"/socialSecurityNumber", "191212121212", "191212121212"},
		{"/socialSecurityNumber", "261215-1234", "192612151234"}, // of somebody who turns 100 this year
		{"/companyRegistrationNumber", "123456-7890", "123456-7890"},
	}
	for _, tt := range tests {
		var u events.ProfileUpdated
		*field(&u, tt.field) = events.Set(tt.value)
		c := checker{now: today}
		c.profile(&u, events.Profile{}, true)
		if got := field(&u, tt.field).To; len(c.wrong) != 0 || got != tt.want {
			t.Errorf("%s %s: got %q, %+v; want %q", tt.field, tt.value, got, c.wrong, tt.want)
		}
	}
}

func TestPhoneNumberIsReadInTheAccountsCountry(t *testing.T) {
	tests := []struct {
		name    string
		present string
		change  events.Change[string]
		want    string
	}{
		{"no country", "", events.Change[string]{}, "+46401234567"},
		{"the account's", "FI", events.Change[string]{}, "+358401234567"},
		{"the update's", "SE", events.Set("fi"), "+358401234567"},
		{"a cleared one", "FI", events.Clear[string](), "+46401234567"},
	}
	for _, tt := range tests {
		u := events.ProfileUpdated{CountryCode: tt.change, PhoneNumber: events.Set("0401234567")}
		c := checker{now: today}
		c.profile(&u, events.Profile{CountryCode: tt.present}, false)
		if u.PhoneNumber.To != tt.want {
			t.Errorf("%s: got %q, %+v; want %q", tt.name, u.PhoneNumber.To, c.wrong, tt.want)
		}
	}
}

// ISO 3166-1 has 249 codes in force; XK, for Kosovo, is the one that is used
// everywhere without being one of them.
func TestCountriesAreThoseOfISO3166(t *testing.T) {
	n := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if isCountry(string([]rune{a, b})) {
				n++
			}
		}
	}
	if n != 250 {
		t.Errorf("%d countries, want 250", n)
	}
}

// The table of currencies is held against what ISO 4217 has in use, and what it had.
func TestCurrenciesAreThoseInUse(t *testing.T) {
	inUse := strings.Fields(`AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
		CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
		HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
		MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
		SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS
		VED VES VND VUV WST XAD XAF XCD XCG XOF XPF YER ZAR ZMW ZWG`)
	var taken []string
	for n := range 26 * 26 * 26 {
		code := string([]byte{byte('A' + n/676), byte('A' + n/26%26), byte('A' + n%26)})
		if _, wrong := currencyCode(code); wrong == nil {
			taken = append(taken, code)
		}
	}
	if !slices.Equal(taken, inUse) {
		t.Errorf("%d are taken, %d are in use: %v", len(taken), len(inUse), taken)
	}
}

// Go's own list is in its source tree, as the archive that time/tzdata embeds.
func TestTimeZonesAreThoseOfGo(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var names []string
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, "/") && f.Name != "Factory" {
			names = append(names, f.Name+"\n")
		}
	}
	slices.Sort(names)
	want := strings.Join(names, "")
	if zoneNames == want {
		return
	}
	for line := range strings.Lines(want) {
		if !strings.Contains("\n"+zoneNames, "\n"+line) {
			t.Errorf("zones.txt lacks %s", line)
		}
	}
	t.Error("zones.txt is not Go's list, in the order of its bytes")
}

func TestInvisibleTextsAreEmpty(t *testing.T) {
	for _, nothing := range []string{
		" ", "\u00a0", "\u3000", "\u1680", "\u200b", "\u200c", "\u200d", "\u200e", "\u202e", "\u2060", "\u2063", "\u2066", "\ufeff", "\u00ad",
		"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u180b", "\u180e", "\ufe0f", "\U000e0020\U000e007f", "\U000e0100", "\u0301", "\u20dd",
		"\u034f", "\u17b4", "\u2065", "\ufff9", "\uffff", "\ufffc", "\U0001d159", "\U0001d173", "\x00", "\x1b", "\u0085", "\u2028",
		" \u200b \u3164\u0301 ",
	} {
		if _, wrong := text(nothing); wrong == nil || wrong.code != CodeEmpty {
			t.Errorf("%+q: %+v", nothing, wrong)
		}
	}
	for _, shown := range []string{"a", "é", "e\u0301", "王", "김", "ก็", "😀", "❤\ufe0f", "👩\u200d🚀", "🏴\U000e0067\U000e0062\U000e007f", ".", "\ue000", "Anna\u00a0Ek", "نام\u200c"} {
		if got, wrong := text(shown); wrong != nil || got != shown {
			t.Errorf("%+q: %+q, %+v", shown, got, wrong)
		}
	}
}

func TestNoPartOfANameIsInvisible(t *testing.T) {
	for _, tt := range []struct{ name, first, last string }{
		{"Anna Maria Ek", "Anna Maria", "Ek"},
		{"Anna", "Anna", ""},
		{"Anna \u200b", "Anna \u200b", ""},
		{"\u3164 Ek", "\u3164 Ek", ""},
	} {
		u := Update{Name: events.Set(tt.name)}
		if wrong := u.check(&events.Account{}, today); len(wrong) > 0 || u.Profile.FirstName.To != tt.first || u.Profile.LastName.To != tt.last {
			t.Errorf("%+q: %+q, %+q, %+v", tt.name, u.Profile.FirstName.To, u.Profile.LastName.To, wrong)
		}
	}
}
