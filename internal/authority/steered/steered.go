// Package steered puts what pools answer into messages and zones: the records of a steered
// name, their signatures, the proof that there are none, and the names that they lead to;
// and the present answers as plain records, for servers that know nothing of pools.
//
// It owns the joining of package steer, which decides, with packages answer and zone,
// which know messages and zones. It does not own the choice of the zone (package node).
//
//	answer.With -> Steered -> Add: steer.Rule -> records, signatures -> the message
//	version of a zone -> Export: present answers -> the version that other servers get
//
// Entry points: Add, Export.
//
// Concurrency: functions of their arguments. Add does not allocate for what the rule
// remembers.
package steered

import (
	"net/netip"
	"time"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/live"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/steer"
)

// Question is one that arrived at a steered name.
type Question struct {
	Options answer.Options
	Query   *dnswire.Query
	Zone    *zone.Zone
	Rules   *steer.Table // those that Zone was marked with
	Client  netip.Addr   // whom the answer is for
	Now     time.Time

	Past *decisions.Ring    // that keeps what is decided; nil: nobody does
	Told func(decisions.ID) // is told under which id; nil: nobody asks
}

// Add answers q in out, from where outcome says that the answer has arrived: at a Steered
// name. In what it returns, Kind says what came of it, and Unsigned why it lacks signatures,
// if it does: then it is of no use. scope is for how many leading bits of the client's address
// the answer is good; 0: for everybody.
func Add(q Question, outcome answer.Outcome, out *dnswire.Builder) (_ answer.Outcome, scope int) {
	for outcome.Kind == answer.Steered {
		a := adding{Question: q, outcome: outcome, out: out}
		a.find()
		a.turn = a.rule.Turn()
		a.add()
		scope = max(scope, a.scope)
		outcome = a.outcome
	}
	return outcome, scope
}

// Whole returns the whole message that answers q, for who asks from within. What is
// steered in it has TTL 0: it is for this once, as another client may be told otherwise.
func Whole(q Question, tcp bool) []byte {
	size := q.Query.UDPLimit()
	if tcp {
		size = dnswire.MaxMessage
	}
	var out dnswire.Builder
	out.Reset(q.Query, make([]byte, size+dnswire.BufferSlack), size)
	outcome := answer.With(q.Options, q.Query, q.Zone, 0, &out)
	if outcome.Kind != answer.Steered {
		return out.Finish()
	}
	Add(q, outcome, &out)
	m, err := dnswire.ParseMessage(out.Finish())
	if err != nil {
		panic("BUG: an answer of ours that cannot be read: " + err.Error())
	}
	for i := range m.Answer {
		if m.Answer[i].Type != rdata.TypeCNAME || q.Rules.Find(m.Answer[i].Name) != nil {
			m.Answer[i].TTL = 0
		}
	}
	return m.Append(nil)
}

// Explained is one decision of an answer, with what would change it.
type Explained struct {
	*steer.Trace
	Filters []string `json:"filters"`
	// Scope is for how many leading bits of the client's address the decision is good.
	Scope  int      `json:"scope"`
	WhatIf []string `json:"whatIf,omitempty"`
}

// Explain is Add as it will be for the next question, with its decisions told.
func Explain(q Question, outcome answer.Outcome, out *dnswire.Builder) (_ answer.Outcome, decisions []Explained) {
	for outcome.Kind == answer.Steered {
		a := adding{Question: q, outcome: outcome, out: out, decisions: &decisions}
		a.find()
		a.turn = a.rule.Peek()
		a.add()
		outcome = a.outcome
	}
	return outcome, decisions
}

// adding is the answer for one name in the making.
type adding struct {
	Question
	rule    *steer.Rule
	owner   dnsname.Name
	outcome answer.Outcome
	out     *dnswire.Builder
	turn    uint64
	scope   int

	decisions *[]Explained // nil: nobody asks
}

func (a *adding) find() {
	a.owner = a.Zone.Name(a.outcome.Last.Exact)
	if a.rule = a.Rules.Find(a.owner); a.rule == nil { // the zone was marked with these rules
		panic("BUG: steered node without a rule: " + a.owner.String())
	}
}

func (a *adding) add() {
	qtype := a.Query.Type
	a.outcome.Kind = answer.Positive
	switch a.rule.Kind {
	case steer.CNAME:
		a.addAlias()
		return
	case steer.SRV:
		qtype = rdata.TypeSRV
	case steer.MX:
		qtype = rdata.TypeMX
	case steer.SVCB:
		qtype = rdata.TypeSVCB
	}
	some := false
	switch qtype {
	case rdata.TypeANY: // RFC 8482 §4.1: one RRset of those there are
		some = a.addRecords(rdata.TypeA) || a.addRecords(rdata.TypeAAAA)
	case rdata.TypeHTTPS, rdata.TypeSVCB:
		some = a.addService(qtype)
	default:
		some = a.addRecords(qtype)
	}
	if !some {
		a.outcome.Kind = answer.NoData
		a.outcome.Unsigned = answer.DenyType(a.Options, a.Query, a.Zone, a.outcome, a.out)
	}
}

