package iterate

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
)

// This file is what is known of servers, as others see it: for operators, and to
// outlive the process.

// KnownServer is what is remembered of one server address.
type KnownServer struct {
	Addr      netip.AddrPort `json:"address"`
	Over      string         `json:"transport"`
	RTT       time.Duration  `json:"rtt"`       // smoothed, in nanoseconds; 0: it has never answered
	Deviation time.Duration  `json:"deviation"` // of the RTT
	Timeouts  int            `json:"timeouts"`  // in a row
	Silent    time.Time      `json:"silent,omitzero"`
	Dead      time.Time      `json:"dead_until,omitzero"`
	NoEDNS    time.Time      `json:"no_edns_until,omitzero"` // it does not understand EDNS
	NoCase    time.Time      `json:"no_case_until,omitzero"` // it does not repeat upper and lower case
	Lame      []KnownZone    `json:"lame,omitempty"`         // zones that it does not serve
	Suspect   []KnownZone    `json:"suspect,omitempty"`      // zones for which it gave what is bogus
}

// KnownZone is a zone of a server, and until when that is remembered.
type KnownZone struct {
	Zone  dnsname.Name `json:"zone"`
	Until time.Time    `json:"until"`
}

// KnownServers returns what is remembered of servers, in the order of their addresses.
func (r *Resolver) KnownServers() []KnownServer {
	all := make([]KnownServer, 0, r.hosts.known.len())
	for addr, e := range r.hosts.known.entries {
		h := e.value
		all = append(all, KnownServer{
			Addr: addr.AddrPort, Over: addr.Over.String(), RTT: h.srtt, Deviation: h.rttvar, Timeouts: h.timeouts, Silent: h.lastTimeout,
			Dead: h.deadUntil, NoEDNS: h.plainUntil, NoCase: h.caseUntil, Lame: knownZones(h.lame), Suspect: knownZones(h.suspect),
		})
	}
	slices.SortFunc(all, func(a, b KnownServer) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Over, b.Over)) })
	return all
}

func knownZones(list []lameZone) (out []KnownZone) {
	for _, l := range list {
		out = append(out, KnownZone{l.zone, l.until})
	}
	return out
}

// RestoreServers takes back what an earlier Resolver remembered, of servers that this
// one has not heard of. No mark lasts longer than one that is made now. Encrypted servers
// are left out: they are few, and known by numbers of the configuration.
func (r *Resolver) RestoreServers(now time.Time, all []KnownServer) (count int) {
	for _, k := range all {
		server := plainServer(k.Addr)
		if !k.Addr.IsValid() || k.Over != Do53.String() || r.hosts.look(server) != nil || r.hosts.known.octets+hostOctets+byServer > r.hosts.known.most {
			continue
		}
		h := r.hosts.get(server)
		h.srtt, h.rttvar = min(max(k.RTT, 0), maxTimeout), min(max(k.Deviation, 0), maxTimeout)
		h.timeouts = min(max(k.Timeouts, 0), deadAfter)
		h.lastTimeout = noLater(k.Silent, now)
		h.deadUntil = noLater(k.Dead, now.Add(deadMost))
		h.plainUntil, h.caseUntil = noLater(k.NoEDNS, now.Add(plainTime)), noLater(k.NoCase, now.Add(plainTime))
		h.lame, h.suspect = restoreZones(k.Lame, now.Add(lameTime)), restoreZones(k.Suspect, now.Add(bogusTime))
		r.hosts.known.grow(server, h.marksOctets())
		count++
	}
	return count
}

func restoreZones(list []KnownZone, latest time.Time) (out []lameZone) {
	for _, k := range list[:min(len(list), maxLame)] {
		if !k.Zone.IsZero() {
			out = append(out, lameZone{k.Zone, noLater(k.Until, latest)})
		}
	}
	return out
}

func noLater(t, latest time.Time) time.Time {
	if t.After(latest) {
		return latest
	}
	return t
}
