package sign

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
	"pharos/lab/tools"
)

var example = dnsname.MustParse("example.org.")

// moment is when tests sign: before the clocks of the tools that check.
func moment() time.Time { return time.Now().Add(-time.Minute).Truncate(time.Second) }

func records(t testing.TB, text string) []rdata.Record {
	t.Helper()
	var out []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: example, TTL: 300}) {
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		out = append(out, r)
	}
	return out
}

func mustBuild(t testing.TB, text string) *zone.Zone {
	t.Helper()
	z, problems := zone.Build(example, slices.Values(records(t, text)))
	if z == nil {
		t.Fatalf("%v in\n%s", problems, text)
	}
	return z
}

// whole signs a zone on two goroutines.
func whole(t testing.TB, z, old *zone.Zone, p Params, now time.Time) *zone.Zone {
	t.Helper()
	plan, err := NewPlan(z, old, p, now)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(plan.Work)
	}
	group.Wait()
	signed, _, err := plan.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// manyThings has what a signer can get wrong: cuts with and without DS, glue below them and
// at them, empty non-terminals, wildcards, a DNAME with something occluded, aliases, types
// beyond 256, capital letters.
const manyThings = `@ 3600 IN SOA ns.example.org. Host.example.org. 7 7200 3600 1209600 300
@ 3600 IN NS ns
@ 3600 IN NS ns.secure
@ 3600 IN MX 10 Mail.Example.ORG.
@ 60 IN TXT "a" "b"
@ 60 IN CAA 0 issue "ca.example.net"
ns IN A 192.0.2.1
ns IN AAAA 2001:db8::1
a.b.c.d IN A 192.0.2.2
*.wild IN A 192.0.2.3
*.wild IN TXT "under the star"
alias IN CNAME Target.example.NET.
secure IN NS ns.secure
secure IN DS 12345 13 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
ns.secure IN A 192.0.2.4
insecure IN NS ns.insecure
insecure IN NS ns
ns.insecure IN A 192.0.2.5
deep.insecure.below IN NS ns.deep.insecure.below
ns.deep.insecure.below IN A 192.0.2.6
lone.ent.insecure IN A 192.0.2.66
tree IN DNAME tree.example.net.
_443._tcp.www IN TLSA 3 1 1 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
www IN HTTPS 1 . alpn=h2
www IN A 192.0.2.7
www IN A 192.0.2.8
uri IN URI 10 1 "https://example.org/"
_sip._udp IN SRV 1 2 5060 SIP.example.org.
naptr IN NAPTR 100 50 "s" "z3950+I2L+I2C" "" _Z3950._TCP.example.org.
xn--bcher-kva IN A 192.0.2.9
`

// ways are the ways in which a chain is made.
var ways = map[string]*NSEC3{
	"nsec": nil, "nsec3": {}, "opt-out": {OptOut: true}, "salted": {Iterations: 3, Salt: []byte{0xab, 0xcd}},
}

// keysFor returns a pair of a KSK and a ZSK, or one key that is both.
func keysFor(t testing.TB, algorithm uint8, csk bool) []Use {
	if csk {
		return Roles(mustGenerate(t, KSK, algorithm))
	}
	return Roles(mustGenerate(t, KSK, algorithm), mustGenerate(t, ZSK, algorithm))
}

// checkWithTools has a signed zone checked by BIND's, ldns's and Knot's checkers.
func checkWithTools(t testing.TB, z *zone.Zone) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "zone")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := zonefile.Write(f, z.Records()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	tools.Run(t, dir, "dnssec-verify", "-q", "-z", "-o", z.Origin().String(), "zone") // -z: a KSK may sign all
	tools.Run(t, dir, "ldns-verify-zone", "-V", "1", "zone")
	for n := range z.Nodes() {
		if found := z.At(n); found.DNAME != 0 { // Knot refuses what lies below a DNAME
			return
		}
	}
	tools.Run(t, dir, "kzonecheck", "-o", z.Origin().String(), "-d", "on", "zone")
}

var checkers = []string{"dnssec-verify", "ldns-verify-zone", "kzonecheck"}

func hasTools() bool {
	for _, tool := range checkers {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return true
}

// TestWholeWithTools: every algorithm and way, with one key and with two, is good in the eyes
// of BIND, ldns and Knot.
func TestWholeWithTools(t *testing.T) {
	for _, tool := range checkers {
		tools.Need(t, tool)
	}
	z := mustBuild(t, manyThings)
	for _, algorithm := range algorithms {
		for way, nsec3 := range ways {
			for _, csk := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %s csk %v", algorithm, way, csk), func(t *testing.T) {
					signed := whole(t, z, nil, Params{Keys: keysFor(t, algorithm, csk), NSEC3: nsec3, ZONEMD: []uint8{zonemd.SHA384}}, moment())
					checkWithTools(t, signed)
				})
			}
		}
	}
}
