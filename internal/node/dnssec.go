package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/bootstrap"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
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
	var settings *signer.Settings
	if c.DNSSEC != "" {
		settings = settingsOf(c)
	}
	out, err := k.signers.Offer(c.Name, settings, v)
	if err != nil {
		return v, fmt.Errorf("dnssec: %w", err)
	}
	return out, nil
}

// settingsOf returns how the policy of a zone has it signed.
func settingsOf(c *config.Zone) *signer.Settings {
	p, ok := c.Signing()
	if !ok {
		panic("BUG: the configuration has no policy " + c.DNSSEC) // it has been checked
	}
	s := &signer.Settings{
		KeyTTL: rdata.TTL(p.KeyTTL.Std() / time.Second), Life: p.SignatureLifetime.Std(), Jitter: p.SignatureJitter.Std(),
		Renew: p.SignatureRefresh.Std(), Parents: p.Parent, ParentEvery: p.ParentInterval.Std(),
		Policy: kasp.Policy{
			Off: c.DNSSEC == config.PolicyInsecure, Algorithm: algorithmOf(p.Algorithm), Single: p.Keys == "csk", OfflineKSK: p.OfflineKSK,
			KSKLifetime: p.KSKLifetime.Std(), ZSKLifetime: p.ZSKLifetime.Std(), KeyTTL: p.KeyTTL.Std(), Propagation: p.Propagation.Std(),
			ParentTTL: p.ParentTTL.Std(), ParentPropagation: p.ParentPropagation.Std(), Safety: p.Safety.Std(), Purge: p.Purge.Std(),
			CDS: map[string]kasp.CDS{"always": kasp.CDSAlways, "rollover": kasp.CDSRollover, "none": kasp.CDSNone}[p.CDS],
		},
	}
	if algorithm := map[string]uint8{"sha384": zonemd.SHA384, "sha512": zonemd.SHA512}[p.ZONEMD]; algorithm != 0 {
		s.ZONEMD = []uint8{algorithm}
	}
	s.Live, s.Exported = p.Denial == "compact", isExported(c)
	if p.Denial == "nsec3" {
		salt, err := hex.DecodeString(p.NSEC3.Salt)
		if err != nil {
			panic("BUG: " + err.Error()) // the configuration has been checked
		}
		s.NSEC3 = &sign.NSEC3{Iterations: uint16(p.NSEC3.Iterations), Salt: salt, OptOut: p.NSEC3.OptOut}
	}
	return s
}

func keyTTL(a *apex) rdata.TTL {
	p, _ := a.config.Signing()
	return rdata.TTL(p.KeyTTL.Std() / time.Second)
}

func algorithmOf(word string) uint8 {
	return map[string]uint8{
		"rsasha256": dnssec.RSASHA256, "ecdsap256sha256": dnssec.ECDSAP256, "ecdsap384sha384": dnssec.ECDSAP384,
		"ed25519": dnssec.Ed25519, "ed448": dnssec.Ed448,
	}[word]
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

// parentOf asks the servers of a zone's parent for the DS records that they show.
func (n *Node) parentOf(ctx context.Context, name dnsname.Name, servers []netip.AddrPort) (p kasp.Parent, ok bool, err error) {
	if len(servers) == 0 {
		servers, err = n.parentServers(ctx, name)
	}
	if err != nil || len(servers) == 0 {
		return p, err != nil, err
	}
	sets, ttls, errs := make([][][]byte, len(servers)), make([]rdata.TTL, len(servers)), make([]error, len(servers))
	var asking sync.WaitGroup
	for i, server := range servers {
		asking.Go(func() { // ends with the answer, or by the time limits of a query
			m, err := xfr.Ask(ctx, xfr.Peer{Address: server}, name, rdata.TypeDS)
			if err != nil {
				errs[i] = fmt.Errorf("server %s of the parent: %w", server, err)
				return
			}
			for _, r := range m.Answer {
				if r.Name == name && r.Type == rdata.TypeDS {
					sets[i], ttls[i] = append(sets[i], r.Data), max(ttls[i], r.TTL)
				}
			}
			if m.Rcode != dnswire.RcodeNoError {
				errs[i] = fmt.Errorf("server %s of the parent says that there is no %s", server, name)
			}
		})
	}
	asking.Wait()
	// All of them have to be seen: the one that is not may show anything.
	if err := errors.Join(errs...); err != nil {
		return p, true, err
	}
	return kasp.Parent{Sets: sets, TTL: time.Duration(slices.Max(ttls)) * time.Second}, true, nil
}

// maxParents bounds the addresses of a parent's servers that are asked: the largest
// domains have 13 names, each with two.
const maxParents = 32

// parentServers returns the servers of the parent that the resolver finds; none if it
// is off.
func (n *Node) parentServers(ctx context.Context, name dnsname.Name) ([]netip.AddrPort, error) {
	s := n.current.Load()
	if len(s.Config.Resolver.Allow) == 0 || name.IsRoot() {
		return nil, nil
	}
	hosts, err := n.parentHosts(ctx, name.Parent())
	if err != nil {
		return nil, fmt.Errorf("the servers of the parent of %s: %w; name them with dnssec.policies[].parent", name, err)
	}
	var all []netip.AddrPort
	for _, host := range hosts {
		for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
			found, err := n.resolver.Resolve(ctx, host, t, outbound.Options{})
			if err != nil {
				continue // another name or family may do
			}
			for _, r := range found.Answer {
				if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t && len(all) < maxParents {
					all = append(all, netip.AddrPortFrom(addr, s.Config.Resolver.Port))
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no server of the parent of %s has an address; name them with dnssec.policies[].parent", name)
	}
	return all, nil
}

// parentHosts returns the names of the servers of the zone that name is in.
func (n *Node) parentHosts(ctx context.Context, name dnsname.Name) ([]dnsname.Name, error) {
	for ; !name.IsZero(); name = name.Parent() {
		found, err := n.resolver.Resolve(ctx, name, rdata.TypeNS, outbound.Options{})
		if err != nil {
			return nil, err
		}
		var hosts []dnsname.Name
		for _, r := range found.Answer {
			if host, ok := rdata.Target(r.Type, r.Data); ok && r.Type == rdata.TypeNS && r.Name == name {
				hosts = append(hosts, host)
			}
		}
		if len(hosts) > 0 {
			return hosts, nil
		}
	}
	return nil, errors.New("no zone above it has name servers")
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
