package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/bootstrap"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
)

// This file joins zones with the key dnssec with what signs them:
//
//	source -> signStage -> signer.Offer -> (keys, signatures, disk) -> zoneChanged
//	signer -> servers of the zone: xfr.Serial; servers of the parent: xfr.Ask

// signers are the zones that this node signs, and what their zones say for others.
type signers struct {
	*signer.Signers
	signals bootstrap.Signals
}

// openSigners makes what keeps zones signed. Nothing is signed before goLive.
func (k *keeping) openSigners(cfg *config.Config, folder string) {
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
func (k *keeping) signStage(c *config.Zone, _ *servedZone, v journal.Version) (journal.Version, error) {
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
	k.signers.Set(func(name dnsname.Name) bool { return s.apexes.Get(name) != nil })
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
var dnssecCodes = []code{signingFailed, signaturesExpire, parentLost, parentWaits, serversBehind, clockJumped, offlineEnds}

// expiring is how long before the end of the first signature a problem is raised, at
// most: renewal has failed since long.
const expiring = 2 * 24 * time.Hour

// patience is how long a parent may take before it is a problem.
const patience = 24 * time.Hour

// dnssecChanged takes note of what has become of a signed zone.
func (k *keeping) dnssecChanged(name dnsname.Name) {
	k.reportDNSSEC(name)
	k.updateSignals(name)
}

// signalStage adds what a zone that is signed here says for others.
func (k *keeping) signalStage(c *config.Zone, _ *servedZone, v journal.Version) (journal.Version, error) {
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
	n, about := k.n, idOf(k.view, name)
	st, ok := k.signers.State(name)
	text := func(holds bool, format string, args ...any) string {
		if !ok || !holds {
			return ""
		}
		return fmt.Sprintf("zone %s: ", about) + fmt.Sprintf(format, args...)
	}
	n.problem(signingFailed, about, text(st.Problem != "", "%s", st.Problem))
	n.problem(clockJumped, about, text(st.Jumped != 0, "the clock has jumped by %s; signatures go on being dated as before for some minutes, in case it is a mistake", st.Jumped.Round(time.Second)))
	left := clock.Until(st.Expires)
	n.problem(signaturesExpire, about, text(st.Signed && st.Problem != "" && left < expiring, "the first signature ends in %s (%s), and none is renewed: see the other problems", left.Round(time.Minute), st.Expires.UTC().Format(time.DateTime)))
	n.problem(parentLost, about, text(st.Parent.Lost != "", "it is bogus to whoever validates: %s; have the parent show what \"pharos zone ds %s\" prints", st.Parent.Lost, about))
	if e := st.Elsewhere; e != nil {
		said := e.Lacks
		if said == "" && e.Warn {
			said = fmt.Sprintf("what the offline KSK has signed ends in %s (%s); make a request with \"pharos zone keys ksr\", have it signed, and import the response", clock.Until(e.Until).Round(time.Hour), e.Until.UTC().Format(time.DateTime))
		}
		n.problem(offlineEnds, about, text(said != "", "%s", said))
	} else {
		n.problem(offlineEnds, about, "")
	}
	waits := ""
	if st.ParentProblem != "" {
		waits = "the parent cannot be seen, so rollovers wait: " + st.ParentProblem
	} else if key := waitingForParent(st); key != "" {
		waits = key
	}
	n.problem(parentWaits, about, text(waits != "", "%s", waits))
	behind := ""
	if st.Waiting != 0 {
		for _, s := range st.Servers {
			if s.Err != nil {
				behind = fmt.Sprintf("server %s cannot be seen, so rollovers wait for it: %v", s.Address, s.Err)
			}
		}
	}
	n.problem(serversBehind, about, text(behind != "", "%s", behind))
}

// waitingForParent says what the parent has yet to show, if it takes long or if
// somebody has to tell it.
func waitingForParent(st signer.State) string {
	if st.Parent.Agrees || len(st.Parent.Ask) == 0 && !st.Parent.None {
		return ""
	}
	since := time.Duration(0)
	for _, v := range st.Keys {
		if v.Key.Wanted && v.Key.Role != kasp.ZSK && !v.Key.Made.IsZero() {
			since = max(since, clock.Since(v.Key.Made))
		}
	}
	switch {
	case !st.ParentAsks && !st.ParentAsked.IsZero():
		return "the parent has to be given the DS records that \"pharos zone ds\" prints, and nobody here can see whether it shows them; say so with --submitted"
	case since > patience && st.Parent.None:
		return "the parent still shows DS records; have it remove them"
	case since > patience:
		return "the parent does not show the DS records that it should; \"pharos zone ds\" prints them"
	}
	return ""
}

// sampleDNSSEC gives what is known of signed zones to a scrape, of all views.
func (n *Node) sampleDNSSEC(emit func(telemetry.Sample)) {
	var c signer.Counts
	n.everyKeeping(func(k *keeping) { c = c.Plus(k.signers.Counts()) })
	emit(counter("dnssec_signatures_total", "Signatures of zones, by what became of them.", c.Made, "outcome", "made"))
	emit(counter("dnssec_signatures_total", "Signatures of zones, by what became of them.", c.Kept, "outcome", "kept"))
	emit(counter("dnssec_versions_total", "Signed versions of zones that were made.", c.Versions))
	emit(counter("dnssec_compactions_total", "Times that a signed zone was built anew beside its versions, to give back what they had written over.", c.Compacted))
	emit(counter("dnssec_failures_total", "Times that a zone could not be signed as it should.", c.Failed))
	n.everyKeeping(func(k *keeping) { k.sampleKeys(emit) })
}

// sampleKeys is sampleDNSSEC for the zones of one view, or those outside.
func (k *keeping) sampleKeys(emit func(telemetry.Sample)) {
	s := k.snapshot()
	if s == nil {
		return
	}
	for z := range s.served() {
		st, ok := k.signers.State(z.Name)
		if !ok {
			continue
		}
		name := z.id()
		phases := map[[2]string]int{}
		next := time.Duration(0)
		for _, v := range st.Keys {
			phases[[2]string{v.Key.Role.String(), v.Phase}]++
			if v.In > 0 && (next == 0 || v.In < next) {
				next = v.In
			}
		}
		for _, k := range slices.SortedFunc(maps.Keys(phases), func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) }) {
			emit(gauge("dnssec_keys", "Keys of a zone, by role and state.", float64(phases[k]), "zone", name, "role", k[0], "state", k[1]))
		}
		emit(gauge("dnssec_next_event_seconds", "Time until the next step of a key that time alone brings; 0 if none does.", next.Seconds(), "zone", name))
		emit(gauge("dnssec_parent_agrees", "1 while the parent shows what it should.", one(st.Parent.Agrees), "zone", name))
		if st.Signed {
			emit(gauge("dnssec_first_expiry_seconds", "Time until the first signature of a zone ends, if it is not renewed.", clock.Until(st.Expires).Seconds(), "zone", name))
		}
	}
}
