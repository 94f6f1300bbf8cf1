package doorway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Listen opens a TCP listener for the gateway.
func Listen(address netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", address.String())
	if err == nil {
		return l, nil
	}
	return nil, ListenError("TCP", address, err)
}

// ListenError says what is wrong with an address, and what to do about it.
func ListenError(transport string, address netip.AddrPort, err error) error {
	return fmt.Errorf("%s: %w; %s", address, unwrapListen(err), remedyOf(transport, err, address))
}

func unwrapListen(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func remedyOf(transport string, err error, address netip.AddrPort) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("another program listens on %s port %d; stop it (\"ss -lnp\" shows which), or choose another port", transport, address.Port())
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("port %d needs a privilege; run with CAP_NET_BIND_SERVICE, or choose a port from 1024 on", address.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this machine has no address %s; choose one that \"ip address\" shows, or 0.0.0.0 for all", address.Addr())
	}
	return "check the address"
}
