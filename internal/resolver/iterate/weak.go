package iterate

import (
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Weakness is a set of defences that are turned off, so that a laboratory can show
// what each is for: an attack that succeeds without it, and fails with it. No setting
// of the program leads here.
type Weakness uint16

// What can be left out.
const (
	WeakBailiwick   Weakness = 1 << iota // everything in a reply is believed, whoever says it
	WeakIDs                              // any id will do
	WeakBadPackets                       // a packet that is no reply fails the exchange (TuDoor)
	WeakDelegations                      // a delegation lasts as long as who serves the zone says
	WeakChildNS                          // NS records beside an answer become the delegation
	WeakCycles                           // cycles of lookups are not looked for
	WeakMerging                          // each client's question is asked for on its own
	WeakWildcards                        // a wildcard may stand for any name
	WeakFailures                         // failures are not remembered
	WeakLoopback                         // this machine may be asked to ask itself
	WeakForwarders                       // a forwarder may delegate
	WeakNetworks                         // questions for one name and many networks all go over UDP
	WeakFragments                        // what is larger than was offered is believed over UDP
)

func (r *Resolver) isWeak(w Weakness) bool { return r.cfg.Weak&w != 0 }

// believedZone is the zone that a server may speak about.
func (r *Resolver) believedZone(l *lookup) dnsname.Name {
	if r.isWeak(WeakBailiwick) {
		return dnsname.Root
	}
	return l.cut.Zone
}

// weaken does with a reply what it must not be used for.
func (r *Resolver) weaken(l *lookup, m *dnswire.Message) {
	if r.isWeak(WeakBailiwick) {
		for _, section := range [...][]rdata.Record{m.Answer, m.Authority, m.Additional} {
			for _, set := range group(section, r.limits.Records) {
				r.cache.PutSigned(r.now, rrcache.Signed{RRset: set}, nil, rrcache.TrustAnswer)
			}
		}
	}
	if r.isWeak(WeakChildNS) && m.AA {
		for _, set := range group(m.Authority, r.limits.Records) {
			if set.Type == rdata.TypeNS && set.Name == l.cut.Zone {
				servers, ttl := glued(set, group(m.Additional, r.limits.Records), dnsname.Root, r.limits.ServersPerZone)
				r.cache.PutDelegation(r.now, set.Name, servers, ttl, time.Time{})
			}
		}
	}
}
