package pages

import (
	"fmt"
	"slices"
	"strings"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/encoders"
)

// Form is a file as a client gets it: in a coding, or as it is.
type Form struct {
	Coding  compress.Coding
	Content []byte
	ETag    string // strong: each form has its own (RFC 9110 §8.8.3.3)
}

// Endings are those of the names of files that hold a file in a coding: app.js.br is app.js.
var Endings = map[compress.Coding]string{compress.Gzip: ".gz", compress.Brotli: ".br", compress.Zstd: ".zst"}

// ready is the order in which forms that came with a file are liked: the smallest first, as a
// rule.
var ready = []compress.Coding{compress.Brotli, compress.Zstd, compress.Gzip}

// Accept takes what lies beside f as f in a coding. It is an error if it is anything else: it
// is of another version, or broken, and a client would get that in place of f.
func (f *File) Accept(c compress.Coding, packed []byte) error {
	if !encoders.IsPacked(c, packed, f.Content) {
		return fmt.Errorf("it does not hold in %s what the file has; make it again", c)
	}
	f.ready[c] = true
	f.keep(c, packed)
	return nil
}

// In returns the form of f for a client, and whether that depends on what it accepts: of the
// forms that it likes as much one that came with f, else one that is made for it and kept.
// Forms that came with f need no rules, which may be nil.
func (f *File) In(rules *compress.Rules, set *encoders.Set, m *compress.Message, accepts [][]byte) (form *Form, varies bool) {
	offered := make([]compress.Coding, 0, 2*len(ready))
	for _, c := range ready {
		if f.ready[c] {
			offered = append(offered, c)
		}
	}
	offered = append(offered, rules.Offers(m)...)
	c := compress.Negotiate(accepts, offered)
	if form = f.forms[c].Load(); form == nil {
		form = f.make(set, c)
	}
	return form, len(offered) > 0
}

// AsItIs returns the form of f that everybody takes.
func (f *File) AsItIs() *Form { return f.forms[compress.Identity].Load() }

// make makes a form of f. What would not be shorter stays as it is, for good; so it does this
// time when too many encoders are in use.
func (f *File) make(set *encoders.Set, c compress.Coding) *Form {
	packed, ok := set.Pack(c, f.Content)
	switch {
	case !ok:
		return f.AsItIs()
	case len(packed) >= len(f.Content):
		f.forms[c].Store(f.AsItIs())
		return f.AsItIs()
	}
	return f.keep(c, slices.Clip(packed))
}

func (f *File) keep(c compress.Coding, content []byte) *Form {
	form := &Form{Coding: c, Content: content, ETag: f.ETag}
	if c != compress.Identity {
		form.ETag = strings.TrimSuffix(f.ETag, `"`) + "-" + c.String() + `"`
	}
	f.forms[c].Store(form)
	return form
}

// isTag reports whether an entity tag is that of f in any form: who has one has them all.
func (f *File) isTag(tag string) bool {
	if tag == f.ETag {
		return true
	}
	for c := range Endings {
		if tag == strings.TrimSuffix(f.ETag, `"`)+"-"+c.String()+`"` {
			return true
		}
	}
	return false
}
