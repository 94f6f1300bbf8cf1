package outbound

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// This file is how sockets are used again without the ports of queries getting fewer.
//
// A socket that was bound to a port has it until it is closed. One that was not is given
// one by the system when it is connected, and loses it when it is disconnected (connect to
// no address): then it is as new, and opening, binding, watching and closing are saved,
// which is half of a query's time in the system. But the system chooses out of its own
// range, by default 28,232 ports, fewer than half of those that there are. So a port is
// drawn out of all of them for every query, and only if it falls into the system's range
// the choice in there is left to the system, on a socket that is kept. All ports are as
// likely as they were (RFC 5452 §9.2), no port is used twice in a row but by chance, and
// each is gone with its answer.

// portRange is a range of ports, both ends of it; the zero portRange is empty.
type portRange struct{ first, last int }

func (r portRange) has(port int) bool { return port >= r.first && port <= r.last && r.last > 0 }

// portRangeFile has the range that the system chooses ports from, of both families.
const portRangeFile = "/proc/sys/net/ipv4/ip_local_port_range"

// systemPorts returns the range that the system chooses ports from, as it is now; an
// empty one if it is not known, or has privileged ports, which no query leaves from.
func systemPorts() portRange {
	text, err := os.ReadFile(portRangeFile)
	if err != nil {
		return portRange{}
	}
	return parsePortRange(string(text))
}

func parsePortRange(text string) portRange {
	var r portRange
	if n, err := fmt.Sscan(text, &r.first, &r.last); n != 2 || err != nil || r.first < firstPort || r.last >= firstPort+ports {
		return portRange{}
	}
	return r
}

// keptSocket is a socket without a port of its own choice.
type keptSocket struct {
	fd     int
	number uint64 // of the exchange that has it; 0: none
}

// keptMost is how many such sockets wait for their next use: 256, as many as an eighth of
// the exchanges that there may be. What is above it is closed.
const keptMost = 256

// keptFlag marks the number of a kept socket among those of exchanges.
const keptFlag = 1 << 63

// exchangeOf returns the exchange that an event is for; 0: none. Its number is that of an
// exchange, or of a kept socket.
func (n *epoll) exchangeOf(number uint64) uint64 {
	if number&keptFlag == 0 {
		return number
	}
	if now := n.kept[number&^keptFlag].number; now != 0 {
		return now
	}
	return noExchange // it came when the exchange was over
}

// noExchange is the number of no exchange.
const noExchange = keptFlag - 1

func familyIndex(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

// sendKept is send on a port that the system chooses.
func (n *epoll) sendKept(x *exchange, msg []byte) error {
	at, errno := n.takeKept(x.to.Addr())
	if errno != 0 {
		return errno
	}
	s := &n.kept[at]
	s.number, x.socket, x.kept = x.number, s.fd+1, at+1
	if errno = n.connect(uintptr(s.fd), x.to); errno == 0 {
		errno = transmit(uintptr(s.fd), msg)
	}
	if errno != 0 {
		return errno // end closes it
	}
	return nil
}

// takeKept returns a kept socket that no exchange has, a new one if need be.
func (n *epoll) takeKept(to netip.Addr) (at int, errno unix.Errno) {
	spare := &n.spare[familyIndex(to)]
	if last := len(*spare) - 1; last >= 0 {
		at = (*spare)[last]
		*spare = (*spare)[:last]
		return at, 0
	}
	fd, errno := newSocket(to)
	if errno != 0 {
		return 0, errno
	}
	at = n.freePlace()
	if errno := n.watch(fd, keptFlag|uint64(at)); errno != 0 {
		unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		n.free = append(n.free, at)
		return 0, errno
	}
	n.kept[at] = keptSocket{fd: int(fd)}
	return at, 0
}

// freePlace returns a place in kept that is free.
func (n *epoll) freePlace() int {
	if last := len(n.free) - 1; last >= 0 {
		at := n.free[last]
		n.free = n.free[:last]
		return at
	}
	n.kept = append(n.kept, keptSocket{})
	return len(n.kept) - 1
}

// giveBack takes the port from the socket of x, which is kept for the next query. One that
// has not brought a reply is closed: an error or a late reply may be in it yet.
func (n *epoll) giveBack(x *exchange) {
	at := x.kept - 1
	s := &n.kept[at]
	s.number = 0
	spare := &n.spare[familyIndex(x.to.Addr())]
	if x.heard && len(*spare) < keptMost && n.disconnect(uintptr(s.fd)) == 0 {
		*spare = append(*spare, at)
		return
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.fd), 0, 0)
	s.fd = -1
	n.free = append(n.free, at)
}

// disconnect takes the server and the port from a socket that the system has given it.
func (n *epoll) disconnect(fd uintptr) unix.Errno {
	addr, size := n.sockaddr(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	n.addr4.Family = unix.AF_UNSPEC
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(addr), size)
	return errno
}

// closeKept closes the sockets that no exchange has.
func (n *epoll) closeKept() {
	for _, list := range n.spare {
		for _, at := range list {
			unix.Close(n.kept[at].fd)
		}
	}
	n.spare = [2][]int{}
}
