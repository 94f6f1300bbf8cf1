package outbound

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pharos/internal/parking"
	"pharos/internal/resolver/seats"
)

// batchSize is how many sockets that have something one system call tells of: 64,
// arbitrary. With as many there are always questions to be looked at in between.
const batchSize = 64

// epoll carries datagrams with seven system calls each, all made by the loop:
// socket, bind, connect, epoll_ctl, send; recv, close; or, on a port that the system has
// chosen, with four, on a socket that it keeps: connect, send; recv, disconnect (see
// keep). And one epoll_wait for as many of them as have something.
//
// A call that cannot block is made without telling the scheduler, which would cost
// as much again as the shorter ones of them. The loop waits in no call: it is parked.
type epoll struct {
	// Constant after newEpoll.
	fd    int
	place *parking.Place
	open  *seats.Table[*exchange] // the loop's
	port  func() int              // a random one
	own   portRange               // of the ports that the system chooses

	// Owned by the loop.
	events    [batchSize]unix.EpollEvent
	at, count int // events[at:count] are to be looked at
	buf       [udpBuffer]byte
	addr4     unix.RawSockaddrInet4
	addr6     unix.RawSockaddrInet6
	from      unix.RawSockaddrInet6 // of what was received
	kept      []keptSocket
	spare     [2][]int // of kept, by family: those that no exchange has
	free      []int    // of kept: without a socket

	mu   sync.Mutex // guards bell
	bell int        // an eventfd; less than 0: closed
}

// newDatagrams returns what costs least here. If there is no epoll, because the limit
// of file descriptors has been reached, it is portable, which has to wait for them as well
// but does not need one of its own.
func newDatagrams(open *seats.Table[*exchange], port func() int) datagrams {
	n, err := newEpoll(open, port)
	if err != nil {
		return newPortable(open, port)
	}
	return n
}

func newEpoll(open *seats.Table[*exchange], port func() int) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	n := &epoll{fd: fd, bell: bell, open: open, port: port, own: systemPorts()}
	if err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN}); err == nil {
		n.place, err = parking.New(fd)
	}
	if err != nil {
		unix.Close(bell)
		unix.Close(fd)
		return nil, err
	}
	return n, nil
}

func (n *epoll) send(x *exchange, to netip.AddrPort, msg []byte) error {
	x.to = to
	port := n.port()
	if n.own.has(port) {
		return n.sendKept(x, msg)
	}
	fd, errno := newSocket(to.Addr())
	if errno != 0 {
		return errno
	}
	if errno = n.begin(fd, x, port, msg); errno != 0 {
		unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		return errno
	}
	x.socket = int(fd) + 1
	return nil
}

// newSocket opens a socket for queries to an address.
func newSocket(to netip.Addr) (fd uintptr, errno unix.Errno) {
	family := uintptr(unix.AF_INET)
	if to.Is6() {
		family = unix.AF_INET6
	}
	fd, _, errno = unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	return fd, errno
}

// begin connects a socket, from a port or one drawn in its place, and sends.
func (n *epoll) begin(fd uintptr, x *exchange, port int, msg []byte) unix.Errno {
	if errno := n.bind(fd, x.to.Addr().Is6(), port); errno != 0 {
		return errno
	}
	if errno := n.connect(fd, x.to); errno != 0 {
		return errno
	}
	if errno := n.watch(fd, x.number); errno != 0 {
		return errno
	}
	return transmit(fd, msg)
}

// connect gives a socket its server: being connected, it gets nothing from elsewhere, and
// hears of ICMP errors.
func (n *epoll) connect(fd uintptr, to netip.AddrPort) unix.Errno {
	addr, size := n.sockaddr(to)
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(addr), size)
	return errno
}

// watch has wait tell of a socket by a number.
func (n *epoll) watch(fd uintptr, number uint64) unix.Errno {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(number), Pad: int32(number >> 32)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(n.fd), unix.EPOLL_CTL_ADD, fd, uintptr(unsafe.Pointer(&event)), 0, 0)
	return errno
}

func transmit(fd uintptr, msg []byte) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(msg))), uintptr(len(msg)), 0, 0, 0)
	return errno
}

