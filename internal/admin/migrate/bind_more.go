package migrate

import (
	"net/netip"
	"strconv"
)

// This file takes of named.conf catalog zones, limits of zones, and whom the resolver
// asks.

// limitsOf are the options that are limits of zones, by our names.
var limitsOf = []struct {
	option, key string
	most        int
}{{"max-records", "maxRecords", 4_000_000_000}, {"max-records-per-type", "maxRRset", 65535}, {"max-types-per-name", "maxTypes", 65535}}

// limit takes an option that is a limit of zones.
func (to *scope) limit(o *statement) bool {
	for i, l := range limitsOf {
		if o.word(0) == l.option {
			to.limits[i] = o
			return true
		}
	}
	return false
}

// gate takes the limits of a zone. named's 0 is any number.
func (b *bind) gate(z *Zone, from scope) {
	for i, l := range limitsOf {
		o := from.limits[i]
		if o == nil {
			continue
		}
		n, err := strconv.Atoi(o.word(1))
		switch {
		case err != nil || n < 0:
			b.note(o.place, "zone "+z.Name+": "+o.String(), "want a number")
		case n == 0 || n > l.most:
			z.Gate = append(z.Gate, [2]string{l.key, strconv.Itoa(l.most)})
		default:
			z.Gate = append(z.Gate, [2]string{l.key, strconv.Itoa(n)})
		}
	}
}

// catalogZones takes the option catalog-zones: which zones are catalogs, and where their
// members come from.
func (b *bind) catalogZones(o *statement, to *scope) {
	list, _ := o.block()
	to.catalogs = map[string]*statement{}
	for i := range list {
		s := &list[i]
		name, err := zoneName(s.word(1))
		if s.word(0) != "zone" || err != nil {
			b.note(s.place, "catalog-zones: "+s.String(), "want a zone")
			continue
		}
		to.catalogs[name] = s
		b.wanted = append(b.wanted, catalogWanted{name, s})
	}
}

// catalogWanted is a zone that catalog-zones names.
type catalogWanted struct {
	name string
	at   *statement
}

// catalog makes z a catalog whose members are served, if catalog-zones names it.
func (b *bind) catalog(z *Zone, from scope) {
	s := from.catalogs[z.Name]
	if s == nil || z.Kind != "secondary" && z.Kind != "file" && z.Kind != "store" {
		return
	}
	t := Template{Query: z.Query, Transfer: z.Transfer}
	for i, p := range s.parts {
		if p.word == "default-primaries" || p.word == "default-masters" {
			t.Primaries = b.peers(&statement{s.place, s.parts[i:]}, 0)
		}
	}
	b.found = append(b.found, s)
	if len(t.Primaries) == 0 && z.Kind != "secondary" {
		b.note(s.place, "catalog-zones: "+s.String(), "nothing says where its members come from: write primaries under catalog.templates")
		return
	}
	z.Templates = []Template{t}
}

// leftCatalogs notes what catalog-zones names and no zone is.
func (b *bind) leftCatalogs() {
	for _, w := range b.wanted {
		is := false
		for _, s := range b.found {
			is = is || s == w.at
		}
		if !is {
			b.note(w.at.place, "catalog-zones: "+w.at.String(), "zone %s was not carried over", w.name)
		}
	}
}

// route takes servers that the resolver asks about a zone; mode is the option forward.
func (b *bind) route(at *statement, zone string, servers *statement, mode *statement, isStub bool) {
	if b.reader.view != nil || servers == nil {
		b.note(at.place, at.String(), "resolver.routes are for all views: write the route there if it is")
		return
	}
	block, _ := servers.block()
	r := Route{Zone: zone, Stub: isStub, First: !isStub && (mode == nil || mode.word(1) != "only")}
	for i := range block {
		e := &block[i]
		addr, err := netip.ParseAddr(e.word(0))
		if tls := e.after("tls"); err != nil || addr.Zone() != "" || tls != "" && tls != "none" {
			b.note(e.place, zone+": "+e.String(), "want an address in clear text; an encrypted server is written under resolver.routes[].encrypted")
			continue
		}
		r.Servers = append(r.Servers, netip.AddrPortFrom(addr.Unmap(), b.portOf(e, e.after("port"), b.portOf(servers, servers.after("port"), 53))))
	}
	for _, other := range b.result.Plan.Routes {
		if other.Zone == zone {
			b.note(at.place, at.String(), "there is a route for %s already; the first one was taken", zone)
			return
		}
	}
	r.Servers = atMost(b.reader, at.place, "servers of route "+zone, unique(r.Servers), maxServers)
	if len(r.Servers) == 0 {
		b.note(at.place, at.String(), "no server is left")
		return
	}
	b.result.Plan.Routes = append(b.result.Plan.Routes, r)
}

// without returns what is left of networks when another one is taken out.
func without(nets []netip.Prefix, not netip.Prefix) []netip.Prefix {
	var left []netip.Prefix
	for _, n := range nets {
		n = n.Masked()
		switch {
		case !n.Overlaps(not):
			left = append(left, n)
		case not.Bits() <= n.Bits(): // all of it
		default:
			low := netip.PrefixFrom(n.Addr(), n.Bits()+1)
			high := netip.PrefixFrom(lastOf(n), n.Bits()+1).Masked()
			left = append(left, without([]netip.Prefix{low, high}, not)...)
		}
	}
	return left
}

// maxPieces is how many networks one entry of a list may become for its exceptions: one
// address out of all of IPv6 leaves 128.
const maxPieces = 512

// pieces returns what an entry stands for without exceptions before it; ok is false if
// that cannot be said by networks.
func pieces(except []element, e element) (nets []netip.Prefix, ok bool) {
	switch {
	case e.key != "":
		return nil, false
	case e.net.IsValid():
		nets = []netip.Prefix{e.net.Masked()}
	default:
		nets = everybody
	}
	for _, x := range except {
		if !x.net.IsValid() {
			return nil, false
		}
		if nets = without(nets, x.net.Masked()); len(nets) > maxPieces {
			return nil, false
		}
	}
	return nets, true
}

// without returns rules for whom r lets in and denied do not keep out; ok is false if rules
// that only let in cannot say it.
func (r Rule) without(denied []Rule) (left []Rule, ok bool) {
	var except []element
	for _, d := range denied {
		switch {
		case d.Key != "" && r.Key != "" && d.Key != r.Key: // a message has one key
		case !d.Network.IsValid():
			return nil, false
		case !r.Network.IsValid() || d.Network.Overlaps(r.Network):
			except = append(except, element{net: d.Network})
		}
	}
	if len(except) == 0 {
		return []Rule{r}, true
	}
	nets, ok := pieces(except, element{net: r.Network})
	for _, n := range nets {
		part := r
		part.Network = n
		left = append(left, part)
	}
	return left, ok
}
