package filter

import (
	"fmt"
	"strings"
)

// Did is what one step did to a request.
type Did struct {
	Step string
	What string
	Pass bool
}

// Explain tells what each step of c would do to a request, by the code that does it. Nothing
// is counted, taken or asked. The verdict is that of the chain.
func (c *Chain) Explain(p *Pass) (all []Did, v Verdict) {
	if c == nil {
		return nil, v
	}
	p.explains = true
	for i, s := range c.steps {
		p.notes = p.notes[:0]
		if s != nil {
			v = s.decide(p)
		}
		if v.Status != 0 {
			what := fmt.Sprintf("answered with %d", v.Status)
			if v.Kind != "" {
				what = fmt.Sprintf("refused with %d", v.Status)
			}
			return append(all, Did{c.names[i], what + ": " + v.Text, false}), v
		}
		p.notes = append(p.notes, c.fieldsOf(i)...)
		all = append(all, Did{c.names[i], strings.Join(p.notes, "; "), true})
	}
	return all, v
}

// fieldsOf tells which fields step i writes and takes out.
func (c *Chain) fieldsOf(i int) (out []string) {
	for _, s := range c.sets {
		if i >= len(s.steps) {
			i -= len(s.steps)
			continue
		}
		f := &s.steps[i].fields
		if book := s.steps[i].pages; book != nil {
			out = append(out, book.String())
		}
		for j, list := range [][]change{f.request, f.response} {
			var writes, drops []string
			for _, ch := range list {
				if ch.text != nil || ch.writes != nil {
					writes = append(writes, ch.name)
				} else {
					drops = append(drops, ch.name)
				}
			}
			what := [...]string{"the request", "responses"}[j]
			if len(drops) > 0 {
				out = append(out, fmt.Sprintf("takes %s out of %s", strings.Join(drops, ", "), what))
			}
			if len(writes) > 0 {
				out = append(out, fmt.Sprintf("writes %s into %s", strings.Join(writes, ", "), what))
			}
		}
		return out
	}
	return nil
}

// note tells what the step at hand does, if somebody wants to know.
func (p *Pass) note(format string, args ...any) {
	if p.explains {
		p.notes = append(p.notes, fmt.Sprintf(format, args...))
	}
}
