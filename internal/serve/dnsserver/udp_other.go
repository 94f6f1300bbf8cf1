//go:build !linux

package dnsserver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"pharos/internal/clock"
)

// On systems other than Linux there is one message per system call, and a socket
// bound to a wildcard answers from the address the system chooses.

// udpSocket is a bound UDP socket.
type udpSocket struct {
	conn  *net.UDPConn
	local netip.AddrPort
}

// udpWorkers returns 1: elsewhere the sockets of one port do not share its load.
func udpWorkers(int) int { return 1 }

func bindUDP(addr netip.AddrPort) (*udpSocket, error) {
	conn, err := net.ListenUDP(network(UDP, addr), net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return &udpSocket{conn: conn, local: addr}, nil
}

func (s *udpSocket) close() { s.conn.Close() }

// udpWorker is one loop.
type udpWorker struct {
	server    *Server
	sock      *udpSocket
	responder responder
	client    netip.AddrPort
	buf       [slotSize]byte

	shared   sharedCounts // atomic
	stopping atomic.Bool
	running  atomic.Bool
}

func newUDPWorker(s *Server, sock *udpSocket) *udpWorker {
	w := &udpWorker{server: s, sock: sock}
	w.responder.init(s, UDP)
	w.responder.req.from = w
	w.responder.req.Local = sock.local
	return w
}

// stop makes run end.
func (w *udpWorker) stop() {
	w.stopping.Store(true)
	w.sock.conn.SetReadDeadline(time.Now())
}

func (w *udpWorker) run() {
	defer w.running.Store(false)
	for !w.stopping.Load() {
		n, client, err := w.sock.conn.ReadFromUDPAddrPort(w.buf[:])
		switch {
		case err == nil:
			w.client = client
			w.serve(n)
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
			return
		default:
			w.shared.add(ReceiveErrors, 1)
		}
	}
}

// serve answers the message of n octets in the buffer.
func (w *udpWorker) serve(n int) {
	a := &w.responder
	a.req.Local = w.sock.local
	a.req.Now, a.req.Client = clock.Now(), netip.AddrPortFrom(w.client.Addr().Unmap().WithZone(""), w.client.Port())
	defer func() { w.shared.flush(&a.counts) }()
	if w.client.Port() == 0 {
		a.counts.events[Queries]++
		a.counts.events[Ignored]++
		return
	}
	msg := w.buf[:n]
	if proxies := w.server.proxies; proxies != nil && proxies(a.req.Client.Addr()) {
		if msg = a.fromProxy(msg, w.buf[:]); msg == nil {
			return
		}
	}
	answer, _ := a.respond(msg, w.buf[:])
	if answer == nil {
		return
	}
	if _, err := w.sock.conn.WriteToUDPAddrPort(answer, w.client); err != nil {
		a.counts.events[SendErrors]++
		return
	}
	a.counts.answered(a.req.Out.Rcode(), isTruncated(answer))
}

// returnPath implements origin.
func (w *udpWorker) returnPath() returnPath { return &udpReturn{w.sock, w.client} }

type udpReturn struct {
	sock   *udpSocket
	client netip.AddrPort
}

// sendMore implements returnPath. Deferred sees to it that it is never called.
func (p *udpReturn) sendMore([]byte) error { return ErrStream }

func (p *udpReturn) send(msg []byte) error {
	_, err := p.sock.conn.WriteToUDPAddrPort(msg, p.client)
	if errors.Is(err, net.ErrClosed) {
		return ErrShutdown
	}
	return err
}

func (p *udpReturn) abandon() {}