// bind gives a socket a port: this one, or a random one if it is taken; none, if those
// it tries are taken: then connecting gives it one.
func (n *epoll) bind(fd uintptr, is6 bool, port int) (errno unix.Errno) {
	wildcard := netip.IPv4Unspecified()
	if is6 {
		wildcard = netip.IPv6Unspecified()
	}
	for range portTries {
		addr, size := n.sockaddr(netip.AddrPortFrom(wildcard, uint16(port)))
		if _, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(addr), size); errno != unix.EADDRINUSE {
			return errno
		}
		port = n.port()
	}
	return 0
}

// sockaddr returns an address as the kernel wants it, in memory that the next call
// reuses.
func (n *epoll) sockaddr(a netip.AddrPort) (unsafe.Pointer, uintptr) {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	if a.Addr().Is4() {
		n.addr4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: a.Addr().As4()}
		return unsafe.Pointer(&n.addr4), unix.SizeofSockaddrInet4
	}
	n.addr6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: a.Addr().As16(), Scope_id: scope(a.Addr().Zone())}
	return unsafe.Pointer(&n.addr6), unix.SizeofSockaddrInet6
}

// scope returns the index of an interface given by number or name; 0: it is none.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if index, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(index)
	}
	if found, err := net.InterfaceByName(zone); err == nil {
		return uint32(found.Index)
	}
	return 0
}

func (n *epoll) end(x *exchange) {
	switch {
	case x.socket == 0:
		return
	case x.kept > 0:
		n.giveBack(x)
	default: // which takes it out of epoll, too
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(x.socket-1), 0, 0)
	}
	x.socket, x.kept = 0, 0
}

func (n *epoll) wait(d time.Duration) {
	if n.take(); n.count > 0 || d == 0 {
		return
	}
	n.place.Wait(d)
	n.take()
}

// take takes in which sockets have something.
func (n *epoll) take() {
	n.at, n.count = 0, 0
	count, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(n.fd), uintptr(unsafe.Pointer(&n.events[0])), batchSize, 0, 0, 0)
	if errno == 0 { // else a signal
		n.count = int(count)
	}
}

func (n *epoll) next() (uint64, []byte, error, bool) {
	for n.at < n.count {
		event := &n.events[n.at]
		n.at++
		number := n.exchangeOf(uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32)
		if number == 0 {
			n.hear()
			continue
		}
		x := n.open.Get(number)
		if x == nil || x.socket == 0 { // ended since
			continue
		}
		size, errno := n.receive(x)
		switch errno {
		case 0:
			if n.isFrom(x.to) {
				x.heard = true
				return number, n.buf[:size], nil, true
			}
		case unix.EAGAIN, unix.EINTR: // a datagram whose checksum was wrong
		default:
			return number, nil, errno, true
		}
	}
	return 0, nil, nil, false
}

// receive takes a datagram out of the socket of x, and notes in from whose it is.
func (n *epoll) receive(x *exchange) (int, unix.Errno) {
	length := uint32(unsafe.Sizeof(n.from))
	size, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(x.socket-1), uintptr(unsafe.Pointer(&n.buf[0])), udpBuffer, 0,
		uintptr(unsafe.Pointer(&n.from)), uintptr(unsafe.Pointer(&length)))
	return int(size), errno
}

// isFrom reports whether what was received comes from a server. A socket that is connected
// gets nothing from elsewhere, but it was not connected before.
func (n *epoll) isFrom(server netip.AddrPort) bool {
	port := [2]byte{byte(server.Port() >> 8), byte(server.Port())}
	if n.from.Port != *(*uint16)(unsafe.Pointer(&port)) {
		return false
	}
	if server.Addr().Is4() {
		return (*unix.RawSockaddrInet4)(unsafe.Pointer(&n.from)).Addr == server.Addr().As4()
	}
	return n.from.Addr == server.Addr().As16()
}

// hear silences the bell.
func (n *epoll) hear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var count uint64
	unix.RawSyscall(unix.SYS_READ, uintptr(n.bell), uintptr(unsafe.Pointer(&count)), 8)
}

func (n *epoll) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bell >= 0 {
		one := uint64(1)
		unix.RawSyscall(unix.SYS_WRITE, uintptr(n.bell), uintptr(unsafe.Pointer(&one)), 8)
	}
}

func (n *epoll) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closeKept()
	unix.Close(n.bell)
	n.place.Close()
	unix.Close(n.fd)
	n.bell = -1
}
