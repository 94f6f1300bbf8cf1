// Package sim plays a day of traffic in a time of its own against the code that decides in a
// node: the policies (balance), levels and shares of pools (pool), verdicts by probes and by
// traffic (health), and the chain of filters with its TTLs (steer). What is made up is what
// stands around them: servers that have so many workers and a queue, and that die; clients,
// and resolvers that keep answers.
//
//	Plan (a file, or a node's own configuration) --Check--> Run, once for each Variant --> Result
//	                                                         |
//	 clients --> resolver's cache --> steer.Rule     by plainDNS, dns: clients go where the answer says
//	 clients --> balance.Pick over pool.View         by gateway: as the gateway does, with retries
//	                 ^                        \
//	       health.Machine <-- probes, failures, comparison (passive) --> server: workers, queue, latency
//
// It does not read files (package cli does) and draws nothing but its plot (SVG).
//
// Entry points: Plan and Plan.Check; Plan.Variants and Run; WriteSVG; Example.
//
// Concurrency: a run belongs to whoever called Run, and shares nothing with others: several
// may go at once over one Plan, which they only read. No clock, no I/O; of one Plan comes the
// same Result each time.
package sim

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/passive"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/steer"
)

// epoch is when a run begins: at midnight, so that hours of a day are hours of the plan.
var epoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// warmEach is how often shares of members in slow start grow, as in a node.
const warmEach = 100 * time.Millisecond

// world is one run.
type world struct {
	plan    *Plan
	variant Variant
	now     time.Duration // since epoch

	// Streams of chance. Who comes and what happens is the same under every variant.
	coming, fate, rng *rand.Rand
	events            queue

	registry *pool.Registry
	pool     *pool.Pool
	rule     *steer.Rule // how the name is answered; used by dns and plainDNS
	byTarget map[health.Target]*checked
	checks   []*checked
	passive  *passive.Driver // what compares members; driven by this time. nil: nobody carries requests

	servers   []server
	byAddress map[netip.AddrPort]int
	crowds    []crowd
	requests  []request
	free      []int32 // of requests
	happens   []happening
	keys      *rand.Zipf // of hashed parts of requests

	tally
}

// Run plays the plan under one variant. The plan must have passed Check.
func Run(p *Plan, v Variant) *Result {
	w := newWorld(p, v)
	w.play()
	return w.result()
}

// play does everything that is due, until the end.
func (w *world) play() {
	for w.events.len() > 0 {
		e := w.events.pop()
		if w.now = time.Duration(e.at); w.now > w.plan.Length.Std() {
			return
		}
		w.step(e)
	}
}

func newWorld(p *Plan, v Variant) *world {
	w := &world{plan: p, variant: v, byAddress: map[netip.AddrPort]int{}, byTarget: map[health.Target]*checked{}}
	for i, stream := range []**rand.Rand{&w.coming, &w.fate, &w.rng} {
		*stream = rand.New(rand.NewPCG(uint64(p.Seed), uint64(i)))
	}
	w.keys = rand.NewZipf(w.coming, 1.1, 1, uint64(p.Keys-1))
	specs := poolspec.Of(p.poolsOf(&v), p.Place)
	for i := range specs {
		for _, m := range specs[i].Members {
			w.addServer(specs[i].Name, m)
		}
	}
	registry, err := pool.NewRegistry(specs, nil, nil)
	if err != nil {
		panic("BUG: sim: " + err.Error()) // the plan was checked
	}
	w.registry, w.pool = registry, registry.Pool(p.Pool)
	w.tally = newTally(w)
	w.addChecks()
	w.addJury()
	w.addRule()
	w.addCrowds()
	w.addHappenings()
	return w
}

// addRule makes the rule by which the name is answered.
func (w *world) addRule() {
	spec := poolspec.Steered(w.plan.steerOf(&w.variant), w.registry)
	spec.Elapsed = func() time.Duration { return w.now }
	networks := make([]steer.Network, 0, len(w.plan.Clients))
	for i := range w.plan.Clients {
		c := &w.plan.Clients[i]
		networks = append(networks, steer.Network{Prefix: c.network(i), Place: poolspec.PlaceOf(c.Place)})
		if c.isAbroad() {
			networks = append(networks, steer.Network{Prefix: c.resolverNetwork(i), Place: poolspec.PlaceOf(c.ResolverPlace)})
		}
	}
	edition, err := steer.NewEdition(networks, nil)
	if err != nil {
		panic("BUG: sim: " + err.Error()) // the plan was checked
	}
	spec.Atlas = steer.NewAtlas()
	spec.Atlas.Publish(edition)
	w.rule = steer.NewRule(spec)
}

// at returns the present as the code of a node takes it.
func (w *world) at() time.Time { return epoch.Add(w.now) }

// step does what is due.
func (w *world) step(e event) {
	switch e.kind {
	case arrive:
		w.arrive(int(e.of))
	case served:
		if r := &w.requests[e.of]; r.visit == e.turn {
			w.finish(e.of)
		}
	case givenUp:
		if r := &w.requests[e.of]; r.visit == e.turn {
			w.broken(e.of, r.connected)
		}
	case probe:
		if c := w.checks[e.of]; c.turn == e.turn {
			w.probe(int(e.of))
		}
	case probed:
		w.probed(int(e.of))
	case begin:
		w.begin(int(e.of))
	case end:
		w.end(int(e.of))
	case warm:
		w.warm()
	case compare:
		w.passive.Look(w.at())
		w.after(passive.Beat, e)
	}
}

// warm gives members in slow start their growing shares.
func (w *world) warm() {
	if w.registry.Warm(w.at()) > 0 {
		w.events.push(event{at: int64(w.now + warmEach), kind: warm})
		return
	}
	w.warming = false
}

// after has something happen later.
func (w *world) after(wait time.Duration, e event) {
	e.at = int64(w.now + wait)
	w.events.push(e)
}
