package updates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
	"pharos/lab/zonetest"
)

// server answers updates of the zone peer.test., which it keeps in memory, and forwards
// those of copy.test.
type server struct {
	*Updates
	t  *testing.T
	at string

	mu          sync.Mutex
	zone        *zone.Zone
	err         error         // of each change
	hold        chan struct{} // each change waits for it, if there is one
	waiting     chan struct{} // a change has begun to
	response    func(request []byte) ([]byte, error)
	unreachable string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, waiting: make(chan struct{}, MaxInWork), zone: zonetest.Zone(t, "peer.test.", "@ SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n")}
	log := slog.New(slog.DiscardHandler)
	s.Updates = New(Config{Change: s.change, Log: log,
		Reply: func(d *dnsserver.Deferred, write func(*dnswire.Builder)) {
			var out dnswire.Builder
			out.Reset(d.Query(), make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), d.Limit())
			write(&out)
			if err := d.Send(out.Finish()); err != nil {
				t.Error(err)
			}
		},
		Unreachable: func(_ dnsname.Name, text string) { s.mu.Lock(); defer s.mu.Unlock(); s.unreachable = text },
	})
	z := &Zone{Name: dnsname.MustParse("peer.test."), Kind: "store", Rules: update.Rules{{Network: netip.MustParsePrefix("127.0.0.0/8")}}, IsSigned: func(*zone.Zone) bool { return false }}
	l, err := dnsserver.Listen(dnsserver.Config{
		Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, UDPWorkers: 1, Log: log,
		TCP: dnsserver.Limits{Connections: 1000, PerClient: 1000, Queries: 1000, Idle: 10 * time.Second, InFlight: 10},
		Handler: func(r *dnsserver.Request) dnsserver.Verdict {
			if r.Query.Name.String() == "copy.test." {
				return s.Forward(r, func(_ context.Context, request []byte) ([]byte, error) { return s.response(request) })
			}
			if r.Query.Name == z.Name {
				return s.Update(z, r, nil)
			}
			return s.Update(nil, r, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Serve(); close(done) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l.Shutdown(ctx)
		<-done
	})
	s.at = l.Addrs()[0].String()
	return s
}

func (s *server) change(_ context.Context, _ *Zone, by string, decide func(*zone.Zone) (update.Change, error)) (bool, error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		s.waiting <- struct{}{}
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(by, "update from 127.0.0.1") {
		s.t.Errorf("by %s", by)
	}
	if s.err != nil {
		return false, s.err
	}
	c, err := decide(s.zone)
	return err == nil && !c.IsEmpty(), err
}

// add sends an update, and returns the rcode and the extended error of its answer.
func (s *server) add(network, zone, owner string, signed bool) string {
	m := new(dns.Msg).SetUpdate(zone)
	rr, err := dns.NewRR(owner + " 60 A 192.0.2.7")
	if err != nil {
		return err.Error()
	}
	m.Insert([]dns.RR{rr})
	m.SetEdns0(1232, false)
	c := &dns.Client{Net: network, Timeout: 10 * time.Second}
	if signed {
		m.SetTsig("key.", dns.HmacSHA256, 300, time.Now().Unix())
		c.TsigSecret = map[string]string{"key.": "c2VjcmV0"}
	}
	r, _, err := c.Exchange(m, s.at)
	if r == nil {
		return fmt.Sprint(err)
	}
	text := dns.RcodeToString[r.Rcode]
	if o := r.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if e, ok := x.(*dns.EDNS0_EDE); ok {
				text += ": " + e.ExtraText
			}
		}
	}
	return text
}

