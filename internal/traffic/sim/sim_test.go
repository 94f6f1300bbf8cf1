package sim

import (
	"testing"

	"pharos/internal/admin/config"
)

func parse(t testing.TB, text string) *Plan {
	t.Helper()
	p := new(Plan)
	if err := config.ParseDocument("plan.yaml", []byte(text), p, p.Check); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExample(t *testing.T) {
	p := parse(t, Example)
	for _, v := range p.Variants() {
		r := Run(p, v)
		t.Logf("%v", r)
		d, n := r.Converged()
		t.Logf("  %v %d  retried %d questions %d probes %d worst %.2f", d, n, r.Retried, r.Questions, r.Probes, r.WorstImbalance)
		for _, e := range r.Events {
			t.Logf("   %+v", e)
		}
		for _, s := range r.Servers {
			t.Logf("   %+v", s)
		}
	}
}
