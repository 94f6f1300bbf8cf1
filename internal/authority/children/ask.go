package children

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"pharos/internal/authority/bootstrap"
	"pharos/internal/authority/childkeys"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is what is asked of a child, and the change that comes of it.

// dataAt returns the RDATA of an RRset of a version, which may be in its arena.
func dataAt(z *zone.Zone, name dnsname.Name, t rdata.Type) (data [][]byte) {
	for _, r := range journal.RecordsAt(z, name) {
		if r.Type == t {
			data = append(data, r.Data)
		}
	}
	return data
}

// dsOf returns the DS records of a child.
func dsOf(z *zone.Zone, name dnsname.Name) [][]byte { return dataAt(z, name, rdata.TypeDS) }

// nameServers returns the names of the NS records of a delegation.
func nameServers(z *zone.Zone, name dnsname.Name) (hosts []dnsname.Name) {
	for _, data := range dataAt(z, name, rdata.TypeNS) {
		if host, ok := rdata.Target(rdata.TypeNS, data); ok {
			hosts = append(hosts, host.Clone())
		}
	}
	return hosts
}

// ask asks every address of every name server of a child for what it says. RFC 7344 §6.1 and
// RFC 9615 §4.2 want all: a single one may be out of date, or somebody else's by now.
func (d *Driver) ask(ctx context.Context, name dnsname.Name, hosts []dnsname.Name) []childkeys.Answer {
	var unknown []childkeys.Answer
	var servers []netip.AddrPort
	for _, host := range hosts {
		found := d.config.Addresses(ctx, host)
		if len(found) == 0 {
			unknown = append(unknown, childkeys.Answer{Server: host.String(), Err: errors.New("no address of it can be found")})
		}
		for _, at := range found {
			if !slices.Contains(servers, at) && len(servers) < maxServers {
				servers = append(servers, at)
			}
		}
	}
	answers := make([]childkeys.Answer, len(servers))
	var asking sync.WaitGroup
	for i, at := range servers {
		asking.Go(func() { answers[i] = d.askOne(ctx, name, at) }) // ends with the answers, or by the time limits of queries
	}
	asking.Wait()
	return append(answers, unknown...)
}

func (d *Driver) askOne(ctx context.Context, name dnsname.Name, at netip.AddrPort) childkeys.Answer {
	a := childkeys.Answer{Server: at.String()}
	for _, want := range []struct {
		t  rdata.Type
		to *childkeys.Signed
	}{{rdata.TypeCDS, &a.CDS}, {rdata.TypeCDNSKEY, &a.CDNSKEY}, {rdata.TypeDNSKEY, &a.Key}} {
		m, err := d.config.Ask(ctx, at, name, want.t)
		if err == nil && m.Rcode != dnswire.RcodeNoError {
			err = fmt.Errorf("says that there is no %s", name)
		}
		if err != nil {
			a.Err = err
			return a
		}
		*want.to = signedOf(m, name, want.t)
	}
	return a
}

// signedOf takes an RRset and its signatures from an answer.
func signedOf(m *dnswire.Message, name dnsname.Name, t rdata.Type) (s childkeys.Signed) {
	for _, r := range m.Answer {
		switch {
		case r.Name != name:
		case r.Type == t:
			s.Data, s.TTL = append(s.Data, r.Data), r.TTL
		case r.Type == rdata.TypeRRSIG && len(r.Data) > 2 && rdata.Type(r.Data[0])<<8|rdata.Type(r.Data[1]) == t:
			s.Sigs = append(s.Sigs, r.Data)
		}
	}
	return s
}

// isAsking reports whether a child asks for DS records, as far as its first server tells.
func isAsking(answers []childkeys.Answer) bool {
	return len(answers) > 0 && len(answers[0].CDS.Data)+len(answers[0].CDNSKEY.Data) > 0
}

// signals returns what the zones of name servers outside of a child say for it.
func (d *Driver) signals(ctx context.Context, name dnsname.Name, hosts []dnsname.Name) (list []childkeys.Signal) {
	for _, host := range hosts {
		if host.IsSubdomainOf(name) {
			continue
		}
		s := childkeys.Signal{Host: host}
		at := bootstrap.SignalName(name, host)
		if at.IsZero() {
			s.Err = errors.New("its name would be too long")
			list = append(list, s)
			continue
		}
		var secure [2]bool
		var errs [2]error
		s.CDS, secure[0], errs[0] = d.config.Signal(ctx, at, rdata.TypeCDS)
		s.CDNSKEY, secure[1], errs[1] = d.config.Signal(ctx, at, rdata.TypeCDNSKEY)
		s.Secure, s.Err = secure[0] && secure[1], errors.Join(errs[0], errs[1])
		list = append(list, s)
	}
	return list
}

// errMoved is why a change that was decided on is not carried out.
var errMoved = errors.New("its DS records or its delegation have changed meanwhile; it is asked again at its next turn")

// change returns what leads from the DS records that a decision was about to others.
func change(now *zone.Zone, name dnsname.Name, from, to [][]byte) (c update.Change, err error) {
	n := now.Lookup(name).Exact
	if n == 0 || !now.IsCut(n) {
		return c, errMoved
	}
	isIn := func(set [][]byte, data []byte) bool {
		return slices.ContainsFunc(set, func(d []byte) bool { return bytes.Equal(d, data) })
	}
	ttl, seen := rdata.TTL(0), 0
	for _, r := range journal.RecordsAt(now, name) {
		switch {
		case r.Type == rdata.TypeNS && seen == 0:
			ttl = r.TTL
		case r.Type == rdata.TypeDS:
			if ttl, seen = r.TTL, seen+1; !isIn(from, r.Data) {
				return c, errMoved
			}
			if !isIn(to, r.Data) {
				c.Deleted = append(c.Deleted, r)
			}
		}
	}
	if seen != len(from) {
		return c, errMoved
	}
	for _, data := range to {
		if !isIn(from, data) {
			c.Added = append(c.Added, rdata.Record{Name: name, Type: rdata.TypeDS, Class: rdata.ClassIN, TTL: ttl, Data: data})
		}
	}
	return c, nil
}
