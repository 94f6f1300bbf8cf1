package scenarios

import (
	"bytes"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pharos/lab/scenario"
)

var mostPackets = regexp.MustCompile(`(?m)^; at most (\d+) packets$`)

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
				if most := limit(t, text); r.Sent > most {
					t.Fatalf("seed %d: %d packets were sent, want at most %d\n%s", seed, r.Sent, most, strings.Join(r.Log, "\n"))
				}
			}
		})
	}
}

// limit returns how many packets the scenario allows.
func limit(t *testing.T, text []byte) int {
	m := mostPackets.FindSubmatch(text)
	if m == nil {
		return 1000 // no scenario of this folder needs a tenth of it
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
