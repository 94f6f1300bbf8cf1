package doorway

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestListenErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(l.Addr().(*net.TCPAddr).AddrPort())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "another program") {
		t.Errorf("port in use: got %v", err)
	}
	_, err = Listen(netip.MustParseAddrPort("192.0.2.1:80"))
	if err == nil || !strings.Contains(err.Error(), "no address 192.0.2.1") {
		t.Errorf("foreign address: got %v", err)
	}
}
