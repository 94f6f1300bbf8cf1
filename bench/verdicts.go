//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures how long it takes from when a member fails until nobody is led to it any more: by answers
// of DNS, by the gateway, and by layer 4, which cuts the connections to it.
//
//	by probe    its check is answered with 503 from one moment on, while it goes on to serve: who is still led
//	            to it, and when, is seen by its own answers
//	by traffic  it takes connections and resets them from one moment on, and no check is due; the gateway finds
//	            that out by requests, which it carries to others. The third that the member resets counts.
//
// Three look at it from outside, all the time; what they find is late by up to verdictLook.

// Works of verdicts.
var (
	verdictByProbe   = fmt.Sprintf("a member fails, found by %d probes %d ms apart", verdictFall, verdictInterval.Milliseconds())
	verdictByTraffic = fmt.Sprintf("a member fails, found by %d requests through the gateway", verdictRun)
)

const (
	verdictFall     = 3
	verdictInterval = 100 * time.Millisecond
	verdictRun      = 3 // failures of traffic in a row that make a verdict, unless configured
	verdictRounds   = 20
	verdictLook     = 200 * time.Microsecond
	verdictPatience = 10 * time.Second

	verdictMost = verdictFall*float64(verdictInterval/time.Millisecond) + 20 // ms
)

// What is measured of verdicts: of each of the three half of the rounds, and the worst.
var verdictMetrics = [...]struct{ half, worst table.Metric }{
	{table.Metric{Name: "ms until the answers of DNS have changed", Digits: 1}, table.Metric{Name: "ms until the answers of DNS have changed, the worst", Digits: 1}},
	{table.Metric{Name: "ms until the last request through the gateway", Digits: 1}, table.Metric{Name: "ms until the last request through the gateway, the worst", Digits: 1}},
	{table.Metric{Name: "ms until layer 4 has cut a connection", Digits: 1}, table.Metric{Name: "ms until layer 4 has cut a connection, the worst", Digits: 1}},
}

var verdictFailed = table.Metric{Name: "requests through the gateway that failed"}

// verdicts measures both kinds, each round with a node that knows nothing yet.
func (a *arena) verdicts() ([]table.Row, error) {
	var rows []table.Row
	for _, kind := range []struct {
		work   string
		byWhat func(*failing)
	}{{verdictByProbe, func(m *failing) { m.sick.Store(true) }}, {verdictByTraffic, (*failing).breakDown}} {
		rounds := max(verdictRounds, a.o.rounds)
		if a.o.quick {
			rounds = 1
		}
		var took [len(verdictMetrics)][]float64
		failed := 0
		for range rounds {
			v, err := a.verdict(kind.work, kind.byWhat)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind.work, err)
			}
			for i := range took {
				took[i] = append(took[i], float64(v.took[i])/float64(time.Millisecond))
			}
			failed += int(v.failed)
			a.say("%s: DNS %v, gateway %v, layer 4 %v; %d requests failed of %d", kind.work, v.took[0], v.took[1], v.took[2], v.failed, v.asked)
		}
		samples := a.samples()
		for i, m := range verdictMetrics {
			samples.Add(table.Own, m.half.Name, table.Median(took[i]))
			samples.Add(table.Own, m.worst.Name, slices.Max(took[i]))
			rows = append(rows, samples.Row(kind.work, m.half), samples.Row(kind.work, m.worst))
		}
		samples.Add(table.Own, verdictFailed.Name, float64(failed))
		rows = append(rows, samples.Row(kind.work, verdictFailed))
	}
	return rows, nil
}

// seen is what came of one round.
type seen struct {
	took          [len(verdictMetrics)]time.Duration
	asked, failed int64
}

