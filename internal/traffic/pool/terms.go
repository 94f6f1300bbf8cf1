package pool

import (
	"fmt"
	"strings"
)

// Terms are what the weight of a member is the product of: for explain.
type Terms struct {
	Weight    int `json:"weight"`     // configured, or an operator's
	Agent     int `json:"agent"`      // permille that its agent asks for
	SlowStart int `json:"slow_start"` // permille that it has reached
	Health    int `json:"health"`     // permille that it keeps by how it performs
	Share     int `json:"share"`      // the product of the three, at least 1
	Counted   int `json:"counted"`    // what the policy counts it with, in thousandths

	configured int
	ignored    bool // the policy does not look at weights
}

// Terms returns the terms of member i.
func (v *View) Terms(i int) Terms {
	m := &v.Members[i]
	return Terms{
		Weight: m.Weight, Agent: m.Notes.Report.Permille(), SlowStart: v.spec.warmth(m, v.at), Health: m.Notes.Kept(),
		Share: m.Share, Counted: v.Policy.weightOf(m), configured: m.Configured.Weight, ignored: v.Policy.weightOf(m) != m.Weight*m.Share,
	}
}

// String says t as a product: "weight 5 (configured 2) x slow start 0.55 = 2.75".
func (t Terms) String() string {
	terms := []string{fmt.Sprintf("weight %d", t.Weight)}
	switch {
	case t.ignored:
		terms[0] = fmt.Sprintf("weight 1 (this policy does not count its %d)", t.Weight)
	case t.configured != t.Weight:
		terms[0] += fmt.Sprintf(" (configured %d)", t.configured)
	}
	for _, term := range []struct {
		name  string
		value int
	}{{"agent", t.Agent}, {"slow start", t.SlowStart}, {"performance", t.Health}} {
		if term.value != 1000 {
			terms = append(terms, fmt.Sprintf("%s %.3g", term.name, float64(term.value)/1000))
		}
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return fmt.Sprintf("%s = %.4g", strings.Join(terms, " x "), float64(t.Counted)/1000)
}
