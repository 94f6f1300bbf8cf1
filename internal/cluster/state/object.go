package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"pharos/internal/cluster/document"
)

// Kind is the kind of an object, as commands and keys of the store write it.
type Kind string

// The kinds of objects.
const (
	KindPool Kind = "pool"
	// KindFilter is a list of filters.
	KindFilter Kind = "filter"
	KindSteer  Kind = "steer"
	KindRoute  Kind = "route"
	// KindOverride is what operators say of members; the configuration file has none.
	KindOverride Kind = "override"
)

// Kinds are all kinds, in the order in which resources depend on each other:
// what is referred to comes first.
var Kinds = []Kind{KindPool, KindFilter, KindSteer, KindRoute, KindOverride}

// ParseKind reads a kind as a person writes it: singular or plural.
func ParseKind(text string) (Kind, error) {
	for _, k := range Kinds {
		if text == string(k) || text == string(k)+"s" {
			return k, nil
		}
	}
	known := []string{string(KindPool), string(KindFilter), string(KindSteer), string(KindRoute), string(KindOverride)}
	if near := document.Nearest(text, known); near != "" {
		return "", fmt.Errorf("unknown kind %q; did you mean %q?", text, near)
	}
	return "", fmt.Errorf("unknown kind %q; want one of %s", text, list(slices.Sorted(slices.Values(known))))
}

// Ref names an object. Name is what its Key method returns.
type Ref struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// String returns the reference as messages write it: pool "web".
func (r Ref) String() string { return fmt.Sprintf("%s %q", r.Kind, r.Name) }

// compareRefs orders references by the order of Kinds, then by name.
func compareRefs(a, b Ref) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)),
		cmp.Compare(a.Kind, b.Kind), // of kinds that this version does not know
		cmp.Compare(a.Name, b.Name),
	)
}

// Resource is one of *Pool, *FilterSet, *Steer, *Route and *Override.
type Resource interface{ Key() string }

// newResource returns an empty resource of kind k, or nil if there is no such kind.
func newResource(k Kind) Resource {
	switch k {
	case KindPool:
		return new(Pool)
	case KindFilter:
		return new(FilterSet)
	case KindSteer:
		return new(Steer)
	case KindRoute:
		return new(Route)
	case KindOverride:
		return new(Override)
	}
	return nil
}

// KindOf returns the kind of r.
func KindOf(r Resource) Kind {
	switch r.(type) {
	case *Pool:
		return KindPool
	case *FilterSet:
		return KindFilter
	case *Steer:
		return KindSteer
	case *Override:
		return KindOverride
	}
	return KindRoute
}

// DecodeObject reads one object of kind k from root, checks it by itself and
// returns it with its defaults. file is for messages.
func DecodeObject(file string, k Kind, root *document.Node) (Resource, *document.Problems) {
	r := newResource(k)
	if r == nil {
		p := &document.Problems{}
		p.Add(document.Problem{File: file, Text: fmt.Sprintf("unknown kind %q", k), Remedy: "want one of pool, filter, steer, route, override"})
		return nil, p
	}
	problems := document.Decode(file, root, r)
	report := func(path, text, remedy string) {
		at := root.At(path)
		problems.Add(document.Problem{File: file, Line: at.Line, Column: at.Column, Path: path, Text: text, Remedy: remedy})
	}
	if t, ok := r.(*Route); ok {
		t.check("", report)
		t.checkApplied(report)
	}
	if f, ok := r.(*FilterSet); ok {
		f.check("", report)
		f.checkApplied("", report)
	}
	if o, ok := r.(*Override); ok {
		o.check("", report)
	}
	if p, ok := r.(*Pool); ok {
		p.check("", report)
		p.Check.checkApplied("check.", report)
		p.Scale.checkApplied("scale.", report)
		p.Origin.checkApplied("origin.", report)
		for i := range p.Discover {
			p.Discover[i].checkApplied(fmt.Sprintf("discover[%d].", i), report)
		}
	}
	problems.Sort()
	return r, problems
}

// DecodeBody reads one object of kind k from its JSON body.
func DecodeBody(k Kind, body []byte) (Resource, error) {
	root, problems := document.FromJSON("", body)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	r, problems := DecodeObject("", k, root)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// Body returns the canonical JSON of r: every key, in the order of the type,
// without white space. Equal resources have equal bodies.
func Body(r Resource) []byte { return canonical(r) }

// canonical returns v as JSON on one line, with no more escapes than JSON needs.
func canonical(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("BUG: a value that cannot be written: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Object is one applied object. It is immutable.
type Object struct {
	Ref
	Revision int64           `json:"revision"` // of the store when it was last changed
	Body     json.RawMessage `json:"body"`     // canonical JSON
	resource Resource        // nil: Body is not understood, see cause
	cause    string
}

// newObject reads the object that c puts. old, which may be nil, saves the work
// when its body is the same.
func newObject(c Change, old *Object) *Object {
	if old != nil && bytes.Equal(old.Body, c.Body) {
		same := *old
		same.Revision = c.Revision
		return &same
	}
	o := &Object{Ref: c.Ref, Revision: c.Revision, Body: slices.Clone(c.Body)}
	r, err := DecodeBody(c.Kind, c.Body)
	switch {
	case !json.Valid(c.Body):
		o.cause, o.Body = "is not JSON", canonical(string(c.Body))
	case err != nil:
		o.cause = "is not understood: " + err.Error()
	case r.Key() != c.Name:
		o.cause = fmt.Sprintf("calls itself %q", r.Key())
	default:
		o.resource, o.Body = r, Body(r)
	}
	return o
}

// Resource returns the object's typed value, or nil if its body is not
// understood by this version. It is not to be changed.
func (o *Object) Resource() Resource { return o.resource }
