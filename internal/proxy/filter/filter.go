// Package filter decides what becomes of a request on its way from a route to a pool, and
// which fields its response has: who may ask, how much, how often and as whom.
//
// It owns sets of filters as operators write them, the chains that routes have of them, what
// each filter decides, and its accounts (rate limits, requests under way). It does not own
// what a request is (Request), files, other servers and certificates of keys (Means: their
// drivers stand beside it, package vouch), nor connections, which package httpproxy has.
//
//	sets -> Compile -> Book -> Book.Chain (one for all routes with the same sets)
//	request:  Chain.Decide: each filter in its order lets the request pass, or answers it
//	          Chain.DropsRequest, Chain.AppendRequest: the fields that go to the origin server
//	response: Chain.DropsResponse, Chain.AppendResponse: the fields that go to the client
//
// A filter that refuses ends the chain. What filters say of response fields holds for every
// response of the route, also for refusals: a browser reads the reason of a refusal only with
// the fields of CORS, and a page of errors needs the security fields as any other.
//
// Entry points: Compile, Book.Chain, Chain.Decide, Chain.Explain.
//
// Concurrency: a Book and its chains are immutable but for the accounts and counters in them,
// which any number of goroutines may use. A Pass belongs to one request.
//
// Sources: RFC 9110 (fields, status codes), RFC 6585 §4 (429), the WHATWG Fetch standard §3.2
// (CORS), RFC 6797 (HSTS), draft-ietf-httpapi-ratelimit-headers.
package filter

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/token"
)

// Set is a list of filters as the operator writes it.
type Set struct {
	Name       string
	EveryRoute bool // all routes have it before their own, but for those that want none
	Steps      []Step
}

// Step is one filter: exactly one of its parts is given.
type Step struct {
	Clients  *Clients
	Limits   *Limits
	Request  *Changes
	Response *Changes
	Security *Security
	CORS     *CORS
	Rate     *Rate
	Crowd    *Crowd
	Basic    *Basic
	JWT      *JWT
	Ask      *Ask
	Pages    *Pages
}

// Request is what filters look at. Values that are not there are nil.
type Request interface {
	route.Request
	Host() []byte // as in the field Host
	Path() []byte // normalised
	ID() []byte
	IsSecure() bool // it came over TLS
	HeadOctets() int
	ContentLength() int64 // as it was declared; -1: it was not
}

// Verdict is what becomes of a request. The zero Verdict lets it pass.
type Verdict struct {
	Status    int    // of the answer that is given in place of the origin server's; 0: pass
	Kind      string // error type of RFC 9209 §2.3; empty: the answer is none of an error
	Text      string
	After     int     // seconds after which the client may try again; 0: nothing is said
	Lines     []byte  // whole field lines
	Waits     *Ticket // it waits for its turn: when that has come it enters, and its chain goes on (Resume)
	IsRefusal bool    // though Kind says nothing of it
	Content   string  // of an answer that is none of an error
	Close     bool    // the rest of the request is not worth reading
}

// Passes reports whether the request goes on.
func (v *Verdict) Passes() bool { return v.Status == 0 && v.Waits == nil }

// Pass is one request on its way through a chain, and what it has gathered. It is used again
// for other requests.
type Pass struct {
	Request Request
	Route   *route.Route
	Pool    string // that the request is carried to; empty: to none
	Now     time.Time
	// MaxContent is the largest content in octets that the request may have; 0: no limit.
	MaxContent int64

	explains bool     // nothing is counted, taken or asked
	notes    []string // of the step at hand, while it explains
	lines    []byte   // whole field lines for the origin server
	next     int      // the step that is next
	spares   bool     // the step at hand would have refused, but for its dry run

	standings [maxStandings]standing
	standing  int          // how many there are
	entered   []entry      // crowds that it is in
	claims    token.Claims // of the token that was verified
	user      string       // who has shown who they are
	acted     string       // the step that has refused or answered the request
}

// Reset makes p ready for a request.
func (p *Pass) Reset(q Request, r *route.Route, now time.Time) {
	p.Request, p.Route, p.Now, p.Pool, p.MaxContent = q, r, now, "", 0
	p.lines, p.next, p.standing, p.claims, p.user, p.acted = p.lines[:0], 0, 0, nil, "", ""
}

// User returns who has shown who they are, by a password or a token; "": nobody.
func (p *Pass) User() string { return p.user }

// Acted returns the name of the step that has refused or answered the request; "": none.
func (p *Pass) Acted() string { return p.acted }

// step is a compiled filter that looks at requests.
type step interface {
	decide(p *Pass) Verdict
}

// Means are what filters need from outside. All may be nil, as for a configuration that is
// only looked at.
type Means struct {
	// Secret is drawn by chance: what is remembered of credentials is hashed under it.
	Secret []byte
	// Users returns how to get at the users of a file, as they are at the time.
	Users func(file string) (func() *Users, error)
	// Keys returns how to get at the keys of a file or URL, which is read anew so often.
	Keys func(from string, refresh time.Duration) (KeySource, error)
	// Ask returns how to ask another server.
	Ask func(*Ask) (func(*Question) (*Answer, error), error)
	// File returns how to get at a file, as it is at the time.
	File pages.Read
}

