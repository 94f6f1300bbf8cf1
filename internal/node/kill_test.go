package node

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
	"pharos/lab/zonetest"
)

// killConfig is set in the child of TestKillNode, to its configuration.
const killConfig = "PHAROS_TEST_NODE_CONFIG"

// TestKillNodeChild is the process that TestKillNode kills: a whole node.
func TestKillNodeChild(t *testing.T) {
	config := os.Getenv(killConfig)
	if config == "" {
		t.Skip("is run by TestKillNode")
	}
	n, err := New(Options{Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// TestKillNode: two nodes, a primary whose zone is updated, signed, and has its keys
// rolled, and a secondary that follows by IXFR. kill -9 of either or both, at any instant,
// also while they start, loses no update that was acknowledged and no key; each shows
// whole versions only, with good signatures, and none that is older than one it has shown.
func TestKillNode(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many processes")
	}
	k := newKilled(t)
	k.primary.start()
	k.secondary.start()
	eventually(t, func() string { // keys are made, and the secondary has them
		z := k.secondary.transfer()
		if z == nil || !z.IsSigned() {
			return "the secondary has no signed version"
		}
		k.anchor = k.keys(z)
		return ""
	})
	rounds := tools.Kills(t, 20)
	for round := range rounds {
		k.round = round
		k.load(1 + k.rnd.IntN(30))
		k.primary.kill()
		if round%3 == 0 { // once more, while it starts
			k.primary.start()
			k.hold(300 * time.Millisecond)
			k.primary.kill()
		}
		if round%2 == 0 {
			k.secondary.kill()
		}
		k.primary.start()
		k.secondary.start()
		k.inspect()
		if t.Failed() {
			return
		}
	}
	eventually(t, func() string {
		p, s := k.primary.transfer(), k.secondary.transfer()
		if p == nil || s == nil || zonetest.Text(p.Records()) != zonetest.Text(s.Records()) {
			return "the secondary has not what the primary has"
		}
		return ""
	})
	t.Logf("%d kills of the primary, acknowledged %v, serials %d and %d", rounds+(rounds+2)/3, k.acked, k.primary.serial, k.secondary.serial)
}

// killed is the stage of TestKillNode.
type killed struct {
	t                  *testing.T
	rnd                *rand.Rand
	round              int
	primary, secondary *victim
	acked              [4]int // by each writer, the number that was acknowledged last
	anchor             []string
}

// victim is one of the nodes.
type victim struct {
	t          *testing.T
	name       string
	config     string
	dns, admin netip.AddrPort
	child      *exec.Cmd     // nil: it does not run
	log        *os.File      // what it has said, over all its lives
	serial     rdata.Serial  // the newest that was seen
	patience   time.Duration // for one answer
}

func newKilled(t *testing.T) *killed {
	k := &killed{t: t, rnd: rand.New(rand.NewPCG(9, 10))}
	k.primary, k.secondary = newVictim(t, "primary"), newVictim(t, "secondary")
	zone := strings.ReplaceAll(exampleZone, "1h", "1s")
	k.primary.configure(zone, fmt.Sprintf(`dnssec:
  policies:
    - {name: quick, algorithm: ed25519, keys: ksk-zsk, keyTTL: 1s, propagation: 0s, safety: 0s, parentTTL: 0s, parentPropagation: 0s}
zones:
  - name: example.com
    kind: store
    file: example.com.zone
    dnssec: quick
    updates: [{network: 127.0.0.0/8}]
    transfer: [{network: 127.0.0.0/8}]
    notify: [{address: "%s"}]
`, k.secondary.dns))
	k.secondary.configure(zone, fmt.Sprintf(`zones:
  - {name: example.com, kind: secondary, primaries: [{address: "%s"}], transfer: [{network: 127.0.0.0/8}]}
`, k.primary.dns))
	return k
}

func newVictim(t *testing.T, name string) *victim {
	v := &victim{t: t, name: name, patience: 10 * time.Second}
	for _, at := range []*netip.AddrPort{&v.dns, &v.admin} {
		var err error
		if *at, err = peers.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// configure writes the files of a node.
func (v *victim) configure(zone, rest string) {
	f := newFolder(v.t)
	f.write("example.com.zone", zone)
	v.config = f.write("pharos.yaml", fmt.Sprintf("data: data\nstore: {enabled: false}\nlisten: {dns: [%q], admin: %q}\nresolver: {allow: []}\n%s", v.dns, v.admin, rest))
	var err error
	if v.log, err = os.Create(v.config + ".log"); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		v.kill()
		if text, _ := os.ReadFile(v.log.Name()); v.t.Failed() {
			v.t.Logf("%s:\n%s", v.name, text[max(0, len(text)-20_000):])
		}
		v.log.Close()
	})
}

// start starts the node, if it does not run.
func (v *victim) start() {
	v.t.Helper()
	if v.child != nil {
		return
	}
	v.child = exec.Command(os.Args[0], "-test.run=^TestKillNodeChild$", "-test.timeout=0")
	v.child.Env = append(os.Environ(), killConfig+"="+v.config)
	v.child.Stdout, v.child.Stderr = v.log, v.log
	if err := v.child.Start(); err != nil {
		v.t.Fatal(err)
	}
}

func (v *victim) kill() {
	if v.child == nil {
		return
	}
	v.child.Process.Kill()
	v.child.Wait()
	v.child = nil
}

// transfer returns the version that the node shows, nil while it shows none.
func (v *victim) transfer() *zone.Zone {
	m := new(dns.Msg).SetAxfr("example.com.")
	tr := &dns.Transfer{DialTimeout: v.patience, ReadTimeout: v.patience}
	messages, err := tr.In(m, v.dns.String())
	if err != nil {
		return nil
	}
	var lines []string
	for e := range messages {
		if e.Error != nil {
			err = e.Error
		}
		for _, rr := range e.RR {
			lines = append(lines, rr.String())
		}
	}
	if err != nil || len(lines) < 2 {
		return nil
	}
	return zonetest.Zone(v.t, "example.com.", strings.Join(lines[:len(lines)-1], "\n")+"\n")
}

// hold waits for a moment by chance.
func (k *killed) hold(most time.Duration) {
	<-time.After(time.Duration(k.rnd.Int64N(int64(most))))
}

// load has four writers count, each at two names in one update, until so many updates are
// acknowledged and a little longer, and keys rolled meanwhile; then the primary is to be
// killed, which ends the writers.
func (k *killed) load(acks int) {
	k.t.Helper()
	var work sync.WaitGroup
	var acked sync.Mutex // guards k.acked
	done := make(chan struct{}, 1)
	for w := range k.acked {
		n := k.acked[w]
		work.Go(func() { // ends with the primary
			c := &dns.Client{Net: "tcp", Timeout: k.primary.patience}
			for {
				n++
				m := new(dns.Msg).SetUpdate("example.com.")
				for _, name := range pair(w) {
					m.RemoveRRset([]dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}}})
					m.Insert([]dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{fmt.Sprint(n)}}})
				}
				r, _, err := c.Exchange(m, k.primary.dns.String())
				if err != nil {
					return
				}
				if r.Rcode != dns.RcodeSuccess {
					k.t.Errorf("round %d: an update had the answer %s", k.round, dns.RcodeToString[r.Rcode])
					return
				}
				acked.Lock()
				k.acked[w] = n
				acks--
				enough := acks == 0
				acked.Unlock()
				if enough {
					done <- struct{}{}
				}
			}
		})
	}
	if k.round%2 == 0 { // refused while one is under way
		if r, err := http.Post("http://"+k.primary.admin.String()+"/api/zones/example.com/rollover?role=zsk", "", nil); err == nil {
			r.Body.Close()
		}
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		k.t.Errorf("round %d: too few updates were acknowledged in a minute", k.round)
	}
	k.hold(20 * time.Millisecond)
	k.primary.kill()
	work.Wait()
}

