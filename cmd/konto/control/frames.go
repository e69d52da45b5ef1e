package control

import (
	"errors"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// frame is a part of the answer to a command that runs in another process.
type frame struct {
	Print    []byte    `json:"print,omitzero"` // any bytes of the command's output; a rune may be cut
	Progress *Progress `json:"progress,omitzero"`
}

// frames sends each frame at once.
type frames struct {
	to      io.Writer
	flusher *http.ResponseController
}

// Write sends printed text.
func (f frames) Write(p []byte) (int, error) {
	if err := f.send(frame{Print: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Show sends progress. It ignores errors: if the caller is gone, the context ends the command.
func (f frames) Show(p Progress) { f.send(frame{Progress: &p}) }

// Clear implements Meter. The bar is drawn by the caller's process.
func (frames) Clear() {}

func (f frames) send(part frame) error {
	if err := json.MarshalWrite(f.to, part); err != nil {
		return err
	}
	return f.flusher.Flush()
}

// receive prints a command's frames to the output of its caller.
func receive(from io.Reader, out *Output) error {
	dec := jsontext.NewDecoder(from)
	for {
		var part frame
		err := json.UnmarshalDecode(dec, &part, json.RejectUnknownMembers(true))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if part.Progress != nil && out.meter != nil {
			out.meter.Show(*part.Progress)
		}
		if _, err := out.direct.Write(part.Print); err != nil {
			return err
		}
	}
}
