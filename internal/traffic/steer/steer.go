// Package steer answers names from pools: an A or AAAA question becomes addresses
// of members that are healthy now. It owns the steps from view to answer and their
// trace; it does not own who is healthy (package health), who is eligible (package
// pool), nor the message (package dnswire).
//
//	question, client -> family -> state -> order -> limit -> []Answer
//
// Entry points: NewTable and Table.Find for which names are steered; Steer for the
// answer, with a Trace to explain it.
//
// Concurrency: everything is a value or a pure function over immutable views.
// Without a trace Steer allocates nothing beyond what append needs.
//
// Sources: RFC 2181 §5 (an RRset has no two equal records), RFC 2308 §2.2 (NODATA),
// RFC 8482 (ANY), RFC 1035 §3.4.1 and RFC 3596 §2.2 (RDATA of A and AAAA).
package steer

import (
	"net/netip"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// Defaults of a Rule.
const (
	// DefaultTTL bounds how long a client's resolver may hold on to a member that
	// died; below it many resolvers no longer listen.
	DefaultTTL rdata.TTL = 5
	// DefaultLimit is how many addresses an answer has at most, as with the
	// multivalue answers of the large providers; eight AAAA records fit in 512
	// octets with room for the name.
	DefaultLimit = 8
)

// Rule says that a name is answered from a pool.
type Rule struct {
	Name  dnsname.Name
	Pool  *pool.Pool
	TTL   rdata.TTL // 0: DefaultTTL
	Limit int       // addresses in an answer; 0: DefaultLimit
}

// Table finds the rule of a name. It is immutable.
type Table struct {
	rules map[dnsname.Name]*Rule
}

// NewTable returns the table of rules; of two rules for one name the last holds.
func NewTable(rules []Rule) *Table {
	t := &Table{rules: make(map[dnsname.Name]*Rule, len(rules))}
	for _, r := range rules {
		if r.TTL == 0 {
			r.TTL = DefaultTTL
		}
		if r.Limit <= 0 {
			r.Limit = DefaultLimit
		}
		t.rules[r.Name] = &r
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

// Question is what Steer answers. With the same question, client and view the
// answer is the same, always: that is what makes a decision replayable.
type Question struct {
	Name  dnsname.Name // for the trace
	Type  rdata.Type
	TTL   rdata.TTL // of the answers
	Limit int       // at most so many answers; 0: DefaultLimit
	// Turn moves the rotation on by one: Load.Answers of the pool, counted up for
	// each question.
	Turn uint64
}

// Question returns the question that r makes of a query of type t, and takes the
// next turn of the pool's rotation.
func (r *Rule) Question(t rdata.Type) Question {
	q := r.Peek(t)
	q.Turn = r.Pool.Load().Answers.Add(1) - 1
	return q
}

// Peek returns the question that the next Question will be, and leaves the turn
// where it is: for explain.
func (r *Rule) Peek(t rdata.Type) Question {
	return Question{Name: r.Name, Type: t, TTL: r.TTL, Limit: r.Limit, Turn: r.Pool.Load().Answers.Load()}
}

// Client is who asks.
type Client struct {
	Addr netip.Addr `json:"address"` // of the socket: mostly a resolver
}

// Answer is one record of the answer.
type Answer struct {
	Addr    netip.Addr // never an IPv4-mapped one
	TTL     rdata.TTL
	Member  int32 // index of View.Members
	AllDown bool  // nobody is healthy: this member is not either
}

// Type returns the type of the record: A or AAAA.
func (a Answer) Type() rdata.Type {
	if a.Addr.Is4() {
		return rdata.TypeA
	}
	return rdata.TypeAAAA
}

// AppendRDATA appends the RDATA of the record: the 4 or 16 octets of the address.
func (a Answer) AppendRDATA(b []byte) []byte {
	if a.Addr.Is4() {
		octets := a.Addr.As4()
		return append(b, octets[:]...)
	}
	octets := a.Addr.As16()
	return append(b, octets[:]...)
}

// Steer appends to answers the records that answer q from v. None appended means
// NODATA (RFC 2308 §2.2): the name is there, this type of it is not. The first
// answer is the one the pool's policy picks at q.Turn; the others follow in turn,
// so that a client that tries the next one is spread too. trace may be nil.
func Steer(answers []Answer, q Question, c Client, v *pool.View, trace *Trace) []Answer {
	choice := familyOf(v, q.Type)
	trace.begin(q, c, v, choice)
	if choice == nil || len(choice.Order) == 0 {
		trace.finish(v, choice, nil)
		return answers
	}
	first := choice.Order[q.Turn%uint64(len(choice.Order))]
	at, _ := slices.BinarySearch(choice.Eligible, first)
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	start := len(answers)
	for range min(limit, len(choice.Eligible)) {
		i := choice.Eligible[at]
		answers = append(answers, Answer{Addr: v.Members[i].Address.Addr(), TTL: q.TTL, Member: i, AllDown: choice.AllDown})
		if at++; at == len(choice.Eligible) {
			at = 0
		}
	}
	trace.finish(v, choice, answers[start:])
	return answers
}

// familyOf returns the choice that answers type t, or nil if the pool has nothing
// of that type. RFC 8482 §4.1: ANY is answered with one RRset of those there are.
func familyOf(v *pool.View, t rdata.Type) *pool.Choice {
	switch {
	case t == rdata.TypeA, t == rdata.TypeANY && len(v.V4.Eligible) > 0:
		return &v.V4
	case t == rdata.TypeAAAA, t == rdata.TypeANY:
		return &v.V6
	}
	return nil
}
