package l4proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// door is one address at which clients are let in. Its fields but to are guarded by Proxy.mu.
type door struct {
	proxy *Proxy // constant
	place        // constant
	to    atomic.Pointer[running]

	tcp     *net.TCPListener
	udp     *net.UDPConn
	bound   netip.AddrPort // with the port that 0 has become
	served  bool
	trouble string
}

func (d *door) leadsTo(r *running) { d.to.Store(r) }

func (d *door) isOpen() bool { return d.tcp != nil || d.udp != nil }

func (d *door) about() string { return d.to.Load().name + " " + d.address.String() }

// open binds d. A failure is told, and tried again at the next beat. Proxy.mu is held.
func (p *Proxy) open(d *door) {
	if p.draining {
		return
	}
	var err error
	if lc := listening(); d.network == "tcp" {
		var l net.Listener
		if l, err = lc.Listen(context.Background(), "tcp", d.address.String()); err == nil {
			d.tcp = l.(*net.TCPListener)
			d.bound = l.Addr().(*net.TCPAddr).AddrPort()
		}
	} else {
		var l net.PacketConn
		lc = net.ListenConfig{}
		lc.Control = func(_, _ string, c syscall.RawConn) error { return askDestination(c, d.address.Addr()) }
		if l, err = lc.ListenPacket(context.Background(), "udp", d.address.String()); err == nil {
			d.udp = l.(*net.UDPConn)
			d.bound = d.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		}
	}
	text := ""
	if err != nil {
		text = fmt.Sprintf("stream %s: %s %s: %v; %s; it is tried again each second", d.to.Load().name, d.network, d.address, reasonOf(err), remedyOf(err, d.place))
	}
	if text != d.trouble {
		d.trouble = text
		p.cfg.Problem(d.about(), text)
	}
	if err == nil && p.serving {
		p.start(d)
	}
}

// start has d let clients in. Proxy.mu is held.
func (p *Proxy) start(d *door) {
	switch {
	case d.served:
		return
	case d.tcp != nil:
		l := d.tcp
		p.running.Go(func() { p.accept(d, l) })
	case d.udp != nil:
		l := d.udp
		p.running.Go(func() { p.receive(d, l) })
	default:
		return
	}
	d.served = true
}

// close ends d; what came in by it goes on. Proxy.mu is held.
func (d *door) close() {
	if d.tcp != nil {
		d.tcp.Close()
	}
	if d.udp != nil {
		if r := d.to.Load(); r.udp != nil {
			r.udp.evictBy(d)
		}
		d.udp.Close()
	}
	d.forget()
}

// forget takes back what was said to be the matter. Proxy.mu is held.
func (d *door) forget() {
	if d.trouble != "" {
		d.trouble = ""
		d.proxy.cfg.Problem(d.about(), "")
	}
}

func reasonOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func remedyOf(err error, at place) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("another program listens on %s port %d; stop it (\"ss -lntup\" shows which), or choose another port", at.network, at.address.Port())
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("port %d needs a privilege; run with CAP_NET_BIND_SERVICE, or choose a port from 1024 on", at.address.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this machine has no address %s; choose one that \"ip address\" shows, or 0.0.0.0 for all", at.address.Addr())
	}
	return "check the address"
}

// Pauses after an accept that failed for want of something that others will give back,
// such as file descriptors.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// accept lets connections in until l is closed.
func (p *Proxy) accept(d *door, l *net.TCPListener) {
	pause := time.Duration(0)
	for {
		conn, err := l.AcceptTCP()
		if err == nil {
			pause = 0
			p.take(d.to.Load(), conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, leastPause), mostPause)
		p.cfg.Log.Warn("a connection could not be taken", "stream", d.to.Load().name, "error", reasonOf(err), "pause", pause)
		select {
		case <-p.stop:
			return
		case <-time.After(pause):
		}
	}
}
