package erasure

import "testing"

func TestEscapesInMessagesAreDecoded(t *testing.T) {
	for text, want := range map[string]string{
		`{"account":"Anna@Example.com"}`:   `{"account":"Anna@Example.com"}`,
		`{"account":"\u0061nna\u0040X.com`: `{"account":"anna@X.com`,
		`"\u00C5sa\/b@example.com"`:        `"Åsa/b@example.com"`,
		`"\ud83d\ude00@example.com"`:       `"😀@example.com"`,
		`"\\u0061nna"`:                     `"\u0061nna"`,
		`\u`:                               `\u`, "": "", `\\`: `\`, `a\`: `a\`, `\x\u0040`: `\x@`, "\xff\\u0040\xff": "\xff@\xff",
		`{,"a":"\n\u0061\ud83d\ude00\t"`: "{,\"a\":\"\na😀\t\"", `\ud83danna`: "\ufffdanna", `\u00e5\ud83d\ude00`: "å😀",
	} {
		if got := unescaped([]byte(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestNameInALongerOneIsAnothers(t *testing.T) {
	for text, want := range map[string]bool{
		`{"account":"anna@example.com"}`: true, "anna@example.com": true, "fact-anna@example.com-17": true, "åanna@example.com. anna@example.com.": true,
		`"says:\nanna@example.com"`: true, "\xffanna@example.com\xff": true, "hanna@example.com": false, "åanna@example.com": false,
		"7anna@example.com anna@example.community": false, "": false,
	} {
		if got := isNamed(unescaped([]byte(text)), "anna@example.com"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !isNamed("client01M80vsz7n2ybkra6h75aeezxp", "01m80vsz7n2ybkra6h75aeezxp") {
		t.Error("an id is nobody else's, whatever it is in")
	}
}

func TestAddressIsFoundInAnySpelling(t *testing.T) {
	const name = "jos\u00e9@b\u00fccher.example"
	for text, want := range map[string]bool{
		"JOSE\u0301@bu\u0308cher.example": true, "fact-jos\u00e9@XN--BCHER-KVA.example-17": true, "<jos\u00e9@b\u00fccher\u3002example>": true,
		"a@b jos\u00e9@b\u00fccher.example@c": true, "jose@b\u00fccher.example": false, "xjos\u00e9@b\u00fccher.example": false,
		"jos\u00e9@b\u00fccher.example1": false, "jos\u00e9@bucher.example": false, "@@": false,
	} {
		if got := isNamed(text, name); got != want {
			t.Errorf("%+q: %v", text, got)
		}
	}
	for _, text := range []string{"boss@g\u0130thub.example", "bo\u017fs@github.example"} {
		if isNamed(text, "boss@github.example") {
			t.Errorf("%+q is another's", text)
		}
	}
}
