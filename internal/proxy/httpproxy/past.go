package httpproxy

import (
	"fmt"
	"math/rand/v2"
	"time"

	"pharos/internal/proxy/tracecontext"
)

// Past is which requests are kept for whoever asks what became of one.
type Past struct {
	Ring *tracecontext.Ring
	// Every is of how many requests that were usual one is kept; 0: none. Those that failed,
	// were refused, waited or were tried more than once are.
	Every int
}

// mostCandidates is how many members are kept of whom one was picked.
const mostCandidates = 12

// keep keeps a request that is over, if it is to be.
func (c *client) keep(x *exchange, r *tracecontext.Request) {
	s := c.server
	unusual := x.status >= 500 || x.status == 0 || x.reason != "" || x.tries > 1 || x.choice.held > 0
	switch {
	case !x.hasHead():
		return // it has no id, and nobody can ask for it
	case unusual && !s.cfg.Past.Ring.Admits(time.Duration(s.now.Load())):
		return
	case !unusual && (s.cfg.Past.Every == 0 || rand.Uint32N(uint32(s.cfg.Past.Every)) != 0):
		return
	}
	c.identify(x)
	if r == nil {
		r = c.describe(x)
	}
	s.cfg.Past.Ring.Keep(r, unusual)
}

// candidates says who could have been picked, and why the others could not.
func (x *exchange) candidates() (all []string) {
	v := x.choice.view
	if v == nil || x.pool == nil {
		return nil
	}
	for i := range v.Members {
		if i == mostCandidates {
			return append(all, fmt.Sprintf("and %d more", len(v.Members)-i))
		}
		m := &v.Members[i]
		why := v.Tier.Excludes(m.State)
		if v.AllDown {
			why = "" // all are asked, as nobody is well
		}
		if why == "" {
			all = append(all, fmt.Sprintf("%s %s", m.Name, m.State))
		} else {
			all = append(all, fmt.Sprintf("%s %s: out, %s", m.Name, m.State, why))
		}
	}
	return all
}

// PastRequest returns the last request with an id; nil if it is not known any more. kept says
// in words what is.
func (s *Server) PastRequest(id string, now time.Time) (r *tracecontext.Request, kept string) {
	if s == nil || s.cfg.Past == nil {
		return nil, "no requests are kept"
	}
	return s.cfg.Past.Ring.Find(id, now), s.cfg.Past.Ring.Text(now)
}
