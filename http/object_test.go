package http

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// written is an object of every kind of member.
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

func (w written) write(o *object) {
	o.text("text", w.Text)
	o.orNull("null", string(w.Null))
	o.orNull("set", string(w.Set))
	o.flag("flag", w.Flag)
	o.number("number", w.Number)
	o.texts("texts", w.Texts)
	o.texts("none", w.None)
	o.begin("inner")
	o.text("text", w.Inner.Text)
	o.end()
	o.begin("empty")
	o.end()
	o.flag("last", w.Last)
}

func TestAnObjectIsWrittenAsTheLibraryWould(t *testing.T) {
	const odd = "\u2028 \"Å\\\n\x01\x7f</a>&😀{["
	w := written{Text: odd, Set: odd, Flag: true, Number: -7, Texts: []string{"a", odd, ""}}
	w.Inner.Text = odd
	want, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := o.encode(w); err != nil || string(o.data) != string(want) {
		t.Errorf("%s %v\nwant %s", o.data, err, want)
	}
}

// An object's room is used again, but nothing of what was in it.
func TestNoAnswerLeavesATrace(t *testing.T) {
	bad := written{Text: "a\xffb"}
	for range 10 {
		o := newObject()
		if o.encode(bad) == nil {
			t.Error("a text that is no UTF-8 was written")
		}
		o.free()
		o = newObject()
		if err := o.encode(written{}); err != nil || !strings.HasPrefix(string(o.data), `{"text":""`) {
			t.Errorf("after a failed answer: %s %v", o.data, err)
		}
		o.free()
	}
}
