package scenario

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// Options are what a run can choose beside the scenario.
type Options struct {
	// Seed decides the resolver's ids and choices among servers.
	Seed uint64
	// Start is the time at which the scenario begins; zero is a fixed moment.
	Start time.Time
	// Limits of the resolver; zero is the standard ones.
	Limits iterate.Limits
	// Ready gives the client what the cache has ready in wire form before the
	// resolver is asked, as a node does.
	Ready bool
	// Without are the defences that are turned off; see defences.
	Without []string
}

// Result is what a run leaves behind, whether it passed or not.
type Result struct {
	Log  []string // one line for each packet and step
	Sent int      // packets that the resolver sent
	// Checks is the number of signature checks and NSEC3 hashes.
	Checks int
	// Waited is the time that passed because nobody answered, not by TIME_PASSES.
	Waited time.Duration
}

// roundLimit ends a run whose steps do not come to an end, as when the resolver
// sends for ever. No scenario needs a tenth of it.
const roundLimit = 20000

// run is a scenario being played.
type run struct {
	s        *Scenario
	world    World
	now      time.Time
	resolver *iterate.Resolver
	cache    *rrcache.Cache
	ready    *rrcache.Cache     // the same, nil unless Options.Ready or World.Prefetch
	due      []rrcache.Question // what is to be fetched again

	at      int  // index of the next step
	last    int  // number of the last step, for Deckard's ranges
	waiting bool // Deckard: a QUERY step ends with its answer
	used    map[*Step]bool
	pending []*exchange // sent and not answered, oldest first
	waits   []wait
	asked   map[uint64]*question
	answers []Packet
	token   uint64
	result  Result

	policyRevision int
}

// exchange is one packet of the resolver that waits for its reply.
type exchange struct {
	send     iterate.Send
	query    Packet
	deadline time.Time
	answered bool // a server has had its say
}

// wait is a timer of the resolver.
type wait struct {
	exchange uint64
	deadline time.Time
}

// question is one client's query under way.
type question struct {
	wire  []byte
	query dnswire.Query
	isTCP bool
	then  func(iterate.Answer) // of a question that policies have; nil: the client is told
}

// Run plays the scenario against a new resolver with an empty cache. The error
// says which step failed and how; an *Unsupported one that the scenario asks for
// something that is not here.
func (s *Scenario) Run(o Options) (Result, error) {
	w, err := s.World()
	if err != nil {
		return Result{}, err
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) // any fixed moment
	}
	if !w.Begin.IsZero() {
		o.Start = w.Begin
	}
	if w.Sends > 0 {
		o.Limits.Sends = w.Sends
	}
	o.Limits.StaleAfter = w.StaleAfter
	r := &run{s: s, world: w, now: o.Start, used: map[*Step]bool{}, asked: map[uint64]*question{}}
	c := iterate.Config{
		Hints: hints(w.Roots), NoIPv4: w.NoIPv4, NoIPv6: w.NoIPv6, Limits: o.Limits, Minimise: w.Minimise, Aggressive: w.Aggressive || s.Dialect == Deckard, Routes: w.Routes, Subnets: w.Subnets,
		Rand:     rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)), // the second word is arbitrary and fixed
		Validate: len(w.Anchors) > 0, Anchors: w.Anchors, Negative: w.Insecure, Policy: policy, MixCase: w.MixCase,
	}
	if err := disarm(o.Without, &c, &w.Cache); err != nil {
		return Result{}, err
	}
	c.Cache = rrcache.New(o.Start, w.Cache)
	if r.cache, r.policyRevision = c.Cache, 1; o.Ready || w.Prefetch {
		r.ready = c.Cache
	}
	if w.Prefetch {
		c.Cache.OnDue(func(q rrcache.Question) {
			q.Name = q.Name.Clone()
			r.due = append(r.due, q)
		})
	}
	r.resolver = iterate.New(c)
	err = r.play()
	did := r.resolver.Counters()
	r.result.Checks = int(did.Signatures + did.Hashes)
	return r.result, err
}

// rootServerName is the name that hints give the server at an address: files
// have addresses only. It lies in a domain that nobody can hold (RFC 6761 §6.4).
func rootServerName(i int) dnsname.Name {
	return dnsname.MustParse(fmt.Sprintf("root%d.hints.invalid.", i+1))
}

func hints(roots []netip.Addr) []rdata.Record {
	var records []rdata.Record
	for i, a := range roots {
		t := rdata.TypeA
		if a.Is6() {
			t = rdata.TypeAAAA
		}
		name := rootServerName(i)
		records = append(records,
			rdata.Record{Name: dnsname.Root, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: defaultTTL, Data: name.AppendWire(nil)},
			rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: defaultTTL, Data: a.AsSlice()})
	}
	return records
}

func (r *run) note(format string, args ...any) {
	r.result.Log = append(r.result.Log, fmt.Sprintf(format, args...))
}

