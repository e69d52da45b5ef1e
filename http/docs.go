package http

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/swaggest/swgui/v5/static"

	"konto/events/schema"
)

// documentation holds the OpenAPI documents, which are written by hand and come
// before the code, and the page that shows them with Swagger UI. What consumers of
// events are promised is made of the events, in events/schema.
//
//go:embed openapi docs
var documentation embed.FS

// docsPolicy lets the page run what konto serves and nothing else: no inline
// script, nothing from elsewhere. Swagger UI's icons are data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// document is a file that is the same for every caller.
type document struct {
	media  string
	zipped []byte // gzip, as nearly all callers take it
	tag    string // weak: the same for both encodings
}

// documents gives what is served at each path.
var documents = sync.OnceValue(func() map[string]*document {
	page := newDocument("docs/page.html", gzipped(embedded(documentation, "docs/page.html")))
	served := map[string]*document{"/docs": page}
	for _, name := range []string{"hostup", "payway", "generic"} {
		file := "openapi/" + name + ".json"
		served["/"+file] = newDocument(file, gzipped(embedded(documentation, file)))
		served["/docs/"+name] = page
	}
	for _, file := range []string{"docs/start.js", "docs/style.css"} {
		served["/"+file] = newDocument(file, gzipped(embedded(documentation, file)))
	}
	for _, file := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		served["/docs/"+file] = newDocument(file, embedded(static.FS, file+".gz"))
	}
	served["/asyncapi.json"] = newDocument("asyncapi.json", gzipped(schema.AsyncAPI()))
	for _, s := range schema.All() {
		served[s.Path()] = newDocument(s.Path(), gzipped(s.Document))
	}
	return served
})

var documentMedia = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".json": mediaJSON,
}

// embedded panics when there is no such file, which is a mistake made at build time.
func embedded(files fs.FS, name string) []byte {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		panic(err)
	}
	return data
}

func newDocument(name string, zipped []byte) *document {
	sum := sha256.Sum256(zipped)
	return &document{media: documentMedia[path.Ext(name)], zipped: zipped, tag: `W/"` + hex.EncodeToString(sum[:8]) + `"`}
}

// answer sends the document. Callers may keep it, and ask each time whether it
// is still the same, so that a page never mixes files of two versions.
func (d *document) answer(x *exchange) error {
	h := x.w.Header()
	h.Set("Cache-Control", "public, no-cache")
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("ETag", d.tag)
	if unchanged(x.r.Header, d.tag) {
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", d.media)
	if takesGzip(x.r.Header["Accept-Encoding"]) {
		h.Set("Content-Encoding", "gzip")
		_, _ = x.w.Write(d.zipped) // fails only when the caller has gone
		return nil
	}
	plain, err := gzip.NewReader(bytes.NewReader(d.zipped))
	if err != nil {
		return fmt.Errorf("unpack document: %w", err)
	}
	_, _ = io.Copy(x.w, plain)
	return nil
}
