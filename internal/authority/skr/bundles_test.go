package skr

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// vault signs a request in the form of another program, as that program does: each bundle
// at its own time, with its KSK and CDS, whose TTL is its own choice.
func vault(t testing.TB, request string, ksk *sign.Key, form Form, ttl, askTTL rdata.TTL) string {
	t.Helper()
	var out strings.Builder
	for _, bundle := range strings.Split(request, ";; "+requestMark+" ")[1:] {
		header, records, _ := strings.Cut(bundle, "\n")
		if strings.HasPrefix(header, "generated") {
			continue
		}
		word, _, _ := strings.Cut(header, " ")
		at, err := time.Parse("20060102150405", word)
		if form == Knot {
			var seconds int64
			_, err = fmt.Sscan(word, &seconds)
			at = time.Unix(seconds, 0)
		}
		if err != nil {
			t.Fatalf("header %q: %v", header, err)
		}
		fmt.Fprintf(&out, ";; %s %s\n", responseMark, header)
		keys := rdata.RRset{Name: zone, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, TTL: ttl, Data: [][]byte{ksk.RDATA()}}
		for line := range strings.Lines(records) {
			_, text, _ := strings.Cut(strings.TrimSpace(line), "DNSKEY ")
			data, err := rdata.ParseText(rdata.TypeDNSKEY, zone, text)
			if err != nil {
				t.Fatal(err)
			}
			keys.Data = append(keys.Data, data)
		}
		ds, _ := dnssec.MakeDS(zone, ksk.RDATA(), dnssec.DigestSHA256)
		for _, set := range []rdata.RRset{keys,
			{Name: zone, Type: rdata.TypeCDS, Class: rdata.ClassIN, TTL: askTTL, Data: [][]byte{ds.AppendRDATA(nil)}},
			{Name: zone, Type: rdata.TypeCDNSKEY, Class: rdata.ClassIN, TTL: askTTL, Data: [][]byte{ksk.RDATA()}}} {
			set.Data = dnssec.Canonical(set.Type, set.Data)
			for _, data := range set.Data { // over several lines, with a comment, as keymgr writes
				fmt.Fprintf(&out, "%s %d %s (\n %s ) ; key\n", zone, set.TTL, set.Type, rdata.AppendText(nil, set.Type, data))
			}
			signature, err := ksk.SignRRset(set, zone, at.Add(-time.Hour), at.Add(14*day))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %d RRSIG %s\n", zone, set.TTL, rdata.AppendText(nil, rdata.TypeRRSIG, signature))
		}
	}
	fmt.Fprintf(&out, ";; %s generated at %s by somebody\n", responseMark, moment.Format(time.RFC3339))
	return out.String()
}

// TestBundles: what is asked in the form of another program is each set of ZSKs at each
// moment of the row, and what comes back covers every DNSKEY, CDS and CDNSKEY RRset at any
// moment, also when CDS has a TTL of its own.
func TestBundles(t *testing.T) {
	ksk, first, second := generate(t, sign.KSK), generate(t, sign.ZSK), generate(t, sign.ZSK)
	r := request(ksk, first, second)
	for _, form := range []Form{Knot, BIND} {
		t.Run(string(form), func(t *testing.T) {
			file, err := r.EncodeAs(form)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Count(string(file), requestMark), 3*20+1; got != want {
				t.Errorf("%d headers, want %d: three sets at twenty moments, and the end", got, want)
			}
			if strings.Contains(string(file), "DNSKEY 257") {
				t.Error("the KSK is in the request")
			}
			text := vault(t, string(file), ksk, form, r.TTL, 0)
			got, err := ParseResponse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Sets) != 5 || len(got.Sets[1].Signatures) != 20 {
				t.Errorf("%d RRsets, %d signatures of CDS; want 5, each signed once for each of twenty moments", len(got.Sets), len(got.Sets[1].Signatures))
			}
			if err := got.Check(r.Keys); err != nil {
				t.Fatal(err)
			}
			b := Book{Zone: zone}
			b.Add(got, moment)
			for _, s := range r.Sets[:5] { // the last two ask for no DS
				for at := moment; at.Before(moment.Add(100 * day)); at = at.Add(7 * time.Hour) {
					if !b.Covers(r.RRset(s), []Key{{ksk.Tag(), ksk.Algorithm}}, at) {
						t.Fatalf("%s %v has no signature at %s", s.Type, s.Keys, at)
					}
				}
			}
			if b.Covers(r.RRset(r.Sets[5]), []Key{{ksk.Tag(), ksk.Algorithm}}, moment) {
				t.Error("what asks for no DS is covered, which nobody has signed")
			}
			if err := mustParse(t, strings.Replace(text, "RRSIG DNSKEY 15 2 3600", "RRSIG DNSKEY 15 2 3601", 1)).Check(r.Keys); err == nil {
				t.Error("a changed signature is believed")
			}
		})
	}
}

func mustParse(t *testing.T, text string) *Response {
	t.Helper()
	r, err := ParseResponse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBadBundles: what is no response says why not, with its place.
func TestBadBundles(t *testing.T) {
	const header = ";; SignedKeyResponse 1.0 1795360880 =========\n"
	for text, want := range map[string]string{
		";; something else\n":                                "line 1: want a header",
		";; KeySigningRequest 1.0 1795360880\n":              "it is a request",
		header:                                               "no signatures",
		header + "example.com. 1 A 192.0.2.1\n":              `RRsets of type "A"`,
		header + "example.com. 1 DNSKEY nonsense\n" + header: "the bundle above line 3",
		header + "$INCLUDE /etc/passwd\n":                    "INCLUDE",
		header + "example.com. 1 RRSIG A 13 2 1 20261206152120 20261122135120 1 example.com. AAAA\n":                                         `type "A"`,
		header + "example.com. 1 CDS 1 13 2 0A90A090E60756318AAE9608F7CA46156EE68886535AA7096F5C164DB296D046\nexample.org. 1 CDS 0 0 0 00\n": "a record of example.org.",
	} {
		if _, err := ParseResponse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that says %q", text, err, want)
		}
	}
}
