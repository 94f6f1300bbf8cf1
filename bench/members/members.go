// Package members is HTTP origin servers that have a capacity and a latency curve, and clients that come
// at their own pace.
//
//	members.go  the servers: workers, a queue, slow ones, one that dies
//	clients.go  requests at a constant rate, whatever becomes of those before
//
// It measures what clients see. It starts no gateway and does not know what the figures mean.
//
// Entry points: Start, Members.Slow, Members.Kill, Members.Revive, Ask.
//
// Concurrency: the methods of Members may be called at any time; Close ends every goroutine.
package members

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Members are servers of one service, each on a port of its own.
type Members struct{ all []*member }

// member answers as a server with some workers does: who comes while all are busy waits for its turn.
type member struct {
	// Constant after Start.
	address string
	workers chan struct{} // as many as there are; never closed
	takes   time.Duration

	// Atomic.
	slower atomic.Int64 // so many times
	served atomic.Int64

	mu     sync.Mutex
	server *http.Server // nil: it is dead
}

// Start starts n members on ports of 127.0.0.1. A request takes a worker so long on average, half of it
// always and half by chance; the path /health takes nothing.
func Start(n, workers int, takes time.Duration) (*Members, error) {
	m := &Members{}
	for range n {
		one := &member{address: "127.0.0.1:0", workers: make(chan struct{}, workers), takes: takes}
		one.slower.Store(1)
		if err := one.listen(); err != nil {
			m.Close()
			return nil, err
		}
		m.all = append(m.all, one)
	}
	return m, nil
}

// Addresses returns where the members are.
func (m *Members) Addresses() []string {
	var all []string
	for _, one := range m.all {
		all = append(all, one.address)
	}
	return all
}

// Slow makes a member take so many times as long as it did when it started.
func (m *Members) Slow(i int, times int) { m.all[i].slower.Store(int64(times)) }

// Kill ends a member with what it has under way.
func (m *Members) Kill(i int) { m.all[i].kill() }

// Revive starts a member again that was killed, at the same address.
func (m *Members) Revive(i int) error { return m.all[i].listen() }

// Served returns how many requests each member has answered, but for checks, and begins to count anew.
func (m *Members) Served() []int {
	var all []int
	for _, one := range m.all {
		all = append(all, int(one.served.Swap(0)))
	}
	return all
}

// Close ends all members.
func (m *Members) Close() {
	for _, one := range m.all {
		one.kill()
	}
}

func (o *member) listen() error {
	l, err := net.Listen("tcp4", o.address)
	if err != nil {
		return fmt.Errorf("a member: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.address = l.Addr().String()
	o.server = &http.Server{Handler: o}
	go o.server.Serve(l) // ends with kill
	return nil
}

func (o *member) kill() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server != nil {
		_ = o.server.Close()
		o.server = nil
	}
}

// ServeHTTP answers one request.
func (o *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		return
	}
	select {
	case o.workers <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	defer func() { <-o.workers }()
	takes := time.Duration((0.5 + 0.5*rand.ExpFloat64()) * float64(o.takes) * float64(o.slower.Load()))
	select {
	case <-time.After(takes):
		o.served.Add(1)
		fmt.Fprintln(w, r.URL.Path)
	case <-r.Context().Done():
	}
}
