package rulebook

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/lab/zonetest"
)

func compile(t *testing.T, c Config, prev *Book) *Book {
	t.Helper()
	b, err := Compile(c, nil, prev)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTakesOver: what has not changed is the same value, so that nobody who compares it
// sees a change; a hosts file that has changed is read again, and the rest of it used.
func TestTakesOver(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1 printer.lan\n")
	config := func() Config { // made anew, as a node does
		return Config{
			Local: Local{Records: []string{"nas.lan A 192.0.2.2"}, Hosts: []string{hosts}, Zones: map[dnsname.Name]localdata.Kind{dnsname.MustParse("lan."): localdata.Static}},
			DNS64: dns64.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}},
		}
	}
	first := compile(t, config(), nil)
	if again := compile(t, config(), first); again != first {
		t.Error("nothing has changed, and there is another Book")
	}
	for name, want := range map[string]bool{"printer.lan.": true, "nas.lan.": true, "none.test.": false} {
		if got := first.HasLocal(dnsname.MustParse(name), rdata.TypeA); got != want {
			t.Errorf("%s is local: %v", name, got)
		}
	}
	write("192.0.2.1 other.lan\nnonsense here\n")
	if !first.FilesChanged() {
		t.Error("the file has changed")
	}
	second := compile(t, config(), first)
	if second == first || second.FilesChanged() || !second.HasLocal(dnsname.MustParse("other.lan."), rdata.TypeA) {
		t.Error("the file was not read again")
	}
	if p := second.Problems(); !strings.Contains(p.Local, "line 2") || p.Absent != "" || p.Skipped != "" {
		t.Errorf("problems %+v", p)
	}
	if nothing := compile(t, Config{}, second); nothing.Rules() != nil || nothing.FilesChanged() {
		t.Error("rules without anything to say")
	}
	var none *Book
	if none.Rules() != nil || none.HasLocal(dnsname.Root, rdata.TypeA) || none.FilesChanged() || none.Attach(1, nil) != nil || none.Problems() != (Problems{}) {
		t.Error("a nil Book has no rules")
	}
	bad := config()
	bad.Local.Records = append(bad.Local.Records, "nas.lan A nonsense")
	if _, err := Compile(bad, nil, nil); err == nil || !strings.Contains(err.Error(), "localData: records[1]") {
		t.Errorf("a record that is none: %v", err)
	}
}

// TestAttach: policy zones are compiled when they have another version, and counted over
// all of them; one without a version is told of.
func TestAttach(t *testing.T) {
	name := dnsname.MustParse("rpz.test.")
	text := "@ SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nbad.example CNAME .\n"
	versions := map[dnsname.Name]*zone.Zone{}
	versionOf := func(n dnsname.Name) *zone.Zone { return versions[n] }
	absent := compile(t, Config{Policies: []Policy{{Zone: name}}}, nil).Attach(1, versionOf)
	if p := absent.Problems(); !strings.Contains(p.Absent, "rpz.test.") {
		t.Errorf("problems %+v", p)
	}
	versions[name] = zonetest.Zone(t, "rpz.test.", text)
	first := absent.Attach(2, versionOf)
	if len(first.Rules().Policies.Zones()) != 1 || first.Rules().Revision != 2 || first.Problems() != (Problems{}) {
		t.Errorf("rules %+v, problems %+v", first.Rules(), first.Problems())
	}
	if first.Attach(3, versionOf) != first {
		t.Error("nothing has changed, and there is another Book")
	}
	first.Rules().Policies.Zones()[0].Count(policy.NXDomain)
	versions[name] = zonetest.Zone(t, "rpz.test.", text+"worse.example CNAME .\n")
	second := first.Attach(4, versionOf)
	if second == first || second.Rules().Revision != 4 || second.Rules().Policies.Zones()[0].Source() != versions[name] {
		t.Errorf("rules %+v", second.Rules())
	}
	counted := map[policy.Action]uint64{}
	second.Counts(func(_ dnsname.Name, action policy.Action, count uint64) { counted[action] += count })
	if counted[policy.NXDomain] != 1 {
		t.Errorf("counted %v", counted)
	}
}
