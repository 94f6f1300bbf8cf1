package node

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/admin/explain"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/pool"
)

// explainPick tells who can serve a request, what the policy goes by, and who would
// be picked now. keyed says what is hashed; it is empty if the policy hashes nothing.
func (n *Node) explainPick(e *explain.Explanation, p *pool.Pool, a *affinity.Affinity, ask balance.Ask, keyed string) {
	v := p.View()
	var lines []string
	for i := range v.Members {
		lines = append(lines, memberLine(v, i, ask.Now))
	}
	e.Add(explain.Pool, fmt.Sprintf("pool %s: %d of %d members can be picked (%s)", v.Name, len(v.Eligible), len(v.Members), v.Tier), lines...)
	if v.AllDown {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no member of pool %s is healthy, so all that are not drained are used", v.Name))
	}
	if len(v.Levels) == 0 {
		e.Outcome, e.Result = "nobody to carry it to: 503", nil
		return
	}
	if len(v.Levels) > 1 {
		e.Add(explain.Pool, "in this order, the next when nobody before has capacity left", levelLines(v)...)
	}
	if a != nil {
		e.Add(explain.Pick, affinityLine(a))
	}
	m := balance.Peek(v, p.Load(), ask)
	text := fmt.Sprintf("%s picks %s", v.Policy, v.Members[m].Name)
	if keyed != "" {
		text += " for the key " + keyed
	}
	e.Add(explain.Pick, text+"; a failed attempt goes on to another one")
	e.Outcome, e.Result = "carried to pool "+v.Name, []string{v.Members[m].Name + " " + v.Members[m].Address.String()}
}

// memberLine tells of a member what a pick goes by.
func memberLine(v *pool.View, i int, now time.Duration) string {
	m := &v.Members[i]
	line := fmt.Sprintf("%s %s %s", m.Name, m.Address, m.State)
	if m.Cause != "" {
		line += " (" + m.Cause + ")"
	}
	if why := v.Tier.Excludes(m.State); why != "" {
		return line + ": out, " + why
	}
	line += fmt.Sprintf(": in, weight %d", m.Weight)
	if m.Share < 1000 {
		line += fmt.Sprintf(" of which it has %.1f %% now", float64(m.Share)/10)
	}
	line += fmt.Sprintf(", in flight %d", m.Load.Active.Load())
	if m.Capacity > 0 {
		line += fmt.Sprintf(" of %d", m.Capacity)
	}
	if latency := m.Load.Latency(now); latency > 0 {
		line += fmt.Sprintf(", latency %v", latency.Round(10*time.Microsecond))
	}
	if rate := m.Load.Bandwidth(now) * 8 / 1e6; rate >= 0.01 || m.Bandwidth > 0 {
		line += fmt.Sprintf(", %.2f Mbps", rate)
		if m.Bandwidth > 0 {
			line += fmt.Sprintf(" of %.2f", float64(m.Bandwidth)/1e6)
		}
	}
	if !m.HasRoom(now) {
		line += ", no capacity left"
	}
	return line
}

func levelLines(v *pool.View) []string {
	var lines []string
	for i := range v.Levels {
		l := &v.Levels[i]
		var names []string
		for _, m := range l.Members {
			names = append(names, v.Members[m].Name)
		}
		line := fmt.Sprintf("tier %d", l.Tier)
		if v.Spec().Local != pool.Anywhere {
			line += ", same " + l.Extent.String()
			if l.Extent == pool.Anywhere {
				line = fmt.Sprintf("tier %d, elsewhere", l.Tier)
			}
		}
		lines = append(lines, line+": "+strings.Join(names, ", "))
	}
	return lines
}

func affinityLine(a *affinity.Affinity) string {
	spec := a.Spec()
	switch spec.Kind {
	case affinity.Cookie:
		return fmt.Sprintf("a client that sends the cookie %s, as it was set, goes to the member it names while that is up", spec.Name)
	case affinity.Session:
		return fmt.Sprintf("a client that sends the cookie %s goes to the member that set it while that is up; %d are remembered", spec.Name, a.Known())
	}
	return fmt.Sprintf("a client that is remembered by its %s goes to the member it had while that is up; %d are remembered", spec.Key, a.Known())
}
