package served

import (
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/terms"
)

// Files gives routes the files that they answer with, by the numbers of the rules that t was
// compiled of; nil: a route has none. It is to be called before t is used.
func (t *Table) Files(by []func() *pages.File) { t.files = by }

// FileOf returns the file that a route answers with; nil if it has none.
func (t *Table) FileOf(route int) *pages.File {
	if t.files == nil || t.files[route] == nil {
		return nil
	}
	return t.files[route]()
}

// Terms gives routes terms, by the numbers of the rules that t was compiled of; nil: a route
// has none. It is to be called before t is used.
func (t *Table) Terms(by []*terms.Terms) { t.terms = by }

// TermsOf returns the terms of a route by its number; nil: it has none.
func (t *Table) TermsOf(route int) *terms.Terms {
	if t.terms == nil {
		return nil
	}
	return t.terms[route]
}