// verdict is one round: a node with three members, of which one fails.
func (a *arena) verdict(work string, fail func(*failing)) (v seen, err error) {
	var all []*failing
	for i := range 3 {
		m, err := newFailing(i)
		if err != nil {
			return v, err
		}
		defer m.close()
		all = append(all, m)
	}
	ports := [2]int{}
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return v, err
		}
	}
	check := fmt.Sprintf("{type: http, path: /health, interval: %v, fastInterval: %v, timeout: %v, fall: %d, rise: 1}", verdictInterval, verdictInterval, verdictInterval/2, verdictFall)
	if work == verdictByTraffic {
		check = "{type: tcp, interval: 1h, fastInterval: 1h, rise: 1}"
	}
	zone := filepath.Join(a.dir, "verdict.zone")
	if err := os.WriteFile(zone, []byte("$ORIGIN example.com.\n@ 60 SOA ns admin 1 7200 3600 1209600 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n"), 0o644); err != nil {
		return v, err
	}
	s, err := a.start(a.measured, peer.Pharos(a.pharos(), func(j peer.Job) string {
		return fmt.Sprintf(`data: data
log: {level: error}
store: {enabled: false}
listen: {dns: ["127.0.0.1:%d"], http: ["127.0.0.1:%d"], admin: "127.0.0.1:%d"}
resolver: {allow: []}
zones: [{name: example.com, file: %q}]
pools: [{name: pool, check: %s, members: [{name: m0, address: %q}, {name: m1, address: %q}, {name: m2, address: %q}]}]
steer: [{name: www.example.com, pool: pool, ttl: 0s}]
routes: [{host: www.example.com, pool: pool}]
streams: [{name: stream, listen: ["127.0.0.1:%d"], pool: pool, onDown: close}]
`, j.Port, ports[0], j.Admin, zone, check, all[0].address, all[1].address, all[2].address, ports[1])
	}), peer.Job{})
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(s.Dir)
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return allUp(s.Admin) }); err != nil {
		return v, err
	}
	return a.watch(s, all[1], ports, fail)
}

// allUp reports an error unless all three members are up.
func allUp(admin int) error {
	client := http.Client{Timeout: time.Second}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", admin))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	for i := range 3 {
		if !strings.Contains(string(text), fmt.Sprintf("pharos_member_state{member=\"m%d\",pool=\"pool\",state=\"up\"} 1", i)) {
			return errors.Join(err, fmt.Errorf("member m%d is not up", i))
		}
	}
	return err
}

// watch has a member fail, and looks from outside what becomes of it.
func (a *arena) watch(s *peer.Server, m *failing, ports [2]int, fail func(*failing)) (v seen, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, verdictPatience)
	defer cancel()
	kept, err := m.keptThrough(ctx, ports[1])
	if err != nil {
		return v, err
	}
	defer kept.Close()
	var changed [2]time.Time // of DNS, layer 4
	var wrong [3]error
	var asked, failed atomic.Int64
	enough := make(chan struct{}) // closed when both have changed and the gateway has been asked some more
	var looking, asking sync.WaitGroup
	looking.Go(func() { changed[0], wrong[0] = untilGone(ctx, s, m.at.Addr()) })
	looking.Go(func() { changed[1], wrong[1] = untilCut(kept) })
	for range 2 {
		asking.Go(func() {
			client := http.Client{Timeout: verdictPatience, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			each := time.NewTicker(verdictLook)
			defer each.Stop()
			for {
				select {
				case <-enough:
					return
				case <-each.C:
				}
				if asked.Add(1); askOnce(ctx, &client, ports[0]) != nil {
					failed.Add(1)
				}
			}
		})
	}
	// From any moment between two probes.
	rest := time.NewTimer(2*verdictInterval + time.Duration(time.Now().UnixNano())%verdictInterval)
	defer rest.Stop()
	<-rest.C
	m.failed(fail)
	looking.Wait()
	rest.Reset(verdictInterval / 2)
	<-rest.C
	close(enough)
	asking.Wait()
	began, last := m.times()
	if began.IsZero() {
		wrong[2] = errors.New("nobody came to the member that failed")
	}
	for i, at := range []time.Time{changed[0], last, changed[1]} {
		v.took[i] = max(0, at.Sub(began))
	}
	v.asked, v.failed = asked.Load(), failed.Load()
	return v, errors.Join(wrong[:]...)
}

// askOnce makes a request through the gateway.
func askOnce(ctx context.Context, client *http.Client, port int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return err
	}
	r.Host = "www.example.com"
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("status %d", resp.StatusCode))
	}
	return nil
}

