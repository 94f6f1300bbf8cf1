package signer

import (
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

const (
	// firstLook is when servers that were behind are looked at again: twice as long
	// after each time, up to lastLook.
	firstLook = 2 * time.Second
	lastLook  = 5 * time.Minute
)

// watchLater arranges the next look at the zone's servers and its parent: at once
// when a generation waits to be seen, else when the parent's turn comes. e.work is
// held.
func (s *Signers) watchLater(e *entry, settings Settings) {
	if e.machine.Memory().Generation == 0 {
		return
	}
	in := max(0, clock.Until(e.record.ParentAt.Add(settings.ParentEvery)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.state.ParentAsked.After(e.record.ParentAt) { // in vain: not again before its time
		in = max(0, clock.Until(e.state.ParentAsked.Add(settings.ParentEvery)))
	}
	if waiting := e.machine.Waiting(); waiting != 0 {
		if waiting != e.state.Waiting {
			e.looks = 0
		}
		after := time.Duration(0)
		if e.looks > 0 {
			after = min(lastLook, firstLook<<min(e.looks-1, 16))
		}
		in = min(in, after)
	} else {
		e.looks = 0
	}
	if s.closed || e.watching || !e.wanted {
		return
	}
	if e.look != nil {
		e.look.Stop()
	}
	e.look = clock.AfterFunc(in, func() { s.watch(e) })
}

// watch looks at the zone's servers, and at its parent if that is due, and has the
// zone worked on with what was seen.
func (s *Signers) watch(e *entry) {
	s.mu.Lock()
	if s.closed || e.watching || !e.wanted {
		s.mu.Unlock()
		return
	}
	e.watching = true
	e.looks++
	due := e.force || clock.Since(e.state.ParentAsked) >= e.settings.ParentEvery
	e.force = false
	parents := e.settings.Parents
	s.wait.Add(1)
	s.mu.Unlock()
	defer s.wait.Done()

	found := facts{servers: s.config.Servers(s.ctx, e.name), at: clock.Now()}
	asked, problem := false, ""
	if due {
		p, ok, err := s.config.Parent(s.ctx, e.name, parents)
		switch {
		case err != nil:
			problem = err.Error()
		case ok:
			found.parent = &p
		}
		asked = ok
	}
	s.mu.Lock()
	e.watching = false
	if s.closed {
		s.mu.Unlock()
		return
	}
	if found.parent == nil {
		found.parent = e.facts.parent // not taken in yet
	}
	e.facts = found
	if due {
		e.state.ParentAsked, e.state.ParentAsks, e.state.ParentProblem = clock.Now(), asked, problem
	}
	s.kickLocked(e)
	s.mu.Unlock()
}

// State is what an operator may know of a signed zone.
type State struct {
	Problem    string // why it is not as it should be
	Generation uint64
	Waiting    uint64 // the generation that some server does not show yet; 0: none
	Serial     rdata.Serial
	Signed     bool // there are signatures
	Keys       []kasp.View
	Parent     kasp.Parental
	// Algorithm is how far a change of the algorithm is; nil: none is under way.
	Algorithm *kasp.AlgorithmChange
	// Elsewhere is how the signatures of a KSK that is not here stand; nil: it is here.
	Elsewhere *Elsewhere
	// ParentAsks reports whether there is somebody to ask about the parent.
	ParentAsks    bool
	ParentAsked   time.Time
	ParentProblem string
	Servers       []Server
	Renew         time.Time              // when the next signature is renewed
	Expires       time.Time              // when the first one ends, if it is not
	Progress      func() (done, all int) // while the zone is being signed; else nil
	Jumped        time.Duration          // by how much the wall clock has jumped, while it is not believed
}

// describe keeps the state for those who ask. e.work is held.
func (s *Signers) describe(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &e.state
	_, st.Jumped = s.clock.read()
	if e.machine == nil {
		return
	}
	st.Generation, st.Waiting = e.machine.Memory().Generation, e.machine.Waiting()
	st.Keys, st.Parent = e.machine.Views(clock.Now()), e.machine.Parent()
	st.Elsewhere = e.describeElsewhere(clock.Now())
	st.Servers, st.Algorithm = e.facts.servers, nil
	if c, ok := e.machine.AlgorithmChange(); ok {
		st.Algorithm = &c
	}
	st.Renew, st.Expires = e.due, time.Time{}
	if e.signed.zone != nil {
		st.Serial = e.signed.zone.Serial()
	}
	if st.Signed = !e.due.IsZero(); st.Signed {
		renew := e.settings.Renew
		if renew == 0 {
			renew = sign.DefaultRefresh
		}
		st.Expires = e.due.Add(renew)
	}
}

// State returns how a zone is; ok is false if it is none of ours.
func (s *Signers) State(name dnsname.Name) (st State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil || !e.wanted {
		return State{}, false
	}
	return e.state, true
}

// Counts returns the signatures made since the start.
func (s *Signers) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}
