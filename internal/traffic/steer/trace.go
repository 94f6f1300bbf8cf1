package steer

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Trace is one decision of Steer, step by step, for explain: what went in, who was
// left out and why, what came out. A nil Trace records nothing.
type Trace struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Client   netip.Addr  `json:"client"`
	Pool     string      `json:"pool"`
	Policy   pool.Policy `json:"policy"`
	Revision uint64      `json:"revision"` // of the view
	Turn     uint64      `json:"turn"`     // of the rotation
	Steps    []Step      `json:"steps"`
	Answers  []Chosen    `json:"answers"` // empty: NODATA
	AllDown  bool        `json:"allDown"` // nobody is healthy, so everybody is served
	Result   string      `json:"result"`  // one sentence
}

// Step is one filter over the members: how many came in and went out, and what it
// did to each that it looked at.
type Step struct {
	Filter  string    `json:"filter"` // family, state, address, order, limit
	In      int       `json:"in"`
	Out     int       `json:"out"`
	Note    string    `json:"note,omitempty"`
	Members []Verdict `json:"members,omitempty"`
}

// Verdict is what a step did to one member.
type Verdict struct {
	Member   string         `json:"member"`
	Address  netip.AddrPort `json:"address"`
	State    health.State   `json:"state"`
	Since    time.Time      `json:"since,omitzero"`
	Cause    string         `json:"cause,omitempty"` // of the state
	Weight   int            `json:"weight"`
	Excluded string         `json:"excluded,omitempty"` // why it was left out; "": it was kept
}

// String returns v as a line: who, in which state and why, and in or out.
func (v Verdict) String() string {
	line := fmt.Sprintf("%s %s %s", v.Member, v.Address, v.State)
	if v.Cause != "" {
		line += " (" + v.Cause + ")"
	}
	if v.Excluded != "" {
		return line + ": out, " + v.Excluded
	}
	return fmt.Sprintf("%s: in, weight %d", line, v.Weight)
}

// Chosen is one answer, by the name of its member.
type Chosen struct {
	Member  string     `json:"member"`
	Address netip.Addr `json:"address"`
	TTL     rdata.TTL  `json:"ttl"`
}

// begin records what was asked and which members the view lets through.
func (t *Trace) begin(q Question, c Client, v *pool.View, choice *pool.Choice) {
	if t == nil {
		return
	}
	*t = Trace{
		Name: q.Name.String(), Type: q.Type.String(), Client: c.Addr, Pool: v.Name,
		Policy: v.Policy, Revision: v.Revision, Turn: q.Turn, Answers: []Chosen{},
	}
	if choice == nil {
		t.Steps = []Step{{Filter: "family", In: len(v.Members), Note: "a pool has addresses only: A and AAAA"}}
		return
	}
	t.AllDown = choice.AllDown
	all := make([]int32, len(v.Members))
	for i := range all {
		all[i] = int32(i)
	}
	isIPv4 := choice == &v.V4
	family := t.filter("family", v, all, func(m *pool.Member) string {
		if m.Address.Addr().Is4() != isIPv4 {
			return "address of the other family"
		}
		return ""
	})
	state := t.filter("state", v, family, func(m *pool.Member) string { return choice.Tier.Excludes(m.State) })
	t.Steps[len(t.Steps)-1].Note = "served: " + choice.Tier.String()
	if len(state) > len(choice.Eligible) {
		seen := make(map[netip.Addr]string)
		t.filter("address", v, state, func(m *pool.Member) string {
			if first, ok := seen[m.Address.Addr()]; ok {
				return "same address as " + first + ", which stands for both"
			}
			seen[m.Address.Addr()] = m.Name
			return ""
		})
	}
}

// filter records one step over the members in, and returns those it keeps.
func (t *Trace) filter(name string, v *pool.View, in []int32, excludes func(*pool.Member) string) (out []int32) {
	step := Step{Filter: name, In: len(in)}
	for _, i := range in {
		m := &v.Members[i]
		why := excludes(m)
		if why == "" {
			out = append(out, i)
		}
		step.Members = append(step.Members, Verdict{
			Member: m.Name, Address: m.Address, State: m.State, Since: m.Since, Cause: m.Cause, Weight: m.Weight, Excluded: why,
		})
	}
	step.Out = len(out)
	t.Steps = append(t.Steps, step)
	return out
}

// finish records the order and the result: answers is what was appended.
func (t *Trace) finish(v *pool.View, choice *pool.Choice, answers []Answer) {
	if t == nil {
		return
	}
	if len(answers) == 0 {
		t.Result = "NODATA: the pool has no member to answer " + t.Type + " with"
		return
	}
	for _, a := range answers {
		t.Answers = append(t.Answers, Chosen{Member: v.Members[a.Member].Name, Address: a.Addr, TTL: a.TTL})
	}
	cycle := uint64(len(choice.Order))
	t.Steps = append(t.Steps,
		Step{Filter: "order", In: len(choice.Eligible), Out: len(choice.Eligible),
			Note: fmt.Sprintf("%s: place %d of a cycle of %d is %s", v.Policy, t.Turn%cycle+1, cycle, t.Answers[0].Member)},
		Step{Filter: "limit", In: len(choice.Eligible), Out: len(answers)})
	t.Result = fmt.Sprintf("%d of %d members, %s first", len(answers), len(v.Members), t.Answers[0].Member)
	if t.AllDown {
		t.Result += "; all are down, so all are served"
	}
}