// pair returns the names of a writer, which are always changed together.
func pair(w int) [2]string {
	return [2]string{fmt.Sprintf("w%d.example.com.", w), fmt.Sprintf("z%d.example.com.", w)}
}

// inspect looks at what both nodes show after their start, until it is all that was
// acknowledged.
func (k *killed) inspect() {
	k.t.Helper()
	eventually(k.t, func() string {
		if z := k.secondary.transfer(); z != nil {
			k.look(k.secondary, z)
		}
		z := k.primary.transfer()
		if z == nil {
			return fmt.Sprintf("round %d: the primary shows nothing", k.round)
		}
		for w, n := range k.look(k.primary, z) {
			if n < k.acked[w] {
				return fmt.Sprintf("round %d: writer %d is at %d, %d was acknowledged", k.round, w, n, k.acked[w])
			}
			if n > k.acked[w]+1 {
				k.t.Fatalf("round %d: writer %d is at %d, %d was acknowledged", k.round, w, n, k.acked[w])
			}
			k.acked[w] = n
		}
		return ""
	})
}

// look checks one version that a node shows, and returns where the writers are.
func (k *killed) look(v *victim, z *zone.Zone) (at [4]int) {
	k.t.Helper()
	where := fmt.Sprintf("round %d: the %s, serial %d", k.round, v.name, z.Serial())
	if z.Serial().Less(v.serial) {
		k.t.Errorf("%s: it has shown %d", where, v.serial)
	}
	v.serial = z.Serial()
	for _, p := range sign.Verify(z, time.Now(), sign.Limits{}) {
		if p.Severity == zone.Fatal {
			k.t.Errorf("%s: %s", where, p)
		}
	}
	if got := k.keys(z); !slices.Equal(got, k.anchor) {
		k.t.Errorf("%s: key-signing keys %q, want %q", where, got, k.anchor)
	}
	texts := map[string]int{}
	for r := range z.Records() {
		if r.Type == rdata.TypeTXT {
			n := 0
			fmt.Sscanf(string(rdata.AppendText(nil, r.Type, r.Data)), "\"%d\"", &n)
			texts[r.Name.String()] = n
		}
	}
	for w := range at {
		names := pair(w)
		if texts[names[0]] != texts[names[1]] {
			k.t.Errorf("%s: half an update: %s has %d, %s %d", where, names[0], texts[names[0]], names[1], texts[names[1]])
		}
		at[w] = texts[names[0]]
	}
	return at
}

// keys returns the key-signing keys of a version.
func (k *killed) keys(z *zone.Zone) (keys []string) {
	for r := range z.Records() {
		if r.Type == rdata.TypeDNSKEY && r.Data[1]&1 != 0 {
			keys = append(keys, r.String())
		}
	}
	slices.Sort(keys)
	return keys
}
