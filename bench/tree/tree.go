//go:build linux

// Package tree is a small internet on loopback addresses for resolvers to be measured
// on: a root, top level domains, domains with hosts, each level on addresses of its
// own, with the round trip time of a real network; and a zone whose servers are slow.
//
//	127.53.0.1                root            t0. ... t9.
//	127.53.1.1  ... .10       one each        d0.t0. ... and slow.t0.
//	127.53.2.1  ... .20       the domains     h0.d0.t0. ...
//	127.53.3.1                slow.tN.        NXDOMAIN, after a second
//
// or on 127.54 and so on where another tree has those.
//
// It owns the sockets and what is said on them, and clients that ask and check
// (client.go). It measures nothing. Everything follows from the name: there is no zone
// to load, and any number of domains and hosts.
//
// Entry points: Serve, Tree.Close; Name, Ask, Flood.
//
// Concurrency: a Tree's methods may be called from any goroutine.
package tree

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// What there is of each level.
const (
	tlds  = 10
	hosts = 20 // addresses that the domains' servers have
)

// Port is that of every server: resolvers ask no other.
const Port = 53

// The second octet of a tree's addresses is the first of these that is free: trees of
// two runs can stand beside each other.
const (
	firstNetwork = 53
	lastNetwork  = 99
)

// Config says how the tree answers.
type Config struct {
	RTT  time.Duration // from query to answer
	Slow time.Duration // the same for the slow zone
	TTL  uint32        // of hosts' addresses
}

// Tree is the servers.
type Tree struct {
	cfg     Config
	network byte // second octet of all addresses
	conns   []*net.UDPConn
	running sync.WaitGroup
	silent  atomic.Bool
	slow    atomic.Uint64 // queries that the slow zone's server got
}

// Serve starts the servers. It needs the right to use port 53.
func Serve(cfg Config) (*Tree, error) {
	for network := byte(firstNetwork); ; network++ {
		t, err := serveOn(cfg, network)
		if !errors.Is(err, syscall.EADDRINUSE) || network == lastNetwork {
			return t, err
		}
	}
}

// Root returns the address of the root's server.
func (t *Tree) Root() netip.AddrPort { return netip.AddrPortFrom(t.address(0, 0), Port) }

// address returns that of a server of a level.
func (t *Tree) address(level, index int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, t.network, byte(level), byte(index + 1)})
}

func serveOn(cfg Config, network byte) (*Tree, error) {
	t := &Tree{cfg: cfg, network: network}
	type level struct{ net, count int }
	for _, l := range []level{{0, 1}, {1, tlds}, {2, hosts}, {3, 1}} {
		for i := range l.count {
			at := netip.AddrPortFrom(t.address(l.net, i), Port)
			conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
			if err != nil {
				t.Close()
				return nil, fmt.Errorf("a name server on loopback: %w", err)
			}
			_ = conn.SetReadBuffer(4 << 20) // as much as the system allows
			t.conns = append(t.conns, conn)
			t.running.Go(func() { t.serve(conn, l.net, i) }) // ended by Close
		}
	}
	return t, nil
}

// Close ends the servers.
func (t *Tree) Close() {
	for _, c := range t.conns {
		c.Close()
	}
	t.running.Wait()
}

// Cut has all servers fall silent, or speak again.
func (t *Tree) Cut(silent bool) { t.silent.Store(silent) }

// Slow returns how many queries the slow zone's server got.
func (t *Tree) Slow() uint64 { return t.slow.Load() }

func (t *Tree) serve(conn *net.UDPConn, level, index int) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var q dns.Msg
		if err != nil || t.silent.Load() || q.Unpack(buf[:n]) != nil || len(q.Question) != 1 {
			continue
		}
		delay := t.cfg.RTT
		if level == 3 {
			t.slow.Add(1)
			delay = t.cfg.Slow
		}
		out, err := t.answer(&q, level, index).Pack()
		if err != nil {
			panic("BUG: an answer that cannot be packed: " + err.Error())
		}
		if delay == 0 {
			_, _ = conn.WriteToUDPAddrPort(out, from) // what is lost is asked again
			continue
		}
		time.AfterFunc(delay, func() { _, _ = conn.WriteToUDPAddrPort(out, from) }) // the same, or closed
	}
}

// answer says what the server of a level says.
func (t *Tree) answer(q *dns.Msg, level, index int) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	if q.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	labels := dns.SplitDomainName(name)
	switch {
	case level == 0 && name == "." && qtype == dns.TypeNS:
		m.Authoritative = true
		m.Answer = append(m.Answer, record(". 86400 NS ns.root-bench."))
		m.Extra = append([]dns.RR{record("ns.root-bench. 86400 A " + t.address(0, 0).String())}, m.Extra...)
	case level == 0 && len(labels) > 0 && number(labels[len(labels)-1], "t") >= 0:
		refer(m, labels[len(labels)-1]+".", t.address(1, number(labels[len(labels)-1], "t")%tlds))
	case level == 1 && len(labels) > 1 && labels[len(labels)-2] == "slow":
		refer(m, "slow."+labels[len(labels)-1]+".", t.address(3, 0))
	case level == 1 && len(labels) > 1 && number(labels[len(labels)-2], "d") >= 0:
		refer(m, strings.Join(labels[len(labels)-2:], ".")+".", t.address(2, number(labels[len(labels)-2], "d")%hosts))
	case level == 2 && len(labels) == 3 && number(labels[0], "h") >= 0 && qtype == dns.TypeA:
		m.Authoritative = true
		m.Answer = append(m.Answer, record(fmt.Sprintf("%s %d A %s", q.Question[0].Name, t.cfg.TTL, hostAddress(number(labels[0], "h")))))
	default:
		m.Authoritative = true
		zone := "."
		if level > 0 && len(labels) > 0 {
			zone = strings.Join(labels[max(0, len(labels)-min(level, 2)):], ".") + "."
		}
		if level == 3 && len(labels) > 2 {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, record(zone+" 60 SOA ns host 1 3600 600 86400 60"))
	}
	return m
}

func refer(m *dns.Msg, zone string, to netip.Addr) {
	m.Ns = append(m.Ns, record(zone+" 86400 NS ns."+zone))
	m.Extra = append([]dns.RR{record("ns." + zone + " 86400 A " + to.String())}, m.Extra...)
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic("BUG: " + text + ": " + err.Error())
	}
	return rr
}

// number reads a label like h17; -1 if it is none.
func number(label, prefix string) int {
	text, ok := strings.CutPrefix(label, prefix)
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 {
		return -1
	}
	return n
}

// hostAddress is that of host i.
func hostAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// Name returns the i-th host's name, over so many domains.
func Name(i, domains int) string {
	d := i % domains
	return fmt.Sprintf("h%d.d%d.t%d.", i, d, d%tlds)
}