// Book is compiled sets. The nil Book has none.
type Book struct {
	sets   []*compiled // in their order
	byName map[string]*compiled
	chains map[string]*Chain
}

// compiled is one set.
type compiled struct {
	spec  Set
	steps []compiledStep
}

// compiledStep is one step of a set: a part that looks at requests, one that has to do with
// fields, or both.
type compiledStep struct {
	name   string // for logs and metrics, as in "api/2 cors"
	step   step   // nil: it looks at no request
	fields fielder
	pages  *pages.Book // for errors; nil: there are none
}

// Limits of sets; arbitrary, far above use.
const (
	// MaxSteps is the longest set.
	MaxSteps = 32
	// maxChain is how many steps a request goes through at most.
	maxChain = 64
)

// Compile makes a Book of sets. It reports every bad step. prev, if not nil, is the Book that
// it follows: sets that have not changed keep their accounts.
func Compile(sets []Set, means Means, prev *Book) (*Book, []error) {
	b := &Book{byName: map[string]*compiled{}, chains: map[string]*Chain{}}
	var errs []error
	for i := range sets {
		s := &sets[i]
		if old := prev.set(s.Name); old != nil && reflect.DeepEqual(old.spec, *s) {
			b.add(old)
			continue
		}
		made, err := compile(s, means, prev.set(s.Name))
		errs = append(errs, err...)
		b.add(made)
	}
	for key, chain := range prev.kept() {
		if !slices.ContainsFunc(chain.sets, func(s *compiled) bool { return b.byName[s.spec.Name] != s }) {
			b.chains[key] = chain
		}
	}
	return b, errs
}

// Check returns what is wrong with a set, by the steps.
func Check(s *Set) []error {
	_, errs := compile(s, Means{}, nil)
	return errs
}

func (b *Book) set(name string) *compiled {
	if b == nil {
		return nil
	}
	return b.byName[name]
}

func (b *Book) kept() map[string]*Chain {
	if b == nil {
		return nil
	}
	return b.chains
}

func (b *Book) add(s *compiled) {
	b.sets = append(b.sets, s)
	b.byName[s.spec.Name] = s
}

// StepError is what is wrong with one step of a set.
type StepError struct {
	Step int
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("steps[%d]: %v", e.Step, e.Err) }

// Unwrap returns what is wrong.
func (e *StepError) Unwrap() error { return e.Err }

func compile(s *Set, means Means, prev *compiled) (*compiled, []error) {
	out := &compiled{spec: *s}
	var errs []error
	for i := range s.Steps {
		made, err := compileStep(s, i, means, prev.stepAt(i))
		if err != nil {
			errs = append(errs, &StepError{i, err})
			continue
		}
		made.name = fmt.Sprintf("%s/%d %s", s.Name, i+1, made.name)
		out.steps = append(out.steps, made)
	}
	return out, errs
}

// stepAt returns what looks at requests in step i of s; nil if there is no such step.
func (s *compiled) stepAt(i int) step {
	if s == nil || i >= len(s.steps) {
		return nil
	}
	return s.steps[i].step
}

// compileStep makes the step i of a set; prev is the one in its place before.
func compileStep(set *Set, i int, means Means, prev step) (out compiledStep, err error) {
	s := &set.Steps[i]
	var given []string
	try := func(name string, has bool, make func() error) {
		if !has {
			return
		}
		if given = append(given, name); len(given) == 1 {
			out.name = name
			err = make()
		}
	}
	try("clients", s.Clients != nil, func() (err error) { out.step, err = s.Clients.compile(); return err })
	try("limits", s.Limits != nil, func() error { out.step = s.Limits; return s.Limits.check() })
	try("requestFields", s.Request != nil, func() (err error) { out.fields.request, err = s.Request.compile(true); return err })
	try("responseFields", s.Response != nil, func() (err error) { out.fields.response, err = s.Response.compile(false); return err })
	try("security", s.Security != nil, func() (err error) { out.fields.response, err = s.Security.compile(); return err })
	try("cors", s.CORS != nil, func() error { return s.CORS.compile(&out) })
	try("rateLimit", s.Rate != nil, func() error {
		made, err := s.Rate.compile(set.Name, prev)
		if err == nil {
			out.step = made
			out.fields.response = []change{{name: "RateLimit", writes: made.appendFields}}
		}
		return err
	})
	try("concurrency", s.Crowd != nil, func() (err error) { out.step, err = s.Crowd.compile(); return err })
	try("basicAuth", s.Basic != nil, func() error {
		made, err := s.Basic.compile(set.Name, means, prev)
		if err == nil {
			out.step, out.fields.request = made, made.changes()
		}
		return err
	})
	try("jwt", s.JWT != nil, func() error {
		made, err := s.JWT.compile(means)
		if err == nil {
			out.step, out.fields.request = made, made.changes()
		}
		return err
	})
	try("forwardAuth", s.Ask != nil, func() error {
		made, err := s.Ask.compile(means)
		if err == nil {
			out.step, out.fields.request = made, made.changes()
		}
		return err
	})
	try("errorPages", s.Pages != nil, func() (err error) { out.pages, err = s.Pages.compile(means); return err })
	switch {
	case len(given) == 0:
		return out, fmt.Errorf("the step does nothing")
	case len(given) > 1:
		return out, fmt.Errorf("%s: a step does one thing; make steps of their own of the others", strings.Join(given, ", "))
	}
	return out, err
}

