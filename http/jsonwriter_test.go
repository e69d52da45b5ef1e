package http

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// orNull is a text that the library writes as null if it is empty.
type orNull string

func (s orNull) MarshalJSONTo(enc *jsontext.Encoder) error {
	if s == "" {
		return enc.WriteToken(jsontext.Null)
	}
	return enc.WriteToken(jsontext.String(string(s)))
}

// written has a member of every kind.
type written struct {
	Text   string   `json:"text"`
	Null   orNull   `json:"null"`
	Set    orNull   `json:"set"`
	Flag   bool     `json:"flag"`
	Number int      `json:"number"`
	Texts  []string `json:"texts"`
	None   []string `json:"none"`
	Inner  struct {
		Text string `json:"text"`
	} `json:"inner"`
	Empty struct{} `json:"empty"`
	Last  bool     `json:"last"`
}

func (m written) write(w *jsonWriter) {
	w.text("text", m.Text)
	w.orNull("null", string(m.Null))
	w.orNull("set", string(m.Set))
	w.flag("flag", m.Flag)
	w.number("number", m.Number)
	w.texts("texts", m.Texts)
	w.texts("none", m.None)
	w.begin("inner")
	w.text("text", m.Inner.Text)
	w.end()
	w.begin("empty")
	w.end()
	w.flag("last", m.Last)
}

func TestJSONWriterWritesWhatTheLibraryWrites(t *testing.T) {
	const odd = "\u2028 \"Å\\\n\x01\x7f</a>&😀{["
	value := written{Text: odd, Set: odd, Flag: true, Number: -7, Texts: []string{"a", odd, ""}}
	value.Inner.Text = odd
	want, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var w jsonWriter
	if err := w.encode(value); err != nil || string(w.data) != string(want) {
		t.Errorf("%s %v\nwant %s", w.data, err, want)
	}
}

// TestReusedBufferHoldsNoEarlierAnswer encodes into buffers that failed answers used.
func TestReusedBufferHoldsNoEarlierAnswer(t *testing.T) {
	bad := written{Text: "a\xffb"}
	for range 10 {
		w := newJSONWriter()
		if w.encode(bad) == nil {
			t.Error("a text that is not UTF-8 was written")
		}
		w.free()
		w = newJSONWriter()
		if err := w.encode(written{}); err != nil || !strings.HasPrefix(string(w.data), `{"text":""`) {
			t.Errorf("after a failed answer: %s %v", w.data, err)
		}
		w.free()
	}
}
