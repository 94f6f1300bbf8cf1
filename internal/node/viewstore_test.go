package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// storesConfig has one zone, changed at run time, in two views and outside: the inner
// ones are changed by whoever has the key of their view.
const storesConfig = `keys:
- {name: peer, secret: K2tf3TRjvQkVCmJF3/Z9vA==}
- {name: second, secret: bTJ3TRjvQkVCmJF3/Z9vAA==}
zones:
- {name: example.com, kind: store, file: outside.zone, updates: [{network: 127.0.0.1/32}]%[1]s}
views:
- name: inside
  clients: [127.0.0.2/32]
  keys: [peer]
  zones: [{name: example.com, kind: store, file: inside.zone, updates: [{key: peer}]%[1]s}]
- name: other
  clients: [127.0.0.3/32]
  keys: [second]
  zones: [{name: example.com, kind: store, file: alone.zone, updates: [{key: second}]%[1]s}]
`

func writeStores(f folder) {
	for name, address := range map[string]string{"outside": "192.0.2.1", "inside": "10.0.0.1", "alone": "10.9.9.9"} {
		f.write(name+".zone", zoneWith(address))
	}
}

// TestStoresInViews: the same zone is another one in each view: updates, by the key of
// the view, commands, history and what is on disk.
func TestStoresInViews(t *testing.T) {
	f := newFolder(t)
	writeStores(f)
	config := f.config(fmt.Sprintf(storesConfig, ""))
	n, stop := start(t, config)
	update := func(from, key, address string, want int) {
		t.Helper()
		m := insert(t, "example.com.", "new.example.com. 60 A "+address)
		if key != "" {
			m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		}
		if got := askFrom(t, from, n, m); got.Rcode != want {
			t.Fatalf("update from %s by %q: %s", from, key, told(got))
		}
	}
	update("127.0.0.1", "", "192.0.2.77", dns.RcodeSuccess)
	update("127.0.0.9", "peer.", "10.0.0.77", dns.RcodeSuccess) // whatever its address, the key says the view
	update("127.0.0.3", "second.", "10.9.9.77", dns.RcodeSuccess)
	update("127.0.0.2", "second.", "10.9.9.77", dns.RcodeSuccess) // it belongs to the other view
	update("127.0.0.2", "", "10.0.0.78", dns.RcodeRefused)
	see := func(where string) {
		t.Helper()
		for from, want := range map[string]string{"127.0.0.1": "192.0.2.77", "127.0.0.2": "10.0.0.77", "127.0.0.3": "10.9.9.77"} {
			if got := told(askFrom(t, from, n, question("new.example.com", dns.TypeA, nil))); got != want {
				t.Errorf("%s: from %s: %s, want %s", where, from, got, want)
			}
		}
	}
	see("after updates")
	desk := n.newDesk()
	ctx := context.Background()
	edit := api.RecordEdit{Do: "add", Owner: "desk", Type: "A", TTL: 60, Data: "10.0.0.5"}
	if _, err := desk.Edit(ctx, "example.com@inside", []api.RecordEdit{edit}, api.How{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"example.com": 2, "example.com@inside": 3, "example.com@other": 2} {
		h, err := desk.History(ctx, name, 10)
		if err != nil || len(h.Versions) != want {
			t.Errorf("%s: %d versions, want %d; %v", name, len(h.Versions), want, err)
		}
	}
	stop()
	n, _ = start(t, config)
	see("after a restart")
	if got := told(askFrom(t, "127.0.0.2", n, question("desk.example.com", dns.TypeA, nil))); got != "10.0.0.5" {
		t.Errorf("after a restart: %s", got)
	}
}

// TestSignedInViews: a zone is signed in each view, with what is changed there.
func TestSignedInViews(t *testing.T) {
	f := newFolder(t)
	writeStores(f)
	config := f.config("dnssec: {policies: [{name: test, parentTTL: 0s, parentPropagation: 0s, propagation: 0s, safety: 0s, keyTTL: 1s}]}\n" + fmt.Sprintf(storesConfig, ", dnssec: test"))
	n, stop := start(t, config)
	wait := func() {
		t.Helper()
		for _, view := range []string{"", "inside", "other"} {
			eventually(t, func() string {
				z := n.current.Load().zoneOf(view, dnsname.MustParse("example.com"))
				if z.Zone == nil || !z.Zone.IsSigned() {
					return fmt.Sprintf("%s is not signed: %v; %v", z.ID(), z.Err, n.problems.All())
				}
				return ""
			})
		}
	}
	wait()
	m := insert(t, "example.com.", "new.example.com. 60 A 10.0.0.77")
	m.SetTsig("peer.", dns.HmacSHA256, 300, time.Now().Unix())
	if got := askFrom(t, "127.0.0.2", n, m); got.Rcode != dns.RcodeSuccess {
		t.Fatalf("update: %s", told(got))
	}
	eventually(t, func() string {
		q := question("new.example.com", dns.TypeA, func(m *dns.Msg) { m.IsEdns0().SetDo() })
		got := askFrom(t, "127.0.0.2", n, q)
		if len(got.Answer) != 2 || got.Answer[1].Header().Rrtype != dns.TypeRRSIG {
			return fmt.Sprint(got)
		}
		return ""
	})
	keys, err := n.newDesk().Keys(context.Background(), "example.com@inside")
	if err != nil || len(keys.Keys) != 1 || !strings.Contains(keys.Keys[0].Record, rdata.TypeDNSKEY.String()) {
		t.Errorf("keys of the view: %+v, %v", keys, err)
	}
	before := n.signers.Counts()
	stop()
	n, _ = start(t, config)
	wait()
	made := n.signers.Counts().Made
	for _, v := range n.current.Load().views {
		made += v.view.own.signers.Counts().Made
	}
	if made > 0 {
		t.Errorf("%d signatures are made after a restart; before it %d", made, before.Made)
	}
}
