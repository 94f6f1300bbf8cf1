// Package steer answers names from pools: of the members that there are, a chain of
// filters leaves those that this client is answered with, now. It owns the filters, what
// they look at of clients and members, the records that are made of the members left,
// and the memory of it by which an answer costs no more than a stored one. It does not
// own who is healthy (package health), which servers there are (package pool), the
// message (package steered in authority), nor where databases come from (geoip).
//
//	question, client, view, now -> Input -> Decide: family -> filter -> filter -> ... -> order -> limit -> Prepared
//	                                 ^                                                                    |
//	                              Rule.Prepare, from memory if nothing that it depends on has changed <---+
//
// Entry points: NewTable and Table.Find for which names are steered; Rule.Prepare and
// Prepared for the answer; Decide, with a Trace, to explain it.
//
// Concurrency: a decision is a pure function of its Input. A Rule remembers decisions in
// atomics; Atlas and Latency are for any number of goroutines. An answer from memory
// allocates nothing and takes no lock.
//
// Sources: RFC 2181 §5 (an RRset has no two equal records), RFC 2308 §2.2 (NODATA),
// RFC 8482 (ANY), RFC 7871 (client subnet), RFC 2782 (SRV), RFC 5321 §5.1 (MX),
// RFC 9460 §7.3 (hints), RFC 1035 §3.4.1 and RFC 3596 §2.2 (RDATA of A and AAAA).
package steer

import (
	"net/netip"
	"sync/atomic"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// Defaults of a Spec.
const (
	// DefaultTTL bounds how long a client's resolver may hold on to a member that
	// died; below it many resolvers no longer listen.
	DefaultTTL rdata.TTL = 5
	// DefaultLimit is how many records an answer has at most, as with the
	// multivalue answers of the large providers; eight AAAA records fit in 512
	// octets with room for the name.
	DefaultLimit = 8
	// MaxLimit is how many a limit may ask for: their hints still fit in one HTTPS
	// record of a UDP answer.
	MaxLimit = 32
	// MaxService is the longest RDATA of an HTTPS or SVCB record without hints: what is in
	// every answer is to be short.
	MaxService = 512
)

// Kind is what a steered name is answered with.
type Kind uint8

// The kinds. The zero Kind is Addresses.
const (
	Addresses Kind = iota // A and AAAA of the members
	HTTPS                 // A, AAAA, and an HTTPS record with them as hints
	SVCB                  // an SVCB record with the members' addresses as hints
	SRV                   // a record for each member: its tier, weight, port and name
	MX                    // a record for each member: its tier and name
	CNAME                 // the name of one member
)

var kindNames = [...]string{"address", "https", "svcb", "srv", "mx", "cname"}

// String returns the word of the configuration.
func (k Kind) String() string { return kindNames[k] }

// ParseKind reads what String wrote; the empty word is Addresses.
func ParseKind(word string) (k Kind, ok bool) {
	for i, name := range kindNames {
		if word == name || i == 0 && word == "" {
			return Kind(i), true
		}
	}
	return 0, false
}

// Types returns the types that a name of kind k is answered with, ascending.
func (k Kind) Types() []rdata.Type {
	switch k {
	case HTTPS:
		return []rdata.Type{rdata.TypeA, rdata.TypeAAAA, rdata.TypeHTTPS}
	case SVCB:
		return []rdata.Type{rdata.TypeSVCB}
	case SRV:
		return []rdata.Type{rdata.TypeSRV}
	case MX:
		return []rdata.Type{rdata.TypeMX}
	case CNAME:
		return []rdata.Type{rdata.TypeCNAME}
	}
	return []rdata.Type{rdata.TypeA, rdata.TypeAAAA}
}

// Down says what is answered when nobody can serve.
type Down uint8

// What there is to do. The zero Down is ServeAll.
const (
	ServeAll      Down = iota // all that are not drained: a wrong answer is no worse than none
	ServeFallback             // from another pool, or with set addresses
	ServeNothing              // NODATA
)

var downNames = [...]string{"all", "fallback", "nodata"}

// String returns the word of the configuration.
func (d Down) String() string { return downNames[d] }

// ParseDown reads what String wrote; the empty word is ServeAll.
func ParseDown(word string) (d Down, ok bool) {
	for i, name := range downNames {
		if word == name || i == 0 && word == "" {
			return Down(i), true
		}
	}
	return 0, false
}

// Spec says how a name is answered from a pool. It does not change.
type Spec struct {
	Name     dnsname.Name
	Kind     Kind
	Pool     *pool.Pool
	TTL      rdata.TTL     // 0: DefaultTTL
	ShortTTL rdata.TTL     // while the pool changes, if it is shorter; 0: TTL
	Calm     time.Duration // how long after its last change a pool counts as changing
	Filters  []Filter      // nil: those of DefaultFilters
	Limit    int           // records in an answer without a limit among the filters; 0: DefaultLimit

	WhenDown  Down
	Fallback  *pool.Pool   // of ServeFallback; nil: Addresses
	Addresses []netip.Addr // of ServeFallback

	Service []byte   // HTTPS and SVCB: RDATA without hints
	Atlas   *Atlas   // where clients are; nil: nobody knows
	Latency *Latency // what was measured; nil: nothing
	// Elapsed is the clock of the members' loads (see pool.MemberLoad); nil: there are none.
	Elapsed func() time.Duration
}

// Rule is a Spec with the memory of what it has led to.
type Rule struct {
	Spec
	sees sight // what of a client the filters look at

	memo atomic.Pointer[memo]
	kept atomic.Pointer[perView]
}

// NewRule returns the rule of a spec.
func NewRule(s Spec) *Rule {
	if s.TTL == 0 {
		s.TTL = DefaultTTL
	}
	if s.ShortTTL == 0 || s.ShortTTL > s.TTL {
		s.ShortTTL = s.TTL
	}
	if s.Limit <= 0 {
		s.Limit = DefaultLimit
	}
	if s.Filters == nil {
		s.Filters = DefaultFilters(s.Kind)
	}
	if s.Atlas == nil {
		s.Atlas = nowhere
	}
	return &Rule{Spec: s, sees: sightOf(s.Filters)}
}

// limit returns how many records an answer has at most.
func (s *Spec) limit() int {
	limit := s.Limit
	for i := range s.Filters {
		if s.Filters[i].Kind == Limit {
			limit = s.Filters[i].Count
		}
	}
	if s.Kind == CNAME {
		limit = 1 // RFC 2181 §10.1
	}
	return min(limit, MaxLimit)
}

// Table finds the rule of a name. It is immutable.
type Table struct {
	rules map[dnsname.Name]*Rule
}

// NewTable returns the table of specs; of two for one name the last holds.
func NewTable(specs []Spec) *Table {
	t := &Table{rules: make(map[dnsname.Name]*Rule, len(specs))}
	for _, s := range specs {
		t.rules[s.Name] = NewRule(s)
	}
	return t
}

// Find returns the rule of exactly the name n, or nil. A nil Table has no rules.
func (t *Table) Find(n dnsname.Name) *Rule {
	if t == nil {
		return nil
	}
	return t.rules[n]
}

// Len returns the number of rules.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.rules)
}

// Turn returns the turn that the next answer takes, and moves the rotation on.
func (r *Rule) Turn() uint64 { return r.Pool.Load().Answers.Add(1) - 1 }

// Peek returns the turn that the next answer will take, and leaves it where it is: for
// explain.
func (r *Rule) Peek() uint64 { return r.Pool.Load().Answers.Load() }
