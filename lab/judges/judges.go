// Package judges makes a tree of some two hundred zones in every state that DNSSEC knows,
// right and wrong, and says what each answer from there has to be: so that this resolver
// and others can be asked the same.
//
// It owns the zones, their keys and faults, and what is expected by which rule. It does
// not own who serves and who asks: in tests that is the simulated network, and servers on
// a loopback with Unbound, Knot Resolver and BIND beside ours as judges.
//
//	.                        ECDSA P-256, NSEC       127.0.0.10
//	└─ zz.                   ECDSA P-256, NSEC       127.0.0.11
//	   ├─ VARIANT-DENIAL.zz. one for each variant    127.0.0.12, some with zz.
//	   └─ ...                with children of theirs
//
// Entry points: Grow; Tree.Zones, Questions, Server, Anchor.
//
// Concurrency: a Tree is constant once it is grown.
//
// Sources: RFC 4035 §5, RFC 5155 §8 and §9, RFC 6840, RFC 4509 §3, RFC 9276 §3.2.
package judges

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// State is what is expected of an answer.
type State string

// The states (RFC 4035 §4.3).
const (
	Secure   State = "secure"   // AD
	Insecure State = "insecure" // an answer without AD
	Bogus    State = "bogus"    // SERVFAIL
)

// Addresses of the servers.
var (
	RootAt   = netip.MustParseAddr("127.0.0.10")
	TopAt    = netip.MustParseAddr("127.0.0.11")
	ChildAt  = netip.MustParseAddr("127.0.0.12")
	Servers  = []netip.Addr{RootAt, TopAt, ChildAt}
	topLevel = dnsname.MustParse("zz.")
)

// Question is one to ask, and what the answer has to be.
type Question struct {
	Zone  *Zone
	Label string // which of the questions about a zone it is
	Name  dnsname.Name
	Type  rdata.Type
	Rcode int // unless it is Bogus
	State State
	EDE   uint16 // why it is Bogus, or Insecure; 0: any
}

// Zone is one zone of the tree.
type Zone struct {
	Name    dnsname.Name
	At      netip.Addr
	version *zone.Zone
	tamper  func(q *dns.Msg, m *dns.Msg) // the last word of its server
	ds      []rdata.Record               // for its parent
}

// Tree is all zones.
type Tree struct {
	Zones     []*Zone
	Questions []Question
	Anchor    rdata.Record // DS of the root
	now       time.Time
	keys      map[string]*sign.Key
}

// Grow makes the tree, with signatures for now.
func Grow(now time.Time) (*Tree, error) {
	t := &Tree{now: now, keys: map[string]*sign.Key{}}
	parent := []rdata.Record{}
	for _, s := range specs() {
		z, err := t.plant(s)
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", s.origin(), err)
		}
		parent = append(parent, z.delegation()...)
		for _, child := range s.children {
			if _, err := t.plant(child); err != nil {
				return nil, fmt.Errorf("zone %s: %w", child.origin(), err)
			}
		}
	}
	top := spec{name: "", text: "@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\n", records: parent, at: TopAt}
	z, err := t.plantAt(topLevel, top)
	if err != nil {
		return nil, err
	}
	root := spec{text: "@ SOA a.root. host.root. 1 1h 15m 1w 1h\n@ NS a.root.\na.root. A " + RootAt.String() + "\n", records: z.delegation(), at: RootAt}
	r, err := t.plantAt(dnsname.Root, root)
	if err != nil {
		return nil, err
	}
	t.Anchor = r.ds[0]
	return t, nil
}

// key returns the key of a role and algorithm, which zones share: making one takes long.
func (t *Tree) key(flags uint16, algorithm uint8) (*sign.Key, error) {
	id := fmt.Sprint(flags, algorithm)
	if k := t.keys[id]; k != nil {
		c := *k
		return &c, nil
	}
	k, err := sign.Generate(flags, algorithm, 0)
	if err != nil {
		return nil, err
	}
	t.keys[id] = k
	c := *k
	return &c, nil
}

func (t *Tree) plant(s spec) (*Zone, error) {
	z, err := t.plantAt(s.origin(), s)
	if err == nil {
		t.ask(z, s)
	}
	return z, err
}

