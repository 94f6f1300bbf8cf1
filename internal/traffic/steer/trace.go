package steer

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Trace is one decision, step by step, for explain: what went in, who was left out and
// why, what came out. A nil Trace records nothing.
type Trace struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Client   netip.Addr  `json:"client,omitzero"`
	Place    *pool.Place `json:"place,omitempty"` // where the client is
	Source   string      `json:"source,omitempty"`
	Pool     string      `json:"pool"`
	Policy   pool.Policy `json:"policy"`
	Revision uint64      `json:"revision"` // of the view
	Steps    []*Step     `json:"steps"`
	AllDown  bool        `json:"allDown"` // nobody is healthy, nor is anybody answered
	Fallback bool        `json:"fallback"`
	TTL      rdata.TTL   `json:"ttl"`
	Changing bool        `json:"changing"` // the pool is, so that the TTL is the short one

	Turn    uint64   `json:"turn"`    // of the rotation
	Answers []Chosen `json:"answers"` // empty: NODATA
	Result  string   `json:"result"`  // one sentence

	view *pool.View
}

// View returns the view that was decided from.
func (t *Trace) View() *pool.View { return t.view }

// Step is one filter over the members: how many came in and went out, and what it
// did to each that it looked at.
type Step struct {
	Filter  string    `json:"filter"`
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

// Chosen is one record of the answer, by the name of its member.
type Chosen struct {
	Member  string     `json:"member,omitempty"` // empty for a set address of the fallback
	Address netip.Addr `json:"address,omitzero"`
	Data    string     `json:"data"`
}

func (t *Trace) begin(in *Input) {
	if t == nil {
		return
	}
	*t = Trace{
		Name: in.Spec.Name.String(), Type: in.Type.String(), Client: in.Client.Addr, Pool: in.View.Name,
		Policy: in.View.Policy, Revision: in.View.Revision, Changing: in.Changing, Steps: []*Step{}, Answers: []Chosen{}, view: in.View,
	}
	if p := in.Client.Place; p != nil {
		t.Place, t.Source = &p.Place, p.Source
	}
}

// step adds a step, nil to a nil Trace.
func (t *Trace) step(name string, in int, note string) *Step {
	if t == nil {
		return nil
	}
	s := &Step{Filter: name, In: in, Note: note}
	t.Steps = append(t.Steps, s)
	return s
}

func (s *Step) verdict(m *pool.Member, why string) {
	if s == nil {
		return
	}
	s.Members = append(s.Members, Verdict{
		Member: m.Name, Address: m.Address, State: m.State, Since: m.Since, Cause: m.Cause, Weight: m.Weight, Excluded: why,
	})
}

func (s *Step) end(out int) {
	if s != nil {
		s.Out = out
	}
}

// finish records what may be answered.
func (t *Trace) finish(d *decision, p *Prepared) {
	if t == nil {
		return
	}
	t.AllDown, t.Fallback, t.TTL = p.AllDown, p.Fallback, p.TTL
	if p.Len() == 0 {
		t.Result = fmt.Sprintf("NODATA: nobody of pool %s is left to answer %s with", t.Pool, t.Type)
	}
}

// Picked records which records of p are the answer, at a turn.
func (t *Trace) Picked(p *Prepared, turn uint64, client netip.Addr) {
	if t == nil || p.Len() == 0 {
		return
	}
	var room [MaxLimit]uint16
	picks := p.Pick(turn, client, room[:0])
	t.Turn = turn
	for _, i := range picks {
		c := Chosen{Data: string(rdata.AppendText(nil, p.Type, p.RDATA(int(i))))}
		if p.Type == rdata.TypeA || p.Type == rdata.TypeAAAA {
			c.Address, _ = netip.AddrFromSlice(p.RDATA(int(i)))
		}
		if m := p.Members[i]; m >= 0 {
			c.Member = p.View.Members[m].Name
		}
		t.Answers = append(t.Answers, c)
	}
	t.order(p, turn, client)
	who := t.Answers[0].Member
	if who == "" {
		who = t.Answers[0].Data
	}
	t.Result = fmt.Sprintf("%d of %d, %s first", len(t.Answers), p.Len(), who)
	if p.Fallback {
		t.Result += "; from the fallback, since nobody of pool " + t.Pool + " can serve"
	}
	if t.AllDown {
		t.Result += "; all are down, so all are served"
	}
}

// order records how the first record was found, and how many follow.
func (t *Trace) order(p *Prepared, turn uint64, client netip.Addr) {
	first := t.Answers[0].Member
	switch {
	case p.sticky != nil && client.IsValid():
		bits := p.sticky.bits4
		if client.Unmap().Is6() {
			bits = p.sticky.bits6
		}
		network, _ := client.Unmap().Prefix(bits)
		t.Steps = append(t.Steps, &Step{Filter: Sticky.String(), In: p.Len(), Out: p.Len(), Note: fmt.Sprintf("for all of %s %s comes first", network, first)})
	case p.Members[0] >= 0:
		cycle := len(p.order)
		if p.shared != nil {
			cycle = len(p.shared.Order)
		}
		t.Steps = append(t.Steps, &Step{Filter: Weighted.String(), In: p.Len(), Out: p.Len(),
			Note: fmt.Sprintf("%s: place %d of a cycle of %d is %s", p.View.Policy, turn%uint64(cycle)+1, cycle, first)})
	}
	t.Steps = append(t.Steps, &Step{Filter: Limit.String(), In: p.Len(), Out: len(t.Answers)})
}
