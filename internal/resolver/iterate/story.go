package iterate

import (
	"cmp"
	"slices"

	"pharos/internal/shortid"
)

// story is what has happened to a question or to a lookup, and the stories of the
// lookups that it joined. It is always kept: who is told that something failed may
// ask why later. It outlives the lookup as long as somebody has a part in it.
type story struct {
	steps []Step
	parts []*story
}

// Limits of what is told. A question within its limits rarely has more than 200
// steps, and what comes first is what led to the rest.
const (
	maxSteps = 256 // of an Answer's trace
	ownSteps = 100 // of one question or lookup
)

// usualStory is a story with room for what usually happens to a lookup: a query is sent,
// and answered.
type usualStory struct {
	story
	room [2]Step
}

// newStory returns an empty story; nil, which stays empty, if none are to be kept.
func (r *Resolver) newStory() *story {
	if r.cfg.Untold {
		return nil
	}
	s := new(usualStory)
	s.steps = s.room[:0]
	return &s.story
}

// add adds a step that happened now.
func (s *story) add(r *Resolver, step *Step) {
	if r.cfg.Untold || len(s.steps) == ownSteps {
		return
	}
	r.steps++
	step.number, step.At = r.steps, r.now.Sub(r.began)
	s.steps = append(s.steps, *step)
}

// join makes the story of a lookup a part of s.
func (s *story) join(part *story) {
	if len(s.parts) < ownSteps && !slices.Contains(s.parts, part) {
		s.parts = append(s.parts, part)
	}
}

// tell returns all steps of s, in the order in which they happened, in the eyes of c.
func (s *story) tell(r *Resolver, c *client) []Step {
	var all []Step
	s.visit(make(map[*story]bool), func(part *story) { all = append(all, part.steps...) })
	slices.SortFunc(all, func(a, b Step) int { return cmp.Compare(a.number, b.number) })
	all = slices.CompactFunc(all, func(a, b Step) bool { // a lookup's end is often its client's
		return a.Kind == StepGaveUp && b.Kind == StepGaveUp && a.Note == b.Note
	})
	all = all[:min(len(all), maxSteps)]
	for i := range all {
		all[i].At -= c.started.Sub(r.began)
	}
	return all
}

func (s *story) visit(seen map[*story]bool, do func(*story)) {
	if seen[s] {
		return
	}
	seen[s] = true
	do(s)
	for _, part := range s.parts {
		part.visit(seen, do)
	}
}

// note adds a step to the story of c.
func (c *client) note(r *Resolver, s Step) { c.story.add(r, &s) }

// note adds a step to the story of l.
func (r *Resolver) note(l *lookup, s Step) {
	s.Name, s.Type, s.Depth = l.q.name, l.q.t, int32(l.depth)
	if l.cut != nil {
		s.Zone = l.cut.Zone
	}
	l.story.add(r, &s)
}

// FailureID stands for one failure, in what is told to clients, so that an operator can
// ask for its story. 0 is none.
type FailureID uint64

const failurePrefix = "servfail-"

// newFailureID returns an id that was not given out lately, as far as chance allows.
func (r *Resolver) newFailureID() FailureID {
	return FailureID(r.cfg.Rand.Uint64()>>(64-shortid.Bits) | 1)
}

// String returns the id as clients see it, such as "servfail-0k3m9x2q".
func (id FailureID) String() string { return shortid.Text(failurePrefix, uint64(id)) }

// ParseFailureID reads what String has written, in any case.
func ParseFailureID(text string) (FailureID, error) {
	number, err := shortid.Parse(failurePrefix, text, "a failure")
	return FailureID(number), err
}
