package demo

import (
	"strings"
	"testing"
	"time"
)

// TestTour takes the whole tour: every claim that it prints is checked on the way.
// The README promises 15 s; a machine that runs tests may be busy.
func TestTour(t *testing.T) {
	var out strings.Builder
	began := time.Now()
	if err := Run(t.Context(), true, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("the tour took %v", took)
	}
	for _, want := range []string{" 10. ", "0 failed", "app.shop.example. A is answered from pool web", "carried to pool web"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	t.Log(out.String())
}
