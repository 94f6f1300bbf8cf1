package filter

import (
	"fmt"

	"pharos/internal/proxy/pages"
)

// Pages are pages that clients get with errors, in place of a line of text.
type Pages struct {
	Pages   []pages.Spec
	Origins bool // in place of errors of origin servers, too
}

func (p *Pages) compile(means Means) (*pages.Book, error) {
	b, err := pages.Compile(p.Pages, p.Origins, means.File)
	if err != nil {
		return nil, fmt.Errorf("errorPages: %w", err)
	}
	return b, nil
}

// Page returns the page for an error, by its status and what the client accepts; nil: there is
// none. The steps that come last have the first word. origin: it is an error that the origin
// server has answered.
func (c *Chain) Page(status int, accept []byte, origin bool) *pages.Page {
	if c == nil {
		return nil
	}
	for i := len(c.pages) - 1; i >= 0; i-- {
		if origin && !c.pages[i].Origins {
			continue
		}
		if p := c.pages[i].Find(status, accept); p != nil {
			return p
		}
	}
	return nil
}

// HasPages reports whether c has pages for errors: of the gateway's own, or of origin servers.
func (c *Chain) HasPages(origin bool) bool {
	if c == nil {
		return false
	}
	for _, b := range c.pages {
		if b.Origins || !origin {
			return true
		}
	}
	return false
}
