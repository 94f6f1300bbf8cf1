// Package pages makes the content of responses that the gateway gives itself: files that it
// answers with, and pages that say what went wrong.
//
// It owns what a file is to HTTP (its media type, its validators, its compressed forms), which page of several a
// client gets for a status, and texts with variables. It does not read files (package vouch
// does), nor does it write responses (package httpproxy).
//
//	{"pages": 404, 5xx} --Compile--> Book --Find(status, Accept)--> Page --Append--> content
//
// What comes from a request stands in a page only escaped for its media type: a page that
// shows the path must not run what is in it.
//
// Entry points: Compile, Book.Find, Page.Append, NewFile, File.In, TypeOf.
//
// Concurrency: Books are constant but for what their files are at the time. Files are
// constant once their forms were accepted, but for those that are made when they are asked for.
//
// Sources: RFC 9110 §8.8.3 (entity tags), §12.5.1 (Accept), §13.1.2 (If-None-Match), §15
// (status codes); RFC 8259 §7 (strings of JSON).
package pages

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"pharos/internal/proxy/compress"
)

// Limits, arbitrary, far above use.
const (
	// MaxPage is the longest content of a page, in octets, before its variables.
	MaxPage = 64 << 10
	// maxValue is how many octets of a value a page shows: a path may be long.
	maxValue = 256
)

// Spec is one page as the operator writes it.
type Spec struct {
	Statuses []string // "404", or "4xx" and "5xx"
	Type     string   // media type; empty: by the name of the file, else HTML
	File     string
	Content  string // in place of File
}

// Read returns how to get at a file as it is at the time.
type Read func(file string) (func() *File, error)

// Book is pages, by status.
type Book struct {
	pages   []*Page
	Origins bool // in place of errors of origin servers, too
}

// Page is one page.
type Page struct {
	Type string

	statuses [6][]int // by the first digit; an empty one that is not nil: all of them
	kind     kind
	text     text
	file     func() *File // in place of text; nil: text it is
}

// kind is how values are escaped.
type kind uint8

const (
	plain  kind = iota
	markup      // HTML and XML
	object      // JSON, within a string
)

func kindOf(mediaType string) kind {
	base, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	switch base = strings.TrimSpace(base); {
	case base == "text/html" || strings.HasSuffix(base, "xml"):
		return markup
	case base == "application/json" || strings.HasSuffix(base, "+json"):
		return object
	}
	return plain
}

// types are those of files by the endings of their names; that of others is
// application/octet-stream. The operator's system is not asked, so that all nodes say the same.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".json": "application/json", ".xml": "application/xml",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon",
	".pdf": "application/pdf", ".wasm": "application/wasm", ".woff2": "font/woff2", ".woff": "font/woff", ".map": "application/json", ".webmanifest": "application/manifest+json",
	".md": "text/markdown; charset=utf-8", ".pem": "application/x-pem-file", ".csv": "text/csv; charset=utf-8",
}

