// Package designated is what a resolver tells its clients of itself: by which
// encrypted transports it can be asked (discovery of designated resolvers), and what
// it does (resolver information).
//
//	_dns.resolver.arpa  SVCB     one record for each transport and port
//	_dns.NAME           SVCB     the same, for who knows the resolver's name
//	resolver.arpa       RESINFO  what the resolver does
//	NAME                RESINFO  the same
//
// It owns these zones. It does not own who is told (package node), nor the listeners.
//
// Entry points: New, Zones.Find, Zones.Has.
//
// Concurrency: Zones never change.
//
// Sources: RFC 9460, RFC 9461, RFC 9462, RFC 9606.
package designated

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// Config is what is told.
type Config struct {
	// Name is what the certificate of the encrypted listeners is made out to; zero:
	// clients cannot verify anything, so they are told of no transport.
	Name dnsname.Name
	// Listeners over each transport.
	DoT, DoH, DoH3, DoQ []netip.AddrPort
	// Addresses at which clients reach the listeners; none: those they listen on.
	Addresses []netip.Addr
	Path      string // of DoH
	Minimise  bool   // the resolver shows servers no more of a name than they need
	InfoURL   string // where people find more; empty: nowhere
}

// Zones are the zones of one Config.
type Zones struct {
	arpa  *zone.Zone // resolver.arpa
	named *zone.Zone // of the resolver's name; nil without one
}

var (
	resolverARPA = dnsname.MustParse("resolver.arpa")
	dnsLabel     = "_dns"
)

// ttl of all records, in seconds: the rules of an office change within minutes.
const ttl = 300

// codes are the extended errors that the resolver gives (RFC 9606 §4): all that are
// assigned for a resolver but 5 and 16.
const codes = "0-4,6-15,17-24,27,30,33"

// New returns the zones for c.
func New(c Config) *Zones {
	about := []string{"exterr=" + codes}
	if c.Minimise {
		about = append(about, "qnamemin")
	}
	if c.InfoURL != "" {
		about = append(about, "infourl="+c.InfoURL)
	}
	text := "$TTL " + fmt.Sprint(ttl) + "\n@ SOA @ nobody.invalid. 1 3600 1200 604800 300\n@ NS @\n@ RESINFO"
	for _, key := range about {
		text += fmt.Sprintf(" %q", key)
	}
	text += "\n" + c.services()
	z := &Zones{arpa: build(resolverARPA, text)}
	if !c.Name.IsZero() {
		z.named = build(c.Name, text)
	}
	return z
}

// Find returns the zone that answers a question, nil if none does. What has the
// resolver's name belongs to its owner, but for what the resolver says of itself.
func (z *Zones) Find(name dnsname.Name, t rdata.Type) *zone.Zone {
	if z == nil {
		return nil
	}
	if name.IsSubdomainOf(resolverARPA) && (t != rdata.TypeDS || name != resolverARPA) {
		return z.arpa
	}
	if z.named == nil {
		return nil
	}
	origin := z.named.Origin()
	if t == rdata.TypeRESINFO && name == origin || t == rdata.TypeSVCB && name.Label() == dnsLabel && name.Parent() == origin {
		return z.named
	}
	return nil
}

// Has reports whether a zone is one of z's.
func (z *Zones) Has(other *zone.Zone) bool {
	return z != nil && other != nil && (other == z.arpa || other == z.named)
}

// service is one record: listeners over a transport at one port.
type service struct {
	priority  int
	alpn      []string
	port      uint16
	addresses []netip.Addr
}

// services returns the SVCB records in master file form, the preferred ones first:
// HTTPS passes most networks, and then what costs least.
func (c *Config) services() string {
	if c.Name.IsZero() {
		return ""
	}
	var all []service
	for priority, form := range []struct {
		alpn  string
		addrs []netip.AddrPort
	}{{"h2", c.DoH}, {"h3", c.DoH3}, {"dot", c.DoT}, {"doq", c.DoQ}} {
		for _, a := range form.addrs {
			at := slices.IndexFunc(all, func(s service) bool { return s.port == a.Port() && s.speaks(form.alpn) })
			if at < 0 {
				all = append(all, service{priority: 1 + priority, port: a.Port()})
				at = len(all) - 1
			}
			s := &all[at]
			if !slices.Contains(s.alpn, form.alpn) {
				s.alpn = append(s.alpn, form.alpn)
			}
			s.addresses = append(s.addresses, a.Addr().Unmap().WithZone(""))
		}
	}
	var b strings.Builder
	for _, s := range all {
		b.WriteString(c.record(s))
	}
	return b.String()
}

// speaks reports whether a protocol goes into the record: HTTP/3 into that of HTTP/2.
func (s *service) speaks(alpn string) bool {
	return slices.Contains(s.alpn, alpn) || alpn == "h3" && slices.Contains(s.alpn, "h2")
}

// record returns one SVCB record.
func (c *Config) record(s service) string {
	text := fmt.Sprintf("_dns SVCB %d %s alpn=%s port=%d", s.priority, c.Name, strings.Join(s.alpn, ","), s.port)
	addresses := c.Addresses
	if len(addresses) == 0 && !slices.ContainsFunc(s.addresses, netip.Addr.IsUnspecified) { // one that means all would mislead
		addresses = slices.Clone(s.addresses)
	}
	var v4, v6 []string
	for _, a := range slices.Compact(slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)) {
		if a.Is4() {
			v4 = append(v4, a.String())
		} else {
			v6 = append(v6, a.String())
		}
	}
	if len(v4) > 0 {
		text += " ipv4hint=" + strings.Join(v4, ",")
	}
	if len(v6) > 0 {
		text += " ipv6hint=" + strings.Join(v6, ",")
	}
	if s.speaks("h2") || slices.Contains(s.alpn, "h3") {
		text += fmt.Sprintf(" key7=%q", c.Path+"{?dns}") // dohpath: RFC 9461 §5
	}
	return text + "\n"
}

func build(origin dnsname.Name, text string) *zone.Zone {
	b := zone.NewBuilder(origin)
	for record, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
		if err != nil {
			panic("BUG: " + err.Error())
		}
		b.Add(record)
	}
	z, problems := b.Finish()
	if z == nil {
		panic(fmt.Sprint("BUG: ", problems))
	}
	return z
}