// prepare returns the decision for records of a type.
func (a *adding) prepare(t rdata.Type) *steer.Prepared {
	if a.decisions != nil {
		return a.explain(t)
	}
	p, scope := a.rule.Prepare(t, a.Client, a.turn, a.Now)
	a.scope = max(a.scope, scope)
	a.rule.Pool.Load().Answered(a.turn, p.Outcome())
	if id := a.Past.Note(p, a.Client, a.turn, a.Now, a.Told != nil); id != 0 && a.Told != nil {
		a.Told(id)
	}
	return p
}

// explain is prepare without memory, told.
func (a *adding) explain(t rdata.Type) *steer.Prepared {
	in, scope := a.rule.Input(t, a.Client, a.turn, a.Now)
	e := Explained{Trace: new(steer.Trace), Scope: scope, WhatIf: steer.WhatIf(in, a.turn), Filters: a.rule.FilterNames()}
	p := steer.Decide(in, e.Trace)
	e.Picked(p, a.turn, a.Client)
	*a.decisions = append(*a.decisions, e)
	return p
}

// addRecords adds the records of type t, or reports that there are none.
func (a *adding) addRecords(t rdata.Type) bool {
	p := a.prepare(t)
	if p.Len() == 0 {
		return false
	}
	if count, wire, ok := p.Run(a.turn); ok && a.Options.Live == nil && a.isInQuestion() {
		if !a.out.AddReady(dnswire.Answer, count, wire) {
			a.truncate(a.out.Mark())
		}
		return true
	}
	var picks [steer.MaxLimit]uint16
	var data [steer.MaxLimit][]byte
	count := 0
	for _, i := range p.Pick(a.turn, a.Client, picks[:0]) {
		data[count] = p.RDATA(int(i))
		count++
	}
	a.addSet(rdata.RRset{Name: a.owner, Type: t, Class: rdata.ClassIN, TTL: p.TTL, Data: data[:count]})
	return true
}

// isInQuestion reports whether the owner is the name of the question, so that it is
// written as a pointer to that.
func (a *adding) isInQuestion() bool { return a.outcome.Aliases == 0 }

// addSet adds an RRset with its signatures, all of it or nothing.
func (a *adding) addSet(set rdata.RRset) {
	start := a.out.Mark()
	for _, data := range set.Data {
		if !a.out.Add(dnswire.Answer, set.Name, set.Type, rdata.ClassIN, set.TTL, data) {
			a.truncate(start)
			return
		}
	}
	if a.Options.Live == nil {
		return
	}
	reason, full := answer.Sign(a.Options, a.Query, a.Zone, set, a.out)
	if a.outcome.Unsigned = reason; reason == live.Signed && full {
		a.truncate(start)
	}
}

func (a *adding) truncate(start dnswire.Mark) {
	a.out.Rollback(start)
	a.out.SetTC(true)
	a.outcome.Truncated = true
}

// maxService is the longest RDATA of an HTTPS or SVCB record that is made: what the
// configuration may say, and the hints.
const maxService = steer.MaxService + steer.MaxLimit*(4+16) + 2*4

// addService adds the HTTPS or SVCB record with the addresses of both families as hints,
// or reports that there are none.
func (a *adding) addService(t rdata.Type) bool {
	var room4, room6 [steer.MaxLimit]uint16
	v4, v6 := a.prepare(rdata.TypeA), a.prepare(rdata.TypeAAAA)
	picks4, picks6 := v4.Pick(a.turn, a.Client, room4[:0]), v6.Pick(a.turn, a.Client, room6[:0])
	if len(picks4)+len(picks6) == 0 {
		return false
	}
	var room [maxService]byte
	data := [1][]byte{a.rule.AppendService(room[:0], v4, v6, picks4, picks6)}
	a.addSet(rdata.RRset{Name: a.owner, Type: t, Class: rdata.ClassIN, TTL: min(v4.TTL, v6.TTL), Data: data[:]})
	return true
}

// addAlias adds a CNAME record, and goes on with its target.
func (a *adding) addAlias() {
	p := a.prepare(rdata.TypeCNAME)
	var room [steer.MaxLimit]uint16
	picks := p.Pick(a.turn, a.Client, room[:0])
	if len(picks) == 0 {
		a.outcome.Kind = answer.NoData
		a.outcome.Unsigned = answer.DenyType(a.Options, a.Query, a.Zone, a.outcome, a.out)
		return
	}
	data := [1][]byte{p.RDATA(int(picks[0]))}
	a.addSet(rdata.RRset{Name: a.owner, Type: rdata.TypeCNAME, Class: rdata.ClassIN, TTL: p.TTL, Data: data[:]})
	if a.outcome.Truncated || a.outcome.Unsigned != live.Signed || a.Query.Type == rdata.TypeCNAME || a.Query.Type == rdata.TypeANY {
		return
	}
	a.outcome = answer.Follow(a.Options, a.Query, a.Zone, a.outcome, data[0], a.out)
}
