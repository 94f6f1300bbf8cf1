//go:build linux

package tree

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// patience is how long a client waits for one answer, as a stub resolver does.
const patience = 5 * time.Second

// Load is what clients ask.
type Load struct {
	Server  netip.AddrPort
	First   int // number of the first host
	Count   int
	Domains int
	Workers int           // clients that ask one after the other; each of a network of its own
	Every   time.Duration // between two questions of one client; 0: at once
}

// Told is what they were told.
type Told struct {
	Good, Wrong, Lost int
	Took              []time.Duration // sorted
	First             string          // what was wrong first
}

// Quantile returns how long so many parts of a thousand took at most.
func (t *Told) Quantile(part int) time.Duration {
	if len(t.Took) == 0 {
		return 0
	}
	return t.Took[min(len(t.Took)*part/1000, len(t.Took)-1)]
}

// SlowerThan returns how many questions took longer than d: with the least time that a
// resolver gives a server, those for which one was asked in vain.
func (t *Told) SlowerThan(d time.Duration) int {
	at, _ := slices.BinarySearch(t.Took, d+1) // the first that took longer
	return len(t.Took) - at
}

// Success returns the share of questions that were answered right.
func (t *Told) Success() float64 { return float64(t.Good) / float64(max(1, t.Good+t.Wrong+t.Lost)) }

// Ask asks for Count hosts, each once, and checks every answer.
func Ask(ctx context.Context, l Load) (*Told, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	told, failed := &Told{}, error(nil)
	for w := range l.Workers {
		all.Go(func() { // ended by the last question, or ctx
			err := l.client(ctx, w, &next, func(took time.Duration, problem string, lost bool) {
				mu.Lock()
				defer mu.Unlock()
				told.Took = append(told.Took, took)
				switch {
				case lost:
					told.Lost++
				case problem != "":
					told.Wrong++
					if told.First == "" {
						told.First = problem
					}
				default:
					told.Good++
				}
			})
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(told.Took)
	if failed == nil {
		failed = ctx.Err()
	}
	return told, failed
}

// client asks one question after the other.
func (l Load) client(ctx context.Context, w int, next *atomic.Int64, told func(time.Duration, string, bool)) error {
	from := &net.UDPAddr{IP: net.IPv4(127, 80, byte(w), 1)}
	conn, err := net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(l.Server))
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, dns.MaxMsgSize)
	begin := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		i := int(next.Add(1)) - 1
		if i >= l.Count {
			return nil
		}
		if l.Every > 0 {
			select {
			case <-time.After(time.Until(begin.Add(time.Duration(turn) * l.Every))):
			case <-ctx.Done():
				return nil
			}
		}
		host := l.First + i
		var q dns.Msg
		q.SetQuestion(Name(host, l.Domains), dns.TypeA)
		sent := time.Now()
		m, err := exchange(conn, &q, buf)
		if err != nil {
			told(time.Since(sent), "", true)
			continue
		}
		told(time.Since(sent), check(m, host), false)
	}
	return nil
}

func exchange(conn *net.UDPConn, q *dns.Msg, buf []byte) (*dns.Msg, error) {
	msg, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		var m dns.Msg
		if m.Unpack(buf[:n]) == nil && m.Id == q.Id { // else one that came late
			return &m, nil
		}
	}
}

// check says what is wrong with an answer about a host; "" if nothing is.
func check(m *dns.Msg, host int) string {
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		return fmt.Sprintf("%s: %s with %d records", m.Question[0].Name, dns.RcodeToString[m.Rcode], len(m.Answer))
	}
	if a, ok := m.Answer[0].(*dns.A); !ok || a.A.String() != hostAddress(host).String() {
		return fmt.Sprintf("%s: %s, want %v", m.Question[0].Name, m.Answer[0], hostAddress(host))
	}
	return ""
}

// Flood sends questions for names in the slow zone that nobody has asked for, rate a
// second, from clients of so many networks, until ctx is over. What comes back is not
// looked at. It returns how many were sent.
func Flood(ctx context.Context, server netip.AddrPort, rate, networks int) (int, error) {
	conns := make([]*net.UDPConn, networks)
	for i := range conns {
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 66, byte(i), 1)}, net.UDPAddrFromAddrPort(server))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns[i] = c
	}
	var q dns.Msg
	q.SetQuestion("x00000000.slow.t0.", dns.TypeA)
	msg, err := q.Pack()
	if err != nil {
		return 0, err
	}
	const tick = 5 * time.Millisecond
	pace := time.NewTicker(tick)
	defer pace.Stop()
	begin, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return sent, nil
		case <-pace.C:
		}
		for due := int(time.Since(begin).Seconds() * float64(rate)); sent < due; sent++ {
			binary.BigEndian.PutUint16(msg, uint16(sent))
			copy(msg[14:], fmt.Sprintf("%08x", sent)) // behind header, length and "x"
			_, _ = conns[sent%networks].Write(msg)    // what is lost is no harm
		}
	}
}
