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

// manyOf writes zones z0.test. and so on, and a configuration with all of them, one of
// which is in a view.
func manyOf(t *testing.T, count int) (f folder, config string) {
	f = newFolder(t)
	if err := os.Mkdir(filepath.Join(f.path, "zones"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		f.write(fmt.Sprintf("zones/z%d.test.zone", i), exampleZone)
	}
	f.write("inside.zone", exampleZone)
	return f, f.config("zones: [{file: \"zones/*.zone\"}]\nviews: [{name: inside, clients: [127.0.0.2/32], zones: [{name: z0.test, file: inside.zone}]}]\n")
}

// TestReloadTakesOver: a reload makes those zones anew whose files have changed and no
// others, and says which; the configuration is read again only if it has changed.
func TestReloadTakesOver(t *testing.T) {
	f, config := manyOf(t, 600)
	n, _ := start(t, config)
	n.reloading.Lock() // or the node may see the changes by itself, and the reload has nothing to say
	before := n.current.Load()
	f.write("zones/z1.test.zone", strings.Replace(exampleZone, "hostmaster 1", "hostmaster 2", 1))
	f.write("inside.zone", strings.Replace(exampleZone, "192.0.2.1\n", "192.0.2.7\n", 1))
	f.write("zones/z2.test.zone", "broken")
	os.Remove(f.write("zones/.z1.tmp", "")) // as editors do it
	applied, err := n.readAgain()
	n.reloading.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	now := n.current.Load()
	if got, want := fmt.Sprint(applied.Changed), "[zone z1.test. zone z0.test.@inside]"; got != want {
		t.Errorf("changed are %s, want %s", got, want)
	}
	if len(applied.Refused) != 1 || !strings.Contains(applied.Refused[0], "z2.test") {
		t.Errorf("refused are %q", applied.Refused)
	}
	if now.Config != before.Config || !now.takesOver || len(now.revised) != 2 {
		t.Errorf("the same configuration: %v, taken over: %v, revised %v", now.Config == before.Config, now.takesOver, now.revised)
	}
	z1, z3 := dnsname.MustParse("z1.test"), dnsname.MustParse("z3.test")
	if now.apexes.Get(z3) != before.apexes.Get(z3) || now.zones.Get(z1).Serial() != 2 {
		t.Errorf("z3 was made anew, or z1 has serial %d", now.zones.Get(z1).Serial())
	}
	if got := summary(ask(t, n.DNS()[0], "www.z2.test", rdata.TypeA, false)); got != "NOERROR www.z2.test. 3600 IN A 192.0.2.1" {
		t.Errorf("a zone whose file is broken: %s", got)
	}
	if missing := n.hasProblem(problems.ZoneRefused); missing != "" {
		t.Error(missing)
	}
	f.write("zones/z2.test.zone", exampleZone)
	if _, err := n.reload(); err != nil || n.hasProblem(problems.ZoneRefused) == "" {
		t.Errorf("%v, or the problem stays: %v", err, n.problems.All())
	}
}

// TestReloadOfLists: a file that comes makes a zone, one that goes ends it, though the
// configuration file is what it was.
func TestReloadOfLists(t *testing.T) {
	f, config := manyOf(t, 3)
	n, _ := start(t, config)
	f.write("zones/new.test.zone", exampleZone)
	for range 2 { // the second time nothing has changed
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		if got := summary(ask(t, n.DNS()[0], "www.new.test", rdata.TypeA, false)); got != "NOERROR www.new.test. 3600 IN A 192.0.2.1" {
			t.Errorf("after the reload: %s", got)
		}
	}
}

// TestReloadOfLongList: of a long list that has changed, those zones are made anew that
// are others and no more, however many there are; all others are the same in memory.
func TestReloadOfLongList(t *testing.T) {
	f, config := manyOf(t, 1200)
	n, _ := start(t, config)
	n.reloading.Lock() // as in TestReloadTakesOver
	before := n.current.Load()
	f.write("zones/new.test.zone", exampleZone)
	os.Remove(filepath.Join(f.path, "zones", "z7.test.zone"))
	f.write("zones/z9.test.zone", strings.Replace(exampleZone, "hostmaster 1", "hostmaster 2", 1))
	applied, err := n.readAgain()
	n.reloading.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	now := n.current.Load()
	if got, want := fmt.Sprint(applied.Changed), "[zone new.test. zone z9.test.]"; got != want {
		t.Errorf("changed are %s, want %s", got, want)
	}
	if !now.takesOver || len(now.revised) != 2 || len(now.gone) != 1 || now.read != 2*now.zoneOf("", dnsname.MustParse("new.test")).Records() {
		t.Errorf("taken over: %v; made %v, gone %v, %d records read", now.takesOver, now.revised, now.gone, now.read)
	}
	same := 0
	for name, a := range now.apexes.All() {
		if before.apexes.Get(name) == a {
			same++
		}
	}
	if want := 1200 - 2; same != want || now.apexes.Len() != 1200 || now.zones.Len() != 1200 {
		t.Errorf("%d zones are what they were, want %d, of %d and %d", same, want, now.apexes.Len(), now.zones.Len())
	}
	for name, want := range map[string]string{"new": "NOERROR", "z7": "REFUSED", "z8": "NOERROR", "z9": "NOERROR"} {
		if got := summary(ask(t, n.DNS()[0], "www."+name+".test", rdata.TypeA, false)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if now.zones.Get(dnsname.MustParse("z9.test")).Serial() != 2 {
		t.Error("a file that has changed beside its list was not read")
	}
}

// TestReloadOfOtherText: with another text all zones are looked at, for what is said of
// all of them may have changed.
func TestReloadOfOtherText(t *testing.T) {
	f, config := manyOf(t, 600)
	n, _ := start(t, config)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	f.write(filepath.Base(config), string(text)+"transfers: {journal: 1MiB}\n")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if n.current.Load().takesOver {
		t.Error("zones were taken over")
	}
}

// TestReloadAfterRefusal: a configuration that was refused is read again though it has
// not changed since, and stays a problem.
func TestReloadAfterRefusal(t *testing.T) {
	f, config := manyOf(t, 1)
	n, _ := start(t, config)
	f.write("pharos.yaml", "zones: {}\n")
	for range 2 {
		if _, err := n.reload(); err == nil {
			t.Error("a configuration that is none was not refused")
		}
		if missing := n.hasProblem(problems.ConfigRefused); missing != "" {
			t.Error(missing)
		}
	}
}

// TestReloadReadsSecrets: the secret of a key is in a file of its own, which is read
// again though the configuration is what it was.
func TestReloadReadsSecrets(t *testing.T) {
	f := newFolder(t)
	f.write("z.zone", exampleZone)
	f.write("secret", "c2VjcmV0LW9uZS1zZWNyZXQtb25l")
	n, _ := start(t, f.config("keys: [{name: k, algorithm: hmac-sha256, secretFile: secret}]\nzones: [{name: z.test, file: z.zone}]\n"))
	before := n.current.Load()
	f.write("secret", "c2VjcmV0LXR3by1zZWNyZXQtdHdv")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	key := dnsname.MustParse("k")
	if string(before.keys[key].Secret) == string(n.current.Load().keys[key].Secret) {
		t.Error("the secret is still the old one")
	}
}

// TestSteeringAlone: what is steered at run time makes the zones anew that it is in, and
// takes over all others.
func TestSteeringAlone(t *testing.T) {
	_, config := manyOf(t, 600)
	n, _ := start(t, config)
	eventually(t, func() string {
		return map[bool]string{false: "the store is " + n.storeStatus()}[n.storeStatus() == "ready"]
	})
	before := n.current.Load()
	document := "pools: [{name: p, members: [{name: m, address: \"192.0.2.9:80\"}]}]\nsteer: [{name: www.z5.test, pool: p}]\n"
	if _, err := n.Apply(t.Context(), []byte(document)); err != nil {
		t.Fatal(err)
	}
	now := n.current.Load()
	z4, z5 := dnsname.MustParse("z4.test"), dnsname.MustParse("z5.test")
	if !now.takesOver || now.apexes.Get(z4) != before.apexes.Get(z4) || now.apexes.Get(z5) == before.apexes.Get(z5) {
		t.Errorf("taken over: %v, revised %v", now.takesOver, now.revised)
	}
	if got := summary(ask(t, n.DNS()[0], "www.z5.test", rdata.TypeA, false)); !strings.Contains(got, "192.0.2.9") {
		t.Errorf("the steered name: %s", got)
	}
}