// play lets things happen until the last step is done. What a step checks comes
// before what servers say by themselves, and both before the step's own action,
// so that traffic has ended when an action begins.
func (r *run) play() error {
	for range roundLimit {
		if r.at >= len(r.s.Steps) && !r.waiting {
			return r.finish()
		}
		if r.waiting {
			if err := r.await(); err != nil {
				return err
			}
			continue
		}
		step := r.s.Steps[r.at]
		done, err := r.checks(step)
		if err == nil && !done && !r.serveOne() {
			err = r.act(step)
		}
		if err != nil {
			return fmt.Errorf("step %d %s, line %d: %w", step.ID, step.Kind, step.Line, err)
		}
	}
	return fmt.Errorf("no end after %d rounds", roundLimit)
}

// finish complains about answers that nobody checked.
func (r *run) finish() error {
	if r.s.Dialect == Unbound && len(r.answers) > 0 {
		return fmt.Errorf("%d answers were not checked", len(r.answers))
	}
	return nil
}

// await lets one thing happen for Deckard's QUERY, which lasts until its answer.
func (r *run) await() error {
	if len(r.answers) > 0 {
		r.waiting = false
		return nil
	}
	if r.serveOne() || r.expireOne() {
		return nil
	}
	return fmt.Errorf("step %d: the query is not answered and nothing is under way", r.last)
}

func (r *run) advance(step *Step) {
	r.at++
	r.last = step.ID
}

// checks does the steps that look at something that may have happened already.
func (r *run) checks(step *Step) (done bool, err error) {
	switch {
	case step.Kind == CheckOutQuery && r.s.Dialect == Unbound:
		for i, x := range r.pending {
			if !x.answered && x.isFor(step.Address) && step.Entry.Check(x.query) == nil {
				r.note("step %d: as expected, to %v: %v", step.ID, x.send.To, x.query.Question)
				r.advance(step)
				if step.Entry.Adjust.CopyID {
					r.reply(i, step.Entry)
				}
				return true, nil
			}
		}
	case step.Kind == CheckAnswer && len(r.answers) > 0:
		return true, r.checkAnswer(step)
	}
	return false, nil
}

// checkAnswer compares the answers that came, in the order they came, with the
// entry, and takes away the one that agrees.
func (r *run) checkAnswer(step *Step) error {
	var first error
	for i, a := range r.answers {
		err := step.Entry.Check(a)
		if err == nil {
			r.note("step %d: answered as expected", step.ID)
			r.advance(step)
			if r.s.Dialect == Unbound {
				r.answers = append(r.answers[:i:i], r.answers[i+1:]...)
			}
			return nil
		}
		if first == nil {
			first = fmt.Errorf("%w; the answer is %s", err, render(a.Message))
		}
	}
	return first
}

// act does a step's action, after traffic has ended.
func (r *run) act(step *Step) error {
	switch step.Kind {
	case Nothing, Traffic:
	case Query:
		r.note("step %d: client asks %v", step.ID, step.Entry.Message.Question)
		r.advance(step)
		return r.ask(step)
	case CheckAnswer:
		// Whatever is still unanswered times out: that is how the resolver gets on.
		if !r.expireOne() {
			return errors.New("no answer came, and nothing is under way")
		}
		return nil
	case CheckOutQuery:
		if r.s.Dialect == Unbound {
			return fmt.Errorf("no such query was sent; under way: %s", r.underWay())
		}
	case Reply:
		if r.s.Dialect == Unbound {
			return r.scripted(step)
		}
	case Timeout, Failure:
		return r.fail(step)
	case TimePasses:
		r.pass(step.Elapse)
		if err := r.transferPolicies(); err != nil {
			return err
		}
	}
	r.advance(step)
	return nil
}

// scripted gives the step's entry as the reply to the newest packet.
func (r *run) scripted(step *Step) error {
	i, err := r.newest(step.Address)
	if err != nil {
		return err
	}
	r.advance(step)
	r.reply(i, step.Entry)
	return nil
}

// fail lets the newest packet time out or meet an error of the network.
func (r *run) fail(step *Step) error {
	i, err := r.newest(step.Address)
	if err != nil {
		return err
	}
	r.advance(step)
	x := r.take(i)
	if step.Kind == Timeout {
		r.note("step %d: timeout of %v", step.ID, x.query.Question)
		r.step(iterate.Expired{Exchange: x.send.Exchange})
		return nil
	}
	r.note("step %d: network error for %v", step.ID, x.query.Question)
	r.step(iterate.Failed{Exchange: x.send.Exchange, Err: errors.New("scripted network error")})
	return nil
}

func (r *run) newest(to netip.Addr) (int, error) {
	for i := len(r.pending) - 1; i >= 0; i-- {
		if x := r.pending[i]; !x.answered && x.isFor(to) {
			return i, nil
		}
	}
	return 0, errors.New("no query is under way")
}
