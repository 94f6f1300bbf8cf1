package dnsload

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// slot is a question under way. Its number is in the low bits of the ID.
type slot struct {
	id    uint16
	taken bool
	query int32
	sent  int64 // nanoseconds since the run began
}

// flow is one socket, with everything its two system calls need in place.
type flow struct {
	fd      int
	window  int
	slots   []slot
	free    []int // slots
	turns   uint16
	checked int64 // when expire was last called

	in, out   []mmsghdr
	inBuf     []byte
	outBuf    []byte
	inIovecs  []unix.Iovec
	outIovecs []unix.Iovec
}

// receiveBuffer is asked for per socket, in octets: more than a window of answers.
const receiveBuffer = 1 << 19

func newFlow(cfg Config) (*flow, error) {
	family := unix.AF_INET
	var addr unix.Sockaddr = &unix.SockaddrInet4{Addr: cfg.Server.Addr().Unmap().As4(), Port: int(cfg.Server.Port())}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // the default holds a window of small answers
	if err := unix.Connect(fd, addr); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	w := cfg.Window
	f := &flow{
		fd: fd, window: w, slots: make([]slot, w),
		in: make([]mmsghdr, w), out: make([]mmsghdr, w),
		inBuf: make([]byte, w*maxResponse), outBuf: make([]byte, w*maxQuery),
		inIovecs: make([]unix.Iovec, w), outIovecs: make([]unix.Iovec, w),
	}
	for i := range w {
		f.free = append(f.free, i)
		f.inIovecs[i].Base = &f.inBuf[i*maxResponse]
		f.inIovecs[i].SetLen(maxResponse)
		f.in[i].hdr.Iov = &f.inIovecs[i]
		f.in[i].hdr.SetIovlen(1)
		f.outIovecs[i].Base = &f.outBuf[i*maxQuery]
		f.out[i].hdr.Iov = &f.outIovecs[i]
		f.out[i].hdr.SetIovlen(1)
	}
	return f, nil
}

func (f *flow) busy() int { return f.window - len(f.free) }

// receive takes what has come, without waiting.
func (f *flow) receive() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(f.fd),
		uintptr(unsafe.Pointer(&f.in[0])), uintptr(len(f.in)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("the server is gone: %w", os.NewSyscallError("recvmmsg", errno))
	}
}

// message returns the i-th datagram of the last receive.
func (f *flow) message(i int) []byte {
	return f.inBuf[i*maxResponse : i*maxResponse+int(f.in[i].len)]
}

// rearm makes the first n places ready for the next receive.
func (f *flow) rearm(n int) {
	for i := range n {
		f.in[i].hdr.Flags, f.in[i].len = 0, 0
	}
}

// settle frees the slot that msg answers and returns its query.
func (f *flow) settle(msg []byte) (query int, ok bool) {
	if len(msg) < 2 {
		return 0, false
	}
	id := binary.BigEndian.Uint16(msg)
	i := int(id) & (f.window - 1)
	s := &f.slots[i]
	if !s.taken || s.id != id {
		return 0, false
	}
	s.taken = false
	f.free = append(f.free, i)
	return int(s.query), true
}

// expire frees the slots of questions sent before a time and returns how many.
func (f *flow) expire(before int64) int {
	lost := 0
	for i := range f.slots {
		if s := &f.slots[i]; s.taken && s.sent < before {
			s.taken = false
			f.free = append(f.free, i)
			lost++
		}
	}
	return lost
}

// send asks the next n questions in free slots and returns how many the kernel
// took.
func (f *flow) send(g *Generator, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	queries := g.cfg.Queries
	for k := range n {
		i := f.free[len(f.free)-1-k]
		s := &f.slots[i]
		f.turns++
		s.id = f.turns<<6 | uint16(i)
		s.query, s.sent = int32((g.next+k)%len(queries)), g.now
		msg := queries[s.query].Msg
		buf := f.outBuf[k*maxQuery:]
		copy(buf, msg)
		binary.BigEndian.PutUint16(buf, s.id)
		f.outIovecs[k].SetLen(len(msg))
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(f.fd),
		uintptr(unsafe.Pointer(&f.out[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	sent := int(r)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS:
		sent = 0
	default:
		return 0, fmt.Errorf("the server is gone: %w", os.NewSyscallError("sendmmsg", errno))
	}
	for k := range sent {
		f.slots[f.free[len(f.free)-1-k]].taken = true
	}
	f.free = f.free[:len(f.free)-sent]
	g.next = (g.next + sent) % len(queries)
	return sent, nil
}
