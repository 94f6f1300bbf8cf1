package node

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// client asks as another server would.
type transferClient struct {
	*dns.Client
	server string
}

func newClient(n *Node, network, secret string) transferClient {
	c := &dns.Client{Net: network, Timeout: 10 * time.Second}
	if secret != "" {
		c.TsigSecret = map[string]string{"transfer-key.": secret}
	}
	return transferClient{c, n.DNS()[0].String()}
}

// ask sends m, signed if there is a secret and skew is not "none".
func (c transferClient) ask(t *testing.T, m *dns.Msg, skew time.Duration) (*dns.Msg, error) {
	t.Helper()
	if c.TsigSecret != nil {
		m.SetTsig("transfer-key.", dns.HmacSHA256, 300, time.Now().Add(skew).Unix())
	}
	r, _, err := c.Exchange(m, c.server)
	return r, err
}

func ixfr(serial uint32) *dns.Msg {
	return new(dns.Msg).SetIxfr("peer.test.", serial, "ns1.peer.test.", "hostmaster.peer.test.")
}

func largeUDP(m *dns.Msg) *dns.Msg { return m.SetEdns0(1232, false) }

// startTransfers runs a node with three versions of peer.test. published.
func startTransfers(t *testing.T, more string) *Node {
	t.Helper()
	f := newFolder(t)
	zone := func(serial int) string {
		return fmt.Sprintf("$ORIGIN peer.test.\n$TTL 300\n@ SOA ns1 hostmaster %d 3600 600 86400 300\n@ NS ns1\nns1 A 127.0.0.1\nonly%d A 192.0.2.1\n", serial, serial)
	}
	f.write("peer.zone", zone(1))
	f.write("open.zone", strings.ReplaceAll(peerZone(1), "peer.test.", "open.test."))
	n, _ := start(t, f.config(fmt.Sprintf(`store: {enabled: false}
keys: [{name: transfer-key, secret: "%s"}]
zones:
  - {name: peer.test, file: peer.zone, transfer: [{key: transfer-key, network: 127.0.0.0/8}, {key: transfer-key, network: "::1/128"}]}
  - {name: open.test, file: open.zone, transfer: [{network: 127.0.0.1/32}]}
  - {name: closed.test, file: peer.zone}
  - {name: gone.test, file: missing.zone, transfer: [{network: 127.0.0.1/32}]}
%s`, peerKey.Secret, more)))
	for serial := 2; serial <= 3; serial++ {
		f.write("peer.zone", zone(serial))
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestWhoMayTransfer: who is not in a zone's rules gets a reason and no record.
func TestWhoMayTransfer(t *testing.T) {
	n := startTransfers(t, "")
	wrong := base64.StdEncoding.EncodeToString([]byte("wrong"))
	chaos := new(dns.Msg).SetAxfr("open.test.")
	chaos.Question[0].Qclass = dns.ClassCHAOS
	for _, tt := range []struct {
		name, network, secret string
		m                     *dns.Msg
		rcode                 int
		ede                   uint16
	}{
		{"no rule", "tcp", "", new(dns.Msg).SetAxfr("closed.test."), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"no key", "tcp", "", new(dns.Msg).SetAxfr("peer.test."), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"not a zone", "tcp", "", new(dns.Msg).SetAxfr("www.peer.test."), dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative},
		{"another class", "tcp", "", chaos, dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported},
		{"no version", "tcp", "", new(dns.Msg).SetAxfr("gone.test."), dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady},
		{"AXFR over UDP", "udp", "", new(dns.Msg).SetAxfr("open.test."), dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported},
		{"IXFR without SOA", "tcp", "", new(dns.Msg).SetQuestion("open.test.", dns.TypeIXFR), dns.RcodeFormatError, dns.ExtendedErrorCodeOther},
		{"wrong secret", "tcp", wrong, new(dns.Msg).SetAxfr("peer.test."), dns.RcodeNotAuth, 0xFFFF},
		{"wrong secret over UDP", "udp", wrong, new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA), dns.RcodeNotAuth, 0xFFFF},
	} {
		r, err := newClient(n, tt.network, tt.secret).ask(t, largeUDP(tt.m), 0)
		if r == nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if r.Rcode != tt.rcode || len(r.Answer) > 0 {
			t.Errorf("%s: %s with %d records, want %s", tt.name, dns.RcodeToString[r.Rcode], len(r.Answer), dns.RcodeToString[tt.rcode])
		}
		if tt.ede == 0xFFFF {
			if sig := r.IsTsig(); sig == nil || sig.Error != dns.RcodeBadSig || sig.MACSize != 0 {
				t.Errorf("%s: TSIG %v", tt.name, sig)
			}
			continue
		}
		options := r.IsEdns0().Option
		if len(options) != 1 || options[0].(*dns.EDNS0_EDE).InfoCode != tt.ede {
			t.Errorf("%s: options %v, want extended error %d", tt.name, options, tt.ede)
		}
	}
	if refused, bad := n.outgoing.Counts().Refused, n.badKeys.Load(); refused == 0 || bad != 2 {
		t.Errorf("counted %d refused, %d bad signatures", refused, bad)
	}
}

// TestSignedQueries: RFC 8945 §5.3: what comes signed is answered signed, whatever
// it asks; a clock that is wrong is told so, with the server's time, signed.
func TestSignedQueries(t *testing.T) {
	n := startTransfers(t, "")
	for _, network := range []string{"udp", "tcp"} {
		c := newClient(n, network, peerKey.Secret)
		for _, m := range []*dns.Msg{
			new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA), largeUDP(new(dns.Msg).SetQuestion("only3.peer.test.", dns.TypeA)),
			largeUDP(new(dns.Msg).SetQuestion("big.open.test.", dns.TypeTXT)), new(dns.Msg).SetQuestion("elsewhere.test.", dns.TypeA),
		} {
			name := m.Question[0].Name
			r, err := c.ask(t, m, 0) // checks the signature
			if err != nil || r.IsTsig() == nil {
				t.Errorf("%s %s: %v", network, name, err)
				continue
			}
			if limit := 1232; network == "udp" && r.Len() > limit {
				t.Errorf("%s: %d octets", name, r.Len())
			}
			if want := map[string]int{"elsewhere.test.": dns.RcodeRefused}[name]; r.Rcode != want {
				t.Errorf("%s %s: %s", network, name, dns.RcodeToString[r.Rcode])
			}
		}
		r, _ := c.ask(t, new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA), -time.Hour)
		if r == nil || r.Rcode != dns.RcodeNotAuth || r.IsTsig() == nil || r.IsTsig().Error != dns.RcodeBadTime || len(r.IsTsig().OtherData) != 12 || r.IsTsig().MACSize != 32 {
			t.Errorf("%s, an hour late: %v", network, r)
		}
	}
	// A TSIG record that is none: FORMERR.
	m := new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA)
	m.Extra = append(m.Extra, &dns.RFC3597{Hdr: dns.RR_Header{Name: "transfer-key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Rdata: "0102"})
	if wire, err := m.Pack(); err == nil {
		conn, err := net.Dial("udp", n.DNS()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(wire)
		buf := make([]byte, 512)
		if size, err := conn.Read(buf); err != nil || buf[3]&0xF != dns.RcodeFormatError {
			t.Errorf("malformed TSIG: %x, %v", buf[:size], err)
		}
	}
}

// TestIXFROut: RFC 1995 §2 and §4: differences from every version that was
// published, the SOA record alone for the newest and those to come, the whole for
// a version nobody knows; over UDP if it fits.
func TestIXFROut(t *testing.T) {
	n := startTransfers(t, "")
	for _, tt := range []struct {
		serial  uint32
		network string
		records int
		has     string
	}{
		{1, "tcp", 10, "only1"}, {2, "tcp", 6, "only2"}, {3, "tcp", 1, ""}, {4, "tcp", 1, ""},
		{77, "tcp", 1, ""}, {1<<31 + 4, "tcp", 5, "ns1"}, {2, "udp", 6, "only2"}, {3, "udp", 1, ""}, {1<<31 + 4, "udp", 1, ""},
	} {
		r, err := newClient(n, tt.network, peerKey.Secret).ask(t, ixfr(tt.serial), 0)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if len(r.Answer) != tt.records || !strings.Contains(fmt.Sprint(r.Answer), tt.has) || !r.Authoritative {
			t.Errorf("%+v: %d records\n%v", tt, len(r.Answer), r.Answer)
		}
		for _, rr := range []dns.RR{r.Answer[0], r.Answer[len(r.Answer)-1]} {
			if soa, ok := rr.(*dns.SOA); !ok || soa.Serial != 3 {
				t.Errorf("%+v: begins or ends with %v", tt, rr)
			}
		}
	}
}

// TestNotifyIn: RFC 1996 §3.10: only primaries of the zone, by address or key, are
// heard; everybody is answered.
func TestNotifyIn(t *testing.T) {
	n := startTransfers(t, `  - {name: second.test, kind: secondary, primaries: [{address: "192.0.2.1:53", key: transfer-key}]}
  - {name: local.test, kind: secondary, primaries: [{address: "127.0.0.1:1"}]}
`)
	for _, tt := range []struct {
		zone, secret string
		rcode        int
	}{
		{"second.test.", "", dns.RcodeRefused}, {"second.test.", peerKey.Secret, dns.RcodeSuccess}, {"local.test.", "", dns.RcodeSuccess},
		{"peer.test.", "", dns.RcodeRefused}, {"unknown.test.", "", dns.RcodeNotAuth},
	} {
		r, err := newClient(n, "udp", tt.secret).ask(t, new(dns.Msg).SetNotify(tt.zone), 0)
		if err != nil || r.Rcode != tt.rcode || r.Opcode != dns.OpcodeNotify || !r.Response {
			t.Errorf("%+v: %v, %v", tt, r, err)
		}
	}
	bad := new(dns.Msg).SetNotify("local.test.")
	bad.Question[0].Qtype = dns.TypeA
	if r, err := newClient(n, "udp", "").ask(t, bad, 0); err != nil || r.Rcode != dns.RcodeFormatError {
		t.Errorf("NOTIFY of type A: %v, %v", r, err)
	}
	update := new(dns.Msg).SetUpdate("peer.test.")
	if r, err := newClient(n, "udp", "").ask(t, update, 0); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("UPDATE: %v, %v", r, err)
	}
}

// TestChain: a zone goes from one node over a second to a third, a change with it;
// operators see it, and can ask and tell; steered names of a secondary zone are
// answered from their pool.
func TestChain(t *testing.T) {
	first, second, third := freePort(t), freePort(t), freePort(t)
	f1, f2, f3 := newFolder(t), newFolder(t), newFolder(t)
	f1.write("peer.zone", peerZone(1))
	n1, _ := start(t, peerConfig(f1, first, peerKey, fmt.Sprintf("zones: [{name: peer.test, file: peer.zone, transfer: [{key: transfer-key}], notify: [{address: \"%s\"KEY}]}]\n", second)))
	config2 := fmt.Sprintf("zones: [{name: peer.test, kind: secondary, primaries: [{address: \"%s\"KEY}], transfer: [{key: transfer-key}], notify: [{address: \"%s\"KEY}]}]\n", first, third)
	config2 += "pools: [{name: web, check: {type: none}, members: [{name: a, address: \"192.0.2.200:80\"}]}]\nsteer: [{name: host1.peer.test, pool: web, ttl: 5s}]\n"
	n2, _ := start(t, peerConfig(f2, second, peerKey, config2))
	n3, _ := start(t, peerConfig(f3, third, peerKey, fmt.Sprintf("zones: [{name: peer.test, kind: secondary, primaries: [{address: \"%s\"KEY}], transfer: [{network: 127.0.0.1/32}]}]\n", second)))
	none := func() string { return "" }
	waitForSerial(t, third, 1, none)
	f1.write("peer.zone", peerZone(2))
	if _, err := n1.reload(); err != nil {
		t.Fatal(err)
	}
	waitForSerial(t, third, 2, none)
	wantSameRecords(t, first, third, peerKey, nil)
	if got := summary(ask(t, second, "host1.peer.test", rdata.TypeA, false)); got != "NOERROR host1.peer.test. 5 IN A 192.0.2.200" {
		t.Errorf("steered name of a secondary zone: %s", got)
	}
	call := func(n *Node, method, path string, into any) int {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+n.Admin()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	var check api.ZoneCheck
	if call(n2, "GET", "/api/zones/peer.test/check", &check); len(check.Servers) != 2 || check.Servers[0].Serial != 2 || check.Servers[1].Serial != 2 || check.Servers[1].Role != "secondary" {
		t.Errorf("check: %+v", check)
	}
	var applied api.Applied
	if code := call(n1, "POST", "/api/zones/peer.test/notify", &applied); code != 200 || len(applied.Changed) != 1 {
		t.Errorf("notify: %d %+v", code, applied)
	}
	if code := call(n3, "POST", "/api/zones/peer.test/notify", &map[string]string{}); code != 422 {
		t.Errorf("notify of a zone without notify: %d", code)
	}
	if code := call(n1, "POST", "/api/zones/peer.test/refresh", &map[string]string{}); code != 422 {
		t.Errorf("refresh of a zone of kind file: %d", code)
	}
	if code := call(n3, "POST", "/api/zones/other.test/refresh", &map[string]string{}); code != 404 {
		t.Errorf("refresh of no zone: %d", code)
	}
	before := n3.secondaries.Counts().Whole
	if code := call(n3, "POST", "/api/zones/peer.test/refresh?force=true", &applied); code != 200 {
		t.Errorf("refresh: %d %+v", code, applied)
	}
	eventually(t, func() string {
		if got := n3.secondaries.Counts().Whole; got != before+1 {
			return fmt.Sprintf("%d whole transfers after a forced one, want %d", got, before+1)
		}
		return ""
	})
	var zones []api.Zone
	call(n3, "GET", "/api/zones", &zones)
	if z := zones[0]; z.Kind != "secondary" || z.Secondary == nil || !z.Secondary.Present || z.Secondary.From != second.String() || z.Serial != 2 || z.Problem != "" {
		t.Errorf("zones: %+v", z)
	}
}

// TestExpiredZone: RFC 1034 §4.3.5: a secondary zone that nobody confirms any more
// is not served; the node says so, and is back when a primary is.
func TestExpiredZone(t *testing.T) {
	first, second := freePort(t), freePort(t)
	f1, f2 := newFolder(t), newFolder(t)
	f1.write("peer.zone", strings.Replace(peerZone(1), "3600 600 86400", "1 1 3", 1))
	config1 := peerConfig(f1, first, nil, "zones: [{name: peer.test, file: peer.zone, transfer: [{network: 127.0.0.1/32}]}]\n")
	_, stop := start(t, config1)
	n2, _ := start(t, peerConfig(f2, second, nil, fmt.Sprintf("zones: [{name: peer.test, kind: secondary, primaries: [{address: \"%s\"}]}]\n", first)))
	waitForSerial(t, second, 1, func() string { return "" })
	stop()
	eventually(t, func() string { return n2.hasProblem(problems.TransferFailed) })
	eventually(t, func() string { return n2.hasProblem(problems.ZoneAbsent) })
	m := ask(t, second, "www.peer.test", rdata.TypeA, false)
	if m.Rcode != dnswire.RcodeServFail || len(m.EDE) == 0 {
		t.Errorf("expired zone: %s", summary(m))
	}
	if err := n2.ready(); err == nil {
		t.Error("ready without a version of a zone")
	}
	start(t, config1)
	waitForSerial(t, second, 1, func() string { return "" })
	eventually(t, func() string {
		for _, p := range n2.problems.All() {
			if p.Code == string(problems.ZoneAbsent) || p.Code == string(problems.TransferFailed) {
				return p.Text
			}
		}
		return ""
	})
}

// TestSerialWarnings: a change that secondaries cannot see is warned of.
func TestSerialWarnings(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(5))
	n, _ := start(t, f.config("store: {enabled: false}\nzones: [{name: peer.test, file: peer.zone, transfer: [{network: 127.0.0.1/32}]}]\n"))
	name := dnsname.MustParse("peer.test.")
	for _, tt := range []struct {
		text string
		want string
		kept int
	}{
		{peerZone(6), "", 1},
		{peerZone(6), "", 1}, // touched only
		{peerZone(6) + "new A 192.0.2.1\n", "the records have changed but not the serial, 6", 0},
		{peerZone(5), "backwards", 0},
		{peerZone(7), "", 1},
	} {
		f.write("peer.zone", tt.text)
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		z := n.current.Load().apexes.Get(name).served
		if got := strings.Join(z.Warnings, "\n"); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("warnings %q, want %q", got, tt.want)
		}
		if kept, _ := z.Journal.Stats(); kept != tt.kept {
			t.Errorf("%d differences, want %d", kept, tt.kept)
		}
	}
}

// TestSecretFile: a secret may stand in a file of its own; without it nothing of
// the configuration is in force.
func TestSecretFile(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	f.write("k.secret", peerKey.Secret+"\n")
	config := f.config("store: {enabled: false}\nkeys: [{name: transfer-key, secretFile: k.secret}]\nzones: [{name: peer.test, file: peer.zone, transfer: [{key: transfer-key}]}]\n")
	n, stop := start(t, config)
	if r, err := newClient(n, "udp", peerKey.Secret).ask(t, new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA), 0); err != nil || r.IsTsig() == nil {
		t.Errorf("signed query: %v, %v", r, err)
	}
	stop()
	if err := os.Remove(filepath.Join(f.path, "k.secret")); err != nil {
		t.Fatal(err)
	}
	if n, err := New(Options{Config: config}); err == nil || !strings.Contains(err.Error(), "secretFile") {
		if n != nil {
			n.Close()
		}
		t.Errorf("without the file: %v", err)
	}
}

// TestJournalsTogether: what the differences of all zones take is bounded; who asks for
// what was dropped gets the zone whole.
func TestJournalsTogether(t *testing.T) {
	for limit, want := range map[string]int{"1MiB": 10, "0": 5} { // see TestIXFROut
		n := startTransfers(t, "transfers: {journals: "+limit+"}\n")
		r, err := newClient(n, "tcp", peerKey.Secret).ask(t, ixfr(1), 0)
		if err != nil || len(r.Answer) != want {
			t.Errorf("journals %s: %d records, %v, want %d: %v", limit, len(r.Answer), err, want, r)
		}
		if size, dropped := n.journaled.Stats(); (size == 0) != (limit == "0") || (dropped > 0) != (limit == "0") {
			t.Errorf("journals %s: %d octets, %d dropped", limit, size, dropped)
		}
	}
}
