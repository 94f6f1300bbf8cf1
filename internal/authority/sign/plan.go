package sign

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Plan is a zone being signed whole, as jobs that goroutines take from:
//
//	plan, err := sign.NewPlan(z, old, params, now)
//	for range cores { group.Go(plan.Work) }
//	signed, problems, err := plan.Finish()
type Plan struct {
	*signing
	nodes  []zone.Node // of the chain or with something signed, in canonical order
	hashes []hashed    // with NSEC3: in the order of hashes

	next    atomic.Int64 // the next job
	done    atomic.Int64 // jobs done
	made    atomic.Int64 // signatures made
	kept    atomic.Int64 // signatures of old that stay
	stopped atomic.Bool

	mu     sync.Mutex // guards what follows
	err    error      // the first
	output [][]byte   // of each job, packed records
}

// jobNodes is the nodes of a job: a few milliseconds of work, so that progress is
// smooth and no core waits long for the last one.
const jobNodes = 128

// NewPlan prepares to sign z. Signatures of old, a version signed before (nil: none),
// stay where they fit and are not due. z may be signed already: that is left behind,
// but for its DNSKEY, CDS and CDNSKEY records. Of a steered name the chain says that it
// has A and AAAA.
func NewPlan(z, old *zone.Zone, params Params, now time.Time) (*Plan, error) {
	stripped, problems := Strip(z)
	if stripped == nil {
		return nil, fmt.Errorf("zone %s without signatures: %v", z.Origin(), problems)
	}
	s, err := newSigning(stripped, old, params, now)
	if err != nil {
		return nil, fmt.Errorf("signing zone %s: %w", z.Origin(), err)
	}
	p := &Plan{signing: s}
	for n := range s.z.Nodes() {
		if s.inChain(n) || s.p.Live && n == s.z.Apex() {
			p.nodes = append(p.nodes, n)
		}
	}
	if s.p.NSEC3 != nil && !s.p.Live {
		if p.hashes, err = s.hashAll(p.nodes); err != nil {
			return nil, err
		}
	}
	p.output = make([][]byte, p.jobs())
	return p, nil
}