// TestLimit: while as many updates as may be wait for a disk, others are told to come
// again; those that waited are carried out.
func TestLimit(t *testing.T) {
	s := start(t)
	s.hold = make(chan struct{})
	s.inWork.Store(MaxInWork - 1)
	first := make(chan string, 1)
	go func() { first <- s.add("tcp", "peer.test.", "a.peer.test.", false) }()
	<-s.waiting
	if got := s.add("udp", "peer.test.", "b.peer.test.", false); got != "SERVFAIL: too many updates are in work; come again later" {
		t.Errorf("over the limit: %s", got)
	}
	close(s.hold)
	if got := <-first; got != "NOERROR" {
		t.Errorf("the update that waited: %s", got)
	}
	s.inWork.Add(1 - MaxInWork)
	s.mu.Lock()
	s.hold, s.err = nil, errors.New("the disk is full")
	s.mu.Unlock()
	if got := s.add("udp", "peer.test.", "c.peer.test.", false); got != "SERVFAIL: the disk is full" {
		t.Errorf("a disk that fails: %s", got)
	}
	if got := s.add("udp", "other.test.", "c.other.test.", false); !strings.HasPrefix(got, "NOTAUTH") {
		t.Errorf("another zone: %s", got)
	}
	if got, want := s.Counts(), (Counts{Changed: 1, Busy: 1, Failed: 1, Refused: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// TestForward: RFC 2136 §6: what a primary says is the answer, and that none says
// anything is told to the client and to the operator.
func TestForward(t *testing.T) {
	s := start(t)
	s.response = func(request []byte) ([]byte, error) {
		m := new(dns.Msg)
		if err := m.Unpack(request); err != nil {
			return nil, err
		}
		m.Extra = nil
		return new(dns.Msg).SetRcode(m, dns.RcodeYXDomain).Pack()
	}
	if got := s.add("tcp", "copy.test.", "a.copy.test.", true); got != "YXDOMAIN" {
		t.Errorf("forwarded: %s", got)
	}
	if got := s.add("tcp", "copy.test.", "a.copy.test.", false); got != "REFUSED: only signed updates are forwarded to the primary" {
		t.Errorf("unsigned: %s", got)
	}
	s.response = func([]byte) ([]byte, error) { return nil, errors.New("nobody is there") }
	if got := s.add("tcp", "copy.test.", "a.copy.test.", true); got != "SERVFAIL: no primary of the zone has answered: nobody is there" {
		t.Errorf("no primary: %s", got)
	}
	s.mu.Lock()
	if !strings.Contains(s.unreachable, "zone copy.test.: no primary has answered") {
		t.Errorf("the operator is told %q", s.unreachable)
	}
	s.mu.Unlock()
	s.forwarding.Store(MaxForwards)
	if got := s.add("tcp", "copy.test.", "a.copy.test.", true); !strings.HasPrefix(got, "SERVFAIL: too many updates are being forwarded") {
		t.Errorf("over the limit: %s", got)
	}
	s.forwarding.Store(0)
	if got := s.Counts(); got.Forwarded != 1 || got.ForwardFailed != 1 || got.Refused != 1 || got.Busy != 1 {
		t.Errorf("counted %+v", got)
	}
}

// TestForged: an update over UDP without key or cookie is taken from this machine
// only, whatever the rules say of the address it claims to come from.
func TestForged(t *testing.T) {
	z := &Zone{Name: dnsname.MustParse("peer.test."), Kind: "store", Rules: update.Rules{{Network: netip.MustParsePrefix("0.0.0.0/0")}}}
	m, err := new(dns.Msg).SetUpdate("peer.test.").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		client    string
		transport dnsserver.Transport
		cookie    bool
		want      bool
	}{
		{"192.0.2.7", dnsserver.UDP, false, false}, {"192.0.2.7", dnsserver.UDP, true, true}, {"192.0.2.7", dnsserver.TCP, false, true}, {"127.0.0.1", dnsserver.UDP, false, true},
	} {
		r := &dnsserver.Request{Client: netip.AddrPortFrom(netip.MustParseAddr(tt.client), 5353), Transport: tt.transport, HasCookie: tt.cookie}
		if v := r.Query.Parse(m); v != dnswire.Accept {
			t.Fatalf("verdict %v", v)
		}
		if why := admit(z, r, update.Client{Address: r.Client.Addr()}); (why == nil) != tt.want {
			t.Errorf("%+v: %v", tt, why)
		}
	}
}
