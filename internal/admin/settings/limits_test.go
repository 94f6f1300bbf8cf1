package settings

import (
	"testing"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/dns/dnssec"
)

// What one question may cost, if nothing is configured, are the numbers that attacks of the
// last years ask for; whoever changes one has to change this.
func TestBudgetOfAQuestion(t *testing.T) {
	l := questions(config.Default().Resolver)
	for _, limit := range []struct {
		what          string
		is, want      int
		attack, tells string
	}{
		{"queries", l.Sends, 100, "CAMP", "LimitQueries"},
		{"octets received", l.Octets, 256 << 10, "large answers along aliases", "LimitOctets"},
		{"signature checks", l.Signatures, 32, "KeyTrap", "LimitSignatures"},
		{"NSEC3 hashes", l.Hashes, 64, "CVE-2023-50868", "LimitHashes"},
		{"NSEC3 iterations", dnssec.MaxIterations, 50, "CVE-2023-50868", "EDE 27"},
		{"server lookups of a delegation", l.TargetsPerZone, 5, "NXNSAttack", "LimitDelegation"},
		{"server lookups", l.Targets, 15, "NXNSAttack, CAMP", "LimitServers"},
		{"aliases", l.Aliases, 11, "alias chains", "LimitAliases"},
	} {
		if limit.is != limit.want {
			t.Errorf("%s (%s, told as %s): %d, want %d", limit.what, limit.attack, limit.tells, limit.is, limit.want)
		}
	}
	if l.Time > 10*time.Second || l.Time <= 0 {
		t.Errorf("time: %v, want at most 10 s", l.Time)
	}
}
