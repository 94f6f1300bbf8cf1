package probe

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"pharos/internal/traffic/health"
)

// A member's program sees nothing of TCP checks: the handshake is reset before its end. Connections come
// to it in their order, and the first one that does is ours.
func TestConnectorLeavesNothing(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		defer l.Close()
		c := newConnector(func(*target, syscall.Errno) {})
		defer c.close()
		probed := newTarget(health.Target{Address: netip.MustParseAddrPort(l.Addr().String()), Check: tcpCheck})
		for i := range 100 {
			if errno := c.start(probed); errno != 0 {
				t.Fatalf("%s: probe %d: %v", address, i, errno)
			}
		}
		own, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		first, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if got, want := first.RemoteAddr().String(), own.LocalAddr().String(); got != want {
			t.Errorf("the first connection is from %s, want %s: probes came to be connections", got, want)
		}
	}
}

// What this machine is short of says nothing of the member, what the network says does: each by its own name.
// All ports of a network that has two are in use; nothing leads to the other addresses.
func TestConnectorShortOfPorts(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40001"), 0); err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:50000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newConnector(func(*target, syscall.Errno) {})
	defer c.close()
	try := func(address string) outcome {
		to := newTarget(health.Target{Address: netip.MustParseAddrPort(address), Check: tcpCheck})
		return to.connected(c.start(to))
	}
	if got := try("127.0.0.1:50000"); got.verdict != good {
		t.Errorf("with ports: %+v", got)
	}
	for range 2 {
		held, err := net.Dial("tcp4", "127.0.0.1:50000")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
	}
	for address, want := range map[string]outcome{
		"127.0.0.1:50000": {verdict: unsent, cause: "cannot assign requested address"},
		"127.0.0.1:50001": {cause: "connection refused"},
		"192.0.2.1:80":    {cause: "network is unreachable"},
	} {
		if got := try(address); got.verdict != want.verdict || got.cause != want.cause {
			t.Errorf("%s: %+v, want %+v", address, got, want)
		}
	}
}

// A router that says that nobody is there is told of in its own words, also by a connection that is waited for.
func TestConnectorUnreachable(t *testing.T) {
	if !inOwnNetwork(t, "route add unreachable 192.0.2.1", "link add name far type veth peer name near", "link set far up", "link set near up", "addr add 198.51.100.1/24 dev far") {
		return
	}
	told := make(chan syscall.Errno, 1)
	c := newConnector(func(_ *target, errno syscall.Errno) { told <- errno })
	ended := make(chan struct{}) // closed when poll has ended
	go func() { c.poll(); close(ended) }()
	for _, address := range []string{"192.0.2.1:80", "198.51.100.2:80"} { // the second: nobody answers ARP
		to := newTarget(health.Target{Address: netip.MustParseAddrPort(address), Check: tcpCheck})
		errno := c.start(to)
		if errno == errPending {
			select {
			case errno = <-told:
			case <-time.After(time.Minute):
				t.Fatalf("%s: nothing was told", address)
			}
		}
		if got := to.connected(errno); got.verdict != bad || got.cause != "no route to host" {
			t.Errorf("%s: %+v, want no route to host", address, got)
		}
	}
	c.close()
	<-ended
}

// inOwnNetwork runs the test once more in a network namespace, and reports whether it is there already, with the
// loopback, and what commands of ip(8) set up.
func inOwnNetwork(t *testing.T, commands ...string) bool {
	t.Helper()
	const inside = "PHAROS_TEST_NETWORK"
	if os.Getenv(inside) == "" {
		self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		self.Env = append(os.Environ(), inside+"=1")
		self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := self.CombinedOutput(); errors.Is(err, syscall.EPERM) {
			t.Skip("making a network namespace takes root")
		} else if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return false
	}
	for _, command := range append([]string{"link set lo up"}, commands...) {
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "ip "+command).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", command, err, out)
		}
	}
	return true
}
