package node

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/metrics"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/telemetry"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/bootstrap"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/parentnotify"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
)

// This file joins zones with the key dnssec with what signs them:
//
//	source -> signStage -> signer.Offer -> (keys, signatures, disk) -> zoneChanged
//	signer -> servers of the zone: xfr.Serial; servers of the parent: xfr.Ask

// signers are the zones that this node signs, what their zones say for others, and what their
// parents are told.
type signers struct {
	*signer.Signers
	signals bootstrap.Signals
	parents *parentnotify.Driver
}

// Close ends all of it; twice does no harm.
func (s *signers) Close() {
	s.Signers.Close()
	s.parents.Close()
}

// openSigners makes what keeps zones signed. Nothing is signed before goLive.
func (k *keeping) openSigners(cfg *config.Config, folder string) {
	k.signers.parents = parentnotify.New(parentnotify.Config{Resolve: k.n.resolveOfParent, Log: k.n.log, Notify: func(ctx context.Context, server netip.AddrPort, child dnsname.Name) error {
		return xfr.NotifyOf(ctx, xfr.Peer{Address: server}, child, rdata.TypeCDS)
	}})
	var mu sync.Mutex
	var sealer *signer.Sealer
	k.signers.Signers = signer.New(signer.Config{
		Folder: folder, Log: k.n.log, Images: k.n.images.Of("signer " + k.view), Publish: k.changed, Trouble: k.dnssecChanged, Servers: k.serversOf, Parent: k.n.parentOf,
		Sealer: func() (*signer.Sealer, error) {
			mu.Lock()
			defer mu.Unlock()
			if sealer != nil {
				return sealer, nil
			}
			var err error
			if sealer, err = signer.OpenSealer(cfg.DNSSEC.KeyEncryption, filepath.Join(cfg.Data, "keys")); err != nil {
				return nil, err
			}
			if sealer.Made != "" {
				k.n.log.Warn("private keys are encrypted with a key that lies beside them: whoever has the data folder has both; "+
					"keep it elsewhere and name it with dnssec.keyEncryption", "file", sealer.Made)
			}
			return sealer, nil
		},
	})
}

// signStage puts the signed version of a zone in the place of its source.
func (k *keeping) signStage(c *config.Zone, _ *versions.Zone, v journal.Version) (journal.Version, error) {
	if v.Zone == nil || (c.DNSSEC == "" || c.DNSSEC == config.PolicyInsecure) && !k.signers.Has(c.Name) {
		return v, nil
	}
	var how *signer.Settings
	if c.DNSSEC != "" {
		how = settings.Signing(c)
	}
	out, err := k.signers.Offer(c.Name, how, v)
	if err != nil {
		return v, fmt.Errorf("dnssec: %w", err)
	}
	return out, nil
}

func keyTTL(a *apex) rdata.TTL {
	p, _ := a.config.Signing()
	return rdata.TTL(p.KeyTTL.Std() / time.Second)
}

// setSigners says which zones there are. n.mu is held.
func (k *keeping) setSigners(s *Snapshot) {
	has := func(name dnsname.Name) bool { return s.apexes.Get(name) != nil }
	k.signers.Set(has)
	k.signers.parents.Forget(has)
}

// serversOf returns which serial each server of a zone shows, this node first.
func (k *keeping) serversOf(ctx context.Context, name dnsname.Name) []signer.Server {
	s, a := k.apex(name)
	if a == nil || a.served.Zone == nil {
		return []signer.Server{{Address: "this node", Err: errNotServed}}
	}
	peers, unknown := k.watched(ctx, s, a)
	all := make([]signer.Server, 1+len(peers), 2+len(peers))
	all[0] = signer.Server{Address: "this node", Serial: a.served.Zone.Serial()}
	var asking sync.WaitGroup
	for i, p := range peers {
		asking.Go(func() { // ends with the answer, or by the time limits of a query
			serial, err := xfr.Serial(ctx, p, name)
			all[i+1] = signer.Server{Address: p.Address.String(), Serial: serial, Err: err}
		})
	}
	asking.Wait()
	if unknown != nil {
		all = append(all, signer.Server{Address: "of an NS record", Err: unknown})
	}
	return all
}

// parentOf returns what the servers of a zone's parent show of it.
func (n *Node) parentOf(ctx context.Context, name dnsname.Name, servers []netip.AddrPort) (p kasp.Parent, ok bool, err error) {
	r := n.current.Load().Config.Resolver
	look := signer.ParentLook{Port: r.Port, Ask: func(ctx context.Context, server netip.AddrPort, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
		return xfr.Ask(ctx, xfr.Peer{Address: server}, name, t)
	}}
	if len(r.Allow) > 0 {
		look.Find = func(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error) {
			found, err := n.resolver.Resolve(ctx, name, t, outbound.Options{})
			return found.Answer, err
		}
	}
	return look.Parent(ctx, name, servers)
}

// dnssecCodes are the codes of problems of signed zones.
var dnssecCodes = []problems.Code{problems.SigningFailed, problems.SignaturesExpire, problems.ParentLost, problems.ParentWaits, problems.ServersBehind, problems.ClockJumped, problems.OfflineEnds}

// dnssecChanged takes note of what has become of a signed zone.
func (k *keeping) dnssecChanged(name dnsname.Name) {
	k.reportDNSSEC(name)
	k.updateSignals(name)
	k.tellParent(name)
}

