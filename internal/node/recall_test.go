package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// serialNow returns the serial of example.com.
func serialNow(n *Node) rdata.Serial { return theZone(n).Zone.Serial() }

// TestSerialOverRestart: a file whose serial goes backwards while the node is stopped is
// said to, and so is one that was refused before; each is served, for there is nothing else.
func TestSerialOverRestart(t *testing.T) {
	f := newFolder(t)
	with := func(serial int, more string) {
		f.write("example.com.zone", strings.Replace(exampleZone, " 1 1h", fmt.Sprintf(" %d 1h", serial), 1)+more)
	}
	with(10, "")
	if text, _ := os.ReadFile(filepath.Join(f.path, "example.com.zone")); !strings.Contains(string(text), " 10 1h") {
		t.Fatalf("the zone has another form: %s", text)
	}
	config := f.config("zones: [{name: example.com, file: example.com.zone, gate: {serial: warn, maxChange: 50}, transfer: [{network: 127.0.0.1/32}]}]\n")
	n, stop := start(t, config)
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "n%d A 192.0.2.1\n", i)
	}
	with(11, many.String())
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if missing := n.hasProblem(problems.ZoneRefused); missing != "" {
		t.Fatal(missing)
	}
	stop()
	n, stop = start(t, config)
	if got := serialNow(n); got != 11 {
		t.Errorf("serial %d", got)
	}
	if text := strings.Join(theZone(n).Warnings, "\n"); !strings.Contains(text, "serial 11 was refused before the restart") {
		t.Errorf("warnings: %s", text)
	}
	stop()
	with(9, "")
	n, stop = start(t, config)
	if text := strings.Join(theZone(n).Warnings, "\n"); serialNow(n) != 9 || !strings.Contains(text, "serial 11 was served before the restart, and 9 is behind it") {
		t.Errorf("serial %d, warnings: %s", serialNow(n), text)
	}
	stop()
	with(12, "")
	n, _ = start(t, config)
	if text := strings.Join(theZone(n).Warnings, "\n"); strings.Contains(text, "before the restart") {
		t.Errorf("a serial that goes forward is warned of: %s", text)
	}
}

// TestSerialAfterLoss: a zone of kind store whose versions are lost gets a serial above
// what was served, so that its secondaries follow.
func TestSerialAfterLoss(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", exampleZone)
	config := f.config(storeConfig)
	n, stop := start(t, config)
	for i := range 5 {
		if _, err := addTXT(n, fmt.Sprintf("n%d.example.com.", i), "here"); err != nil {
			t.Fatal(err)
		}
	}
	served := serialNow(n)
	stop()
	if err := os.RemoveAll(filepath.Join(f.path, "data", "ledger")); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, config)
	eventually(t, func() string {
		if got := serialNow(n); !served.Less(got) {
			return fmt.Sprintf("serial %d, and %d was served before", got, served)
		}
		return ""
	})
	if got := serialNow(n); got != served+1 {
		t.Errorf("serial %d, want %d", got, served+1)
	}
	if h := n.ledger.Load().Version(dnsname.MustParse("example.com.")); h.Zone.Serial() != serialNow(n) {
		t.Error("another version is kept than is served")
	}
}

// TestAcceptOverRestart: a version that passes a limit, and that an operator has accepted,
// is served after a restart too; another that passes it is not.
func TestAcceptOverRestart(t *testing.T) {
	f := newFolder(t)
	with := func(serial int) {
		f.write("example.com.zone", strings.Replace(exampleZone, " 1 1h", fmt.Sprintf(" %d 1h", serial), 1)+"many A 192.0.2.1\nmany A 192.0.2.2\nmany A 192.0.2.3\n")
	}
	with(10)
	config := f.config("zones: [{name: example.com, file: example.com.zone, gate: {maxRRset: 2}}]\n")
	n, stop := start(t, config)
	if theZone(n).Zone != nil {
		t.Fatal("a version that passes a limit is served")
	}
	if _, err := n.AcceptZone(t.Context(), "example.com", 10); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and what is known of it stays
		stop()
		n, stop = start(t, config)
		if z := theZone(n); z.Zone == nil || z.Zone.Serial() != 10 || !strings.Contains(strings.Join(z.Warnings, "\n"), "zones[].gate.maxRRset") {
			t.Fatalf("after a restart: %v, %v, warnings %q", z.Zone, z.Err, z.Warnings)
		}
	}
	for _, serial := range []int{11, 10} { // another serial, and the same with other records
		stop()
		if with(serial); serial == 10 {
			f.write("example.com.zone", strings.Replace(exampleZone, " 1 1h", " 10 1h", 1)+"many A 192.0.2.1\nmany A 192.0.2.2\nmany A 192.0.2.9\n")
		}
		n, stop = start(t, config)
		if theZone(n).Zone != nil {
			t.Errorf("serial %d: a version that nobody has accepted is served", serial)
		}
	}
}
