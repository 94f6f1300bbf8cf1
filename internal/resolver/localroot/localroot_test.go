package localroot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
	"pharos/lab/zonetest"
)

var begin = time.Date(2026, 8, 22, 0, 0, 0, 0, time.UTC)

const text = `. 1d SOA a.root. host.root. 7 30m 15m 1w 1d
. 1d NS a.root.
a.root. 1d A 192.0.2.1
com. 2d NS ns.com.
com. 1d DS 1 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
ns.com. 2d A 192.0.2.2
`

func build(t *testing.T, records ...rdata.Record) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(dnsname.Root)
	for _, r := range records {
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// signedRoot returns a root zone with these digests, and its anchor.
func signedRoot(t *testing.T, digests ...uint8) (*zone.Zone, rdata.Record) {
	t.Helper()
	signed := zonetest.Sign(t, ".", text, zonetest.Signing{At: begin, ZONEMD: digests})
	return signed.Zone, zonetest.Records(t, ".", signed.DS)[0]
}

func ask(c *Copy, now time.Time, name string, t rdata.Type) *dnswire.Message {
	reply := c.Answer(now, dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 1, Name: dnsname.MustParse(name), Type: t, Class: rdata.ClassIN, EDNS: true, DO: true}), false)
	if reply == nil {
		return nil
	}
	m, err := dnswire.ParseMessage(reply)
	if err != nil {
		panic(err)
	}
	return m
}

// TestTake: what the trust anchors and the digest vouch for is used, until its signatures
// end or it is dropped; what they do not is refused, and the version before stays.
func TestTake(t *testing.T) {
	z, anchor := signedRoot(t, zonemd.SHA384)
	anchors := []rdata.Record{anchor}
	var c Copy
	if ask(&c, begin, "com.", rdata.TypeDS) != nil {
		t.Fatal("an answer from nothing")
	}
	if err := c.Take(begin, z, anchors); err != nil {
		t.Fatal(err)
	}
	if m := ask(&c, begin, "www.example.com.", rdata.TypeA); m == nil || len(m.Answer) != 0 || len(m.Authority) < 3 || len(m.Additional) == 0 {
		t.Errorf("a referral: %+v", m)
	}
	if m := ask(&c, begin, "nosuch.", rdata.TypeA); m == nil || m.Rcode != dnswire.RcodeNXDomain || len(m.Authority) < 4 {
		t.Errorf("a denial: %+v", m)
	}
	bare, bareAnchor := signedRoot(t)
	for name, test := range map[string]struct {
		change  func(rdata.Record) (rdata.Record, bool)
		anchors []rdata.Record
		of      *zone.Zone
		want    string
	}{
		"glue changed": {change: func(r rdata.Record) (rdata.Record, bool) {
			if r.Name.String() == "ns.com." {
				r.Data = []byte{203, 0, 113, 66}
			}
			return r, true
		}, want: "digest of the zone"},
		"a delegation left out": {change: func(r rdata.Record) (rdata.Record, bool) {
			return r, r.Name.String() != "com." || r.Type != rdata.TypeNS
		}, want: "digest of the zone"},
		"another anchor": {anchors: []rdata.Record{bareAnchor}, want: "its keys"},
		"no anchor":      {anchors: []rdata.Record{{Name: dnsname.MustParse("com."), Type: rdata.TypeDS}}, want: "its keys"},
		"no digest":      {of: bare, anchors: []rdata.Record{bareAnchor}, want: ErrNoDigest.Error()},
		"digest not signed": {change: func(r rdata.Record) (rdata.Record, bool) {
			return r, r.Type != rdata.TypeRRSIG || rdata.Type(r.Data[0])<<8|rdata.Type(r.Data[1]) != rdata.TypeZONEMD
		}, want: ErrNoDigest.Error()},
	} {
		of, trusted := z, anchors
		if test.of != nil {
			of = test.of
		}
		if test.anchors != nil {
			trusted = test.anchors
		}
		var records []rdata.Record
		for r := range of.Records() {
			if test.change != nil {
				changed, stays := test.change(r)
				if !stays {
					continue
				}
				r = changed
			}
			records = append(records, r)
		}
		err := c.Take(begin, build(t, records...), trusted)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if s := c.State(begin); !s.Present || s.Serial != 7 || s.Problem == "" {
			t.Errorf("%s: the version before is gone: %+v", name, s)
		}
	}
	if err := c.Take(begin.AddDate(1, 0, 0), z, anchors); err == nil {
		t.Error("a version whose signatures have ended is taken")
	}
	until := c.State(begin).Until
	if until.Before(begin.AddDate(0, 0, 8)) || until.After(begin.AddDate(0, 0, 15)) {
		t.Errorf("good until %v", until)
	}
	if ask(&c, until.Add(-time.Second), "com.", rdata.TypeDS) == nil || ask(&c, until, "com.", rdata.TypeDS) != nil {
		t.Error("it is not used until its signatures end, and no longer")
	}
	c.Drop()
	if ask(&c, begin, "com.", rdata.TypeDS) != nil {
		t.Error("an answer after it expired")
	}
	example, err := zonefileZone()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Take(begin, example, anchors); !errors.Is(err, ErrNotRoot) {
		t.Errorf("another zone: %v", err)
	}
}

func zonefileZone() (*zone.Zone, error) {
	b := zone.NewBuilder(dnsname.MustParse("example."))
	for r, err := range zonefile.Read(strings.NewReader("@ 1h SOA ns host 1 1h 1h 1h 1h\n@ 1h NS ns\nns 1h A 192.0.2.1\n"), zonefile.Options{Origin: dnsname.MustParse("example.")}) {
		if err != nil {
			return nil, err
		}
		b.Add(r)
	}
	z, _ := b.Finish()
	return z, nil
}
