package iterate

import (
	"math/rand/v2"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Config is what a Resolver is made from.
type Config struct {
	// Hints are the NS records of the root and the A and AAAA records of the
	// servers they name. Empty: the 13 root servers (see RootHints), or nobody with NoHints.
	Hints   []rdata.Record
	NoHints bool
	// Port of all authoritative servers; 0 is 53. Another one is for laboratories.
	Port uint16
	// NoIPv4 and NoIPv6 leave servers of a family out for good.
	NoIPv4, NoIPv6 bool
	// Limits; fields that are 0 get their defaults.
	Limits Limits
	// Rand gives ids and choices. It must be unpredictable to others where the
	// network is real: a ChaCha8 seeded by the system. Required.
	Rand *rand.Rand
	// Cache keeps what was learnt. Required.
	Cache *rrcache.Cache
	// Validate asks for signatures, and believes only what a chain of trust leads to
	// or what is proven to need none.
	Validate bool
	// Aggressive answers names that what was validated before proves not to exist
	// (RFC 8198).
	Aggressive bool
	// Anchors are the DS and DNSKEY records that chains of trust begin with; empty:
	// those of the root (see RootAnchors).
	Anchors []rdata.Record
	// Negative are names at and below which nothing is validated until they are mended
	// (RFC 7646). Private are names for which there is no chain of trust to look for.
	Negative, Private []dnsname.Name
	// Routes are zones whose servers are known without a delegation.
	Routes []Route
	// Subnets are zones whose servers are told for which network a question is.
	Subnets Subnets
	// Reports has failures reported to the agents that the servers of zones name.
	Reports bool
	// Minimise shows each server no more of a name than it needs to know (RFC 9156).
	Minimise bool
	// MixCase writes the names of queries in a random mixture of upper and lower
	// case, which the reply has to repeat. A server that does not is asked over TCP.
	MixCase bool
	// Weak has defences turned off, for laboratories only; see Weakness.
	Weak Weakness
	// Untold keeps no stories (story.go): for who ends with the answers, so that nobody
	// can ask later why one failed.
	Untold bool
	// Policy says which algorithms count; the zero Policy is for the Internet.
	Policy dnssec.Policy
}

// Limits bound the work that one client's question can cause. What happens at a
// limit of the budget is a SERVFAIL with an extended error that names it.
type Limits struct {
	// Sends is the number of outgoing queries that one question may cost with all
	// its sub-lookups: 100. Unbound allows 200, PowerDNS 50; 100 resolves
	// everything seen in practice from an empty cache.
	Sends int
	// Octets is how much may be received for one question: 256 KiB. PowerDNS has 100
	// kB; four of the largest messages there are have to be enough for anybody.
	Octets int
	// Aliases is the number of CNAME and DNAME records followed: 11, as Unbound
	// and BIND have it.
	Aliases int
	// Targets is the number of name server address lookups one question may
	// start, over all delegations: 15. NXNSAttack and CAMP live off this number: it is
	// how many queries one question can bring upon a victim.
	Targets int
	// TargetsPerZone is the same for one delegation: 5, from Knot Resolver; half as
	// many in each level of lookups for such addresses, but at least one, so that a
	// tree of delegations does not branch out. At the limit the delegation counts
	// as unreachable.
	TargetsPerZone int
	// Depth is how deep lookups of name server addresses may nest: 6. Beyond it a
	// name server counts as without address.
	Depth int
	// Time is how long a question may take: 10 s. Clients have given up by then.
	Time time.Duration
	// StaleAfter is how long a client whose answer has expired waits for a new one
	// before it gets the old (rrcache.Limits.Stale): 1.8 s. Less than 0: it does not
	// wait.
	StaleAfter time.Duration
	// SendsPerZone is the number of queries to the servers of one zone before it
	// counts as unreachable: 12, two rounds over a usual set of servers.
	SendsPerZone int
	// ServersPerZone is the number of NS records of one delegation that are looked
	// at, and of addresses for each of them: 13, as the root has. The rest is ignored.
	ServersPerZone int
	// NearMisses is the number of replies with a wrong id or question after which
	// an exchange is taken up again over TCP, as somebody is guessing: 3.
	NearMisses int
	// Signatures is the number of signature checks that one question may cost: 32,
	// as in Knot Resolver. An answer through three zones, all keys new, has about 12.
	Signatures int
	// SignaturesPerSet is the number of signatures of one RRset that are looked at: 8,
	// dnssec.MaxSignatures.
	SignaturesPerSet int
	// Wasted is what checks of signatures that do not fit may cost one question, in
	// checks of ECDSA P-256: 16, so that the worst that one question can make us do takes
	// less than 2 ms. BIND allows one such signature, Unbound eight.
	Wasted int
	// Hashes is the number of NSEC3 hashes of names that one question may cost: 64;
	// Unbound suspends after 8, PowerDNS allows 600. A denial of a name with ten
	// labels has about 12.
	Hashes int
	// Retries is how often one question may ask other servers because what came was
	// bogus: 3. Unbound has 5.
	Retries int
	// Memory is how many octets may be remembered beside the cache (bounded.go): 32 MiB,
	// an eighth of the node's default for all. What is known longest is forgotten first.
	Memory int
	// ZoneRate is the number of queries a second to the servers of one zone, over all
	// questions: 2000, in bursts of a second's. A flood of names in one zone (random
	// subdomains) costs its servers no more, and the questions that come to nothing
	// here end at once. The root and top level domains, which all have to pass, may
	// have wideZones times as many, and so for the next; forwarders have no limit.
	ZoneRate int
	// ZoneWaiting is the number of queries to the servers of one zone that wait for a
	// reply at a time: 400. A zone whose servers are slow must not tie up what others
	// need. BIND recommends 200 and more for fetches-per-zone.
	ZoneWaiting int
	// ServerWaiting is the same for one server address: 800.
	ServerWaiting int
	// Records is the number of records of one RRset that is accepted: 256, as
	// PowerDNS has it. A larger one makes the reply useless.
	Records int
}

func (l Limits) withDefaults() Limits {
	for _, field := range []struct {
		value    *int
		standard int
	}{
		{&l.Sends, 100}, {&l.Octets, 256 << 10}, {&l.ZoneRate, 2000}, {&l.ZoneWaiting, 400}, {&l.ServerWaiting, 800}, {&l.Aliases, 11}, {&l.Targets, 15}, {&l.TargetsPerZone, 5}, {&l.Depth, 6},
		{&l.SendsPerZone, 12}, {&l.ServersPerZone, 13}, {&l.NearMisses, 3}, {&l.Records, 256},
		{&l.SignaturesPerSet, dnssec.MaxSignatures}, {&l.Signatures, 32}, {&l.Wasted, 16}, {&l.Hashes, 64}, {&l.Retries, 3}, {&l.Memory, 32 << 20},
	} {
		if *field.value <= 0 {
			*field.value = field.standard
		}
	}
	if l.Time <= 0 {
		l.Time = 10 * time.Second
	}
	if l.StaleAfter == 0 {
		l.StaleAfter = staleAfter
	}
	return l
}
