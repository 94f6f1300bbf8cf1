package node

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/children"
	"pharos/internal/authority/update"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/serve/dnsserver"
)

// This file joins zones whose DS records follow their children with what looks after them:
//
//	servers of a child: xfr.AskSigned -> children -> ledger.Change, as any other change

// openChildren makes what looks after children, of the zones outside of views.
func (n *Node) openChildren(cfg *config.Config) *children.Driver {
	return children.Open(children.Config{
		File: filepath.Join(cfg.Data, "children.json"), Log: n.log, Zones: n.parents,
		Addresses: func(ctx context.Context, host dnsname.Name) (all []netip.AddrPort) {
			s := n.current.Load()
			for _, addr := range n.keeping.finder(s).Addresses(ctx, host) {
				all = append(all, netip.AddrPortFrom(addr, s.Config.Resolver.Port))
			}
			return all
		},
		Ask: func(ctx context.Context, server netip.AddrPort, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
			return xfr.AskSigned(ctx, xfr.Peer{Address: server}, name, t)
		},
		Signal: n.signalOf,
		Change: func(ctx context.Context, name dnsname.Name, by string, decide func(now *zone.Zone) (update.Change, error)) error {
			_, err := n.changeInLedger(ctx, name, by, decide)
			return err
		},
		Problem: func(name dnsname.Name, text string) { n.problem(problems.ChildrenRefused, name.String(), text) },
	})
}

// parents returns the zones whose DS records follow their children.
func (n *Node) parents() (list []children.Zone) {
	s := n.current.Load()
	for i := range s.Config.Zones {
		if c := &s.Config.Zones[i]; c.Kind == "store" && c.Children.CDS == "follow" {
			list = append(list, children.Zone{Name: c.Name, Version: n.version(c.Name).Zone, Every: c.Children.Every.Std(), Rules: settings.Children(c)})
		}
	}
	return list
}

// notifiedOfChild takes NOTIFY(CDS), of whomever (RFC 9859 §3): it only has the child looked at
// sooner, outside of views.
func (n *Node) notifiedOfChild(r *dnsserver.Request) {
	if !n.children.Notified(r.Query.Name) {
		r.Out.SetRcode(dnswire.RcodeRefused)
		r.Out.SetEDE(dnswire.EDEProhibited, "no delegation of a zone here that follows its children")
		return
	}
	r.Out.SetAA(true)
}

// errResolverOff is why there is nobody to ask about signals.
var errResolverOff = errors.New("the resolver is off; resolver.allow turns it on")

// signalOf resolves what the zone of a name server says for a child.
func (n *Node) signalOf(ctx context.Context, name dnsname.Name, t rdata.Type) (data [][]byte, secure bool, err error) {
	if !n.keeping.canResolve(n.current.Load()) {
		return nil, false, errResolverOff
	}
	found, err := n.resolver.Resolve(ctx, name, t, outbound.Options{})
	for _, r := range found.Answer {
		if r.Name == name && r.Type == t {
			data = append(data, r.Data)
		}
	}
	return data, found.State == rrcache.Secure, err
}
