package explain

import (
	"fmt"

	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/pool"
)

// AddPick tells who can serve a request, what the policy goes by, and who would be
// picked now. keyed says what is hashed; it is empty if the policy hashes nothing.
func (e *Explanation) AddPick(p *pool.Pool, a *affinity.Affinity, ask balance.Ask, keyed string) {
	v := p.View()
	var lines []string
	for i := range v.Members {
		lines = append(lines, balance.Describe(v, i, ask.Now))
	}
	e.Add(Pool, fmt.Sprintf("pool %s: %d of %d members can be picked (%s)", v.Name, len(v.Eligible), len(v.Members), v.Tier), lines...)
	if v.AllDown {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no member of pool %s is healthy, so all that are not drained are used", v.Name))
	}
	if len(v.Levels) == 0 {
		e.Outcome, e.Result = "nobody to carry it to: 503", nil
		return
	}
	if len(v.Levels) > 1 {
		e.Add(Pool, "in this order, the next when nobody before has capacity left", balance.Levels(v)...)
	}
	if a != nil {
		e.Add(Pick, a.String())
	}
	m := balance.Peek(v, p.Load(), ask)
	text := fmt.Sprintf("%s picks %s", v.Policy, v.Members[m].Name)
	if keyed != "" {
		text += " for the key " + keyed
	}
	e.Add(Pick, text+"; a failed attempt goes on to another one")
	e.Outcome, e.Result = "carried to pool "+v.Name, []string{v.Members[m].Name + " " + v.Members[m].Address.String()}
}
