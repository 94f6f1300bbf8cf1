package node

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// bomb is a name server that holds every reply back until it is let go.
type bomb struct {
	conn  net.PacketConn
	asked chan struct{} // one for each name

	mu   sync.Mutex
	held []func() // nil: let go
	free bool
}

func newBomb(t *testing.T) *bomb {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bomb{conn: conn, asked: make(chan struct{}, 1000)}
	t.Cleanup(func() { conn.Close() })
	go b.serve() // ended by Close
	return b
}

func (b *bomb) serve() {
	buf, seen := make([]byte, 4096), map[dnsname.Name]bool{}
	for {
		n, from, err := b.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q, err := dnswire.ParseMessage(buf[:n])
		if err != nil {
			continue
		}
		m := &dnswire.Message{ID: q.ID, QR: true, RD: true, RA: true, HasQuestion: true, Question: q.Question,
			Answer: []rdata.Record{{Name: q.Question.Name, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: []byte{192, 0, 2, 1}}}}
		reply := func() { b.conn.WriteTo(m.Append(nil), from) }
		b.mu.Lock()
		if b.free {
			reply()
		} else {
			b.held = append(b.held, reply)
		}
		b.mu.Unlock()
		if !seen[q.Question.Name] { // else it is asked again for want of a reply
			seen[q.Question.Name] = true
			b.asked <- struct{}{}
		}
	}
}

// letGo sends everything that is held, and what is asked from then on at once.
func (b *bomb) letGo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, reply := range b.held {
		reply()
	}
	b.held, b.free = nil, true
}

// DNSBomb (CVE-2024-33655): forged questions are collected behind a slow server, whose
// replies then make all answers arrive at the victim at once. With the defence a few do,
// without it all.
func TestDNSBomb(t *testing.T) {
	const questions, crowd = 100, 16
	for _, test := range []struct {
		discard     string
		least, most int
	}{{"100ms", 1, crowd}, {"0s", questions, questions}} {
		t.Run("discard "+test.discard, func(t *testing.T) {
			b := newBomb(t)
			n, _ := start(t, newFolder(t).write("pharos.yaml", fmt.Sprintf(`
store: {enabled: false}
listen: {admin: "127.0.0.1:0", dns: ["127.0.0.1:0"]}
resolver: {timeout: 1m, limits: {discard: %s}, trust: {update: false}, routes: [{zone: ., validate: false, servers: ["%s"]}]}
`, test.discard, b.conn.LocalAddr())))
			victim, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPort(n.dns.Addrs()[0])))
			if err != nil {
				t.Fatal(err)
			}
			defer victim.Close()
			for i := range questions {
				spec := dnswire.QuerySpec{ID: uint16(i), Name: dnsname.MustParse(fmt.Sprintf("n%d.example.", i)), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true}
				if _, err := victim.Write(dnswire.AppendQuery(nil, spec)); err != nil {
					t.Fatal(err)
				}
			}
			for range questions {
				<-b.asked
			}
			<-time.After(200 * time.Millisecond) // the answers are late now
			b.letGo()
			eventually(t, func() string {
				if _, under, _ := n.resolver.Counters(); under > 0 {
					return fmt.Sprintf("%d questions are under way", under)
				}
				return ""
			})
			got, buf := 0, make([]byte, 4096)
			for {
				wait := time.Second // what was sent is in the socket
				if got == test.most {
					wait = 50 * time.Millisecond
				}
				victim.SetReadDeadline(time.Now().Add(wait))
				if _, err := victim.Read(buf); err != nil {
					break
				}
				got++
			}
			if got < test.least || got > test.most {
				t.Errorf("%d answers arrive at once, want %d to %d", got, test.least, test.most)
			}
		})
	}
}
