package sign

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// Limits is what a Check holds a zone against.
type Limits struct {
	// Anchors are DS records of which one must lead to a key that signs the DNSKEY
	// RRset; none: any key of the zone with the flag SEP, or any if it has none.
	Anchors []dnssec.DS
	// Soon: signatures that end within it are warned of; 0: only expired ones count.
	Soon time.Duration
	// Problems is how many of one severity are told: 100.
	Problems int
}

// maxProblems is the default of Limits.Problems: more than anybody reads.
const maxProblems = 100

// maxIterations is how often names are hashed again at most: 500, far above what validators
// accept (RFC 9276 §3.2), so that a zone cannot keep its checker busy for hours.
const maxIterations = 500

// Check is a signed zone being verified: every signature, the chain of NSEC or NSEC3
// records, and its digest if it has one. It is used as a Plan is:
//
//	check := sign.NewCheck(z, now, limits)
//	for range cores { group.Go(check.Work) }
//	problems := check.Problems()
//
// Fatal is what makes validating resolvers refuse something, a Warning what is against
// the rules for signers but does no harm yet.
type Check struct {
	*signing // of the zone as it should be
	limits   Limits
	keys     []dnssec.Key // that may sign, and whose algorithm is known
	unknown  int          // keys whose algorithm is not
	nodes    []zone.Node  // names of the zone, in order: not owners of nothing but NSEC3
	chain    []zone.Node  // those that an NSEC record must have
	place    map[zone.Node]int
	hashes   []hashed // of all nodes that may have an NSEC3 record

	next, done atomic.Int64

	mu     sync.Mutex // guards what follows
	counts [2]int
	list   []zone.Problem
	ends   rdata.Serial // the first end of a signature that is within Limits.Soon
	soon   int          // how many are
}

// Verify returns what is wrong with a signed zone, on one goroutine.
func Verify(z *zone.Zone, now time.Time, limits Limits) []zone.Problem {
	c := NewCheck(z, now, limits)
	c.Work()
	return c.Problems()
}

// NewCheck prepares to verify z. What concerns the apex alone it checks at once.
func NewCheck(z *zone.Zone, now time.Time, limits Limits) *Check {
	limits.Problems = cmp.Or(limits.Problems, maxProblems)
	p := Params{}
	if set, ok := z.RRset(z.Apex(), rdata.TypeNSEC3PARAM); ok && z.DenialType() != rdata.TypeNSEC {
		p.NSEC3 = chainOf(dataOf(&set))
	}
	c := &Check{
		signing: &signing{p: &p, z: z, now: now, origin: z.Origin(), denialTTL: z.NegativeTTL()},
		limits:  limits, place: map[zone.Node]int{},
	}
	if !c.checkKeys() {
		return c
	}
	if p.NSEC3 != nil && p.NSEC3.Iterations > maxIterations {
		c.add(zone.Fatal, c.origin, rdata.TypeNSEC3PARAM, "%d iterations, with which validators treat the zone as insecure; nothing else was checked; sign it with 0 (RFC 9276)", p.NSEC3.Iterations)
		return c
	}
	c.collect()
	if err := zonemd.Verify(c.origin, z.Records()); err != nil && !errors.Is(err, zonemd.ErrNone) {
		severity := zone.Warning
		if errors.Is(err, zonemd.ErrMismatch) {
			severity = zone.Fatal
		}
		c.add(severity, c.origin, rdata.TypeZONEMD, "%v; transfer or sign the zone again", err)
	}
	return c
}

// chainOf returns the parameters of the chain of which NSEC3PARAM records tell: the
// first that servers may use (RFC 5155 §4.1.2).
func chainOf(set [][]byte) *NSEC3 {
	for _, data := range set {
		if len(data) >= 5 && data[0] == 1 && data[1] == 0 && len(data) == 5+int(data[4]) {
			return &NSEC3{Iterations: uint16(data[2])<<8 | uint16(data[3]), Salt: data[5:]}
		}
	}
	return nil
}

func (c *Check) add(severity zone.Severity, n dnsname.Name, t rdata.Type, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[severity]++
	if c.counts[severity] <= c.limits.Problems {
		c.list = append(c.list, zone.Problem{Severity: severity, Name: n.Clone(), Type: t, Text: fmt.Sprintf(format, args...)})
	}
}

