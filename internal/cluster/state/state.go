package state

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Op is what a change does.
type Op string

// The operations.
const (
	Put    Op = "put"
	Delete Op = "delete"
)

// Change is one committed change of one object.
type Change struct {
	Ref
	Op       Op              `json:"op"`
	Revision int64           `json:"revision"`       // of the store, of this change
	Body     json.RawMessage `json:"body,omitempty"` // of Put: the object as JSON
}

// State is the file's resources and the applied objects at one revision of the
// store. It is immutable.
//
// Invariant: resources and problems follow from file and objects alone.
type State struct {
	revision  int64
	file      *file
	objects   []*Object // in the order of Kinds and names
	resources *Resources
	problems  []Problem
}

// Problem is an applied object that is not in use.
type Problem struct {
	Ref
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// Error returns the problem as one line.
func (p Problem) Error() string { return p.Ref.String() + " " + p.Text + "; " + p.Remedy }

// New returns the state with the resources of the file, and nothing applied.
// base must be sound by itself and is not to be changed afterwards.
func New(base *Resources) *State {
	return (&State{file: newFile(base)}).merged()
}

// Revision is the store's revision that s has seen; 0 before the first change.
func (s *State) Revision() int64 { return s.revision }

// Resources returns what is to be served: the file's resources in the order of
// the file, then the applied ones in the order of their names. It always passes
// Check, and is not to be changed.
func (s *State) Resources() *Resources { return s.resources }

// Problems returns the applied objects that are not in Resources, and why.
func (s *State) Problems() []Problem { return s.problems }

// Object returns an applied object.
func (s *State) Object(r Ref) (*Object, bool) {
	at, there := slices.BinarySearchFunc(s.objects, r, func(o *Object, r Ref) int { return compareRefs(o.Ref, r) })
	if !there {
		return nil, false
	}
	return s.objects[at], true
}

// Objects returns all applied objects, in the order of Kinds and names. Not to be written to.
func (s *State) Objects() []*Object { return s.objects }

// Effect is what became of one object that a change touched.
type Effect struct {
	Ref
	Outcome Outcome `json:"outcome"`
}

// String returns the effect as logs write it: pool "web" added.
func (e Effect) String() string { return e.Ref.String() + " " + string(e.Outcome) }

// Outcome is what became of an object.
type Outcome string

// The outcomes.
const (
	Added     Outcome = "added"
	Replaced  Outcome = "replaced"
	Removed   Outcome = "removed"
	Unchanged Outcome = "unchanged" // the same content, or nothing to remove
	Unused    Outcome = "unused"    // kept, but left out; see Problems
)

// Apply returns s after changes, in their order, and what became of each. It takes a time that
// goes by the changes, and by the objects only where others may depend on what is changed.
func (s *State) Apply(changes ...Change) (*State, []Effect) {
	return s.applied(s.revision, changes)
}

func (s *State) applied(revision int64, changes []Change) (*State, []Effect) {
	next := &State{revision: revision, file: s.file}
	effects := make([]Effect, len(changes))
	changed := make(map[Ref]*Object, len(changes)) // nil: it is deleted
	refs := make([]Ref, 0, len(changes))
	for i, c := range changes {
		old, again := changed[c.Ref]
		if !again {
			old, _ = s.Object(c.Ref)
			refs = append(refs, c.Ref)
		}
		effects[i] = Effect{Ref: c.Ref}
		changed[c.Ref], effects[i].Outcome = c.of(old)
		next.revision = max(next.revision, c.Revision)
	}
	slices.SortFunc(refs, compareRefs)
	next.objects = make([]*Object, 0, len(s.objects)+len(refs))
	rest := s.objects
	for _, ref := range refs {
		at, there := slices.BinarySearchFunc(rest, ref, func(o *Object, r Ref) int { return compareRefs(o.Ref, r) })
		next.objects = append(next.objects, rest[:at]...)
		if rest = rest[at:]; there {
			rest = rest[1:]
		}
		if o := changed[ref]; o != nil {
			next.objects = append(next.objects, o)
		}
	}
	next.objects = append(next.objects, rest...)
	next.mergedBeside(s, refs)
	return next, next.markUnused(effects)
}

// of returns what c makes of an object, which may be nil, and what that is.
func (c Change) of(old *Object) (*Object, Outcome) {
	if c.Op == Delete {
		if old == nil {
			return nil, Unchanged
		}
		return nil, Removed
	}
	o := newObject(c, old)
	switch {
	case old == nil:
		return o, Added
	case string(old.Body) == string(o.Body):
		return o, Unchanged
	}
	return o, Replaced
}

// markUnused sets the outcome of what is there but not in use, and returns effects.
func (s *State) markUnused(effects []Effect) []Effect {
	unused := make(map[Ref]bool, len(s.problems))
	for _, p := range s.problems {
		unused[p.Ref] = true
	}
	for i, e := range effects {
		if unused[e.Ref] && e.Outcome != Removed {
			effects[i].Outcome = Unused
		}
	}
	return effects
}

// AtRevision returns s as seen at a later revision of the store, at which
// nothing of it had changed.
func (s *State) AtRevision(revision int64) *State {
	next := *s
	next.revision = max(s.revision, revision)
	return &next
}

// Onto returns s with the file of another state.
func (s *State) Onto(other *State) *State {
	if s.file == other.file {
		return s
	}
	return (&State{revision: s.revision, file: other.file, objects: s.objects}).merged()
}

// Rebase returns s with the resources of a new version of the file.
func (s *State) Rebase(base *Resources) *State {
	if base == s.file.Resources {
		return s
	}
	return (&State{revision: s.revision, file: newFile(base), objects: s.objects}).merged()
}

// Reset returns the state with the file's resources of s and only the objects
// that puts put, which is what a list of the whole store says, and what that
// changed. The revision may be lower than that of s, if the store is a new one.
func (s *State) Reset(revision int64, puts ...Change) (*State, []Effect) {
	listed := make(map[Ref]bool, len(puts))
	changes := slices.Clone(puts)
	for _, c := range puts {
		listed[c.Ref] = true
	}
	for _, o := range s.objects {
		if !listed[o.Ref] {
			changes = append(changes, Change{Ref: o.Ref, Op: Delete})
		}
	}
	next, effects := s.applied(revision, changes)
	next.revision = revision
	return next, effects
}

// Limits of what may be applied. Beyond them a change is refused; what is
// there goes on being served.
const (
	MaxObjects = 100_000 // all objects; each costs every node about 1 KiB
	MaxBody    = 1 << 20 // octets of one object: below etcd's request limit of 1.5 MiB
)

// Validate reports whether changes may be committed: an error says which of
// them would not be used, or would make others unusable. Without one, it returns
// what Apply does.
func (s *State) Validate(changes ...Change) (*State, []Effect, error) {
	touched := make(map[Ref]bool, len(changes))
	for _, c := range changes {
		touched[c.Ref] = true
		if len(c.Body) > MaxBody {
			return nil, nil, fmt.Errorf("%s has %d octets; at most %d are allowed", c.Ref, len(c.Body), MaxBody)
		}
	}
	next, effects := s.Apply(changes...)
	if len(next.objects) > MaxObjects && len(next.objects) > len(s.objects) {
		return nil, nil, fmt.Errorf("%d objects are more than the %d allowed; delete some, or put them into the configuration file", len(next.objects), MaxObjects)
	}
	before := make(map[Problem]bool, len(s.problems))
	for _, p := range s.problems {
		before[p] = true
	}
	var refused refusal
	for _, p := range next.problems {
		switch {
		case touched[p.Ref]:
			refused = append(refused, p.Error())
		case !before[p]:
			refused = append(refused, "this would break what is in use: "+p.Error())
		}
	}
	if len(refused) == 0 {
		return next, effects, nil
	}
	return nil, nil, refused
}

// refusal is why changes may not be committed, one sentence for each object.
type refusal []string

func (r refusal) Error() string {
	const most = 20 // a screen
	if len(r) > most {
		return strings.Join(r[:most], "\n") + fmt.Sprintf("\nand %d more problems", len(r)-most)
	}
	return strings.Join(r, "\n")
}