// untilGone asks until an address is no longer answered, and returns when it was not.
func untilGone(ctx context.Context, s *peer.Server, gone netip.Addr) (time.Time, error) {
	conn, err := dns.Dial("udp", address(s).String())
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	each := time.NewTicker(verdictLook)
	defer each.Stop()
	for ctx.Err() == nil {
		conn.SetDeadline(time.Now().Add(time.Second))
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)); err != nil {
			return time.Time{}, err
		}
		m, err := conn.ReadMsg()
		if err != nil {
			return time.Time{}, err
		}
		if len(m.Answer) > 0 && !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
			a, ok := rr.(*dns.A)
			return ok && a.A.Equal(gone.AsSlice())
		}) {
			return time.Now(), nil
		}
		<-each.C
	}
	return time.Time{}, errors.New("the address is still answered")
}

// untilCut returns when a connection was cut.
func untilCut(conn net.Conn) (time.Time, error) {
	conn.SetDeadline(time.Now().Add(verdictPatience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		return time.Time{}, errors.New("the connection is still carried")
	}
	return time.Now(), nil
}

// failing is a member that fails from one moment on.
type failing struct {
	// Constant after newFailing.
	listener net.Listener
	address  string
	at       netip.AddrPort

	sick   atomic.Bool // it answers its check with 503
	broken atomic.Bool // it resets who comes

	mu    sync.Mutex
	open  map[net.Conn]bool // false: it is to be left alone when all are cut
	began time.Time         // when it failed: by its own will, or with the third that it reset
	last  time.Time         // when somebody came last, but for its check
	reset int
}

// newFailing starts a member at an address of its own.
func newFailing(i int) (*failing, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.%d:0", i+1))
	if err != nil {
		return nil, err
	}
	m := &failing{listener: l, address: l.Addr().String(), at: netip.MustParseAddrPort(l.Addr().String()), open: map[net.Conn]bool{}}
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn) // ends with its connection
		}
	}()
	return m, nil
}

// serve answers requests with the member's address.
func (m *failing) serve(conn net.Conn) {
	m.mu.Lock()
	m.open[conn] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.open, conn)
		m.mu.Unlock()
		conn.Close()
	}()
	if m.broken.Load() {
		m.turnAway(conn)
		return
	}
	for r := bufio.NewReader(conn); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		status := "200 OK"
		switch isCheck := req.URL.Path == "/health"; {
		case m.broken.Load():
			m.turnAway(conn)
			return
		case isCheck && m.sick.Load():
			status = "503 Service Unavailable"
		case !isCheck:
			m.mu.Lock()
			m.last = time.Now()
			m.open[conn] = req.URL.Path != "/kept"
			m.mu.Unlock()
		}
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(m.address), m.address); err != nil {
			return
		}
	}
}

// turnAway resets a connection.
func (m *failing) turnAway(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = time.Now()
	if m.reset++; m.reset == verdictRun {
		m.began = m.last
	}
}

// failed has the member fail in a way.
func (m *failing) failed(fail func(*failing)) {
	fail(m)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.broken.Load() {
		m.began = time.Now()
	}
}

// breakDown has the member reset all that come, and end the connections that it has but the one that is kept.
func (m *failing) breakDown() {
	m.broken.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn, ends := range m.open {
		if ends {
			conn.Close()
		}
	}
}

// times returns when the member failed, and when somebody came to it last.
func (m *failing) times() (began, last time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.began, m.last
}

// keptThrough returns a connection through a stream that has come to the member.
func (m *failing) keptThrough(ctx context.Context, port int) (net.Conn, error) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", localAt(port))
		if err != nil {
			return nil, err
		}
		conn.SetDeadline(time.Now().Add(verdictPatience))
		if _, err := io.WriteString(conn, "GET /kept HTTP/1.1\r\nHost: www.example.com\r\n\r\n"); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		by, err := io.ReadAll(r.Body)
		if err == nil && string(by) == m.address {
			return conn, nil
		}
		conn.Close()
	}
	return nil, errors.New("no connection has come to the member")
}

func (m *failing) close() {
	m.listener.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.open {
		conn.Close()
	}
}
