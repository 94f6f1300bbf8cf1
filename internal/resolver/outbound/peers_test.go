package outbound

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// routeTo returns a route for all names to a server, and the server as a peer.
func routeTo(s *secure, over iterate.Transport, id string) ([]iterate.Route, []Peer) {
	return []iterate.Route{{Zone: dnsname.Root, Forward: true, Encrypted: []iterate.Server{{AddrPort: s.addr, Over: over}}}},
		[]Peer{{ID: id, TLS: &tls.Config{ServerName: "dns.test", RootCAs: s.roots}, Name: "dns.test", Path: "/dns-query"}}
}

// Routes that change while a question is under way do not drop it: it is asked of the new
// servers. Connections to servers that stay are kept.
func TestReroute(t *testing.T) {
	for _, over := range []iterate.Transport{iterate.DoT, iterate.DoH, iterate.DoQ} {
		t.Run(over.String(), func(t *testing.T) {
			before, after := listenSecure(t, over), listenSecure(t, over)
			asked, silence := make(chan struct{}), make(chan struct{})
			defer close(silence)
			silent := func([]byte) []byte {
				select {
				case asked <- struct{}{}:
				case <-silence:
				}
				<-silence
				return nil
			}
			before.change.Store(&silent)
			routes, peers := routeTo(before, over, "before")
			d := New(Config{Routes: routes, Peers: peers, Limits: iterate.Limits{Time: time.Minute}})
			defer d.Close()
			answers := make(chan iterate.Answer, 1)
			d.Ask(dnsname.MustParse("www.test."), rdata.TypeA, Options{}, func(a iterate.Answer) { answers <- a })
			<-asked
			routes, peers = routeTo(after, over, "after")
			d.Reroute(routes, peers, nil)
			if a := <-answers; a.Rcode != dnswire.RcodeNoError || len(a.Answer) != 1 {
				t.Fatalf("got %v %v, want the answer of the new server", a.Rcode, a.Errors)
			}
			d.Reroute(append(routes, iterate.Route{Zone: dnsname.MustParse("other."), Servers: routes[0].Servers}), peers, nil)
			if got := resolve(t, d, "another.test."); got.Rcode != dnswire.RcodeNoError {
				t.Errorf("got %v %v", got.Rcode, got.Errors)
			}
			if n := after.conns.Load(); n != 1 {
				t.Errorf("%d connections, want the one that there was", n)
			}
		})
	}
}

// Whom no route leads to any more is known for as long as a question may last, and no
// longer: changes of routes do not pile up.
func TestPeersAreForgotten(t *testing.T) {
	l := newLinks(10, 0)
	defer l.close()
	now := time.Unix(1e9, 0)
	one := func(id string) []Peer { return []Peer{{ID: id, TLS: &tls.Config{}, Name: id}} }
	a := l.setPeers(now, one("a"))[0]
	b := l.setPeers(now.Add(time.Second), one("b"))[0]
	if again := l.setPeers(now.Add(2*time.Second), one("a"))[0]; a == b || again != a {
		t.Errorf("numbers %d, %d, then %d; want the first one again", a, b, again)
	}
	if p := l.peer(linkTo{peer: b}); p.Name != "b" {
		t.Errorf("got %q, want who was there a second ago", p.Name)
	}
	l.setPeers(now.Add(2*time.Minute), one("a"))
	if p := l.peer(linkTo{peer: b}); p.Name != "" || p.TLS.ServerName != "invalid." || len(l.peers) != 1 {
		t.Errorf("got %q of %d peers, want nobody", p.Name, len(l.peers))
	}
	first := l.setPeers(now, []Peer{{TLS: &tls.Config{}}})[0]
	if second := l.setPeers(now, []Peer{{TLS: &tls.Config{}}})[0]; first == second {
		t.Error("peers without an ID are taken for one")
	}
}

// Who reads the cache does so while routes and hints change; and other hints are other
// servers to believe, so that a cache of those before is not taken back.
func TestChangesUnderReaders(t *testing.T) {
	d, _ := internet(t, Config{})
	name := dnsname.MustParse("www.test.")
	if a := resolve(t, d, "www.test."); a.Rcode != dnswire.RcodeNoError {
		t.Fatalf("got %v %v", a.Rcode, a.Errors)
	}
	stop, wrong := make(chan struct{}), make(chan int, 1)
	go func() { // ended by stop
		count := 0
		for {
			select {
			case <-stop:
				wrong <- count
				return
			default:
			}
			if a, ok := d.FromCache(time.Now(), name, rdata.TypeA); !ok || len(a.Answer) != 1 {
				count++
			}
		}
	}()
	for i := range 50 {
		d.Reroute([]iterate.Route{{Zone: dnsname.MustParse("elsewhere."), Servers: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(1+i))}}}, nil, nil)
	}
	before := d.TrustSum()
	d.SetHints([]rdata.Record{ns(".", "a.root."), a("a.root.", rootAt), ns(".", "b.root."), a("b.root.", deadAt)})
	close(stop)
	if n := <-wrong; n > 0 {
		t.Errorf("%d times the answer was not there, though nothing about it has changed", n)
	}
	if d.TrustSum() == before {
		t.Error("other hints are no other servers to believe")
	}
}
