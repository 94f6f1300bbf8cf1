package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/xfr"
	"pharos/internal/dns/dnsname"
	"pharos/internal/serve/outgoing"
)

// This file is the way of a zone from other servers, and what they are told:
//
//	timer, NOTIFY, operator -> xfr.Secondaries -> copy on disk -> zoneChanged (versions.go)
//	                        -> the snapshot with this zone replaced -> swap
//	any swap with a new serial -> xfr.Notifier

// buildTransfers makes what talks to other servers. Nothing is said before goLive.
func (n *Node) buildTransfers(cfg *config.Config) {
	n.turns = xfr.NewTurns(cfg.Transfers.Incoming, cfg.Transfers.IncomingPerPrimary)
	n.secondaries = n.newSecondaries(cfg, filepath.Join(cfg.Data, "zones"), "")
	n.notifier = xfr.NewNotifier(n.log, n.reportTransfers)
	n.outgoing = outgoing.New(n.log)
}

// newSecondaries makes what fetches the secondary zones of a view, or those outside.
func (n *Node) newSecondaries(cfg *config.Config, folder, view string) *xfr.Secondaries {
	t := cfg.Transfers
	publish := n.zoneChanged
	if view != "" {
		publish = func(name dnsname.Name) { n.viewZoneChanged(view, name) }
	}
	return xfr.New(xfr.Config{
		Folder: folder, Turns: n.turns, Log: n.log, Images: n.images.Of("secondary " + view),
		Limits:  xfr.Limits{Records: t.MaxRecords, Octets: int64(t.MaxSize), Time: time.Duration(t.MaxTime)},
		Publish: publish, Trouble: func(name dnsname.Name) { n.reportTransfersOf(view, name) },
	})
}

// goLive begins to ask primaries and to tell secondaries.
func (n *Node) goLive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live = true
	n.follow(nil, n.current.Load())
	n.startTrust(n.current.Load().Config.Resolver)
	n.root.Start(n.current.Load().peers(n.current.Load().Config.Resolver.LocalRoot.Primaries))
}

// follow takes what is not in the snapshot itself from prev, which may be nil, to
// next: which zones are fetched, and who is told of what has changed. n.mu is held.
func (n *Node) follow(prev, next *Snapshot) {
	if !n.live {
		return
	}
	n.followTrust(prev, next)
	n.followZones(prev, next)
	for _, v := range next.views {
		n.followZones(prev.viewOf(v.viewName()), v)
	}
	n.forgetViews(next)
	n.startKeepers()
	n.followLists(next)
	n.followScaling(next)
	n.followUpgrades(next)
}

// viewOf returns the snapshot of a view, or nil. s may be nil.
func (s *Snapshot) viewOf(name string) *Snapshot {
	if s == nil {
		return nil
	}
	for _, v := range s.views {
		if v.viewName() == name {
			return v
		}
	}
	return nil
}

// followZones is follow for the zones of one view, or those outside.
func (n *Node) followZones(prev, next *Snapshot) {
	secondaries, notifier := n.secondariesOf(next), n.notifierOf(next)
	isThere := func(name dnsname.Name) bool { return next.apexes.Get(name) != nil }
	n.aliasesOf(next).Retain(isThere)
	n.keepingOf(next).exports.Retain(isThere)
	n.keepingOf(next).exports.SetInterval(next.Config.Steering.ExportInterval.Std())
	n.aliasesOf(next).Start()
	if prev == nil || prev.Config != next.Config || next.reread {
		var zones []xfr.Zone
		for _, z := range next.Config.Zones {
			if z.Kind == "secondary" {
				zones = append(zones, xfr.Zone{Name: z.Name, Primaries: next.peers(z.Primaries), Records: int(z.Gate.MaxRecords)})
			}
		}
		secondaries.Set(zones)
		n.keepingOf(next).setSigners(next)
	}
	n.keepingOf(next).signers.Start()
	others, gone := next.since(prev)
	came := map[dnsname.Name]bool{}
	for name := range others {
		n.followZone(prev, next, name)
		if prev == nil {
			continue
		}
		if before := prev.apexes.Get(name); before == nil {
			came[name] = true
		} else if len(before.config.Notify) > 0 && len(next.apexes.Get(name).config.Notify) == 0 {
			notifier.Forget(name)
		}
	}
	n.forgetZones(next, came, gone)
	for _, name := range gone {
		if len(prev.apexes.Get(name).config.Notify) > 0 {
			notifier.Forget(name)
		}
	}
}

