package health

import (
	"fmt"
	"math"
	"time"
)

// Damping is the idea of RFC 2439 for members instead of routes: who comes and goes costs
// more than who is away. Each time that probes find a target down costs it a penalty,
// which halves each Params.HalfLife. From Suppress on the target stays Down, though
// probes are good, until less than Reuse is left.

// flapPenalty is what going down once costs (RFC 2439 §4.2 leaves the unit open; routers
// mostly take 1000).
const flapPenalty = 1000

// holdMost bounds the penalty such that nobody is held for longer than so many half-lives.
const holdMost = 4

// damping is the part of a Machine that remembers how restless its target is.
type damping struct {
	penalty   float64   // at penaltyAt
	penaltyAt time.Time // Invariant: set if penalty is
	damped    bool      // the penalty has reached Suppress, and not fallen below Reuse yet
}

// penaltyNow returns what is left of the penalty. A clock that was put back halves nothing.
func (m *Machine) penaltyNow(now time.Time) float64 {
	return m.penalty * math.Exp2(-float64(max(0, now.Sub(m.penaltyAt)))/float64(m.params.Normal().HalfLife))
}

// PenaltyNow returns what is left of the penalty of a target under a check.
func (s Status) PenaltyNow(c Check, now time.Time) float64 {
	m := Machine{params: c.Params, damping: damping{penalty: s.Penalty, penaltyAt: s.PenaltyAt}}
	return m.penaltyNow(now)
}

// charge notes that probes found the target down.
func (m *Machine) charge(now time.Time) {
	if m.params.Normal().Suppress < 0 {
		return
	}
	most := float64(m.params.Normal().Reuse) * math.Exp2(holdMost)
	m.penalty, m.penaltyAt = min(m.penaltyNow(now)+flapPenalty, most), now
	if m.penalty < float64(m.params.Normal().Suppress) {
		return
	}
	m.damped = true
	m.cause += fmt.Sprintf("; it comes and goes (penalty %.0f), so it stays down until %s at least", m.penalty, m.reuseAt(now).UTC().Format(time.TimeOnly))
}

// refund takes the last penalty back: it was no fault of the target.
func (m *Machine) refund() {
	m.penalty = max(0, m.penalty-flapPenalty)
	m.damped = m.damped && m.penalty >= float64(m.params.Normal().Reuse)
}

// isDamped reports whether the target has to stay Down for its restlessness.
func (m *Machine) isDamped(now time.Time) bool {
	m.damped = m.damped && m.penaltyNow(now) >= float64(m.params.Normal().Reuse)
	return m.damped
}

// reuseAt returns when the penalty will have fallen to Reuse.
func (m *Machine) reuseAt(now time.Time) time.Time {
	halves := math.Log2(m.penaltyNow(now) / float64(m.params.Normal().Reuse))
	return now.Add(time.Duration(max(0, halves) * float64(m.params.Normal().HalfLife))).Truncate(time.Second).Add(time.Second)
}