// plantAt makes a zone and signs it as s says.
func (t *Tree) plantAt(origin dnsname.Name, s spec) (*Zone, error) {
	records := slices.Clone(s.records)
	for r, err := range zonefile.Read(strings.NewReader("$TTL 1h\n"+s.text), zonefile.Options{Origin: origin}) {
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	for _, child := range s.children {
		c, err := t.childOf(child)
		if err != nil {
			return nil, err
		}
		records = append(records, c...)
	}
	z := &Zone{Name: origin, At: s.at, tamper: s.tamper}
	if !z.At.IsValid() {
		z.At = ChildAt
	}
	if !origin.IsRoot() {
		records = append(records, z.delegation()[1]) // the address of its server
	}
	p := &planting{tree: t, zone: z, spec: s, now: t.now, records: records}
	if err := p.sign(); err != nil {
		return nil, err
	}
	b := zone.NewBuilder(origin)
	for _, r := range p.records {
		b.Add(r)
	}
	var problems []zone.Problem
	if z.version, problems = b.Finish(); z.version == nil {
		return nil, fmt.Errorf("%v", problems)
	}
	z.ds = p.ds
	t.Zones = append(t.Zones, z)
	return z, nil
}

// childOf returns the records by which a zone delegates to a child.
func (t *Tree) childOf(s spec) ([]rdata.Record, error) {
	p := &planting{tree: t, zone: &Zone{Name: s.origin(), At: s.at}, spec: s, now: t.now}
	if err := p.makeKeys(); err != nil {
		return nil, err
	}
	z := &Zone{Name: s.origin(), At: s.at, ds: p.ds}
	if !z.At.IsValid() {
		z.At = ChildAt
	}
	return z.delegation(), nil
}

// delegation returns the records by which a zone is delegated to.
func (z *Zone) delegation() []rdata.Record {
	ns, err := z.Name.Child("ns")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append([]rdata.Record{
		{Name: z.Name, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: 3600, Data: ns.AppendWire(nil)},
		{Name: ns, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: z.At.AsSlice()},
	}, z.ds...)
}

// planting is a zone being made.
type planting struct {
	tree    *Tree
	zone    *Zone
	spec    spec
	now     time.Time
	keys    []*sign.Key
	records []rdata.Record
	ds      []rdata.Record
}

func (p *planting) makeKeys() error {
	s := p.spec
	if s.unsigned && s.dsOf == nil {
		return nil
	}
	algorithms := s.algorithms
	if len(algorithms) == 0 {
		algorithms = []uint8{dnssec.ECDSAP256}
	}
	for _, a := range algorithms {
		flags := []uint16{257, 256}
		if s.single {
			flags = []uint16{257}
		}
		for _, f := range flags {
			k, err := p.tree.key(f, a)
			if err != nil {
				return err
			}
			if s.key != nil {
				s.key(k)
			}
			p.keys = append(p.keys, k)
			if f == 257 {
				data, err := k.DS(p.zone.Name, dnssec.DigestSHA256)
				if err != nil {
					return err
				}
				p.ds = append(p.ds, rdata.Record{Name: p.zone.Name, Type: rdata.TypeDS, Class: rdata.ClassIN, TTL: 3600, Data: data})
			}
		}
	}
	if s.dsOf != nil {
		p.ds = s.dsOf(p)
	}
	return nil
}

// sign signs the zone, then makes the fault.
func (p *planting) sign() error {
	s := p.spec
	if err := p.makeKeys(); err != nil {
		return err
	}
	if !s.unsigned {
		b := zone.NewBuilder(p.zone.Name)
		for _, r := range p.records {
			b.Add(r)
		}
		plain, problems := b.Finish()
		if plain == nil {
			return fmt.Errorf("%v", problems)
		}
		plan, err := sign.NewPlan(plain, nil, sign.Params{Keys: sign.Roles(p.keys...), NSEC3: s.nsec3}, p.now.Add(s.shift))
		if err != nil {
			return err
		}
		plan.Work()
		signed, problems, err := plan.Finish()
		if err != nil {
			return fmt.Errorf("%w %v", err, problems)
		}
		p.records = slices.Collect(signed.Records())
	}
	if s.fault != nil {
		s.fault(p)
	}
	return nil
}
