package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"syscall"
)

// portTries is how often a free port is looked for that is free for UDP and TCP
// alike. Arbitrary: each try fails only when somebody has just that UDP port.
const portTries = 32

// bindPair binds addr for TCP and, workers times, for UDP. TCP comes first: it is
// what fails when another server runs there, since UDP ports can be shared.
func bindPair(addr netip.AddrPort, workers int) (*net.TCPListener, []*udpSocket, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	for try := 1; ; try++ {
		ln, err := bindTCP(addr)
		if err != nil {
			return nil, nil, ListenError(TCP, addr, err)
		}
		bound := netip.AddrPortFrom(addr.Addr(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
		sockets, err := bindUDPSockets(bound, workers)
		if err == nil {
			return ln, sockets, nil
		}
		ln.Close()
		if addr.Port() != 0 || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, ListenError(UDP, bound, err)
		}
	}
}

func bindTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // DNS moves no data worth a second path
	ln, err := lc.Listen(context.Background(), network(TCP, addr), addr.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func bindUDPSockets(addr netip.AddrPort, workers int) ([]*udpSocket, error) {
	var sockets []*udpSocket
	for range workers {
		sock, err := bindUDP(addr)
		if err != nil {
			for _, s := range sockets {
				s.close()
			}
			return nil, err
		}
		sockets = append(sockets, sock)
	}
	return sockets, nil
}

// network returns the network's name for package net. The number keeps an IPv6
// wildcard from taking IPv4 too (IPV6_V6ONLY).
func network(t Transport, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return t.String() + "4"
	}
	return t.String() + "6"
}

// listenKeys are the keys of the configuration that name the addresses.
var listenKeys = [numTransports]string{"listen.dns", "listen.dns", "listen.dot", "listen.doh", "listen.doh3", "listen.doq"}

// overlap returns an error when two of our own addresses stand in each other's way,
// which the kernel would report as somebody else's doing.
func overlap(t Transport, addrs []netip.AddrPort) error {
	for i, a := range addrs {
		for _, b := range addrs[:i] {
			x, y := a.Addr().Unmap(), b.Addr().Unmap()
			covers := x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
			if covers && a.Port() == b.Port() && a.Port() != 0 {
				return fmt.Errorf("listen on %v: %v is in the list too and takes its queries: remove one of them from %s", a, b, listenKeys[t])
			}
		}
	}
	return nil
}

// ListenError says where binding failed, why, and what to do about it.
func ListenError(t Transport, addr netip.AddrPort, err error) error {
	flag, key := "t", listenKeys[t]
	if t == UDP || t == DoQ || t == DoH3 {
		flag = "u"
	}
	remedy := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = fmt.Sprintf("another program has this port; find it with `ss -ln%sp sport = :%d` (as root), stop it, or choose another address in %s", flag, addr.Port(), key)
	case errors.Is(err, fs.ErrPermission) && addr.Port() < 1024:
		remedy = "ports below 1024 need a privilege: run as root, or `setcap cap_net_bind_service=+ep` the pharos binary, or choose a port above 1023 in " + key
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = fmt.Sprintf("this machine does not have that address (see `ip address`); correct it in %s, or use a wildcard such as 0.0.0.0 or [::]", key)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		remedy = "this machine's kernel does not speak this kind of address; take it out of " + key
	default:
		return fmt.Errorf("listen on %v/%v: %w", addr, t, err)
	}
	return fmt.Errorf("listen on %v/%v: %w: %s", addr, t, reason(err), remedy)
}

// reason returns the system's error number in err, which says it in the fewest
// words.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
