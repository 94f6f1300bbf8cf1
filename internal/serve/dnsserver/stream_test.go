package dnsserver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// TestStream: an answer of many messages comes whole and in order while other
// queries of the connection are answered between them, and the client may have
// closed its side (RFC 7766 §6.2.4).
func TestStream(t *testing.T) {
	const messages = 200
	s := start(t, Config{})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 1, "later.example.", 0))
	d := <-s.deferred
	sent := make(chan error, 1)
	go func() {
		msg := answerTo(d)
		var err error
		for i := 0; i < messages-1 && err == nil; i++ {
			err = d.SendMore(msg)
		}
		if err == nil {
			err = d.Send(msg)
		}
		sent <- err
	}()
	for i := range 20 {
		c.send(query(t, uint16(2+i), "www.example.", 0))
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got := map[uint16]int{}
	for range messages + 20 {
		got[c.next().Id]++
	}
	if got[1] != messages || len(got) != 21 {
		t.Errorf("got %d messages of the stream and %d other answers", got[1], len(got)-1)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	c.wantClosed()
	if err := d.SendMore(make([]byte, 12)); !errors.Is(err, ErrSpent) {
		t.Errorf("after the last: %v, want %v", err, ErrSpent)
	}
	s.check(t)
}

// TestStreamWaitsForItsClient: a client that does not read holds the sender back,
// and is cut off after Write.
func TestStreamWaitsForItsClient(t *testing.T) {
	s := start(t, Config{TCP: Limits{Write: 50 * time.Millisecond}})
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 1, "later.example.", 0))
	d := <-s.deferred
	msg := append(answerTo(d), make([]byte, 60000)...)
	octets := 0
	for {
		err := d.SendMore(msg)
		if err == nil {
			octets += len(msg)
			continue
		}
		if !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want %v", err, ErrGone)
		}
		break
	}
	if octets > 64<<20 {
		t.Errorf("%d octets were taken for a client that reads nothing", octets)
	}
	d.Drop()
	s.want(t, TCP, SlowClients, 1)
	waitUntil(t, "connection forgotten", func() bool { return s.Connections(TCP) == 0 })
	s.check(t)
}

func TestStreamRefusals(t *testing.T) {
	s := start(t, Config{})
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		c.send(query(t, 1, "later.example.", 0))
		d := <-s.deferred
		for _, tt := range []struct {
			msg  []byte
			want map[string]error
		}{
			{make([]byte, 11), map[string]error{"udp": ErrStream, "tcp": ErrSize}},
			{make([]byte, dnswire.MaxMessage+1), map[string]error{"udp": ErrStream, "tcp": ErrSize}},
			{answerTo(d), map[string]error{"udp": ErrStream, "tcp": nil}},
		} {
			if err := d.SendMore(tt.msg); !errors.Is(err, tt.want[network]) {
				t.Errorf("%s, %d octets: %v, want %v", network, len(tt.msg), err, tt.want[network])
			}
		}
		if network == "tcp" {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.Shutdown(ctx)
			if err := d.SendMore(answerTo(d)); !errors.Is(err, ErrShutdown) && !errors.Is(err, ErrGone) {
				t.Errorf("after Shutdown: %v", err)
			}
		}
		d.Drop()
	}
}

// TestSeal: what seals an answer has its room, and is asked for each message,
// whichever way it leaves; the next query is not sealed.
func TestSeal(t *testing.T) {
	mark := bytes.Repeat([]byte{0xEE}, 100)
	var s *stage
	s = listen(t, Config{Handler: func(r *Request) Verdict {
		if r.Query.Name.Labels() == 1 {
			return s.handle(r)
		}
		r.Seal(len(mark), func(msg []byte) []byte { return append(msg, mark...) })
		if v := s.handle(r); v != Answered {
			return v
		}
		return Sealed
	}})
	s.serve(t)
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		receive := func(name string, sealed bool, atMost int) {
			t.Helper()
			msg, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasSuffix(msg, mark) != sealed || len(msg) > atMost {
				t.Errorf("%s %s: %d octets, want at most %d, sealed %v", network, name, len(msg), atMost, sealed)
			}
		}
		c.send(query(t, 1, "www.example.", 0))
		receive("direct", true, 512)
		c.send(query(t, 1, "www.", 0))
		receive("unsealed", false, 512)
		c.send(query(t, 1, "big.example.", 1232))
		receive("large", true, map[string]int{"udp": 1232, "tcp": dnswire.MaxMessage}[network])
		c.send(query(t, 1, "later.example.", 0))
		d := <-s.deferred
		if network == "tcp" {
			if err := d.SendMore(answerTo(d)); err != nil {
				t.Fatal(err)
			}
			receive("one of a stream", true, 512)
		}
		if err := d.Send(answerTo(d)); err != nil {
			t.Fatal(err)
		}
		receive("deferred", true, 512)
	}
}

// TestSealedAnswersAreLimited: a seal is no way around the limit of answers.
func TestSealedAnswersAreLimited(t *testing.T) {
	s := listen(t, Config{
		Handler: func(r *Request) Verdict {
			r.Seal(1, func(msg []byte) []byte { return append(msg, 0) })
			return Sealed
		},
		Limit: func(*Request) Verdict { return Drop },
	})
	s.serve(t)
	dial(t, "udp", s.Addrs()[0]).send(query(t, 1, "www.example.", 0))
	s.want(t, UDP, Dropped, 1)
	c := dial(t, "tcp", s.Addrs()[0])
	c.send(query(t, 1, "www.example.", 0))
	if _, err := c.receive(); err != nil {
		t.Errorf("over TCP: %v", err)
	}
}

// TestLateAnswersAreLimited: nor is answering later, over UDP; over TCP nobody is
// limited.
func TestLateAnswersAreLimited(t *testing.T) {
	verdict := Cut
	s := listen(t, Config{LimitLate: func(d *Deferred, msg []byte) Verdict {
		if d.HasCookie() || len(msg) < dnswire.HeaderLen {
			t.Errorf("the answer to %v, %d octets", d.Client(), len(msg))
		}
		return verdict
	}})
	s.serve(t)
	udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
	later := func(c *client, id uint16) {
		c.send(query(t, id, "later.example.", 0))
		d := <-s.deferred
		if err := d.Send(answerTo(d)); err != nil {
			t.Error(err)
		}
	}
	later(udp, 1)
	var m dns.Msg
	if wire, err := udp.receive(); err != nil || m.Unpack(wire) != nil || m.Id != 1 || !m.Truncated || len(m.Answer) != 0 || len(m.Question) != 1 {
		t.Errorf("cut: %v %v", err, &m)
	}
	verdict = Drop
	later(udp, 2)
	s.want(t, UDP, Dropped, 1)
	later(tcp, 3)
	if wire, err := tcp.receive(); err != nil || m.Unpack(wire) != nil || len(m.Answer) != 1 {
		t.Errorf("over TCP: %v %v", err, &m)
	}
}
