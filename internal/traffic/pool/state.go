package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/outlier"
)

// Passive is what a pool makes of the traffic that its members carry, beside the runs of
// failures that health.Params counts. The zero Passive has the defaults.
type Passive struct {
	Rules outlier.Rules
	// Statuses are the HTTP status codes that are a member's own errors; zero: 500 and 502
	// to 504. 501 and 505 are about the request.
	Statuses health.StatusSet
	// MaxEjected is how much of the members, in percent, may be out though probes do not
	// find them down; one may always be. 0: DefaultMaxEjected.
	MaxEjected int
	Off        bool // traffic is not listened to
}

// DefaultMaxEjected leaves half of a pool: what makes more than that fail is rather
// something that they have in common, which is not mended by loading the others.
const DefaultMaxEjected = 50

func (p *Passive) validate() error {
	if p.MaxEjected < 0 || p.MaxEjected > 100 {
		return fmt.Errorf("maxEjected %d: want 0 to 100 percent", p.MaxEjected)
	}
	return nil
}

// IsError reports whether a status of a response is an error of the member.
func (p *Passive) IsError(status int) bool {
	if p.Statuses.IsZero() {
		return status == 500 || 502 <= status && status <= 504
	}
	return p.Statuses.Has(status)
}

// evidence is what is known of the targets of a member. What the view shows follows from
// it (decideStates).
type evidence struct {
	target heard
	agent  *heard // of its agent; nil: it has none
}

// heard is what a view takes of the status of a target.
type heard struct {
	state health.State
	since time.Time
	cause string
	notes *health.Notes // nil: none, as of most; never written to
}

func hear(s *health.Status) heard {
	h := heard{state: s.State, since: s.Since, cause: s.Cause}
	if s.Notes != (health.Notes{}) {
		notes := s.Notes
		h.notes = &notes
	}
	return h
}

// noted returns the notes.
func (h *heard) noted() health.Notes {
	if h == nil || h.notes == nil {
		return health.Notes{}
	}
	return *h.notes
}

// isStale reports whether what a view knows of a target is otherwise than s says.
func (h *heard) isStale(s *health.Status) bool {
	return h.noted() != s.Notes || h.state != s.State || !h.since.Equal(s.Since)
}

// listen takes in what an agent is.
func (e *evidence) listen(s health.Status) {
	h := hear(&s)
	e.agent = &h
}

// latest returns when the last of it began to be so.
func (e *evidence) latest() time.Time {
	if e.agent == nil {
		return e.target.since
	}
	return later(e.target.since, e.agent.since)
}

func (m *Member) hasAgent() bool { return m.Agent != health.Target{} }

// decideStates gives every member the state that follows from the evidence.
func (v *View) decideStates() {
	for i := range v.Members {
		v.Members[i].decideState()
	}
	v.spare()
}

// decideState joins what is known of a member: what its check and traffic say, and over
// that what its agent says, and over that what the configuration or an operator says. That an agent
// cannot be reached says nothing of the member.
func (m *Member) decideState() {
	s := &m.known.target
	m.Notes, m.State, m.Since, m.Cause = s.noted(), s.state, s.since, s.cause
	if m.known.agent != nil {
		m.hearAgent(m.known.agent)
	}
	m.Capacity = m.limit
	if said := m.Notes.Report.Capacity; said > 0 && (m.limit == 0 || said < m.limit) {
		m.Capacity = said
	}
	if m.isHeld() {
		m.hold()
	}
}

func (m *Member) hearAgent(s *heard) {
	said := s.noted()
	m.Notes.Report = said.Report
	m.Notes.Warning = cmp.Or(m.Notes.Warning, said.Warning)
	switch {
	case s.state == health.Draining:
		m.State, m.Since, m.Cause = health.Draining, s.since, s.cause
	case said.Report.Down && s.state == health.Down && m.State.IsServing():
		m.State, m.Since, m.Cause = health.Down, s.since, s.cause
		m.Notes.Held = health.NotHeld
	}
}

// spare takes members back into use that are held though probes do not find them down,
// when too many are: the ones held first stay out, up to the cap of the pool, and the
// last that could serve never is out. Who is spared has the least share.
func (v *View) spare() {
	var held []int
	all, serving := 0, 0
	for i := range v.Members {
		switch m := &v.Members[i]; {
		case m.State == health.Draining:
			continue
		case m.State == health.Down && m.Notes.Held != health.NotHeld:
			held = append(held, i)
		case m.State.IsServing():
			serving++
		}
		all++
	}
	if len(held) == 0 {
		return
	}
	slices.SortStableFunc(held, func(a, b int) int { return v.Members[a].Since.Compare(v.Members[b].Since) })
	most := min(len(held), max(1, all*cmp.Or(v.spec.Passive.MaxEjected, DefaultMaxEjected)/100))
	why := fmt.Sprintf("kept in use: at most %d of %d may be out", most, all)
	if serving == 0 && most == len(held) {
		most, why = 0, "kept in use: nobody else is left"
	}
	for _, i := range held[most:] {
		m := &v.Members[i]
		m.State, m.Cause = health.Poor, why+"; "+m.Cause
		m.Notes.Share = v.spec.Passive.Rules.Normal().Floor * 10
	}
}

// Reached says which pools a member is behind: for explain.
func (s *Spec) Reached() string { return strings.Join(s.Behind, ", ") }

// Dependency is targets behind others: while nobody of Through answers, nothing can be
// known of Behind.
type Dependency struct {
	Pool    string // whose members are gone through
	Through []health.Target
	Behind  []health.Target
}

// Dependencies returns which targets are reached through which.
func (r *Registry) Dependencies() []Dependency {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Dependency
	for _, p := range r.pools {
		for _, name := range p.View().spec.Behind {
			if through := r.byName[name]; through != nil {
				all = append(all, Dependency{name, through.checks(), p.checks()})
			}
		}
	}
	return all
}

// checks returns the targets of the members of p.
func (p *Pool) checks() []health.Target {
	members := p.View().Members
	targets := make([]health.Target, len(members))
	for i := range members {
		targets[i] = members[i].Target
	}
	return targets
}