// checkKeys finds the keys of the zone, and reports whether there are any that can be
// checked with.
func (c *Check) checkKeys() bool {
	set, ok := c.z.RRset(c.z.Apex(), rdata.TypeDNSKEY)
	if !ok {
		c.add(zone.Fatal, c.origin, rdata.TypeDNSKEY, "the zone has no DNSKEY record, so it is not signed; sign it")
		return false
	}
	data := dataOf(&set)
	anchored, sep := false, false
	for _, k := range dnssec.ParseKeys(data) {
		if k.Flags&0x0180 != 0x0100 || k.Protocol != 3 { // RFC 4034 §2.1.1, RFC 5011 §7
			continue
		}
		sep = sep || k.Flags&1 != 0
		if !(dnssec.Policy{}).Supports(k.Algorithm) {
			c.unknown++
			continue
		}
		c.keys = append(c.keys, k)
	}
	if len(c.keys) == 0 {
		c.add(zone.Fatal, c.origin, rdata.TypeDNSKEY, "no key of the zone has an algorithm that can be checked; use 8, 10 or 13 to 16")
		return false
	}
	signed := rdata.RRset{Name: c.origin, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
	for _, k := range c.keys {
		if c.isAnchor(k, sep) && c.hasSignature(&set, signed, k) {
			anchored = true
		}
	}
	switch {
	case anchored:
	case len(c.limits.Anchors) > 0:
		c.add(zone.Fatal, c.origin, rdata.TypeDNSKEY, "no key that the trust anchor names has signed the DNSKEY RRset; look whether the parent has the right DS record")
	default:
		c.add(zone.Fatal, c.origin, rdata.TypeDNSKEY, "no key of the zone that a DS record could name has signed the DNSKEY RRset; sign the zone with its KSK")
	}
	return true
}

func (c *Check) isAnchor(k dnssec.Key, sep bool) bool {
	if len(c.limits.Anchors) == 0 {
		return k.Flags&1 != 0 || !sep
	}
	for _, ds := range c.limits.Anchors {
		if ds.IsOf(c.origin, k) {
			return true
		}
	}
	return false
}

// hasSignature reports whether set has a good signature by k.
func (c *Check) hasSignature(have *zone.RRset, set rdata.RRset, k dnssec.Key) bool {
	signatures, ok := have.Signatures()
	if !ok {
		return false
	}
	all := dataOf(&signatures)
	for _, data := range all[:min(len(all), dnssec.MaxSignatures)] {
		sig, ok := dnssec.ParseSignature(data)
		if ok && sig.Tag == k.Tag && sig.Algorithm == k.Algorithm && c.wrong(sig, set) == "" &&
			(dnssec.Policy{}).Check(k, dnssec.AppendSigned(nil, sig, set), sig.Octets) {
			return true
		}
	}
	return false
}

// collect finds the names of the zone, and the chain that they should have.
func (c *Check) collect() {
	for n := range c.z.Nodes() {
		name := c.z.Name(n)
		if c.z.Lookup(name).Exact != n {
			c.nodes = append(c.nodes, n) // its NSEC3 record is to be signed, but it is no name
			continue
		}
		c.nodes = append(c.nodes, n)
		if c.z.IsOccluded(n) {
			continue
		}
		if c.p.NSEC3 == nil {
			if len(c.contentAt(n)) > 0 || c.z.IsSteered(n) {
				c.place[n] = len(c.chain)
				c.chain = append(c.chain, n)
			}
			continue
		}
		c.hashes = append(c.hashes, hashed{c.hash(name), n})
	}
	slices.SortFunc(c.hashes, func(a, b hashed) int { return bytes.Compare(a.hash[:], b.hash[:]) })
}

// contentAt returns the RRsets of n without those that a signer makes.
func (c *Check) contentAt(n zone.Node) []rdata.RRset {
	return slices.DeleteFunc(setsOf(c.z, n, nil), func(s rdata.RRset) bool {
		return s.Type == rdata.TypeNSEC || s.Type == rdata.TypeNSEC3
	})
}

// jobs returns the number of jobs: those of nodes, and one for the chain of NSEC3.
func (c *Check) jobs() int {
	if len(c.hashes) > 0 {
		return chunks(len(c.nodes)) + 1
	}
	return chunks(len(c.nodes))
}

// Progress returns how many of all jobs are done. It may be called at any time.
func (c *Check) Progress() (done, all int) { return int(c.done.Load()), c.jobs() }

// Work does jobs until none is left. Any number of goroutines may call it at once.
func (c *Check) Work() {
	for {
		job := int(c.next.Add(1)) - 1
		if job >= c.jobs() {
			return
		}
		if job == chunks(len(c.nodes)) {
			c.checkHashes()
		} else {
			for _, n := range c.nodes[job*jobNodes : min((job+1)*jobNodes, len(c.nodes))] {
				c.node(n)
			}
		}
		c.done.Add(1)
	}
}

// Problems returns what is wrong, the worst first, when all goroutines have returned
// from Work.
func (c *Check) Problems() []zone.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.list)
	for severity, count := range c.counts {
		if left := count - c.limits.Problems; left > 0 {
			list = append(list, zone.Problem{Severity: zone.Severity(severity), Name: c.origin, Text: fmt.Sprintf("%d further problems of this severity are not shown", left)})
		}
	}
	if c.soon > 0 {
		list = append(list, zone.Problem{Severity: zone.Warning, Name: c.origin, Text: fmt.Sprintf(
			"%d signatures end within %s, the first at %s; sign the zone again before", c.soon, c.limits.Soon, time.Unix(c.now.Unix()+int64(int32(c.ends-rdata.Serial(c.now.Unix()))), 0).UTC().Format(time.RFC3339))})
	}
	slices.SortStableFunc(list, func(a, b zone.Problem) int {
		return cmp.Or(int(b.Severity)-int(a.Severity), a.Name.Compare(b.Name), int(a.Type)-int(b.Type))
	})
	return list
}
