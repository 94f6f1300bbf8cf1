package explain

import (
	"cmp"
	"fmt"

	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Request is what the member for a request is picked by.
type Request struct {
	Pool     *pool.Pool
	Ask      balance.Ask
	Keyed    string             // what is hashed; empty: nothing is
	Affinity *affinity.Affinity // nil: there is none
	Named    int                // the member that the client comes back for; -1: none
	Usable   bool               // and it gets that one
	Refusal  string             // what becomes of it if there is nobody; empty: 503
}

// AddPick tells who can serve a request, what the policy goes by, who would be picked now,
// and what would change that.
func (e *Explanation) AddPick(p Request, known Evidence) {
	v := p.Pool.View()
	var lines []string
	for i := range v.Members {
		lines = append(lines, balance.Describe(v, i, p.Ask.Now))
	}
	e.Add(Pool, fmt.Sprintf("pool %s: %d of %d members can be picked (%s)", v.Name, len(v.Eligible), len(v.Members), v.Tier), lines...)
	e.AddEvidence(v, known)
	if v.AllDown {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no member of pool %s is healthy, so all that are not drained are used", v.Name))
	}
	if len(v.Levels) > 1 {
		e.Add(Pool, "in this order, the next when nobody before has capacity left", balance.Levels(v)...)
	}
	if p.Affinity != nil {
		e.Add(Pick, p.Affinity.String())
	}
	m, why := p.member(v)
	if m < 0 {
		e.Outcome, e.Result = "nobody to carry it to: "+p.refusal(), nil
	} else {
		e.Add(Pick, why)
		e.Outcome, e.Result = "carried to pool "+v.Name, []string{v.Members[m].Name + " " + v.Members[m].Address.String()}
	}
	if others := p.whatIf(v, m); len(others) > 0 {
		e.Add(Pick, "what would change it:", others...)
	}
}

func (p Request) refusal() string { return cmp.Or(p.Refusal, "503") }

// member returns who is picked from v, and why; -1: nobody.
func (p Request) member(v *pool.View) (m int, why string) {
	if p.Usable {
		return p.Named, fmt.Sprintf("the client comes back for %s, and goes there whatever the policy", v.Members[p.Named].Name)
	}
	if m = balance.Peek(v, p.Pool.Load(), p.Ask); m < 0 {
		return m, ""
	}
	why = fmt.Sprintf("%s picks %s", v.Policy, v.Members[m].Name)
	if p.Keyed != "" {
		why += " for the key " + p.Keyed
	}
	if p.Named >= 0 {
		why += fmt.Sprintf("; the client comes back for %s, which is %s", v.Members[p.Named].Name, v.Members[p.Named].State)
	}
	return m, why + "; a failed attempt goes on to another one"
}

// maxSupposed bounds how many members are supposed to be otherwise: an operator reads no
// more.
const maxSupposed = 12

// whatIf returns, a line each, what would change the pick: decided by the code that decides,
// with one thing supposed to be otherwise.
func (p Request) whatIf(v *pool.View, now int) (lines []string) {
	for i := range v.Members {
		m := &v.Members[i]
		var other *pool.View
		var what string
		switch {
		case len(lines) == maxSupposed:
			return lines
		case m.State == health.Draining:
			other, what = v.SupposingReleased(i), "up and not drained"
		case i == now:
			other, what = v.Supposing(m.Target, health.Down), "down"
		case m.State != health.Up:
			other, what = v.Supposing(m.Target, health.Up), "up instead of "+m.State.String()
		default:
			continue
		}
		other.Prepare(p.Ask.Now)
		q := p
		q.Usable = p.Usable && p.Affinity.IsUsable(other, p.Named, p.Ask.Now)
		if then, _ := q.member(other); then != now {
			to := "nobody (" + p.refusal() + ")"
			if then >= 0 {
				to = v.Members[then].Name
			}
			lines = append(lines, fmt.Sprintf("%s %s: %s", m.Name, what, to))
		}
	}
	return lines
}
