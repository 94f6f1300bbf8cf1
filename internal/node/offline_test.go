package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// TestOfflineKSK: a KSK that never comes here signs in advance; the tools of others
// believe the zone by it.
func TestOfflineKSK(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	n, _ := start(t, f.config(signedConfig("keys: ksk-zsk, offlineKSK: true, zskLifetime: 30d, denial: nsec3")))
	desk := n.newDesk()
	eventually(t, func() string { return n.hasProblem(problems.OfflineEnds) })
	ksk, err := sign.Generate(sign.KSK, 13, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair := sign.Pair{Key: ksk, Owner: dnsname.MustParse("example.com.")}
	private, err := pair.PrivateFile()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := desk.ImportKey(ctx, "example.com", api.KeyImport{Public: string(pair.PublicFile()), Private: string(private), Offline: true}); err == nil {
		t.Error("the private half of an offline KSK is taken in")
	}
	if _, err := desk.ImportKey(ctx, "example.com", api.KeyImport{Public: string(pair.PublicFile()), Offline: true}); err != nil {
		t.Fatal(err)
	}
	request, err := desk.KeyRequest(ctx, "example.com", time.Time{}, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r, err := skr.ParseRequest([]byte(request.File))
	if err != nil {
		t.Fatal(err)
	}
	response, err := skr.Sign(r, request.Fingerprint, []*sign.Key{ksk})
	if err != nil {
		t.Fatal(err)
	}
	file, err := response.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := desk.TakeSigned(ctx, "example.com", []byte(strings.Replace(string(file), "DNSKEY 13 2 1 ", "DNSKEY 13 2 2 ", 1))); err == nil {
		t.Error("a response that was changed on its way is taken in")
	}
	if _, err := desk.TakeSigned(ctx, "example.com", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return isSigned(n) })
	eventually(t, func() string { // what is said follows a moment later
		if n.hasProblem(problems.OfflineEnds) == "" {
			return fmt.Sprintf("there is still a problem: %v", n.problems.All())
		}
		return ""
	})
	f.write("anchor", fmt.Sprintf("trust-anchors { example.com. static-key 257 3 13 \"%s\"; };\n", strings.Join(strings.Fields(string(rdata.AppendText(nil, rdata.TypeDNSKEY, ksk.RDATA())))[3:], "")))
	for question, want := range map[string]string{"www.example.com A": "; fully validated", "none.example.com A": "; negative response, fully validated"} {
		name, qtype, _ := strings.Cut(question, " ")
		out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "-a", "anchor", "+root=example.com", name, qtype)
		if !strings.Contains(out, want) {
			t.Errorf("%s: want %q, got\n%s", question, want, out)
		}
	}
	verifyZone(t, f, n, false)
}

// TestPolicyZONEMD: a policy's digest fits each version (RFC 8976), and a secondary whose
// gate requires it takes the zone.
func TestPolicyZONEMD(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	more := func(n string) string {
		return strings.Replace(signedConfig("denial: nsec3, zonemd: sha384"), "dnssec: test}]", "dnssec: test, transfer: [{network: 127.0.0.0/8}]"+n+"}]", 1)
	}
	n, _ := start(t, f.config(more("")))
	eventually(t, func() string { return isSigned(n) })
	second := newFolder(t)
	s, _ := start(t, second.config(fmt.Sprintf("zones: [{name: example.com, kind: secondary, primaries: [{address: %q}], gate: {zonemd: require}}]", n.DNS()[0])))
	f.config(more(fmt.Sprintf(", notify: [{address: %q}]", s.DNS()[0])))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	for serial := 100; serial < 103; serial++ {
		f.write("example.com.zone", strings.Replace(signedZone, "1 1h 15m 1w 5m", fmt.Sprintf("%d 1h 15m 1w 5m", serial), 1)+fmt.Sprintf("n%d A 192.0.2.9\n", serial))
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			z := theZone(s).Zone
			if z == nil || int(z.Serial()) < serial {
				return fmt.Sprintf("%v; problems %v", z, s.problems.All())
			}
			if err := zonemd.Verify(z.Origin(), z.Records()); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}
