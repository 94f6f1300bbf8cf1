package iterate

import (
	"fmt"

	"pharos/internal/dns/dnssec"
)

// Limit names one bound of the work that questions can cause: in extended errors, in
// traces and in counters.
type Limit uint8

// The limits. Those up to LimitTime are of the budget of one question.
const (
	NoLimit            Limit = iota
	LimitQueries             // outgoing queries
	LimitOctets              // octets received
	LimitSignatures          // signature checks
	LimitWasted              // signature checks that find one not to fit, by price
	LimitHashes              // NSEC3 hashes
	LimitServers             // name server address lookups, of all delegations
	LimitAliases             // CNAME and DNAME records
	LimitTime                // how long it takes
	LimitDelegation          // name server address lookups of one delegation
	LimitDepth               // how deep such lookups nest
	LimitZoneTries           // queries of one lookup to the servers of one zone
	LimitZoneRate            // queries per second to the servers of one zone
	LimitZoneWaiting         // queries to the servers of one zone that wait for a reply
	LimitServerWaiting       // queries to one server address that wait for a reply
	limitCount
)

// limitNames are the limits as metrics have them, which for those of a question is
// how the configuration names them below resolver.limits.
var limitNames = [limitCount]string{
	LimitQueries: "queries", LimitOctets: "received", LimitSignatures: "signatures", LimitWasted: "failedSignatures", LimitHashes: "hashes", LimitServers: "serverLookups",
	LimitAliases: "aliases", LimitTime: "time", LimitDelegation: "delegationLookups", LimitDepth: "depth", LimitZoneTries: "zoneTries",
	LimitZoneRate: "zoneRate", LimitZoneWaiting: "zoneWaiting", LimitServerWaiting: "serverWaiting",
}

// String returns the limit's name.
func (l Limit) String() string {
	if l < limitCount && limitNames[l] != "" {
		return limitNames[l]
	}
	return "none"
}

// IsCrowd reports whether the limit is about what others ask for. Then a failure says
// nothing of the name, cost nothing, and is not remembered: a flood of names would
// push out of the cache what others use.
func (l Limit) IsCrowd() bool { return l >= LimitZoneRate }

// AllLimits returns every limit there is.
func AllLimits() []Limit {
	all := make([]Limit, 0, limitCount-1)
	for l := NoLimit + 1; l < limitCount; l++ {
		all = append(all, l)
	}
	return all
}

// say tells what is wrong at a limit, for an extended error: what, how many, and
// which setting says so.
func (l *Limits) say(which Limit) string {
	switch which {
	case LimitQueries:
		return fmt.Sprintf("more than %d queries for one question (limit queries)", l.Sends)
	case LimitOctets:
		return fmt.Sprintf("more than %d octets received for one question (limit received)", l.Octets)
	case LimitSignatures:
		return fmt.Sprintf("validation costs more than %d signature checks (limit signatures)", l.Signatures)
	case LimitWasted:
		return fmt.Sprintf("validation costs more than %d signature checks that fail (limit failedSignatures)", l.Wasted)
	case LimitHashes:
		return fmt.Sprintf("validation costs more than %d NSEC3 hashes (limit hashes)", l.Hashes)
	case LimitServers:
		return fmt.Sprintf("more than %d name server addresses to look up for one question (limit serverLookups)", l.Targets)
	case LimitAliases:
		return fmt.Sprintf("more than %d aliases (limit aliases)", l.Aliases)
	case LimitTime:
		return fmt.Sprintf("no answer within %v (limit time)", l.Time)
	case LimitDelegation:
		return fmt.Sprintf("more than %d name server addresses of one delegation to look up (limit delegationLookups)", l.TargetsPerZone)
	case LimitDepth:
		return fmt.Sprintf("name server addresses need each other more than %d deep (limit depth)", l.Depth)
	case LimitZoneRate:
		return fmt.Sprintf("more than %d queries a second for the servers of this zone (limit zoneRate)", l.ZoneRate)
	case LimitZoneWaiting:
		return fmt.Sprintf("more than %d queries wait for the servers of this zone (limit zoneWaiting)", l.ZoneWaiting)
	case LimitServerWaiting:
		return fmt.Sprintf("more than %d queries wait for this server (limit serverWaiting)", l.ServerWaiting)
	}
	return "limit " + which.String()
}

// Spent is what a question has cost, with all its sub-questions.
type Spent struct {
	Queries, Octets, Signatures, Hashes, ServerLookups, Aliases int
}

