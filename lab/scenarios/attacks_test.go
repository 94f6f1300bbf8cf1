package scenarios

import (
	"bytes"
	_ "embed"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/lab/scenario"
)

//go:embed attacks.txt
var attackList string

// attack is one line of attacks.txt.
type attack struct {
	file, kind, what string
	without          []string
}

func attacks(t *testing.T) []attack {
	t.Helper()
	var list []attack
	for line := range strings.Lines(attackList) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 4 || parts[1] != "attack" && parts[1] != "misbehaviour" || parts[2] == "" {
			t.Fatalf("attacks.txt: %q: want file|attack or misbehaviour|what|defences", line)
		}
		list = append(list, attack{parts[0], parts[1], parts[2], strings.Fields(parts[3])})
	}
	return list
}

// fails reports whether the scenario fails, with any seed, without these defences.
func fails(t *testing.T, a attack) bool {
	t.Helper()
	text, err := Files.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(a.file, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(seeds) {
		r, err := s.Run(scenario.Options{Seed: seed, Ready: seed%2 == 1, Without: a.without})
		if err != nil && strings.Contains(err.Error(), "no defence is called") {
			t.Fatal(err)
		}
		if err != nil || exceeds(t, text, r) != "" {
			return true
		}
	}
	return false
}

// Each attack is one: without the defence that attacks.txt names for it, its scenario
// fails. (With all of them it passes: TestOwnScenarios.)
func TestAttacksSucceedWithoutDefence(t *testing.T) {
	list := attacks(t)
	counted := map[string]bool{}
	for _, a := range list {
		if counted[a.file] {
			t.Errorf("%s is listed twice", a.file)
		}
		counted[a.file] = true
		if len(a.without) == 0 {
			continue
		}
		t.Run(a.file, func(t *testing.T) {
			if !fails(t, a) {
				t.Errorf("passes without %v: it proves nothing", a.without)
			}
		})
	}
	if len(counted) < 60 {
		t.Errorf("%d scenarios of attacks and misbehaviour, want at least 60", len(counted))
	}
}

// named are the attacks that every resolver of today is measured by, as attacks.txt calls
// them. DNSBomb is an attack on the way of answers to clients, which scenarios do not
// have: it is played with sockets by node.TestDNSBomb, with and without the defence.
var named = []string{
	"Kaminsky", "SAD DNS", "fragmentation", "NXNSAttack", "NRDelegation", "TsuNAME", "CAMP", "KeyTrap", "NSEC3 hashes", "NSEC3 iterations",
	"ghost domains", "phoenix domains", "RebirthDay: identical", "RebirthDay: one question", "MaginotDNS: a forwarder speaks", "MaginotDNS: a forwarder delegates",
	"TuDoor: a cut packet", "TuDoor: the query itself", "TuDoor: the answer to another", "promiscuous NS", "long alias chains", "huge RRset",
	"compression bomb: a long chain", "compression bomb: a name that points to itself", "replay of a wildcard", "replay of a label count",
}

// Each named attack has a scenario that fails without the defence.
func TestNamedAttacks(t *testing.T) {
	list := attacks(t)
	for _, name := range named {
		if !slices.ContainsFunc(list, func(a attack) bool { return strings.HasPrefix(a.what, name) && len(a.without) > 0 }) {
			t.Errorf("%s: there is no scenario that fails without the defence", name)
		}
	}
}

// Every attack and misbehaviour is in the threat model.
func TestAttacksAreInTheThreatModel(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "THREAT-MODEL.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attacks(t) {
		if !bytes.Contains(text, []byte("`"+a.file+"`")) {
			t.Errorf("docs/THREAT-MODEL.md does not name %s", a.file)
		}
	}
}
