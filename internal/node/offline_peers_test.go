package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/authority/skr"
	"pharos/lab/tools"
)

// TestOfflineKSKOfKnot: a KSK that Knot's keymgr keeps on a machine of its own signs for a
// zone here: its public half is taken in, it is asked in Knot's form, and what it has
// signed makes the zone secure, with the CDS and CDNSKEY records that keymgr has signed.
func TestOfflineKSKOfKnot(t *testing.T) {
	tools.Need(t, "keymgr")
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	n, _ := start(t, f.config(signedConfig("keys: ksk-zsk, offlineKSK: true, zskLifetime: 30d, signatureLifetime: 14d, cds: always")))
	desk := n.newDesk()
	eventually(t, func() string { return n.hasProblem(problems.OfflineEnds) })

	vault := t.TempDir()
	conf := filepath.Join(vault, "knot.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(`database:
    storage: %s
policy:
  - id: p
    algorithm: ecdsap256sha256
    manual: on
    offline-ksk: on
    dnskey-ttl: 1
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
    cds-cdnskey-publish: always
zone:
  - domain: example.com
    dnssec-signing: on
    dnssec-policy: p
`, vault)), 0o600); err != nil {
		t.Fatal(err)
	}
	keymgr := func(args ...string) string {
		t.Helper()
		return tools.Run(t, vault, "keymgr", append([]string{"-c", conf, "example.com"}, args...)...)
	}
	id := strings.TrimSpace(keymgr("generate", "algorithm=ecdsap256sha256", "ksk=yes", "created=-2d", "publish=-2d", "ready=-1d", "active=-1d"))
	ctx := context.Background()
	if _, err := desk.ImportKey(ctx, "example.com", api.KeyImport{Public: keymgr("dnskey", id), Offline: true}); err != nil {
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
	file, err := r.EncodeAs(skr.Knot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vault, "request"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	response := keymgr("sign-ksr", "request")
	if _, err := desk.TakeSigned(ctx, "example.com", file); err == nil || !strings.Contains(err.Error(), "it is a request") {
		t.Errorf("a request taken in as a response: %v", err)
	}
	if _, err := desk.TakeSigned(ctx, "example.com", []byte(response)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return isSigned(n) })
	eventually(t, func() string {
		if n.hasProblem(problems.OfflineEnds) == "" {
			return fmt.Sprintf("there is still a problem: %v", n.problems.All())
		}
		if out := runTool(t, f.path, "dig", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "example.com", "CDS", "+dnssec", "+noall", "+answer"); !strings.Contains(out, "RRSIG") {
			return "no signed CDS: " + out
		}
		return ""
	})
	verifyZone(t, f, n, false)
}