// Chain is the steps that requests of a route go through. The nil Chain has none.
type Chain struct {
	sets     []*compiled
	names    []string // of steps
	steps    []step   // nil where one looks at no request
	request  []change
	response []change
	drops    [2][]string   // names of fields that do not pass: of requests, of responses
	pages    []*pages.Book // for errors; the last has the first word
	host     route.Text    // what the origin server is told as Host; nil: as it was
	guard    int           // how many of the first steps show who the client is; see Prove
}

// Tally is how often the steps of a chain have acted on the requests of one route.
type Tally struct {
	Refused []atomic.Uint64 // by step
	Spared  []atomic.Uint64 // would have been refused but for a dry run, by step
}

// NewTally returns one for c.
func (c *Chain) NewTally() *Tally {
	return &Tally{make([]atomic.Uint64, len(c.steps)), make([]atomic.Uint64, len(c.steps))}
}

// Steps returns the names of the steps of c, in their order.
func (c *Chain) Steps() []string { return c.names }

// Chain returns the chain of a route with these sets, which has those for every route before
// them, unless own; nil if it has no step at all. Routes with the same sets share one.
func (b *Book) Chain(names []string, own bool) (*Chain, error) {
	if b == nil {
		if len(names) > 0 {
			return nil, fmt.Errorf("there is no set of filters %q", names[0])
		}
		return nil, nil
	}
	var sets []*compiled
	for _, s := range b.sets {
		if s.spec.EveryRoute && !own && !slices.Contains(names, s.spec.Name) {
			sets = append(sets, s)
		}
	}
	for _, name := range names {
		s := b.byName[name]
		if s == nil {
			return nil, fmt.Errorf("there is no set of filters %q", name)
		}
		sets = append(sets, s)
	}
	if len(sets) == 0 {
		return nil, nil
	}
	var key strings.Builder
	for _, s := range sets {
		key.WriteString(s.spec.Name + "\n")
	}
	if c, made := b.chains[key.String()]; made {
		return c, nil
	}
	c, err := join(sets)
	if err == nil {
		b.chains[key.String()] = c
	}
	return c, err
}

func join(sets []*compiled) (*Chain, error) {
	c := &Chain{sets: sets}
	for _, s := range sets {
		for _, made := range s.steps {
			c.names, c.steps = append(c.names, made.name), append(c.steps, made.step)
			if isGuard(made.step) && c.guardsAlone() {
				c.guard = len(c.steps)
			}
			c.addFields(&made.fields)
			if made.pages != nil {
				c.pages = append(c.pages, made.pages)
			}
		}
	}
	if len(c.steps) > maxChain {
		return nil, fmt.Errorf("the sets have %d steps together, more than %d", len(c.steps), maxChain)
	}
	return c, nil
}

// Lacks returns a variable in the texts of c that a route does not have; "" if it has all.
func (c *Chain) Lacks(r *route.Route) string {
	for _, list := range [][]change{c.request, c.response} {
		for i := range list {
			if name := r.Lacks(list[i].text); name != "" {
				return name
			}
		}
	}
	return r.Lacks(c.host)
}

// Decide has p go through c, and returns the verdict of the first step that does not let it
// pass. tally may be nil.
func (c *Chain) Decide(p *Pass, tally *Tally) Verdict {
	p.next = 0
	return c.Resume(p, tally)
}

// Resume is Decide for the steps behind the one at which p has waited, or behind Prove.
func (c *Chain) Resume(p *Pass, tally *Tally) Verdict { return c.until(len(c.steps), p, tally) }

// until has p go on through the first n steps.
func (c *Chain) until(n int, p *Pass, tally *Tally) Verdict {
	for p.next < n {
		i := p.next
		p.next++
		if c.steps[i] == nil {
			continue
		}
		v := c.steps[i].decide(p)
		if p.spares {
			p.spares = false
			if tally != nil {
				tally.Spared[i].Add(1)
			}
		}
		if !v.Passes() {
			c.count(p, &v, i, tally)
			return v
		}
	}
	return Verdict{}
}

func (c *Chain) count(p *Pass, v *Verdict, step int, tally *Tally) {
	if v.Waits == nil {
		p.acted = c.names[step]
	}
	if tally != nil && (v.Kind != "" || v.IsRefusal) {
		tally.Refused[step].Add(1)
	}
}

// Enter ends the wait of p at the step that has had it wait, and has it go on if it is let in.
func (c *Chain) Enter(p *Pass, t *Ticket, tally *Tally) Verdict {
	if v := t.Enter(p); !v.Passes() {
		c.count(p, &v, p.next-1, tally)
		return v
	}
	return c.Resume(p, tally)
}