// tellParent has the parent of a zone told what it is asked for, once all servers of the zone show
// that and for as long as the parent does not.
func (k *keeping) tellParent(name dnsname.Name) {
	s := k.snapshot()
	if s == nil {
		return
	}
	if !k.canResolve(s) {
		k.signers.parents.Wanted(name, "") // also where it was on before
		return
	}
	st, ok := k.signers.State(name)
	a := s.apexes.Get(name)
	if !ok || a == nil || a.served.Zone == nil || st.Waiting != 0 || !st.Parent.Looked {
		return
	}
	keys := ""
	_, published := a.served.Zone.RRset(a.served.Zone.Apex(), rdata.TypeCDS)
	if p, _ := a.config.Signing(); p.NotifyParent == "dsync" && published && !st.Parent.Agrees {
		for _, key := range st.Parent.Ask {
			keys += string(key.DS(name))
		}
		if st.Parent.None {
			keys = "none"
		}
	}
	k.signers.parents.Wanted(name, keys)
}

// resolveOfParent asks the resolver for what tells where a parent wants to be told.
func (n *Node) resolveOfParent(ctx context.Context, name dnsname.Name, t rdata.Type) (found parentnotify.Found, err error) {
	a, err := n.resolver.Resolve(ctx, name, t, outbound.Options{})
	if err != nil {
		return found, err
	}
	if a.Rcode != dnswire.RcodeNoError && a.Rcode != dnswire.RcodeNXDomain {
		return found, fmt.Errorf("the resolver answers %s", a.Rcode)
	}
	for _, r := range a.Answer {
		if r.Type == t {
			found.Data = append(found.Data, r.Data)
		}
	}
	for _, r := range a.Authority {
		if r.Type == rdata.TypeSOA {
			found.Zone = r.Name
		}
	}
	return found, nil
}

// signalStage adds what a zone that is signed here says for others.
func (k *keeping) signalStage(c *config.Zone, _ *versions.Zone, v journal.Version) (journal.Version, error) {
	if c.DNSSEC == "" {
		return v, nil
	}
	return k.signers.signals.Stage(c.Name, v), nil
}

// updateSignals brings what is said for a zone up to date with its keys. Its parent
// has no DS yet: later ones are believed by those before.
func (k *keeping) updateSignals(name dnsname.Name) {
	s := k.snapshot()
	if s == nil {
		return
	}
	var child *bootstrap.Child
	st, ok := k.signers.State(name)
	if a := s.apexes.Get(name); ok && a != nil && a.served.Zone != nil {
		p, _ := a.config.Signing()
		named := slices.ContainsFunc(st.Parent.Shown, func(set []kasp.ID) bool { return len(set) > 0 })
		if p.CDS != "none" && !named && !st.Parent.Others {
			child = &bootstrap.Child{Zone: a.served.Zone, TTL: keyTTL(a)}
			for _, key := range st.Parent.Ask {
				child.Keys = append(child.Keys, bootstrap.Key{CDS: key.DS(name), CDNSKEY: key.DNSKEY})
			}
		}
	}
	for _, at := range k.signers.signals.Update(name, child, s.signedZoneOf) {
		k.changed(at)
	}
}

// signedZoneOf returns the zone of ours that the name of a server is in, if that is
// signed here.
func (s *Snapshot) signedZoneOf(host dnsname.Name) dnsname.Name {
	for n := host; !n.IsZero(); n = n.Parent() {
		if a := s.apexes.Get(n); a != nil {
			if a.config.DNSSEC == "" || a.config.DNSSEC == config.PolicyInsecure {
				return dnsname.Name{}
			}
			return a.served.Name
		}
	}
	return dnsname.Name{}
}

// reportDNSSEC sets the problems of a signed zone.
func (k *keeping) reportDNSSEC(name dnsname.Name) {
	about := versions.ID(k.view, name)
	var t signer.Trouble
	if st, ok := k.signers.State(name); ok {
		t = st.Trouble(about)
	}
	for _, p := range []struct {
		code problems.Code
		text string
	}{
		{problems.SigningFailed, t.Failed}, {problems.ClockJumped, t.Jumped}, {problems.SignaturesExpire, t.Expires}, {problems.ParentLost, t.Lost},
		{problems.OfflineEnds, t.Offline}, {problems.ParentWaits, t.Waits}, {problems.ServersBehind, t.BehindOf},
	} {
		if p.text != "" {
			p.text = fmt.Sprintf("zone %s: %s", about, p.text)
		}
		k.n.problem(p.code, about, p.text)
	}
}

// sampleDNSSEC gives what is known of signed zones to a scrape, of all views.
func (n *Node) sampleDNSSEC(emit func(telemetry.Sample)) {
	var c signer.Counts
	n.everyKeeping(func(k *keeping) { c = c.Plus(k.signers.Counts()) })
	metrics.Signing(c, emit)
	var told parentnotify.Counts
	n.everyKeeping(func(k *keeping) { told = told.Plus(k.signers.parents.Counts()) })
	metrics.ParentsTold(told, emit)
	n.everyKeeping(func(k *keeping) {
		s := k.snapshot()
		if s == nil {
			return
		}
		for z := range s.served() {
			if st, ok := k.signers.State(z.Name); ok {
				metrics.Keys(z.ID(), &st, emit)
			}
		}
	})
}
