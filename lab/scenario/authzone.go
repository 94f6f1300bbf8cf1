package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
	"pharos/internal/resolver/iterate"
	"pharos/lab/simnet"
)

// This file is Unbound's auth-zone: a zone of this server. What Unbound calls
// for-downstream is a zone that clients are answered from, as node does it; for-upstream
// is a route to a server of that zone, which here is the authority engine itself.

// ownZone is a clause "auth-zone".
type ownZone struct {
	block                int
	name                 dnsname.Name
	files                []ownFile // the master file, then those that it includes
	upstream, downstream bool
	fallback             bool // if there is no zone, its servers are asked
	check, wantsZONEMD   bool
	addr                 netip.Addr // of the server that upstream is
	udp, tcp             simnet.Server
	broken               error // why there is no version to serve
}

type ownFile struct{ name, text string }

// ownAddr is the address of the server of the i-th zone: of a network for
// documentation that no file uses.
func ownAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{233, 252, 0, byte(i + 1)}) }

// applyOwn takes a setting of an auth-zone in.
func (w *World) applyOwn(set Setting, names map[int]string) error {
	var z *ownZone
	for _, have := range w.own {
		if have.block == set.Block {
			z = have
		}
	}
	if z == nil {
		name, err := dnsname.Parse(names[set.Block])
		if err != nil {
			return fmt.Errorf("line %d: auth-zone: %w", set.Line, err)
		}
		z = &ownZone{block: set.Block, name: name, addr: ownAddr(len(w.own)), upstream: true, downstream: true}
		w.own = append(w.own, z)
	}
	yes := strings.EqualFold(set.Value, "yes")
	file, isFile := strings.CutPrefix(set.Key, "TEMPFILE_CONTENTS ")
	switch {
	case isFile:
		z.files = append(z.files, ownFile{file, set.Value})
	case set.Key == "name":
	case set.Key == "for-upstream":
		z.upstream = yes
	case set.Key == "for-downstream":
		z.downstream = yes
	case set.Key == "fallback-enabled":
		z.fallback = yes
	case set.Key == "zonemd-check":
		z.check = yes
	case set.Key == "zonemd-reject-absence":
		z.wantsZONEMD = yes
	default:
		return &Unsupported{"authzone", "auth-zone: " + set.Key, set.Line}
	}
	return nil
}

// finishOwn loads the zones, and has the resolver ask them.
func (w *World) finishOwn() {
	for _, z := range w.own {
		if err := z.load(); err != nil {
			if z.broken = err; z.fallback {
				continue
			}
		}
		if z.upstream {
			w.Routes = append(w.Routes, iterate.Route{Zone: z.name, Servers: []netip.AddrPort{netip.AddrPortFrom(z.addr, 53)}, First: z.fallback})
		}
	}
}

// load reads the zone and, if that is asked for, checks its digest (RFC 8976).
func (z *ownZone) load() error {
	if len(z.files) == 0 {
		return fmt.Errorf("zone %v has no file", z.name)
	}
	text := z.files[0].text
	for _, f := range z.files[1:] {
		text = strings.ReplaceAll(text, "$INCLUDE_TEMPFILE "+f.name+"\n", f.text)
	}
	var records []rdata.Record
	has := false
	for r, err := range zonefile.Read(strings.NewReader("$TTL 3600\n"+text), zonefile.Options{Origin: z.name}) {
		if err != nil {
			return err
		}
		if r.Name.IsSubdomainOf(z.name) { // the rest belongs elsewhere
			r.Name, r.Data = r.Name.Clone(), slices.Clone(r.Data)
			records = append(records, r)
			has = has || r.Type == rdata.TypeZONEMD && r.Name == z.name
		}
	}
	if z.check && (has || z.wantsZONEMD) {
		if err := zonemd.Verify(z.name, slices.Values(records)); err != nil {
			return err
		}
	}
	made, problems := zone.Build(z.name, slices.Values(records))
	if made == nil {
		return fmt.Errorf("zone %v: %v", z.name, problems)
	}
	z.udp, z.tcp = simnet.Zones(zone.NewSet(made))
	return nil
}

// say is what the zone's server says.
func (z *ownZone) say(query []byte, tcp bool) []byte {
	if z.broken != nil {
		var q dnswire.Query
		q.Parse(query)
		var out dnswire.Builder
		out.Reset(&q, make([]byte, 512+dnswire.BufferSlack), 512)
		out.SetRcode(dnswire.RcodeServFail)
		out.SetEDE(dnswire.EDENotReady, z.broken.Error())
		return out.Finish()
	}
	serve := z.udp
	if tcp {
		serve = z.tcp
	}
	return serve(time.Time{}, query, netip.AddrPort{})[0]
}

// toldOwn takes in what a zone of ours tells a client, who may recurse.
func (r *run) toldOwn(msg []byte) error {
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		return fmt.Errorf("the answer is no message: %w", err)
	}
	m.RA = true
	r.note("answer (own zone): %s", render(m))
	r.answers = append(r.answers, Packet{Message: m})
	return nil
}

// ownServer returns the zone whose server is at an address, nil if there is none.
func (w *World) ownServer(a netip.Addr) *ownZone {
	for _, z := range w.own {
		if z.addr == a {
			return z
		}
	}
	return nil
}

// ownAnswer answers a client from a zone for clients, nil if none has the name.
func (w *World) ownAnswer(q *dnswire.Query, wire []byte) []byte {
	var best *ownZone
	for _, z := range w.own {
		if z.downstream && !(z.broken != nil && z.fallback) && q.Name.IsSubdomainOf(z.name) && (best == nil || z.name.IsSubdomainOf(best.name)) {
			best = z
		}
	}
	if best == nil {
		return nil
	}
	return best.say(wire, true)
}
