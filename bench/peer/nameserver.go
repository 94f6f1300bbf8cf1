package peer

import (
	"fmt"
	"strconv"
	"strings"
)

// Authoritative servers. All have one thread for UDP and answer as little as the
// protocol allows, which is what each of them calls minimal responses.

// Pharos returns the program under test. Its configuration depends on the job: it
// serves zones, or forwards nothing and resolves from the job's target.
func Pharos(binary string, files func(Job) string) Program {
	return Program{
		Name: "Pharos", Binary: binary, Version: []string{"version"},
		Files: func(j Job) (map[string]string, []string) {
			return map[string]string{"pharos.yaml": files(j)}, []string{"serve", "-c", "pharos.yaml"}
		},
	}
}

// PharosZones is Pharos as an authoritative server.
func PharosZones(binary string) Program { return PharosZonesWith(binary, "") }

// PharosZonesWith is PharosZones with more in the configuration.
func PharosZonesWith(binary, config string) Program {
	return Pharos(binary, func(j Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, pharosCommon+"listen:\n  dns: [\"127.0.0.1:%d\"]\n  admin: \"127.0.0.1:%d\"\ndns: {udpWorkers: 1}\nresolver: {allow: []}\nzones:\n", j.Port, j.Admin)
		for _, z := range j.Zones {
			fmt.Fprintf(&b, "  - {name: %q, file: %q}\n", z.Name, z.Path)
		}
		b.WriteString(config)
		return b.String()
	})
}

const pharosCommon = "data: data\nlog: {level: warn}\n"

// Knot returns CZ.NIC's server.
func Knot() Program {
	return Program{
		Name: "Knot", Binary: "knotd", Version: []string{"-V"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			fmt.Fprintf(&b, `server:
    rundir: %[1]q
    listen: 127.0.0.1@%[2]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[1]q
log:
  - target: stderr
    any: warning
template:
  - id: default
    journal-content: none
    zonefile-sync: -1
zone:
`, j.Dir, j.Port)
			for _, z := range j.Zones {
				fmt.Fprintf(&b, "  - domain: %q\n    file: %q\n", z.Name, z.Path)
			}
			return map[string]string{"knot.conf": b.String()}, []string{"-c", "knot.conf"}
		},
	}
}

// NSD returns NLnet Labs' server.
func NSD() Program {
	return Program{
		Name: "NSD", Binary: "nsd", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			// Debian's build limits the rate of answers to a client unless told not to.
			fmt.Fprintf(&b, `server:
    server-count: 1
    ip-address: 127.0.0.1@%[2]d
    do-ip6: no
    username: ""
    zonesdir: %[1]q
    pidfile: "%[1]s/nsd.pid"
    zonelistfile: "%[1]s/zone.list"
    xfrdfile: "%[1]s/xfrd.state"
    xfrdir: %[1]q
    database: ""
    minimal-responses: yes
    round-robin: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
`, j.Dir, j.Port)
			for _, z := range j.Zones {
				fmt.Fprintf(&b, "zone:\n    name: %q\n    zonefile: %q\n", z.Name, z.Path)
			}
			return map[string]string{"nsd.conf": b.String()}, []string{"-d", "-c", "nsd.conf"}
		},
	}
}

// BIND returns ISC's server.
func BIND() Program {
	return Program{
		Name: "BIND", Binary: "named", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			fmt.Fprintf(&b, `options {
    directory %[1]q;
    listen-on port %[2]d { 127.0.0.1; };
    listen-on-v6 { none; };
    pid-file "%[1]s/named.pid";
    session-keyfile none;
    recursion no;
    notify no;
    minimal-responses yes;
    dnssec-validation no;
};
controls { };
logging { category default { default_stderr; }; channel quiet { stderr; severity warning; }; category queries { null; }; };
`, j.Dir, j.Port)
			for _, z := range j.Zones {
				fmt.Fprintf(&b, "zone %q { type primary; file %q; check-names ignore; };\n", z.Name, z.Path)
			}
			return map[string]string{"named.conf": b.String()}, []string{"-f", "-n", strconv.Itoa(1), "-c", "named.conf"}
		},
	}
}
