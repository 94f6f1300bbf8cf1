//lint:file-ignore SA1019 The ClientConn of net/http, which is to replace this one, came with Go 1.26 and has not been tried here.

// Package h2origin carries exchanges of the gateway to origin servers over HTTP/2: many on
// one connection, each of which the gateway sees as a connection on which HTTP/1.1 is
// spoken once.
//
//	gateway <-- one request, one response in the form of HTTP/1.1 --> stream <-- frames --> origin
//
// So every response is held to the one set of rules that package http1 has, whatever
// it came by, and the way of a request knows nothing of streams. Framing, flow
// control and fields are those of golang.org/x/net/http2. It owns which connections there
// are; how they are opened is the caller's.
//
// Entry points: New, Origins.Open, Origins.Close.
//
// Concurrency: Origins is used by any goroutine. Each exchange has one of its own, and
// another one while its request is complete and its response is not; both end with the connection
// that the gateway was given.
//
// Sources: RFC 9113; RFC 9110 §7.6.
package h2origin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Limits that are not configurable.
const (
	// maxFields is the largest field section of a response, in octets of HPACK's count:
	// what package http1 takes as well. Beyond it the stream is reset.
	maxFields = 48 << 10
	// silence is how long a connection may be silent with streams open before it is asked
	// whether it lives, and answer how long it may take to say so. Then it is closed.
	silence, answer = 30 * time.Second, 10 * time.Second
	// streamWindow and connWindow are how many octets an origin may send before they are passed
	// on, of one response and of all on a connection: a slow client holds no more.
	streamWindow, connWindow = 256 << 10, 4 << 20
)

// Origins are the connections to origin servers that are reached in one way.
type Origins struct {
	transport *http2.Transport
	scheme    string

	mu      sync.Mutex
	links   map[netip.AddrPort][]*http2.ClientConn // guarded by mu
	opening map[netip.AddrPort]*attempt            // guarded by mu
	closed  bool                                   // guarded by mu
}

// attempt is a connection on its way, for all who wait for one.
type attempt struct {
	done chan struct{} // closed when the others are set
	err  error
}

// New returns Origins for URIs of a scheme, whose connections are closed when they were idle
// for so long.
func New(scheme string, idle time.Duration) *Origins {
	windows := &http.Transport{HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connWindow}}
	t, err := http2.ConfigureTransports(windows)
	if err != nil {
		panic("BUG: " + err.Error()) // of a Transport that has been configured already
	}
	t.AllowHTTP, t.DisableCompression, t.IdleConnTimeout, t.MaxHeaderListSize = true, true, idle, maxFields
	t.ReadIdleTimeout, t.PingTimeout, t.WriteByteTimeout = silence, answer, silence
	return &Origins{
		scheme: scheme, transport: t,
		links: map[netip.AddrPort][]*http2.ClientConn{}, opening: map[netip.AddrPort]*attempt{},
	}
}

var errClosed = errors.New("h2origin: closed")

// Open returns a connection for one exchange with the server at address, over a
// connection that there is or one that dial opens, and reports whether there was one.
// Whoever comes while one is opened waits for it, and shares what becomes of it.
func (o *Origins) Open(ctx context.Context, address netip.AddrPort, dial func(context.Context) (net.Conn, error)) (conn net.Conn, reused bool, err error) {
	for reused = true; ; {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return nil, false, errClosed
		}
		if cc := o.reserve(address); cc != nil {
			o.mu.Unlock()
			return exchange(cc, o.scheme), reused, nil
		}
		a, under := o.opening[address]
		if !under {
			a = &attempt{done: make(chan struct{})}
			o.opening[address] = a
		}
		o.mu.Unlock()
		reused = false
		if !under {
			o.open(ctx, address, a, dial)
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if a.err != nil {
			return nil, false, a.err
		}
	}
}

// reserve returns a connection that takes one more stream, and forgets those that take
// none any more; mu is held.
func (o *Origins) reserve(address netip.AddrPort) *http2.ClientConn {
	list := slices.DeleteFunc(o.links[address], func(cc *http2.ClientConn) bool {
		st := cc.State()
		return st.Closed || st.Closing
	})
	o.links[address] = list
	if len(list) == 0 {
		delete(o.links, address)
	}
	for _, cc := range list {
		if cc.ReserveNewRequest() {
			return cc
		}
	}
	return nil
}

// open is the attempt a.
func (o *Origins) open(ctx context.Context, address netip.AddrPort, a *attempt, dial func(context.Context) (net.Conn, error)) {
	conn, err := dial(ctx)
	var cc *http2.ClientConn
	if err == nil {
		if cc, err = o.transport.NewClientConn(conn); err != nil {
			conn.Close()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.opening, address)
	if err == nil && o.closed {
		cc.Close()
		err = errClosed
	}
	if err == nil {
		o.links[address] = append(o.links[address], cc)
	}
	a.err = err
	close(a.done)
}

// Close closes all connections, with what is on them.
func (o *Origins) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, list := range o.links {
		for _, cc := range list {
			cc.Close()
		}
	}
	clear(o.links)
}
