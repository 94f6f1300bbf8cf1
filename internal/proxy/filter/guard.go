package filter

import "slices"

// This file has a request prove whose it is before its content is read. What a route goes by
// may be in the content; who may ask at all is in the head. Where all the routes that a request
// may take ask for the same proof first, it is given first.

// isGuard reports whether a step lets only those pass who show who they are.
func isGuard(s step) bool {
	switch s := s.(type) {
	case *basic, *asker:
		return true
	case *bearer:
		return !s.spec.Optional
	}
	return false
}

// guardsAlone reports whether all steps of c so far go by the head of a request alone, and
// neither by its route nor by how many there are: they say the same whichever route it is.
func (c *Chain) guardsAlone() bool {
	return !slices.ContainsFunc(c.steps, func(s step) bool {
		switch s.(type) {
		case nil, *clients, *Limits, *basic, *bearer, *asker:
			return false
		}
		return true
	})
}

// Guards reports whether c, and other after it, begin with the same steps that show who the
// client is.
func (c *Chain) Guards(other *Chain) bool {
	return c != nil && other != nil && c.guard > 0 && c.guard == other.guard && slices.Equal(c.steps[:c.guard], other.steps[:c.guard])
}

// Prove has p go through the steps of c that show who the client is. Resume follows, of c or of
// a chain with the same ones.
func (c *Chain) Prove(p *Pass, tally *Tally) Verdict {
	p.next = 0
	return c.until(c.guard, p, tally)
}
