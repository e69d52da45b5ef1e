package http

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is an answer in JSON. Most are encoded by reflection over a struct;
// one with many members that answers most requests writes itself, member by
// member: AccountMe takes 1.5 µs so, and 8 as a struct with a copy of the result.
type object struct {
	data []byte
	err  error // the first text that is no UTF-8
}

// selfWritten is an answer that writes its members.
type selfWritten interface{ write(o *object) }

// objects keeps the room that answers were encoded in.
var objects = sync.Pool{New: func() any { return new(object) }}

// maxKept bounds what one answer leaves in the pool, in bytes.
const maxKept = 64 << 10

func newObject() *object { return objects.Get().(*object) }

// free gives the object's room back: nobody may look at its data any more.
func (o *object) free() {
	if cap(o.data) <= maxKept {
		o.data, o.err = o.data[:0], nil
		objects.Put(o)
	}
}

// encode puts an answer into o.data.
func (o *object) encode(body any) error {
	if w, ok := body.(selfWritten); ok {
		o.data = append(o.data, '{')
		w.write(o)
		o.end()
		return o.err
	}
	buffer := bytes.NewBuffer(o.data)
	err := json.MarshalWrite(buffer, body)
	o.data = buffer.Bytes()
	return err
}

// name begins a member. Names are written as they are: none needs an escape.
func (o *object) name(name string) {
	if o.data[len(o.data)-1] != '{' {
		o.data = append(o.data, ',')
	}
	o.data = append(append(append(o.data, '"'), name...), '"', ':')
}

func (o *object) value(text string) {
	var err error
	if o.data, err = jsontext.AppendQuote(o.data, text); err != nil && o.err == nil {
		o.err = err
	}
}

func (o *object) text(name, value string) {
	o.name(name)
	o.value(value)
}

// orNull writes a text that is null when it is not set.
func (o *object) orNull(name, value string) {
	if value == "" {
		o.null(name)
		return
	}
	o.text(name, value)
}

func (o *object) null(name string) {
	o.name(name)
	o.data = append(o.data, "null"...)
}

func (o *object) flag(name string, value bool) {
	o.name(name)
	o.data = strconv.AppendBool(o.data, value)
}

func (o *object) number(name string, value int) {
	o.name(name)
	o.data = strconv.AppendInt(o.data, int64(value), 10)
}

func (o *object) texts(name string, values []string) {
	o.name(name)
	o.data = append(o.data, '[')
	for i, value := range values {
		if i > 0 {
			o.data = append(o.data, ',')
		}
		o.value(value)
	}
	o.data = append(o.data, ']')
}

// begin opens an object within the object, and end closes it.
func (o *object) begin(name string) {
	o.name(name)
	o.data = append(o.data, '{')
}

func (o *object) end() { o.data = append(o.data, '}') }
