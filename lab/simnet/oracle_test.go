package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// A random world: a tree of zones, each on a server of its own, full of aliases
// into each other, wildcards and empty non-terminals. The oracle below knows all
// its records and has no cache, no packets and no servers; the resolver has to
// come to the same answers from the root down.
type randomWorld struct {
	chance  *rand.Rand
	zones   []dnsname.Name // the root first
	aliases []dnsname.Name // owners of CNAME and DNAME records
	text    map[dnsname.Name]string
	// owners has the records of each owner name of each zone, by type; empty
	// non-terminals and zone cuts are owners without records.
	owners map[dnsname.Name]map[dnsname.Name]map[rdata.Type][]string
}

var worldLabels = []string{"a", "b", "c", "d", "e"}

func newRandomWorld(seed uint64) *randomWorld {
	w := &randomWorld{chance: rand.New(rand.NewPCG(seed, 3)), text: map[dnsname.Name]string{}, owners: map[dnsname.Name]map[dnsname.Name]map[rdata.Type][]string{}}
	w.zones = []dnsname.Name{dnsname.Root}
	for len(w.zones) < 25 {
		n := w.below(w.zones[w.chance.IntN(len(w.zones))], 1+w.chance.IntN(2))
		if !slices.Contains(w.zones, n) {
			w.zones = append(w.zones, n)
		}
	}
	for i, origin := range w.zones {
		w.owners[origin] = map[dnsname.Name]map[rdata.Type][]string{}
		w.add(origin, rdata.TypeSOA, fmt.Sprintf("ns. host. %d 3600 600 86400 300", i+1))
		w.add(origin, rdata.TypeNS, serverName(i))
	}
	for i := range w.zones { // the servers' names are in the root zone, so all glue is in place
		w.add(dnsname.MustParse(serverName(i)), rdata.TypeA, serverAddr(i).String())
	}
	for i, origin := range w.zones[1:] {
		w.cut(origin, i+1)
	}
	for range 300 {
		n := w.below(w.zones[w.chance.IntN(len(w.zones))], w.chance.IntN(4))
		switch w.chance.IntN(8) {
		case 0, 1:
			w.addAlias(n, rdata.TypeCNAME)
		case 4:
			w.addAlias(n, rdata.TypeDNAME)
		case 2:
			if wild, err := n.Child("*"); err == nil {
				w.add(wild, rdata.TypeTXT, `"wild"`)
			}
		case 3:
			if wild, err := n.Child("*"); err == nil {
				w.addAlias(wild, rdata.TypeCNAME)
			}
		default:
			w.add(n, rdata.TypeA, fmt.Sprintf("203.0.113.%d", w.chance.IntN(256)))
		}
	}
	return w
}

func serverName(i int) string     { return fmt.Sprintf("ns%d.", i) }
func serverAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}) }

// below returns a random name so many labels below n.
func (w *randomWorld) below(n dnsname.Name, labels int) dnsname.Name {
	for range labels {
		if child, err := n.Child(worldLabels[w.chance.IntN(len(worldLabels))]); err == nil {
			n = child
		}
	}
	return n
}

// zoneOf returns the deepest zone that n is in.
func (w *randomWorld) zoneOf(n dnsname.Name) dnsname.Name {
	for a := n; ; a = a.Parent() {
		if slices.Contains(w.zones, a) {
			return a
		}
	}
}

func (w *randomWorld) add(n dnsname.Name, t rdata.Type, data string) {
	z := w.zoneOf(n)
	if _, ok := w.dnameAbove(z, n); ok {
		return // nothing stands below a DNAME (RFC 6672 §2.4)
	}
	sets := w.own(z, n)
	if len(sets[rdata.TypeCNAME]) > 0 || slices.Contains(sets[t], data) {
		return // nothing stands beside an alias (RFC 1034 §3.6.2)
	}
	sets[t] = append(sets[t], data)
	w.text[z] += fmt.Sprintf("%v %v %s\n", n, t, data)
}

// addAlias gives n, if it has no records and nothing is below it, a CNAME or DNAME
// record to a random name.
func (w *randomWorld) addAlias(n dnsname.Name, t rdata.Type) {
	z := w.zoneOf(n)
	for owner := range w.owners[z] {
		if owner.IsSubdomainOf(n) && (owner != n || len(w.owners[z][n]) > 0 || slices.Contains(w.zones, n)) {
			return
		}
	}
	target := w.below(w.zones[w.chance.IntN(len(w.zones))], w.chance.IntN(3))
	if len(w.aliases) > 0 && w.chance.IntN(2) == 0 { // so that there are chains and loops
		target = w.aliases[w.chance.IntN(len(w.aliases))]
	}
	w.aliases = append(w.aliases, n)
	w.add(n, t, target.String())
}

// dnameAbove returns the owner of a DNAME record above n in zone z.
func (w *randomWorld) dnameAbove(z, n dnsname.Name) (dnsname.Name, bool) {
	for a := n; a != z; {
		if a = a.Parent(); len(w.owners[z][a][rdata.TypeDNAME]) > 0 {
			return a, true
		}
	}
	return dnsname.Name{}, false
}

