package balance

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/traffic/pool"
)

// Describe tells of a member of v what picks go by: for explain.
func Describe(v *pool.View, i int, now time.Duration) string {
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

// Levels tells the levels of v in their order: for explain.
func Levels(v *pool.View) []string {
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