// followZone tells those who are to be told of a zone of next, if it has changed, and has
// caches forget it.
func (n *Node) followZone(prev, next *Snapshot, name dnsname.Name) {
	n.forgetVersion(prev, next, name)
	a := next.apexes.Get(name)
	if n.live && len(a.config.Notify) > 0 && a.served.Zone != nil && !sameSerial(prev, a) {
		n.notifierOf(next).Announce(transfer.SOA(a.served.Zone), next.peers(a.config.Notify))
	}
}

// sameSerial reports whether the version of a was served before.
func sameSerial(prev *Snapshot, a *apex) bool {
	if prev == nil {
		return false // nobody knows what was told before the start
	}
	before := prev.apexes.Get(a.served.Name)
	return before != nil && before.served.Zone != nil && before.served.Zone.Serial() == a.served.Zone.Serial()
}

// peers returns servers of the configuration with their keys.
func (s *Snapshot) peers(list []config.Peer) []xfr.Peer {
	all := make([]xfr.Peer, len(list))
	for i, p := range list {
		all[i] = xfr.Peer{Address: p.Address, Key: s.keys[p.Key]}
		if p.TLS != (config.PeerTLS{}) {
			all[i].TLS, all[i].TLSID = peerTLS(p.TLS), fmt.Sprint(p.TLS)
		}
	}
	return all
}

// reportTransfers sets the problems of a zone's transfers and notices.
func (n *Node) reportTransfers(name dnsname.Name) { n.reportTransfersOf("", name) }

// reportTransfersOf is reportTransfers for a zone in a view.
func (n *Node) reportTransfersOf(view string, name dnsname.Name) {
	s := n.current.Load()
	if view != "" {
		s = s.viewOf(view)
	}
	if s == nil {
		return // not yet, or no longer
	}
	id, absent, failed := versions.ID(view, name), "", ""
	st, _ := n.secondariesOf(s).State(name)
	a := s.apexes.Get(name)
	switch {
	case a != nil && a.served.Kind == "store" && a.served.Zone == nil:
		absent = fmt.Sprintf("zone %s has no content yet, so it is answered SERVFAIL; give it some with: pharos zone import %s FILE", id, id)
	case a == nil || !a.served.IsSecondary():
	case !st.Present && !st.Confirmed.IsZero():
		absent = fmt.Sprintf("zone %s has expired: no primary has confirmed it since %s, so it is answered SERVFAIL: %s", id, st.Confirmed.UTC().Format(time.DateTime), st.Problem)
	case !st.Present:
		absent = fmt.Sprintf("zone %s has not been transferred yet, so it is answered SERVFAIL", id)
		if st.Problem != "" {
			absent += ": " + st.Problem
		}
	case st.Problem != "":
		failed = fmt.Sprintf("zone %s: serial %d is served on until %s: %s", id, st.Serial, st.Expires.UTC().Format(time.DateTime), st.Problem)
	}
	n.problem(problems.ZoneAbsent, id, absent)
	n.problem(problems.TransferFailed, id, failed)
	var told []string
	for _, notice := range n.notifierOf(s).Notices(name) {
		if text := notice.Problem(); text != "" {
			told = append(told, text)
		}
	}
	n.problem(problems.NotifyFailed, id, strings.Join(told, "; "))
}