// String tells the costs as one line.
func (s Spent) String() string {
	return fmt.Sprintf("%d queries, %d octets received, %d signature checks, %d NSEC3 hashes, %d server addresses looked up, %d aliases",
		s.Queries, s.Octets, s.Signatures, s.Hashes, s.ServerLookups, s.Aliases)
}

// budget is what one question of a client may still cost. There is one for each
// question, and every lookup, exchange and check that is done for it is paid out of
// that one, however deep in the tree of its sub-questions: a name server address
// looked up for a name server address starts with nothing of its own.
//
// Invariant: nothing spent is more than its limit; octets may pass theirs by the
// one message that crosses it, after which nothing more is asked.
type budget struct {
	limits  *Limits
	sent    int // outgoing queries
	octets  int // received in replies
	targets int // name server address lookups
	aliases int // CNAME and DNAME records followed
	retries int // made because something was bogus
	proofs  dnssec.Budget
}

func newBudget(l *Limits) budget {
	return budget{limits: l, proofs: dnssec.Budget{Signatures: l.Signatures, MaxWasted: l.Wasted, Hashes: l.Hashes}}
}

// mayQuery says what keeps a question from sending another query, NoLimit if
// nothing does.
func (b *budget) mayQuery() Limit {
	switch {
	case b.sent >= b.limits.Sends:
		return LimitQueries
	case b.octets >= b.limits.Octets:
		return LimitOctets
	}
	return NoLimit
}

// take takes one from what is left, unless the limit is reached.
func (b *budget) take(spent *int, most int) bool {
	if *spent >= most {
		return false
	}
	*spent++
	return true
}

func (b *budget) serverLookup() bool { return b.take(&b.targets, b.limits.Targets) }
func (b *budget) alias() bool        { return b.take(&b.aliases, b.limits.Aliases) }
func (b *budget) retry() bool        { return b.take(&b.retries, b.limits.Retries) }

// proofLimit says which limit of validation is exceeded.
func (b *budget) proofLimit() Limit {
	switch {
	case !b.proofs.Exceeded:
		return NoLimit
	case b.proofs.Hashes <= 0:
		return LimitHashes
	case b.proofs.Signatures <= 0:
		return LimitSignatures
	}
	return LimitWasted
}

func (b *budget) spent() Spent {
	return Spent{
		Queries: b.sent, Octets: b.octets, ServerLookups: b.targets, Aliases: b.aliases,
		Signatures: b.limits.Signatures - b.proofs.Signatures, Hashes: b.limits.Hashes - b.proofs.Hashes,
	}
}

// charge takes the price of one outgoing query of l from a client behind it:
// from its payer or, when that one is gone or has nothing left, from another
// that waits. When nobody can pay it returns the limit that the payer is at.
func (r *Resolver) charge(l *lookup) Limit {
	at := LimitQueries
	if p := l.payer; p != nil && !p.done {
		at = p.budget.mayQuery()
	}
	if p := l.payer; p == nil || p.done || at != NoLimit {
		if l.payer = l.findPayer(nil); l.payer == nil {
			return at
		}
	}
	l.payer.budget.sent++
	return NoLimit
}

// received takes the octets of a reply to l from its payer.
func (l *lookup) received(octets int) {
	if l.payer != nil {
		l.payer.budget.octets += octets
	}
}

// findPayer looks among those who wait for l, near ones first, for a client that
// can pay. seen keeps it out of what it has been through.
func (l *lookup) findPayer(seen map[*lookup]bool) *client {
	for _, w := range l.waiters {
		if c := w.client; c != nil && !c.done && c.budget.mayQuery() == NoLimit {
			return c
		}
	}
	if seen == nil {
		seen = make(map[*lookup]bool)
	}
	seen[l] = true
	for _, w := range l.waiters {
		if w.lookup != nil && !seen[w.lookup] {
			if c := w.lookup.findPayer(seen); c != nil {
				return c
			}
		}
	}
	return nil
}

// exceeds notes that l met a limit, and tells those who look on.
func (r *Resolver) exceeds(l *lookup, which Limit) {
	if l.over != which {
		r.counters.Limits[which]++
	}
	l.over = which
	r.note(l, Step{Kind: StepLimit, Note: r.limits.say(which)})
}

// exceeded makes the failure of a question that is at a limit of its budget.
func (r *Resolver) exceeded(c *client, f failure) {
	r.counters.Limits[f.over]++
	c.note(r, Step{Kind: StepLimit, Name: c.name, Type: c.ask.Type, Note: f.text})
	r.failClient(c, f)
}
