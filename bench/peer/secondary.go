package peer

import (
	"fmt"
	"net/netip"
	"strings"
)

// Authoritative servers that have their zones from another, which is the job's target and
// tells them of changes.

// PharosSecondary is Pharos as a secondary.
func PharosSecondary(binary string) Program {
	return Pharos(binary, func(j Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, pharosCommon+"listen:\n  dns: [\"127.0.0.1:%d\"]\n  admin: \"127.0.0.1:%d\"\ndns: {udpWorkers: 1}\nresolver: {allow: []}\nzones:\n", j.Port, j.Admin)
		for _, z := range j.Zones {
			fmt.Fprintf(&b, "  - {name: %q, kind: secondary, primaries: [{address: %q}]}\n", z.Name, j.Target)
		}
		return b.String()
	})
}

// KnotSecondary is Knot as a secondary.
func KnotSecondary() Program {
	p := Knot()
	p.Files = func(j Job) (map[string]string, []string) {
		target, zones := netip.MustParseAddrPort(j.Target), j.Zones
		j.Zones = nil
		files, args := Knot().Files(j)
		common := strings.TrimSuffix(files["knot.conf"], "zone:\n")
		var b strings.Builder
		fmt.Fprintf(&b, "%sremote:\n  - id: primary\n    address: %s@%d\nacl:\n  - id: told\n    address: %s\n    action: notify\nzone:\n", common, target.Addr(), target.Port(), target.Addr())
		for _, z := range zones {
			fmt.Fprintf(&b, "  - domain: %q\n    master: primary\n    acl: told\n", z.Name)
		}
		files["knot.conf"] = b.String()
		return files, args
	}
	return p
}

// NSDSecondary is NSD as a secondary.
func NSDSecondary() Program {
	p := NSD()
	p.Files = func(j Job) (map[string]string, []string) {
		target, zones := netip.MustParseAddrPort(j.Target), j.Zones
		j.Zones = nil
		files, args := NSD().Files(j)
		for _, z := range zones {
			files["nsd.conf"] += fmt.Sprintf("zone:\n    name: %q\n    request-xfr: %s@%d NOKEY\n    allow-notify: %s NOKEY\n", z.Name, target.Addr(), target.Port(), target.Addr())
		}
		return files, args
	}
	return p
}
