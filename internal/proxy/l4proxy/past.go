package l4proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"pharos/internal/proxy/bygone"
	"pharos/internal/shortid"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/pool"
)

// This file keeps connections that are over, for "pharos explain ID".

// CarriedOctets is about what a Carried takes in memory at most, with all its texts.
const CarriedOctets = 4 << 10

// Past is which connections, and sessions of datagrams, are kept.
type Past struct {
	Ring *bygone.Ring[Carried]
	// Every is of how many that were usual one is kept; 0: none. Those that were refused, waited,
	// found a member that was not there, or were cut off, are.
	Every int
}

// NewPast returns a Past of so much memory; nil: nothing is kept.
func NewPast(octets, every int) *Past {
	ring := bygone.New(octets, bygone.Kind[Carried]{
		Name: "connections", Octets: CarriedOctets, Told: func(c *Carried) (string, time.Time) { return c.ID, c.Began },
	})
	if ring == nil {
		return nil
	}
	return &Past{Ring: ring, Every: every}
}

// isSampled reports whether one is kept that is usual.
func (p *Past) isSampled() bool {
	return p != nil && p.Every > 0 && rand.Uint32N(uint32(p.Every)) == 0
}

// PastConnection returns a connection with an id; nil if it is not known any more. kept says in
// words what is.
func (p *Proxy) PastConnection(id string, now time.Time) (c *Carried, kept string) {
	if p == nil || p.cfg.Past == nil {
		return nil, "no connections are kept"
	}
	return p.cfg.Past.Ring.Find(strings.ToLower(id), now), p.cfg.Past.Ring.Text(now)
}

// IDPrefix is what ids of connections begin with.
const IDPrefix = "conn-"

// ParseID reads the id of a connection.
func ParseID(text string) error {
	_, err := shortid.Parse(IDPrefix, text, "a connection")
	return err
}

// idStep is odd, so that no number comes twice until all have come, and large, so that ids which
// follow each other do not look alike.
const idStep = 0x9e3779b97f4a7c15

func (p *Proxy) nextID() string { return shortid.Text(IDPrefix, p.ids.Add(idStep)) }

// Chosen is how a member was chosen, as it was then.
type Chosen struct {
	Policy     string
	Keyed      string   // what was hashed; empty: nothing was
	Back       string   // the member that the client came back for; empty: none
	Candidates []string // the members, in words
}

// Failed is a member that was chosen and not reached.
type Failed struct {
	Member, Address string
	Took            time.Duration
	Cause           string
}

// mostCandidates is how many members are kept of whom one was chosen, and mostCause how long the
// reason may be for which one was not reached.
const (
	mostCandidates = 12
	mostCause      = 160
)

// tell describes the choice as it is now.
func (h *choice) tell() *Chosen {
	v := h.view
	t := &Chosen{Policy: v.Policy.String(), Keyed: h.keyed}
	if h.named >= 0 {
		t.Back = v.Members[h.named].Name
	}
	for i := range v.Members {
		if i == mostCandidates {
			t.Candidates = append(t.Candidates, fmt.Sprintf("and %d more", len(v.Members)-i))
			break
		}
		t.Candidates = append(t.Candidates, balance.Describe(v, i, h.ask.Now))
	}
	return t
}

// failedTo notes that a member could not be reached.
func failedTo(m *pool.Member, took time.Duration, err error) Failed {
	cause := err.Error()
	return Failed{m.Name, m.Address.String(), took, cause[:min(len(cause), mostCause)]}
}

// fate is what of a connection decides whether it is kept.
type fate struct {
	sampled bool
	noted   bool // that it is kept as an unusual one was decided before its end
	told    *Chosen
	failed  []Failed
	waited  time.Duration // for the first member
}

// note keeps how a choice was made that has not gone as it usually does.
func (f *fate) note(p *Proxy, h *choice) {
	past := p.cfg.Past
	if past == nil || f.noted || !past.Ring.Admits(p.cfg.Clock()) {
		return
	}
	f.noted = true
	if f.told == nil {
		f.told = h.tell()
	}
}

// keeps decides whether what has ended so is kept.
func (f *fate) keeps(p *Proxy, end string) bool {
	past := p.cfg.Past
	if past == nil {
		return false
	}
	f.noted = f.noted || isUnusual(end) && past.Ring.Admits(p.cfg.Clock())
	return f.noted || f.sampled
}

// over gives what is over an id, writes its line, and keeps it if it is to be kept.
func (p *Proxy) over(t *Carried, f *fate, keep bool) {
	t.ID, t.Waited = p.nextID(), f.waited
	if p.lines != nil {
		t.write(p)
	}
	if keep {
		kept := *t
		kept.Chosen, kept.Failed = f.told, f.failed
		p.cfg.Past.Ring.Keep(&kept, f.noted)
	}
}

// isUnusual reports whether somebody may ask why it ended so.
func isUnusual(end string) bool {
	switch end {
	case endOrigin, endEvicted, endDown:
		return true
	}
	return strings.HasPrefix(end, endRefused)
}
