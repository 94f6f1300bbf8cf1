//go:build linux

package main

import (
	"errors"
	"testing"
	"time"

	"pharos/bench/table"
)

// TestUndisturbed: what a round adds is kept once, however often it is held, and an error ends it.
func TestUndisturbed(t *testing.T) {
	a := &arena{}
	before := a.samples()
	var within *table.Samples
	held := 0
	if err := a.undisturbed("test", func() error {
		held++
		before.Add("Pharos", "us", float64(held))
		within = a.samples()
		within.Add("Pharos", "us", float64(held))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*table.Samples{"before": before, "within": within} {
		if got := s.Row("w", table.Metric{Name: "us"}).Values; len(got) != 1 || got[0].Value != float64(held) {
			t.Errorf("%s: %v after %d rounds", name, got, held)
		}
	}
	if a.losses.repeated != held-1 || held > lossTries {
		t.Errorf("held %d times, %+v", held, a.losses)
	}
	want := errors.New("wrong")
	if err := a.undisturbed("test", func() error { return want }); err != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestLoss(t *testing.T) {
	if l := lossFrom(time.Now())(); l.stolen < 0 || l.others < 0 {
		t.Errorf("got %+v", l)
	}
	for l, want := range map[loss]bool{{}: false, {stolen: 0.01, others: 0.02}: false, {stolen: 0.05}: true, {others: 0.5}: true} {
		if l.isTooMuch() != want {
			t.Errorf("%v: too much is %v", l, !want)
		}
	}
}
