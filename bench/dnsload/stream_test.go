package dnsload

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// serveStream answers over TCP, each burst from its end to its beginning. On a busy machine that
// may take seconds.
func serveStream(t *testing.T, respond func(q *dns.Msg) *dns.Msg) Config {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the listener is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerStream(conn, respond) // ends with its connection
		}
	}()
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	m.Id = 0
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := NewQuery(wire)
	q.Answer = []string{"A 192.0.2.1"}
	return Config{Server: l.Addr().(*net.TCPAddr).AddrPort(), Queries: []Query{q}, Flows: 2, Window: 4, Sample: 1, Timeout: time.Minute}
}

func answerStream(conn net.Conn, respond func(*dns.Msg) *dns.Msg) {
	defer conn.Close()
	var held []byte
	for n := 1; ; n++ {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		q := new(dns.Msg)
		if q.Unpack(msg) != nil {
			return
		}
		if r := respond(q); r != nil {
			wire, _ := r.Pack()
			held = append(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...), held...)
		}
		if n%4 == 0 {
			if _, err := conn.Write(held); err != nil {
				return
			}
			held = nil
		}
	}
}

func rightly(q *dns.Msg) *dns.Msg {
	r := new(dns.Msg).SetReply(q)
	rr, _ := dns.NewRR("www.example. 60 A 192.0.2.1")
	r.Answer = []dns.RR{rr}
	return r
}

// TestStreams: pipelined questions, answered in another order.
func TestStreams(t *testing.T) {
	s, err := NewStreams(context.Background(), serveStream(t, rightly), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Run(context.Background(), 50*time.Millisecond)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if r.Answered == 0 || r.Answered != r.Sent || r.Compared != r.Answered || r.Stray != 0 {
		t.Errorf("%+v", r)
	}
}

// TestStreamsSeeWhatIsWrong: wrong and missing answers are errors.
func TestStreamsSeeWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		respond func(*dns.Msg) *dns.Msg
		want    string
	}{
		"wrong":   {func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) }, "wrong"},
		"missing": {func(q *dns.Msg) *dns.Msg { return nil }, "under way"},
	} {
		cfg := serveStream(t, tt.respond)
		if name == "missing" {
			cfg.Timeout = 100 * time.Millisecond
		}
		s, err := NewStreams(context.Background(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Run(context.Background(), 20*time.Millisecond)
		if err == nil {
			err = r.Err()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
		s.Close()
	}
}
