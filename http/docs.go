package http

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/swaggest/swgui/v5/static"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"konto/events/schema"
)

// documentation holds the OpenAPI documents, the page that shows them with
// Swagger UI, and the guides in Markdown. The OpenAPI documents are written by
// hand before the code. The documents about events are generated, in events/schema.
//
//go:embed openapi docs
var documentation embed.FS

// docsPolicy lets a page run what konto serves and nothing else: no inline
// script, nothing from elsewhere. Swagger UI's icons are data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// document is a file that is the same for every caller.
type document struct {
	media  string
	zipped []byte // gzip, because nearly all callers accept it
	tag    string // weak: the same for both encodings
}

// documents gives the document that is served at each path.
var documents = sync.OnceValue(func() map[string]*document {
	page := newDocument("docs/contracts.html", gzipped(embedded(documentation, "docs/contracts.html")))
	served := map[string]*document{"/docs": page}
	for _, name := range []string{"hostup", "payway", "generic"} {
		file := "openapi/" + name + ".json"
		served["/"+file] = newDocument(file, gzipped(embedded(documentation, file)))
		served["/docs/"+name] = page
	}
	served["/openapi/admin.json"] = newDocument("openapi/admin.json", gzipped(embedded(documentation, "openapi/admin.json")))
	for _, file := range []string{"docs/start.js", "docs/style.css", "docs/guide.css"} {
		served["/"+file] = newDocument(file, gzipped(embedded(documentation, file)))
	}
	for _, file := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		served["/docs/"+file] = newDocument(file, embedded(static.FS, file+".gz"))
	}
	for at, page := range guides() {
		served[at] = newDocument("guide.html", gzipped(page))
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

// embedded panics if there is no such file, which is a mistake made at build time.
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

// answer sends the document. Callers may cache it, but must revalidate it each
// time, so that a page never mixes files of two versions.
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
	if acceptsGzip(x.r.Header["Accept-Encoding"]) {
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

// guidePage is the HTML around a guide.
var guidePage = template.Must(template.ParseFS(documentation, "docs/guide.html"))

// markdown renders what the guides use. It leaves HTML in the source out.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone))), // a style attribute is inline style
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

// guides renders the guides: docs/backup.md is served at /docs/backup, and
// docs/index.md at /docs/. It panics if a guide cannot be rendered, which is a
// mistake made at build time.
func guides() map[string][]byte {
	files, err := fs.Glob(documentation, "docs/*.md")
	if err != nil {
		panic(err)
	}
	pages := map[string][]byte{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".md")
		page, err := renderGuide(embedded(documentation, file))
		if err != nil {
			panic(err)
		}
		pages["/docs/"+strings.TrimSuffix(name, "index")] = page
	}
	return pages
}

// renderGuide makes a page of a guide, whose first line is its title.
func renderGuide(source []byte) ([]byte, error) {
	title, _, _ := strings.Cut(strings.TrimPrefix(string(source), "# "), "\n")
	root := markdown.Parser().Parse(text.NewReader(source))
	err := ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			link.Destination = []byte(servedAt(string(link.Destination)))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return nil, err
	}
	var body, page bytes.Buffer
	if err := markdown.Renderer().Render(&body, source, root); err != nil {
		return nil, err
	}
	err = guidePage.Execute(&page, map[string]any{"Title": title, "Body": template.HTML(body.String())})
	return page.Bytes(), err
}

// servedAt is where a guide that another guide links to is served. In the
// repository such a link names the guide's file.
func servedAt(link string) string {
	file, section, hasSection := strings.Cut(link, "#")
	name, isGuide := strings.CutSuffix(file, ".md")
	if !isGuide || strings.Contains(name, "/") {
		return link
	}
	if hasSection {
		section = "#" + section
	}
	return "/docs/" + strings.TrimSuffix(name, "index") + section
}

// wellKnownKeys answers with konto's own public keys. They change only with the
// master key, and whoever receives an unknown key asks again, so the answer may be
// cached for an hour.
func (x *exchange) wellKnownKeys() error {
	h := x.w.Header()
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", mediaJSON)
	h.Set("Content-Length", strconv.Itoa(len(x.KeySet)))
	_, _ = x.w.Write(x.KeySet) // fails only when the caller has gone
	return nil
}
