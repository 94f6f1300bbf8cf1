package l4proxy

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listening returns how clients are listened for: what they have at the listener the connections that it gives have
// from the beginning, without a call for each.
func listening() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			for _, o := range [...]struct{ level, option, value int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.SOL_TCP, unix.TCP_KEEPIDLE, 15}, {unix.SOL_TCP, unix.TCP_KEEPINTVL, 15}, {unix.SOL_TCP, unix.TCP_KEEPCNT, 9},
			} {
				if err == nil {
					err = unix.SetsockoptInt(int(fd), o.level, o.option, o.value)
				}
			}
		}); failed != nil {
			return failed
		}
		return err
	}}
}

// pipeSize is how many octets of a flow are in the kernel between its two sides at most.
const pipeSize = 256 << 10

// pipe is memory of the kernel that octets of a flow wait in.
type pipe struct {
	r, w    int
	cleanup runtime.Cleanup
}

// pipes are those that are not in use. There are as many as flows have had octets for at
// once; they go with the collector.
var pipes = sync.Pool{}

func openPipe() *pipe {
	if p, ok := pipes.Get().(*pipe); ok {
		return p
	}
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil // there are too many open: octets go through memory
	}
	unix.FcntlInt(uintptr(ends[0]), unix.F_SETPIPE_SZ, pipeSize) // or the size that it has
	p := &pipe{r: ends[0], w: ends[1]}
	p.cleanup = runtime.AddCleanup(p, closePipe, ends)
	return p
}

func closePipe(ends [2]int) {
	unix.Close(ends[0])
	unix.Close(ends[1])
}

// close closes what somebody else is not to have.
func (p *pipe) close() {
	p.cleanup.Stop()
	closePipe([2]int{p.r, p.w})
}

// passing is a flow between two TCP sockets. A wait holds neither memory nor a pipe: both are
// taken when there is something to carry.
type passing struct {
	room *room
	pipe *pipe // nil: octets go through room
	left int   // octets in pipe or room that dst has to take
	at   int   // where they begin in room
	err  error

	yielded yielding
}

// pass carries octets between two TCP sockets: small ones through memory, which is one copy and
// no call more; a room that is filled is a sign of many, and these go through a pipe, page by
// page (splice).
func (f *flow) pass(src, dst *net.TCPConn) (atSrc bool, err error) {
	from, err := src.SyscallConn()
	if err != nil {
		return true, err
	}
	to, err := dst.SyscallConn()
	if err != nil {
		return false, err
	}
	p := &passing{yielded: yielding{without: 1}} // a short connection has nothing more to read
	defer p.release()
	read, write := p.read, p.write
	for {
		if err := from.Read(read); err != nil {
			return true, err
		}
		if p.err != nil || p.left == 0 {
			if p.err == io.EOF {
				return true, nil
			}
			return true, p.err
		}
		n := p.left
		if err := to.Write(write); err != nil {
			return false, err
		}
		if p.err != nil {
			return false, p.err
		}
		f.c.carried(f.up, n)
		switch {
		case p.pipe == nil && n == roomSize:
			p.pipe = openPipe()
		case p.pipe == nil:
			p.yielded.yield()
		}
	}
}

// yielding lets others run before a read that would find nothing yet: when they have had their turn, the next octets
// are there, which saves an empty read and a wait. Whether that is so depends on how many others have something to
// do, and shows: for each time that it was in vain, twice as many reads follow as before without.
type yielding struct {
	yielded bool // before the read that comes
	without int  // how many reads come before the next time
	after   int  // how many do after that if it is in vain
}

// mostWithout is how many reads are made between two tries at most: a yield in vain costs less than a read does.
const mostWithout = 64

func (y *yielding) yield() {
	if y.without > 0 {
		y.without--
		return
	}
	y.yielded = true
	runtime.Gosched()
}

// learn takes in whether a read has found something.
func (y *yielding) learn(found bool) {
	switch {
	case !y.yielded:
		return
	case found:
		y.after = 0
	default:
		y.after = min(2*y.after+1, mostWithout)
	}
	y.yielded, y.without = false, y.after
}

// read takes what src has; false: nothing yet.
func (p *passing) read(fd uintptr) bool {
	if p.pipe != nil {
		n, err := splice(int(fd), p.pipe.w, pipeSize)
		if err != unix.EAGAIN {
			return p.has(n, err)
		}
		p.release() // that was all for now
	}
	if p.room == nil {
		p.room = rooms.Get().(*room)
	}
	n, errno := transfer(syscall.SYS_RECVFROM, fd, p.room.octets[:], syscall.MSG_DONTWAIT)
	p.yielded.learn(errno == 0)
	switch errno {
	case 0:
		return p.has(n, nil)
	case syscall.EAGAIN:
		p.release()
		return false
	}
	return p.has(0, errno)
}

func (p *passing) has(n int, err error) bool {
	p.left, p.at, p.err = n, 0, err
	if n == 0 && err == nil {
		p.err = io.EOF
	}
	return true
}

// write gives dst what is there; false: it takes nothing more yet.
func (p *passing) write(fd uintptr) bool {
	for p.left > 0 {
		var n int
		var err error
		if p.pipe != nil {
			n, err = splice(p.pipe.r, int(fd), p.left)
		} else {
			var errno syscall.Errno
			if n, errno = transfer(syscall.SYS_SENDTO, fd, p.room.octets[p.at:p.at+p.left], syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL); errno != 0 {
				err = errno
			}
		}
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			p.err = err
			return true
		}
		p.left, p.at = p.left-n, p.at+n
	}
	return true
}

// release gives back memory and pipe. What a pipe still has is nobody's: it is closed.
func (p *passing) release() {
	if p.room != nil {
		rooms.Put(p.room)
		p.room = nil
	}
	if p.pipe != nil {
		if p.left == 0 {
			pipes.Put(p.pipe)
		} else {
			p.pipe.close()
		}
		p.pipe = nil
	}
}

func splice(from, to, most int) (int, error) {
	return again(func() (int, error) {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// transfer is recv(2) or send(2) without waiting: a socket has a shorter way to them than to read(2) and write(2), which
// look first whether it is a file, and what does not wait need not be told to the runtime.
func transfer(call, fd uintptr, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// again calls a system call until no signal interrupts it.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
