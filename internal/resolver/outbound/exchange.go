package outbound

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"pharos/internal/clock"
	"pharos/internal/resolver/iterate"
)

// udpBuffer is the size of the buffers that UDP replies are read into, in octets:
// more than we offer by EDNS (1232), for servers that send more all the same. A
// larger reply is cut, and then refused by the machine as malformed.
const udpBuffer = 4096

var buffers = sync.Pool{New: func() any {
	b := make([]byte, udpBuffer)
	return &b
}}

// exchange is one query on its way.
type exchange struct {
	driver *Driver
	iterate.Send
	ctx    context.Context // over a link: ends with the time, or stop
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows
	conn    net.Conn   // UDP: nil until there is one
	stopped bool
}

// isLinked reports whether the query goes over a connection that outlives it.
func isLinked(s iterate.Send) bool { return s.TCP || s.Over != iterate.Do53 }

// send starts an exchange.
func (d *Driver) send(s iterate.Send) {
	if s.To == iterate.Inside {
		d.backlog = append(d.backlog, d.askInside(s))
		return
	}
	if d.sockets.Add(1) > d.exchanges {
		d.sockets.Add(-1)
		d.backlog = append(d.backlog, iterate.Failed{Exchange: s.Exchange, Err: errNoSocket})
		return
	}
	x := &exchange{driver: d, Send: s}
	run := x.run
	if isLinked(s) {
		x.ctx, x.cancel = context.WithTimeout(context.Background(), s.Timeout)
		run = x.runLinked
	}
	d.open[s.Exchange] = x
	d.running.Go(func() { // ended by its timeout, or by stop
		defer d.sockets.Add(-1)
		run()
	})
}

// errNoCopy: there is no copy of the zone that may be used now.
var errNoCopy = fmt.Errorf("%w: there is no copy of the zone", iterate.ErrLocal)

// askInside is send for what is answered here.
func (d *Driver) askInside(s iterate.Send) iterate.Event {
	if d.inside != nil {
		if reply := d.inside(clock.Now(), s.Msg, s.TCP); reply != nil {
			return iterate.Arrived{Exchange: s.Exchange, Msg: reply}
		}
	}
	return iterate.Failed{Exchange: s.Exchange, Err: errNoCopy}
}

// stop ends the exchange from outside: its goroutine's reading fails.
func (x *exchange) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
	if x.cancel != nil {
		x.cancel()
	}
	if x.conn != nil {
		x.conn.Close()
	}
}

// attach makes conn the exchange's, unless it has been stopped.
func (x *exchange) attach(conn net.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = conn
	return !x.stopped
}

func (x *exchange) isStopped() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stopped
}

// run sends the query, and reports what comes until the time is over, the
// network says no, or the exchange is stopped.
func (x *exchange) run() {
	deadline := time.Now().Add(x.Timeout)
	conn, err := dialUDP(x.To)
	if err == nil {
		defer conn.Close()
		if !x.attach(conn) {
			return
		}
		conn.SetDeadline(deadline)
		err = x.converse(conn)
	}
	x.fail(err)
}

// runLinked is run over a link: there is one reply, or an error.
func (x *exchange) runLinked() {
	defer x.cancel()
	reply, took, err := x.driver.links.ask(x.ctx, x.Send)
	if err == nil {
		x.driver.post(event{ev: iterate.Arrived{Exchange: x.Exchange, Msg: reply, Took: took}})
		return
	}
	x.fail(err)
}

// fail reports why the exchange is over, unless it was stopped.
func (x *exchange) fail(err error) {
	if x.isStopped() {
		return
	}
	var failed iterate.Event = iterate.Failed{Exchange: x.Exchange, Err: explain(err)}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		failed = iterate.Expired{Exchange: x.Exchange}
	}
	x.driver.post(event{ev: failed})
}

// converse sends the query and reads until an error, which is never nil.
func (x *exchange) converse(conn net.Conn) error {
	if _, err := conn.Write(x.Msg); err != nil {
		return err
	}
	for {
		buf := buffers.Get().(*[]byte)
		n, err := conn.Read(*buf)
		if err != nil {
			buffers.Put(buf)
			return err
		}
		x.driver.post(event{ev: iterate.Arrived{Exchange: x.Exchange, Msg: (*buf)[:n]}, buf: buf})
	}
}

// Ports that queries may leave from: all unprivileged ones (RFC 5452 §9.2: "as
// large as possible"), not only the system's ephemeral range.
const (
	firstPort = 1024
	ports     = 65536 - firstPort
	// portTries is how many ports that are taken are met with before the system
	// chooses one: 8. With half of all ports taken that happens once in 256.
	portTries = 8
)

// dialUDP returns a socket connected to to, from a random port. Being connected,
// it gets nothing from elsewhere, and hears of ICMP errors.
func dialUDP(to netip.AddrPort) (net.Conn, error) {
	remote := net.UDPAddrFromAddrPort(to)
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	for range portTries {
		conn, err := net.DialUDP(network, &net.UDPAddr{Port: randomPort()}, remote)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return connOrNil(conn, err)
		}
	}
	return connOrNil(net.DialUDP(network, nil, remote))
}

// connOrNil keeps a nil pointer from becoming an interface that is not nil.
func connOrNil(conn *net.UDPConn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func randomPort() int {
	var octets [4]byte
	cryptorand.Read(octets[:]) // never fails
	return firstPort + int(binary.BigEndian.Uint32(octets[:])%ports)
}

// explain makes of an error of the network what the machine is to know: that a
// whole address family is out of reach, that this machine is at its limits, or
// what the system said, without the addresses, which the machine adds.
func explain(err error) error {
	for _, none := range []error{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT} {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", iterate.ErrNoRoute, none)
		}
	}
	for _, local := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EACCES} {
		if errors.Is(err, local) {
			return fmt.Errorf("%w: %w", iterate.ErrLocal, local)
		}
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosedEarly
	}
	return err
}
