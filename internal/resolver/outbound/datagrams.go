package outbound

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"pharos/internal/resolver/seats"
)

// datagrams carries exchanges over UDP, each with a connected socket of its own on a
// random port. Its methods are the loop's, but for wake.
type datagrams interface {
	// send opens the socket of x and sends msg.
	send(x *exchange, to netip.AddrPort, msg []byte) error
	// end closes the socket of x, if it has one.
	end(x *exchange)
	// wait waits until something has come, or wake is called, or d is over; less than
	// 0: for as long as it takes.
	wait(d time.Duration)
	// next returns what has come for an exchange that is open: a message, which is
	// valid until the next call, or why there will be none. ok is false when nothing
	// is left of what wait has seen.
	next() (number uint64, msg []byte, err error, ok bool)
	// wake ends wait. Any goroutine may call it, at any time.
	wake()
	// close gives back what no exchange has. All exchanges have ended.
	close()
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

// udpBuffer is the size of the buffers that UDP replies are read into, in octets:
// more than we offer by EDNS (1232), for servers that send more all the same. A
// larger reply is cut, and then refused by the machine as malformed.
const udpBuffer = 4096

var buffers = sync.Pool{New: func() any {
	b := make([]byte, udpBuffer)
	return &b
}}

// portable carries datagrams by package net, with a goroutine for each socket: where
// there is no epoll. It costs twice as much.
type portable struct {
	port func() int // a random one
	bell chan struct{}
	work sync.WaitGroup // goroutines that read

	taken *[]byte // of what next has returned last

	mu      sync.Mutex // guards arrived
	arrived []arrival  // oldest first
}

// arrival is what came to a socket.
type arrival struct {
	x    *exchange
	conn *net.UDPConn // which x had then
	buf  *[]byte      // nil: err
	len  int
	err  error
}

func newPortable(_ *seats.Table[*exchange], port func() int) datagrams {
	return &portable{port: port, bell: make(chan struct{}, 1)}
}

func (p *portable) send(x *exchange, to netip.AddrPort, msg []byte) error {
	conn, err := p.dial(to)
	if err != nil {
		return err
	}
	if _, err := conn.Write(msg); err != nil {
		conn.Close()
		return err
	}
	x.conn = conn
	p.work.Go(func() { p.read(x, conn) }) // ended by end, which closes conn
	return nil
}

// dial returns a socket connected to to, from a random port. Being connected, it gets
// nothing from elsewhere, and hears of ICMP errors.
func (p *portable) dial(to netip.AddrPort) (*net.UDPConn, error) {
	remote := net.UDPAddrFromAddrPort(to)
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	for range portTries {
		conn, err := net.DialUDP(network, &net.UDPAddr{Port: p.port()}, remote)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return conn, err
		}
	}
	return net.DialUDP(network, nil, remote)
}

// read reads until an error.
func (p *portable) read(x *exchange, conn *net.UDPConn) {
	for {
		buf := buffers.Get().(*[]byte)
		n, err := conn.Read(*buf)
		if err != nil {
			buffers.Put(buf)
			buf = nil
		}
		p.mu.Lock()
		p.arrived = append(p.arrived, arrival{x, conn, buf, n, err})
		p.mu.Unlock()
		p.wake()
		if err != nil {
			return
		}
	}
}

func (p *portable) end(x *exchange) {
	if x.conn != nil {
		x.conn.Close()
		x.conn = nil
	}
}

func (p *portable) wait(d time.Duration) {
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-p.bell:
	case <-over:
	}
}

func (p *portable) next() (uint64, []byte, error, bool) {
	if p.taken != nil {
		buffers.Put(p.taken)
		p.taken = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.arrived) > 0 {
		a := p.arrived[0]
		p.arrived = p.arrived[1:]
		if a.x.conn != a.conn { // it has ended since
			continue
		}
		if a.err != nil {
			return a.x.number, nil, a.err, true
		}
		p.taken = a.buf
		return a.x.number, (*a.buf)[:a.len], nil, true
	}
	return 0, nil, nil, false
}

func (p *portable) wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

func (p *portable) close() { p.work.Wait() }
