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
func FreePort() (netip.AddrPort, error) { return FreePorts(1) }

// FreePorts returns the first of so many such addresses with ports in a row.
func FreePorts(count int) (first netip.AddrPort, err error) {
	folder := filepath.Join(os.TempDir(), "pharos-test-ports")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return netip.AddrPort{}, err
	}
	ranges := (lastPort - firstPort) / count
	start := rand.IntN(ranges)
	for i := range ranges {
		first := firstPort + (start+i)%ranges*count
		locks, err := reserve(folder, first, count)
		if err != nil {
			return netip.AddrPort{}, err
		}
		if len(locks) < count {
			release(locks)
			continue
		}
		reserved.mu.Lock()
		reserved.locks = append(reserved.locks, locks...)
		reserved.mu.Unlock()
		return loopback(first), nil
	}
	return netip.AddrPort{}, fmt.Errorf("no %d ports in a row from %d to %d are free for UDP and TCP", count, firstPort, lastPort-1)
}

// reserve returns the locks of ports, up to the first that is not free.
func reserve(folder string, first, count int) (locks []*os.File, err error) {
	for port := first; port < first+count; port++ {
		lock, err := os.OpenFile(filepath.Join(folder, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			release(locks)
			return nil, err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !isFree(loopback(port)) {
			lock.Close()
			return locks, nil
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

func release(locks []*os.File) {
	for _, lock := range locks {
		lock.Close()
	}
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
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