// own makes n an owner name of zone z, and the names between them empty
// non-terminals, unless they are owners already.
func (w *randomWorld) own(z, n dnsname.Name) map[rdata.Type][]string {
	for a := n; a != z; a = a.Parent() {
		if w.owners[z][a] == nil {
			w.owners[z][a] = map[rdata.Type][]string{}
		}
	}
	if w.owners[z][n] == nil {
		w.owners[z][n] = map[rdata.Type][]string{}
	}
	return w.owners[z][n]
}

// cut delegates zone i to its server, in the zone above.
func (w *randomWorld) cut(origin dnsname.Name, i int) {
	parent := w.zoneOf(origin.Parent())
	w.own(parent, origin)
	w.text[parent] += fmt.Sprintf("%v NS %s\n", origin, serverName(i))
}

// lookup is the oracle: what the answer to a question must be, as text.
func (w *randomWorld) lookup(n dnsname.Name, t rdata.Type) (rcode dnswire.Rcode, records []string) {
	seen := map[dnsname.Name]bool{}
	for len(seen) <= 11 { // aliases that the resolver follows
		z := w.zoneOf(n)
		if from, ok := w.dnameAbove(z, n); ok {
			to := dnsname.MustParse(w.owners[z][from][rdata.TypeDNAME][0])
			target, err := n.ReplaceSuffix(from, to)
			records = append(records, fmt.Sprintf("%v DNAME %v", from, to))
			if err != nil {
				return dnswire.RcodeYXDomain, records
			}
			records = append(records, fmt.Sprintf("%v CNAME %v", n, target))
			seen[n] = true
			if n = target; seen[n] {
				break
			}
			continue
		}
		owner := n
		for w.owners[z][owner] == nil {
			owner = owner.Parent() // in the end the closest encloser
		}
		sets := w.owners[z][owner]
		if owner != n { // RFC 4592 §3.3.1
			if wild, err := owner.Child("*"); err == nil {
				sets = w.owners[z][wild]
			}
			if sets == nil {
				return dnswire.RcodeNXDomain, records
			}
		}
		for _, data := range sets[t] {
			records = append(records, fmt.Sprintf("%v %v %s", n, t, data))
		}
		if len(sets[t]) > 0 || len(sets[rdata.TypeCNAME]) == 0 {
			return dnswire.RcodeNoError, records
		}
		target := sets[rdata.TypeCNAME][0]
		records = append(records, fmt.Sprintf("%v CNAME %s", n, target))
		seen[n] = true
		if n = dnsname.MustParse(target); seen[n] {
			break
		}
	}
	return dnswire.RcodeServFail, nil
}

// serve puts the world on a network.
func (w *randomWorld) serve(t *testing.T, n *Network) {
	for i, origin := range w.zones {
		udp, tcp := Zones(zone.NewSet(readZone(t, origin.String(), w.text[origin])))
		n.Serve(netip.AddrPortFrom(serverAddr(i), 53), udp, tcp)
	}
}

func TestResolverAgreesWithOracle(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(24) {
		w := newRandomWorld(seed)
		n := New(Config{Seed: seed, Default: Path{Latency: time.Millisecond, Jitter: time.Millisecond}})
		w.serve(t, n)
		h, core := resolverWith(n, seed, iterate.Limits{}, hint("ns0.", serverAddr(0).String()))
		for i := range 400 {
			name := w.below(w.zones[w.chance.IntN(len(w.zones))], w.chance.IntN(5))
			if i%3 == 0 {
				name = w.aliases[w.chance.IntN(len(w.aliases))]
			}
			qtype := []rdata.Type{rdata.TypeA, rdata.TypeA, rdata.TypeTXT, rdata.TypeCNAME}[w.chance.IntN(4)]
			if _, ok := w.dnameAbove(w.zoneOf(name), name); ok && qtype == rdata.TypeCNAME {
				continue // whether the CNAME that a DNAME makes is the end or an alias to follow is open
			}
			h.Ask(iterate.Ask{Name: name, Type: qtype}, func(a iterate.Answer) {
				rcode, want := w.lookup(name, qtype)
				var got []string
				for _, r := range a.Answer {
					got = append(got, fmt.Sprintf("%v %v %s", r.Name, r.Type, rdata.AppendText(nil, r.Type, r.Data)))
				}
				kinds[fmt.Sprintf("%v with %d records", a.Rcode, min(len(got), 3))]++
				slices.Sort(got)
				slices.Sort(want)
				want, got = slices.Compact(want), slices.Compact(got) // one DNAME may be passed twice
				if a.Rcode != rcode || !slices.Equal(got, want) {
					t.Errorf("world %d, question %d, %v %v: got %v %q %v, want %v %q", seed, i, name, qtype, a.Rcode, got, a.Errors, rcode, want)
				}
				if rcode == dnswire.RcodeNXDomain && len(a.Authority) != 1 {
					t.Errorf("world %d, %v %v: NXDOMAIN with authority %v", seed, name, qtype, a.Authority)
				}
			})
			if w.chance.IntN(3) == 0 { // some questions alone, some at once
				atRest(t, n, h, core)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
		atRest(t, n, h, core)
	}
	for _, kind := range []string{"NOERROR with 0 records", "NOERROR with 1 records", "NOERROR with 3 records", "NXDOMAIN with 0 records", "NXDOMAIN with 2 records", "SERVFAIL with 0 records"} {
		if kinds[kind] == 0 {
			t.Errorf("no answer was %s: the worlds are too simple (%v)", kind, kinds)
		}
	}
	t.Log(kinds)
}
