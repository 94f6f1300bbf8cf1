package iterate

import (
	"bytes"
	"encoding/hex"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// rootDS are the root's trust anchors as IANA publishes them in root-anchors.xml:
// the keys in use since 2017 (20326) and from 2026 on (38696).
var rootDS = [...]string{
	"4f660802" + "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d",
	"97280802" + "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16",
}

// RootAnchors returns the built-in trust anchors: DS records of the root.
func RootAnchors() []rdata.Record {
	var out []rdata.Record
	for _, text := range rootDS {
		data, err := hex.DecodeString(text)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		out = append(out, rdata.Record{Name: dnsname.Root, Type: rdata.TypeDS, Class: rdata.ClassIN, Data: data})
	}
	return out
}

// anchor is what is believed of one zone without proof.
type anchor struct {
	zone     dnsname.Name
	ds, keys [][]byte // RDATA of DS and DNSKEY records
}

// anchors are the beginnings of chains of trust, and where there shall be none.
type anchors struct {
	by       map[dnsname.Name]*anchor
	negative map[dnsname.Name]bool
	private  map[dnsname.Name]bool
}

func newAnchors(cfg Config) anchors {
	a := anchors{private: namesOf(cfg.Private)}
	if len(cfg.Anchors) == 0 {
		cfg.Anchors = RootAnchors()
	}
	a.set(cfg.Anchors, cfg.Negative)
	return a
}

func (a *anchors) set(records []rdata.Record, negative []dnsname.Name) {
	a.by, a.negative = make(map[dnsname.Name]*anchor), make(map[dnsname.Name]bool)
	for _, name := range negative {
		a.negative[name] = true
	}
	for _, record := range records {
		at := a.by[record.Name]
		if at == nil {
			at = &anchor{zone: record.Name}
			a.by[record.Name] = at
		}
		switch record.Type {
		case rdata.TypeDS:
			at.ds = append(at.ds, record.Data)
		case rdata.TypeDNSKEY:
			at.keys = append(at.keys, record.Data)
		}
	}
}

// retrust makes other anchors those that count.
func (r *Resolver) retrust(ev Trust) {
	by, old := r.anchors.by, r.anchors.negative
	r.anchors.set(ev.Anchors, ev.Negative)
	r.chains.known.clear()
	for name, a := range by {
		if !a.continues(r.anchors.by[name]) { // what was secure by it is not, or need not be
			r.forgetBelow(name)
		}
	}
	for name := range r.anchors.by {
		if by[name] == nil { // what was insecure without it is not
			r.forgetBelow(name)
		}
	}
	for name := range old {
		if !r.anchors.negative[name] {
			r.cache.Flush(rrcache.Selection{Name: name, Tree: true})
		}
	}
	for name := range r.anchors.negative {
		if !old[name] {
			r.cache.Flush(rrcache.Selection{Name: name, Tree: true})
		}
	}
}

func (r *Resolver) forgetBelow(name dnsname.Name) {
	r.cache.Flush(rrcache.Selection{Name: name, Tree: true})
	r.forgetProofs()
}

// continues reports whether next, which may be nil, has something of a, so that it is the
// same zone's trust anchor after a change of its keys (RFC 5011).
func (a *anchor) continues(next *anchor) bool {
	if next == nil {
		return false
	}
	isOf := func(ds, key []byte) bool {
		d, ok := dnssec.ParseDS(ds)
		k, valid := dnssec.ParseKey(key)
		return ok && valid && d.IsOf(a.zone, k)
	}
	for _, was := range [...]struct{ list, same, other [][]byte }{{a.ds, next.ds, next.keys}, {a.keys, next.keys, next.ds}} {
		for _, data := range was.list {
			if slices.ContainsFunc(was.same, func(b []byte) bool { return bytes.Equal(b, data) }) ||
				slices.ContainsFunc(was.other, func(b []byte) bool { return isOf(data, b) || isOf(b, data) }) {
				return true
			}
		}
	}
	return false
}

// above returns the nearest anchor at or above name. There is none below a
// negative trust anchor, nor below a private name: then negative is that one's name
// (RFC 7646 §2.3: a positive anchor below a negative one counts). With anew, negative
// trust anchors are passed over.
func (a *anchors) above(name dnsname.Name, anew bool) (at *anchor, negative dnsname.Name) {
	for n := name; !n.IsZero(); n = n.Parent() {
		if a.private[n] || a.negative[n] && !anew {
			return nil, n
		}
		if at := a.by[n]; at != nil {
			return at, dnsname.Name{}
		}
	}
	return nil, dnsname.Name{}
}
