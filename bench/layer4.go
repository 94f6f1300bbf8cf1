//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// Names of the works of layer 4 in the table.
const (
	l4Connections = "layer 4: connection with one exchange of 100 octets"
	l4Exchanges   = "layer 4: exchange of 100 octets, 64 connections"
	l4Transfer    = "layer 4: transfer to clients, 4 connections"
)

// Metrics of layer 4.
var (
	cpuPerCarried    = table.Metric{Name: "CPU us per connection", Digits: 1}
	carriedPerSecond = table.Metric{Name: "connections per second", More: true}
	cpuPerExchange   = table.Metric{Name: "CPU us per exchange", Digits: 2}
	cpuPerGiB        = table.Metric{Name: "CPU ms per GiB", Digits: 1}
	gibPerSecond     = table.Metric{Name: "GiB per second", Digits: 2, More: true}
)

// Loads of layer 4.
const (
	l4Message = 100     // octets of a question and of its answer
	l4Chunk   = 1 << 20 // octets that a server of transfers writes at once
	l4Clients = 32      // that make connections one after the other
	l4Open    = 64      // connections with exchanges
	l4Streams = 4       // connections with transfers
)

// carrying is one kind of load: a client does it until ctx ends, counting.
type carrying struct {
	name    string
	clients int
	serve   func(net.Conn)
	visit   func(ctx context.Context, to string, done *atomic.Int64) error
	note    func(s *table.Samples, name string, spent time.Duration, r carriedResult) string
	metrics []table.Metric
}

// carriedResult is what clients have seen.
type carriedResult struct {
	done    int64
	failed  error
	elapsed time.Duration
}

func (r carriedResult) Err() error {
	if r.failed == nil && r.done == 0 {
		return errors.New("nothing was carried")
	}
	return r.failed
}

var carryings = []carrying{
	{l4Connections, l4Clients, answerOnce, connectOnce, func(s *table.Samples, name string, spent time.Duration, r carriedResult) string {
		micros, rate := float64(spent)/1e3/float64(r.done), float64(r.done)/r.elapsed.Seconds()
		s.Add(name, cpuPerCarried.Name, micros)
		s.Add(name, carriedPerSecond.Name, rate)
		return fmt.Sprintf("%6.1f us per connection, %6.0f/s", micros, rate)
	}, []table.Metric{cpuPerCarried, carriedPerSecond}},
	{l4Exchanges, l4Open, answerAll, exchange, func(s *table.Samples, name string, spent time.Duration, r carriedResult) string {
		micros := float64(spent) / 1e3 / float64(r.done)
		s.Add(name, cpuPerExchange.Name, micros)
		return fmt.Sprintf("%6.2f us per exchange, %6.0f/s", micros, float64(r.done)/r.elapsed.Seconds())
	}, []table.Metric{cpuPerExchange}},
	{l4Transfer, l4Streams, pour, drink, func(s *table.Samples, name string, spent time.Duration, r carriedResult) string {
		gib := float64(r.done) / (1 << 30)
		s.Add(name, cpuPerGiB.Name, float64(spent.Milliseconds())/gib)
		s.Add(name, gibPerSecond.Name, gib/r.elapsed.Seconds())
		return fmt.Sprintf("%6.1f ms per GiB, %5.2f GiB/s", float64(spent.Milliseconds())/gib, gib/r.elapsed.Seconds())
	}, []table.Metric{cpuPerGiB, gibPerSecond}},
}

// layer4 measures carriers of connections as they are.
func (a *arena) layer4() ([]table.Row, error) {
	others := []peer.Program{peer.HAProxyStreams()}
	if peer.HasStreamModule() {
		others = append(others, peer.NginxStreams())
	} else {
		a.say("nginx cannot carry connections: install libnginx-mod-stream (make peers)")
	}
	programs, err := a.choose(peer.PharosStreams(a.pharos()), others...)
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for i := range carryings {
		more, err := a.carrying(programs, &carryings[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", carryings[i].name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// carrying measures one kind of load.
func (a *arena) carrying(programs []peer.Program, c *carrying) ([]table.Row, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				defer conn.Close()
				c.serve(conn)
			}()
		}
	}()
	samples, err := a.hold("layer 4", contest{
		programs: programs, rounds: a.o.rounds, job: peer.Job{Target: l.Addr().String()},
		ready: func(s *peer.Server) error {
			r, err := c.run(a.ctx, s, 100*time.Millisecond)
			return errors.Join(err, r.Err())
		},
		measure: func(s *peer.Server, samples *table.Samples) error {
			r, spent, err := measure(a, s, func(ctx context.Context, d time.Duration) (carriedResult, error) { return c.run(ctx, s, d) })
			if err != nil {
				return err
			}
			a.say("%-9s %s, on its processor %3.0f %% of the time", s.Name, c.note(samples, s.Name, spent, r), 100*spent.Seconds()/r.elapsed.Seconds())
			if c.name == l4Connections {
				return a.connectionsLogged(s)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, m := range c.metrics {
		rows = append(rows, samples.Row(c.name, m))
	}
	return rows, nil
}

// connectionsLogged reports an error unless the carrier has left lines about connections.
func (a *arena) connectionsLogged(s *peer.Server) error {
	least := int64(loggedLeast * 50)
	if a.o.quick {
		least = 50 // it may have carried few
	}
	return s.Await(a.ctx, func() error { // they may be written some time after
		for _, name := range []string{"connections.log", "output.log"} {
			if stat, err := os.Stat(filepath.Join(s.Dir, name)); err == nil && stat.Size() > least {
				return nil
			}
		}
		return errors.New("it was to log every connection and has not")
	})
}

// run has clients visit a carrier for some time.
func (c *carrying) run(ctx context.Context, s *peer.Server, d time.Duration) (r carriedResult, err error) {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var done atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, c.clients)
	began := time.Now()
	for range c.clients {
		wg.Go(func() {
			if err := c.visit(until, address(s).String(), &done); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	r.done, r.elapsed = done.Load(), time.Since(began)
	select {
	case r.failed = <-failed:
	default:
	}
	return r, ctx.Err()
}

func answerOnce(conn net.Conn) {
	b := make([]byte, l4Message)
	if _, err := io.ReadFull(conn, b); err == nil {
		conn.Write(b)
		conn.Read(b) // the client ends it
	}
}

func connectOnce(ctx context.Context, to string, done *atomic.Int64) error {
	b := make([]byte, l4Message)
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", to)
		if err != nil {
			return err
		}
		conn.Write(b)
		_, err = io.ReadFull(conn, b)
		conn.Close()
		if err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

func answerAll(conn net.Conn) {
	b := make([]byte, l4Message)
	for {
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		conn.Write(b)
	}
}

func exchange(ctx context.Context, to string, done *atomic.Int64) error {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, l4Message)
	for ctx.Err() == nil {
		conn.Write(b)
		if _, err := io.ReadFull(conn, b); err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

func pour(conn net.Conn) {
	b := make([]byte, l4Chunk)
	for {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

func drink(ctx context.Context, to string, done *atomic.Int64) error {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, l4Chunk)
	for ctx.Err() == nil {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		done.Add(int64(n))
	}
	return nil
}
