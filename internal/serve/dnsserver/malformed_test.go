package dnsserver

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// mutations calls yield with every prefix and every bit flip of msg.
func mutations(msg []byte, yield func([]byte)) {
	for n := range len(msg) {
		yield(msg[:n])
	}
	for bit := range len(msg) * 8 {
		m := bytes.Clone(msg)
		m[bit/8] ^= 1 << (bit % 8)
		yield(m)
	}
}

// checkAnswer holds an answer to what was sent: readable by another library, a
// response to that query, not above its limit, and not an answer to what must not
// be answered.
func checkAnswer(t testing.TB, sent, got []byte, limit int) {
	t.Helper()
	if len(sent) < dnswire.HeaderLen || sent[2]&0x80 != 0 {
		t.Fatalf("%x was answered: %x", sent, got)
	}
	var m dns.Msg
	if err := m.Unpack(got); err != nil {
		t.Fatalf("sent %x\n got %x: %v", sent, got, err)
	}
	if !m.Response || !bytes.Equal(got[:2], sent[:2]) {
		t.Fatalf("sent %x\n got %x: no response to it", sent, got)
	}
	if len(got) > limit {
		t.Fatalf("sent %x\n got %d octets, want at most %d", sent, len(got), limit)
	}
}

// udpLimit is the limit as another library reads the query.
func udpLimit(sent []byte) int {
	var m dns.Msg
	if m.Unpack(sent) == nil && m.IsEdns0() != nil {
		return min(max(int(m.IsEdns0().UDPSize()), 512), 1232)
	}
	return 512
}

const sentinel = 0x5AA5 // an id that no single bit flip of the mutated query's makes

func TestEveryPrefixAndBitFlipOverUDP(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "udp", s.Addrs()[0])
	for _, name := range []string{"www.example.", "big.example."} {
		for _, size := range []uint16{0, 1232} {
			mutations(query(t, 0, name, size), func(sent []byte) {
				c.send(sent, query(t, sentinel, "www.example.", 0))
				for { // one loop reads one socket: the answers come in order
					got, err := c.receive()
					if err != nil {
						t.Fatalf("after %x: %v", sent, err)
					}
					if got[0] == sentinel>>8 && got[1] == sentinel&0xFF {
						return
					}
					checkAnswer(t, sent, got, udpLimit(sent))
				}
			})
		}
	}
	if counts := s.Counts(UDP); counts.Of(Malformed) == 0 || counts.Of(Ignored) == 0 || counts.Of(Panics) != 0 {
		t.Errorf("malformed %d, ignored %d, panics %d", counts.Of(Malformed), counts.Of(Ignored), counts.Of(Panics))
	}
}

func TestEveryPrefixAndBitFlipOverTCP(t *testing.T) {
	s := start(t, Config{})
	mutations(query(t, 0, "www.example.", 1232), func(sent []byte) {
		c := dial(t, "tcp", s.Addrs()[0])
		defer c.Close()
		c.send(sent, query(t, sentinel, "www.example.", 0))
		for {
			got, err := c.receive()
			if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
				if len(sent) >= dnswire.HeaderLen && sent[2]&0x80 == 0 {
					t.Fatalf("sent %x: connection closed", sent)
				}
				return
			}
			if err != nil {
				t.Fatalf("after %x: %v", sent, err)
			}
			if got[0] == sentinel>>8 && got[1] == sentinel&0xFF {
				return
			}
			checkAnswer(t, sent, got, dnswire.MaxMessage)
		}
	})
	if counts := s.Counts(TCP); counts.Of(Panics) != 0 {
		t.Errorf("panics: %d", counts.Of(Panics))
	}
}
