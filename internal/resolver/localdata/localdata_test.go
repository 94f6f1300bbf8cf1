package localdata

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/policy"
)

func records(t testing.TB, text string) (list []rdata.Record) {
	t.Helper()
	for r, err := range zonefile.Read(strings.NewReader("$TTL 60\n"+text), zonefile.Options{Origin: dnsname.Root}) {
		if err != nil {
			t.Fatal(err)
		}
		r.Name, r.Data = r.Name.Clone(), slices.Clone(r.Data)
		list = append(list, r)
	}
	return list
}

// TestKinds: what becomes of a name with the data asked for, of one with other data, of
// one without, and of one between.
func TestKinds(t *testing.T) {
	zones := map[dnsname.Name]Kind{}
	text := "alone.example A 192.0.2.9\n"
	for k := range kinds {
		zones[dnsname.MustParse(k.String()+".test")] = k
		text += fmt.Sprintf("%[1]s.test A 192.0.2.1\nhost.%[1]s.test A 192.0.2.2\na.between.%[1]s.test A 192.0.2.3\nalias.%[1]s.test CNAME x.example\n", k)
	}
	d, err := Compile(zones, records(t, text))
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string, qtype rdata.Type) string {
		h := d.Find(dnsname.MustParse(name), qtype)
		if h.IsZero() {
			return "resolve"
		}
		if !d.Owns(h) {
			t.Errorf("%s: not its own", name)
		}
		if h.Action == policy.Local && !h.Has(qtype) {
			return "nodata"
		}
		return h.Action.String()
	}
	for kind, want := range map[Kind]string{
		//                A of host   MX of host  no such name between   alias
		Transparent:     "local-data nodata     resolve    resolve    cname",
		TypeTransparent: "local-data resolve    resolve    resolve    cname",
		Static:          "local-data nodata     nxdomain   nodata     cname",
		Redirect:        "local-data nodata     local-data local-data local-data",
		Refuse:          "local-data nodata     refuse     nodata     cname",
		Drop:            "local-data nodata     drop       nodata     cname",
		NXDomain:        "nxdomain   nxdomain   nxdomain   nxdomain   nxdomain",
		NoData:          "nodata     nodata     nodata     nodata     nodata",
		Pass:            "resolve    resolve    resolve    resolve    resolve",
	} {
		zone := "." + kind.String() + ".test"
		got := strings.Join([]string{find("host"+zone, rdata.TypeA), find("host"+zone, rdata.TypeMX), find("none"+zone, rdata.TypeA),
			find("between"+zone, rdata.TypeA), find("alias"+zone, rdata.TypeA)}, " ")
		if got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%v: got %s, want %s", kind, got, want)
		}
		if back, ok := ParseKind(kind.String()); !ok || back != kind {
			t.Errorf("%v is not read back", kind)
		}
	}
	for name, want := range map[string]string{"alone.example": "local-data", "example": "resolve", "www.example": "resolve"} {
		if got := find(name, rdata.TypeA); got != want {
			t.Errorf("outside of local zones: %s: got %s, want %s", name, got, want)
		}
	}
	name := dnsname.MustParse("www.elsewhere.example")
	if got := testing.AllocsPerRun(100, func() { d.Find(name, rdata.TypeA) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestRefused(t *testing.T) {
	for _, text := range []string{". A 192.0.2.1", "sub.example NS ns.example", "a.example DNAME b.example"} {
		if _, err := Compile(nil, records(t, text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestHosts(t *testing.T) {
	const file = `# comment
127.0.0.1	localhost
192.0.2.1  printer.lan printer # the one upstairs
2001:db8::1 printer.lan
192.0.2.1 other.lan
0.0.0.0 ads.example
fe80::1%lo0 link.lan
nonsense here
192.0.2.7 good.lan b..ad
`
	got, mistakes, err := ReadHosts(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range got {
		lines = append(lines, strings.Join(strings.Fields(r.String()), " "))
	}
	want := []string{
		"localhost. 60 IN A 127.0.0.1", "1.0.0.127.in-addr.arpa. 60 IN PTR localhost.",
		"printer.lan. 60 IN A 192.0.2.1", "printer. 60 IN A 192.0.2.1", "1.2.0.192.in-addr.arpa. 60 IN PTR printer.lan.",
		"printer.lan. 60 IN AAAA 2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR printer.lan.",
		"other.lan. 60 IN A 192.0.2.1", "ads.example. 60 IN A 0.0.0.0",
		"good.lan. 60 IN A 192.0.2.7", "7.2.0.192.in-addr.arpa. 60 IN PTR good.lan.",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if len(mistakes) != 2 || !strings.HasPrefix(mistakes[0], "line 8:") || !strings.HasPrefix(mistakes[1], "line 9:") {
		t.Errorf("mistakes %q", mistakes)
	}
}

// FuzzHosts: a hosts file may hold anything.
func FuzzHosts(f *testing.F) {
	f.Add("192.0.2.1 a b\n::1 c # d\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := ReadHosts(strings.NewReader(text))
		if err != nil {
			return
		}
		if _, err := Compile(nil, list); err != nil {
			t.Error(err)
		}
	})
}
