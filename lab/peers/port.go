package peers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// firstPort and lastPort bound the ports that FreePort gives out. They lie below those that
// systems give to whoever asks for any (32768 and up on Linux, 49152 elsewhere), so that no
// connection of another program gets one between here and the server that is to listen.
const (
	firstPort = 20000
	lastPort  = 32000
)

// reserved are the locks that say whose a port is. They are held until the process ends, so
// that two runs of tests at once, or two tests of one, never get the same.
var reserved struct {
	mu    sync.Mutex // guards locks
	locks []*os.File
}

// FreePort returns a loopback address at which nobody listens, by UDP and TCP, and which
// no other caller gets while this process lives.
func FreePort() (netip.AddrPort, error) {
	folder := filepath.Join(os.TempDir(), "pharos-test-ports")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return netip.AddrPort{}, err
	}
	const count = lastPort - firstPort
	start := rand.IntN(count)
	for i := range count {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(firstPort+(start+i)%count))
		lock, err := os.OpenFile(filepath.Join(folder, strconv.Itoa(int(addr.Port()))), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return netip.AddrPort{}, err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !isFree(addr) {
			lock.Close()
			continue
		}
		reserved.mu.Lock()
		reserved.locks = append(reserved.locks, lock)
		reserved.mu.Unlock()
		return addr, nil
	}
	return netip.AddrPort{}, fmt.Errorf("no port from %d to %d is free for UDP and TCP", firstPort, lastPort-1)
}

func isFree(addr netip.AddrPort) bool {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}