// TypeOf returns the media type of a file by the ending of its name.
func TypeOf(file string) string {
	if t := types[strings.ToLower(path.Ext(file))]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// Compile makes a Book. read is nil for one that is only looked at.
func Compile(specs []Spec, origins bool, read Read) (*Book, error) {
	b := &Book{Origins: origins}
	for i := range specs {
		p, err := compile(&specs[i], read)
		if err != nil {
			return nil, fmt.Errorf("pages[%d]: %w", i, err)
		}
		b.pages = append(b.pages, p)
	}
	if len(b.pages) == 0 {
		return nil, fmt.Errorf("there is no page")
	}
	return b, nil
}

func compile(s *Spec, read Read) (*Page, error) {
	p := &Page{Type: s.Type, text: parse([]byte(s.Content))}
	switch {
	case (s.File == "") == (s.Content == ""):
		return nil, fmt.Errorf("a page has a file or content")
	case len(s.Content) > MaxPage:
		return nil, fmt.Errorf("the content is longer than %d octets", MaxPage)
	case strings.ContainsFunc(s.Type, func(c rune) bool { return c < ' ' || c > '~' }):
		return nil, fmt.Errorf("%q is no media type", s.Type)
	case len(s.Statuses) == 0:
		return nil, fmt.Errorf("it says no status; want some, as in statuses: [\"404\", 5xx]")
	}
	if p.Type == "" && s.File != "" {
		p.Type = TypeOf(s.File)
	} else if p.Type == "" {
		p.Type = types[".html"]
	}
	p.kind = kindOf(p.Type)
	for _, status := range s.Statuses {
		if err := p.add(status); err != nil {
			return nil, err
		}
	}
	if s.File == "" || read == nil {
		return p, nil
	}
	var err error
	if p.file, err = read(s.File); err == nil && len(p.file().Content) > MaxPage {
		err = fmt.Errorf("%s: longer than %d octets", s.File, MaxPage)
	}
	return p, err
}

func (p *Page) add(status string) error {
	if class := strings.TrimSuffix(status, "xx"); class == "4" || class == "5" {
		p.statuses[class[0]-'0'] = []int{}
		return nil
	}
	n, err := strconv.Atoi(status)
	if err != nil || n < 400 || n > 599 {
		return fmt.Errorf("%q is no status of an error; want 400 to 599, 4xx or 5xx", status)
	}
	if list := p.statuses[n/100]; list == nil || len(list) > 0 {
		p.statuses[n/100] = append(list, n)
	}
	return nil
}

// rank is how well a page fits a status: 0 is not at all, 2 by name.
func (p *Page) rank(status int) int {
	list := p.statuses[status/100%6]
	for _, n := range list {
		if n == status {
			return 2
		}
	}
	if list != nil && len(list) == 0 {
		return 1
	}
	return 0
}

// String says in words what b is for.
func (b *Book) String() string {
	of := "errors of the gateway"
	if b.Origins {
		of += " and of origin servers"
	}
	return fmt.Sprintf("has %d pages for %s", len(b.pages), of)
}

// Find returns the page for a status: of those that name it the one whose media type the
// client likes best, else of those for its class; of several the first. nil: there is none.
func (b *Book) Find(status int, accept []byte) (best *Page) {
	if b == nil {
		return nil
	}
	rank, liked := 0, -1
	for _, p := range b.pages {
		r := p.rank(status)
		if r == 0 || r < rank {
			continue
		}
		if q := quality(accept, p.Type); r > rank || q > liked {
			best, rank, liked = p, r, q
		}
	}
	return best
}

// quality returns how much a client likes a media type, in thousandths (RFC 9110 §12.5.1).
func quality(accept []byte, mediaType string) int {
	if len(accept) == 0 {
		return 1000
	}
	base, _, _ := strings.Cut(mediaType, ";")
	major, _, _ := strings.Cut(base, "/")
	result, exactness := 0, 0
	for rest := accept; len(rest) > 0; {
		var item []byte
		item, rest, _ = bytes.Cut(rest, []byte(","))
		name, q, ok := compress.ParseItem(weighted(item))
		if !ok {
			continue
		}
		exact := 0
		switch text := string(name); {
		case strings.EqualFold(text, base):
			exact = 3
		case strings.EqualFold(text, major+"/*"):
			exact = 2
		case text == "*/*":
			exact = 1
		}
		if exact > exactness {
			result, exactness = q, exact
		}
	}
	return result
}

// weighted returns a media range without its parameters, which pages have none of, but for its
// weight.
func weighted(item []byte) []byte {
	name, _, _ := bytes.Cut(item, []byte(";"))
	last := bytes.TrimSpace(item[bytes.LastIndexByte(item, ';')+1:])
	if len(name) == len(item) || len(last) < 2 || last[0]|0x20 != 'q' || last[1] != '=' {
		return name
	}
	return append(append(append([]byte{}, name...), ';'), last...)
}

// Values are what stands for variables.
type Values struct {
	Status             int
	Reason             string // phrase of the status
	ID                 []byte
	Host, Method, Path []byte
}

// Append appends the content of the page.
func (p *Page) Append(b []byte, v *Values) []byte {
	t := p.text
	if p.file != nil {
		t = p.file().text
	}
	return t.append(b, p.kind, v)
}

// variable is what stands between braces.
type variable uint8

const (
	none variable = iota
	status
	reason
	requestID
	host
	method
	requestPath
)

var variables = map[string]variable{"status": status, "reason": reason, "requestId": requestID, "host": host, "method": method, "path": requestPath}

// text is literal pieces, each followed by what stands for a variable.
type text []piece

type piece struct {
	literal []byte
	then    variable
}

// parse cuts a text at its variables. Braces around anything else are what they are: pages
// have styles and scripts.
func parse(content []byte) (t text) {
	from := 0
	for at := 0; at < len(content); at++ {
		if content[at] != '{' {
			continue
		}
		end := bytes.IndexByte(content[at:min(len(content), at+len("{requestId}"))], '}')
		if end < 0 {
			continue
		}
		if v := variables[string(content[at+1:at+end])]; v != none {
			t = append(t, piece{content[from:at], v})
			at += end
			from = at + 1
		}
	}
	return append(t, piece{content[from:], none})
}

func (t text) append(b []byte, k kind, v *Values) []byte {
	for i := range t {
		b = append(b, t[i].literal...)
		switch t[i].then {
		case status:
			b = strconv.AppendInt(b, int64(v.Status), 10)
		case reason:
			b = appendEscaped(b, k, []byte(v.Reason))
		case requestID:
			b = appendEscaped(b, k, v.ID)
		case host:
			b = appendEscaped(b, k, v.Host)
		case method:
			b = appendEscaped(b, k, v.Method)
		case requestPath:
			b = appendEscaped(b, k, v.Path)
		}
	}
	return b
}

// appendEscaped appends a value so that it is nothing but text in content of that kind.
func appendEscaped(b []byte, k kind, value []byte) []byte {
	value = value[:min(len(value), maxValue)]
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		octets := value[:n]
		value = value[n:]
		switch {
		case r == utf8.RuneError || r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029':
			b = append(b, '?')
		case k == markup && strings.ContainsRune(`<>&"'`+"`", r):
			b = append(strconv.AppendInt(append(b, "&#"...), int64(r), 10), ';')
		case k == object && strings.ContainsRune(`"\/<>&`, r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, octets...)
		}
	}
	return b
}

// File is a file that is answered with. Make it with NewFile.
type File struct {
	Content []byte
	ETag    string // strong: the content is always the same octets
	text    text
	ready   [len(forms{})]bool // forms that came with it
	forms   forms
}

// forms are those of a file by their codings; nil: it is not made yet.
type forms [compress.Zstd + 1]atomic.Pointer[Form]

// NewFile returns a file with that content.
func NewFile(content []byte) *File {
	sum := sha256.Sum256(content)
	f := &File{Content: content, ETag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, text: parse(content)}
	f.keep(compress.Identity, content)
	return f
}

// IsKnown reports whether the client has the file already, by If-None-Match (RFC 9110
// §13.1.2).
func (f *File) IsKnown(ifNoneMatch []byte) bool {
	for rest := ifNoneMatch; len(rest) > 0; {
		var tag []byte
		tag, rest, _ = bytes.Cut(rest, []byte(","))
		if tag = bytes.TrimSpace(tag); string(tag) == "*" || f.isTag(string(bytes.TrimPrefix(tag, []byte("W/")))) {
			return true
		}
	}
	return false
}
