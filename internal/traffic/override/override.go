// Package override decides what holds now of what operators have said of members at run
// time: that one drains, from when to when, and with which weight. It owns the times, the
// words for the cause, and the stages of a drain. It keeps nothing (package overrides) and
// knows no views; what is configured and what a member's health says stay beneath.
//
//	said --------> planned ----From----> draining --TTL over, nobody left--> free
//	                                        | Deadline: what is left is closed ^
//	                                        +----------------------------------+
//	                                        Until: all is as if nothing were said
//
// DNS stops naming a member, and the gateway stops giving it requests, at From; but resolvers
// hold on to answers for their TTL, so that nobody calls the member free before that.
//
// Entry points: NewSet; Set.Apply, Set.Next; Of; ProgressOf.
//
// Concurrency: a Set is immutable; everything else is a function of its arguments.
package override

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/traffic/pool"
)

// Set is everything that operators have said.
type Set struct {
	byPool map[string][]state.Override // by member
	count  int
}

// NewSet returns the set of what was said, in one place and in another: of two words about
// one member the later holds. One that says nothing takes back what was said before.
func NewSet(all ...[]state.Override) *Set {
	last := map[string]state.Override{}
	for _, said := range all {
		for _, o := range said {
			if before, there := last[o.Key()]; !there || o.Said.After(before.Said) {
				last[o.Key()] = o
			}
		}
	}
	s := &Set{byPool: map[string][]state.Override{}}
	for _, o := range last {
		if IsSaid(o) {
			s.byPool[o.Pool] = append(s.byPool[o.Pool], o)
			s.count++
		}
	}
	for _, of := range s.byPool {
		slices.SortFunc(of, func(a, b state.Override) int { return cmp.Compare(a.Member, b.Member) })
	}
	return s
}

// IsSaid reports whether o says anything; if not it takes back.
func IsSaid(o state.Override) bool { return o.State != "" || o.Weight != 0 }

// Find returns what was said of a member.
func (s *Set) Find(pool, member string) (state.Override, bool) {
	of := s.byPool[pool]
	i, there := slices.BinarySearchFunc(of, member, func(o state.Override, name string) int { return cmp.Compare(o.Member, name) })
	if !there {
		return state.Override{}, false
	}
	return of[i], true
}

// Len returns the number of members of which something was said.
func (s *Set) Len() int { return s.count }

// All yields everything that was said, by pool and member.
func (s *Set) All() (all []state.Override) {
	for _, of := range s.byPool {
		all = append(all, of...)
	}
	slices.SortFunc(all, func(a, b state.Override) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Member, b.Member))
	})
	return all
}

// Apply returns spec with what holds now of its members.
func (s *Set) Apply(spec pool.Spec, now time.Time) pool.Spec {
	if len(s.byPool[spec.Name]) == 0 {
		return spec
	}
	spec.Members = slices.Clone(spec.Members)
	for i := range spec.Members {
		m := &spec.Members[i]
		if o, there := s.Find(spec.Name, cmp.Or(m.Name, m.Address.String())); there {
			m.Override = Of(o, now)
		}
	}
	return spec
}

// Next returns when something else will hold than does now, and of which pools; zero: never.
func (s *Set) Next(now time.Time) (at time.Time, pools []string) {
	for name, of := range s.byPool {
		for _, o := range of {
			for _, t := range [...]time.Time{o.From, o.Until, o.Deadline} {
				switch {
				case !t.After(now) || !at.IsZero() && t.After(at):
				case t.Equal(at):
					pools = append(pools, name)
				default:
					at, pools = t, []string{name}
				}
			}
		}
	}
	slices.Sort(pools)
	return at, slices.Compact(pools)
}

// Of returns what holds of o at now.
func Of(o state.Override, now time.Time) pool.Override {
	out := pool.Override{Weight: o.Weight}
	if o.State == "" || now.Before(o.From) || IsOver(o, now) {
		return out
	}
	if err := out.State.UnmarshalText([]byte(o.State)); err != nil {
		panic("BUG: " + err.Error()) // it was checked when it was kept
	}
	out.Since, out.Cause = begins(o).UTC().Round(0), Cause(o)
	if out.State == pool.Drain && !o.Deadline.IsZero() && !now.Before(o.Deadline) {
		out.State = pool.Disabled
		out.Cause += "; the time for its connections is over"
	}
	return out
}

// IsOver reports whether the time of a state is over.
func IsOver(o state.Override, now time.Time) bool { return !o.Until.IsZero() && !now.Before(o.Until) }

func begins(o state.Override) time.Time {
	if o.From.After(o.Said) {
		return o.From
	}
	return o.Said
}

// verbs are the words of a cause, by state.
var verbs = map[string]string{"drain": "drained", "disabled": "disabled", "ready": "made ready"}

// Cause says why a member is in the state that o says: "drained by the operator until ...".
func Cause(o state.Override) string {
	text := verbs[o.State] + " by the operator"
	if !o.Until.IsZero() {
		text += " until " + Moment(o.Until)
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// Moment writes a time as causes have it.
func Moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Stage is how far a member is on its way out.
type Stage string

// The stages, in their order.
const (
	Planned  Stage = "planned"  // it has not begun
	Draining Stage = "draining" // takes nothing new; somebody may still be there
	Free     Stage = "free"     // nobody is there, as far as this node knows
	Used     Stage = "used"     // nothing was said, or its time is over
)

// Progress is how far a member is on its way out.
type Progress struct {
	Stage Stage `json:"stage"`
	// Answers is until when resolvers may hold on to answers that name the member.
	Answers time.Time `json:"answers_until,omitzero"`
	// Connections is how many requests and connections the gateway has on it.
	Connections int64     `json:"connections"`
	From        time.Time `json:"from,omitzero"`
	Deadline    time.Time `json:"deadline,omitzero"`
	Until       time.Time `json:"until,omitzero"`
}

// ProgressOf returns how far a member is at now of which o was said, when DNS answers that
// name it were good for ttl and the gateway has so many connections on it.
func ProgressOf(o state.Override, now time.Time, ttl time.Duration, connections int64) Progress {
	p := Progress{Stage: Used, Connections: connections, From: begins(o), Deadline: o.Deadline, Until: o.Until}
	holds := Of(o, now)
	switch {
	case o.State != "drain" && o.State != "disabled" || IsOver(o, now):
		return Progress{Stage: Used, Connections: connections}
	case !holds.State.Stops():
		p.Stage = Planned
		return p
	}
	p.Answers = begins(o).Add(ttl)
	isLate := !o.Deadline.IsZero() && !now.Before(o.Deadline)
	if p.Stage = Draining; connections == 0 && (isLate || holds.State == pool.Disabled || !now.Before(p.Answers)) {
		p.Stage = Free
	}
	return p
}

// Text says p in a line; what is over at now is left out.
func (p Progress) Text(now time.Time) string {
	switch p.Stage {
	case Used:
		return "in use"
	case Free:
		return "free: nobody is there"
	case Planned:
		return "planned: drains from " + Moment(p.From)
	}
	text := "draining: 1 connection is still there"
	if p.Connections != 1 {
		text = fmt.Sprintf("draining: %d connections are still there", p.Connections)
	}
	if p.Answers.After(now) {
		text += "; resolvers may name it until " + Moment(p.Answers)
	}
	if p.Deadline.After(now) {
		text += "; what is left is closed at " + Moment(p.Deadline)
	}
	return text
}