// hashAll returns the chain of NSEC3.
func (s *signing) hashAll(nodes []zone.Node) ([]hashed, error) {
	all := make([]hashed, len(nodes))
	for i, n := range nodes {
		all[i] = hashed{s.hash(s.z.Name(n)), n}
	}
	slices.SortFunc(all, func(a, b hashed) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	for i := 1; i < len(all); i++ {
		if all[i].hash == all[i-1].hash { // RFC 5155 §7.1: choose another salt
			return nil, fmt.Errorf("two names of zone %s have one NSEC3 hash; choose a salt", s.origin)
		}
	}
	return all, nil
}

// jobs returns the number of jobs: first those of nodes, then those of hashes.
func (p *Plan) jobs() int { return chunks(len(p.nodes)) + chunks(len(p.hashes)) }

func chunks(n int) int { return (n + jobNodes - 1) / jobNodes }

// Progress returns how many of all jobs are done. It may be called at any time.
func (p *Plan) Progress() (done, all int) { return int(p.done.Load()), p.jobs() }

// Signatures returns how many signatures were made, and how many of the version before
// stay.
func (p *Plan) Signatures() (made, kept int) { return int(p.made.Load()), int(p.kept.Load()) }

// Stop makes Work return after the job at hand, and Finish fail.
func (p *Plan) Stop() { p.stopped.Store(true) }

// Work does jobs until none is left. Any number of goroutines may call it at once.
func (p *Plan) Work() {
	for !p.stopped.Load() {
		job := int(p.next.Add(1)) - 1
		if job >= p.jobs() {
			return
		}
		w := worker{signing: p.signing}
		err := p.run(job, &w)
		p.mu.Lock()
		p.output[job] = w.out
		if err != nil && p.err == nil {
			p.err = err
		}
		p.mu.Unlock()
		if err != nil {
			p.Stop()
			return
		}
		p.made.Add(int64(w.made))
		p.kept.Add(int64(w.kept))
		p.done.Add(1)
	}
}

func (p *Plan) run(job int, w *worker) error {
	if first := job * jobNodes; job < chunks(len(p.nodes)) {
		for i := first; i < min(first+jobNodes, len(p.nodes)); i++ {
			next := p.nodes[(i+1)%len(p.nodes)]
			if err := w.node(p.nodes[i], p.z.Name(next)); err != nil {
				return err
			}
		}
		return nil
	}
	first := (job - chunks(len(p.nodes))) * jobNodes
	for i := first; i < min(first+jobNodes, len(p.hashes)); i++ {
		if err := w.hashed(p.hashes[i], p.hashes[(i+1)%len(p.hashes)].hash); err != nil {
			return err
		}
	}
	return nil
}

// Finish makes the signed zone. All goroutines must have returned from Work.
func (p *Plan) Finish() (*zone.Zone, []zone.Problem, error) {
	switch done, all := p.Progress(); {
	case p.err != nil:
		return nil, nil, p.err
	case done < all:
		return nil, nil, fmt.Errorf("signing zone %s was stopped after %d of %d jobs", p.origin, done, all)
	}
	b := zone.NewBuilder(p.origin)
	for r := range p.records() {
		b.Add(r)
	}
	for n := range p.z.Nodes() {
		if how := p.z.Steering(n); how != zone.NotSteered {
			b.Steer(p.z.Name(n), how)
		}
	}
	z, problems := b.Finish()
	if z == nil {
		return nil, problems, fmt.Errorf("the signed zone %s cannot be served: %v", p.origin, problems[0])
	}
	signed, err := p.digest(z)
	return signed, problems, err
}

// records yields the records of the signed zone: those of the unsigned one, but the
// apex as the signing has it, and what was made.
func (p *Plan) records() iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		for _, set := range p.apex {
			if p.isDigest(set) { // it comes last
				continue
			}
			for _, data := range set.Data {
				if !yield(rdata.Record{Name: p.origin, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data}) {
					return
				}
			}
		}
		for r := range p.z.Records() {
			if r.Name != p.origin && !yield(r) {
				return
			}
		}
		for _, packed := range p.output {
			for r := range rdata.Packed(packed) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// worker makes the records of nodes, one after the other.
type worker struct {
	*signing
	room       []rdata.RRset
	out        []byte // packed records
	made, kept int
}

// node signs the RRsets of n and, with NSEC, makes its record; next is the owner of the
// next one.
func (w *worker) node(n zone.Node, next dnsname.Name) error {
	content := w.contentOf(n, w.room)
	if n != w.z.Apex() {
		w.room = content
	}
	name := w.z.Name(n)
	before := w.before(name)
	for _, set := range content {
		if w.isSigned(n, set.Type) && !w.isDigest(set) {
			if err := w.sign(set, before); err != nil {
				return err
			}
		}
	}
	if w.p.NSEC3 != nil || w.p.Live {
		return nil
	}
	return w.add(w.nsec(name, next, w.bitmapAt(n, content)), before)
}

// hashed makes the NSEC3 record of a name.
func (w *worker) hashed(h hashed, next [hashLen]byte) error {
	content := w.contentOf(h.node, w.room)
	if h.node != w.z.Apex() {
		w.room = content
	}
	set, err := w.nsec3(h.hash, next, w.bitmapAt(h.node, content))
	if err != nil {
		return err
	}
	return w.add(set, w.beforeHashed(h.hash))
}

// add adds a record that is made, with its signatures.
func (w *worker) add(set rdata.RRset, before zone.Node) error {
	w.out = rdata.AppendPacked(w.out, rdata.Record{Name: set.Name, Type: set.Type, TTL: set.TTL, Data: set.Data[0]})
	return w.sign(set, before)
}

func (w *worker) sign(set rdata.RRset, before zone.Node) error {
	all, made, err := w.signatures(set, before)
	w.made += made
	w.kept += len(all) - made
	for _, data := range all {
		w.out = rdata.AppendPacked(w.out, rdata.Record{Name: set.Name, Type: rdata.TypeRRSIG, TTL: set.TTL, Data: data})
	}
	return err
}
