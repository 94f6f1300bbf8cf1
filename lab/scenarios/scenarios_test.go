package scenarios

import (
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pharos/lab/scenario"
)

var bounds = regexp.MustCompile(`(?m)^; at most (\d+) (packets|checks|seconds)$`)

// seeds is with how many seeds each scenario is played: which server is asked
// first is chance, and every choice must come to the same answers. Every other
// time the client is told what the cache has ready.
const seeds = 8

func TestOwnScenarios(t *testing.T) {
	names, err := fs.Glob(Files, "*.rpl")
	if err != nil || len(names) < 15 {
		t.Fatalf("%d scenarios, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			text, err := Files.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(text, []byte("; RFC ")) {
				t.Error("does not begin with a comment that cites an RFC")
			}
			s, err := scenario.Parse(name, bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(seeds) {
				r, err := s.Run(scenario.Options{Seed: seed, Ready: seed%2 == 1})
				if err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(r.Log, "\n"))
				}
				if over := exceeds(t, text, r); over != "" {
					t.Fatalf("seed %d: %s\n%s", seed, over, strings.Join(r.Log, "\n"))
				}
			}
		})
	}
}

// exceeds says by what a run is beyond what the scenario allows: packets sent,
// signature checks and NSEC3 hashes, seconds of waiting for those who do not answer.
func exceeds(t *testing.T, text []byte, r scenario.Result) string {
	t.Helper()
	for _, m := range bounds.FindAllSubmatch(text, -1) {
		most, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		is := map[string]float64{"packets": float64(r.Sent), "checks": float64(r.Checks), "seconds": r.Waited.Seconds()}[string(m[2])]
		if is > float64(most) {
			return fmt.Sprintf("%v %s, want at most %d", is, m[2], most)
		}
	}
	if r.Sent > 1000 { // no scenario of this folder needs a tenth of it
		return fmt.Sprintf("%d packets", r.Sent)
	}
	return ""
}
