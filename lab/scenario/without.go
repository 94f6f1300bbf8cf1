package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// never is a limit that no scenario meets.
const never = 1 << 30

// defences are what can be turned off in a run, by name, so that a scenario can show
// that it is an attack: with all of them on it passes, without the one it is about it
// does not.
var defences = map[string]func(*iterate.Config, *rrcache.Limits){
	"aliases":     func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.Aliases = never },
	"badPackets":  func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakBadPackets },
	"bailiwick":   func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakBailiwick },
	"case":        func(c *iterate.Config, _ *rrcache.Limits) { c.MixCase = false },
	"childNS":     func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakChildNS },
	"cycles":      func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakCycles },
	"delegations": func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakDelegations },
	"failures":    func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakFailures },
	"forwarders":  func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakForwarders },
	"fragments":   func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakFragments },
	"hashes":      func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.Hashes = never },
	"iterations":  func(c *iterate.Config, _ *rrcache.Limits) { c.Policy.Patient = true },
	"labels":      func(c *iterate.Config, _ *rrcache.Limits) { c.Policy.Replays = true },
	"networks":    func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakNetworks },
	"ids":         func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakIDs },
	"loopback":    func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakLoopback },
	"merging":     func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakMerging },
	"nearMisses":  func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.NearMisses = never },
	"queries":     func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.Sends = never },
	"received":    func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.Octets = never },
	"records":     func(c *iterate.Config, _ *rrcache.Limits) { c.Limits.Records = never },
	"signatures": func(c *iterate.Config, _ *rrcache.Limits) {
		c.Limits.Signatures, c.Limits.SignaturesPerSet, c.Limits.Wasted, c.Policy.Patient = never, never, never, true
	},
	"ttlCap":     func(_ *iterate.Config, l *rrcache.Limits) { l.MaxTTL = never },
	"validation": func(c *iterate.Config, _ *rrcache.Limits) { c.Validate = false },
	"wildcards":  func(c *iterate.Config, _ *rrcache.Limits) { c.Weak |= iterate.WeakWildcards },
	"serverLookups": func(c *iterate.Config, _ *rrcache.Limits) {
		c.Limits.Targets, c.Limits.TargetsPerZone, c.Limits.SendsPerZone, c.Limits.ServersPerZone = never, never, never, never
	},
	"zoneTries": func(c *iterate.Config, _ *rrcache.Limits) {
		c.Limits.SendsPerZone, c.Limits.ServersPerZone = never, never
	},
}

// disarm turns off the defences that are named.
func disarm(names []string, c *iterate.Config, l *rrcache.Limits) error {
	for _, name := range names {
		off := defences[name]
		if off == nil {
			return fmt.Errorf("no defence is called %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(defences)), ", "))
		}
		off(c, l)
	}
	return nil
}
