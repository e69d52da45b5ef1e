package events

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"
)

// object writes an object in JSON member by member, with the bytes that json.Marshal
// would give of a struct. What is stored for every update is encoded so: to reflect
// over its members, of which most are not set, takes 2 to 7 times as long. Tests hold
// the bytes against the library's.
type object struct {
	data []byte
	err  error // the first that occurred
}

// newObject begins an object that fits into room bytes, or has to be moved.
func newObject(room int) object { return object{data: append(make([]byte, 0, room), '{')} }

func (o *object) close() ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	o.end()
	return o.data, nil
}

// name begins a member. The names need no escapes.
func (o *object) name(name string) {
	if o.data[len(o.data)-1] != '{' {
		o.data = append(o.data, ',')
	}
	o.data = append(append(append(o.data, '"'), name...), '"', ':')
}

// begin opens an object within the object, and end closes it.
func (o *object) begin(name string) {
	o.name(name)
	o.data = append(o.data, '{')
}

func (o *object) end() { o.data = append(o.data, '}') }

func (o *object) null(name string) {
	o.name(name)
	o.data = append(o.data, "null"...)
}

func (o *object) text(name, value string) {
	o.name(name)
	o.keep(jsontext.AppendQuote(o.data, value))
}

// set writes a text if it is set.
func (o *object) set(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

// flag writes what is true.
func (o *object) flag(name string, value bool) {
	if value {
		o.name(name)
		o.data = append(o.data, "true"...)
	}
}

func (o *object) number(name string, value uint64) {
	o.name(name)
	o.data = strconv.AppendUint(o.data, value, 10)
}

func (o *object) id(name string, id ulid.ULID) {
	var text [ulid.EncodedSize]byte
	_ = id.MarshalTextTo(text[:]) // the length fits, and nothing else can fail
	o.name(name)
	o.data = append(append(append(o.data, '"'), text[:]...), '"')
}

func (o *object) time(name string, at time.Time) {
	o.name(name)
	o.data = append(o.data, '"')
	o.keep(at.AppendText(o.data))
	o.data = append(o.data, '"')
}

// other leaves a member to the library.
func (o *object) other(name string, value any) {
	data, err := json.Marshal(value)
	o.name(name)
	o.keep(append(o.data, data...), err)
}

// keep takes over the object's bytes with a value behind them. After an error they
// stay as they were: what else is added does no harm, and is never looked at.
func (o *object) keep(data []byte, err error) {
	if err == nil {
		o.data = data
	} else if o.err == nil {
		o.err = err
	}
}
