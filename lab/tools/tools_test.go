package tools

import (
	"strings"
	"testing"
)

// TestNeed: a test goes on with what is installed, and is passed over without.
func TestNeed(t *testing.T) {
	t.Setenv("PHAROS_REQUIRE_PEERS", "")
	if out := Run(t, t.TempDir(), "pwd"); !strings.Contains(out, "TestNeed") {
		t.Errorf("run in %s", out)
	}
	wentOn, skipped := false, false
	t.Run("without", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Need(t, "pwd", "no-program-has-this-name")
		wentOn = true
	})
	if wentOn || !skipped {
		t.Errorf("without the program: went on %v, skipped %v", wentOn, skipped)
	}
}
