//go:build linux

package assault

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Drain is a process that takes an attack and does nothing with it: sink KIND PORT, on 127.0.0.1. It
// accepts, reads what comes and drops it, on one thread; of attacks that wait to be cut off it closes
// the connection once there is nothing to read. So it costs its processor what the kernel does of
// an attack, and no more than any server has to. It ends when it is killed.
func Drain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the number of a kind and a port")
	}
	kind, err := strconv.Atoi(args[0])
	port, portErr := strconv.Atoi(args[1])
	if err != nil || portErr != nil || kind < 0 || kind >= len(Kinds) {
		return fmt.Errorf("%q: want the number of a kind and a port", args)
	}
	s, err := newSink(Kinds[kind].cut(), port)
	if err != nil {
		return err
	}
	return s.run()
}

// cut reports whether a gateway ends each connection of the attack.
func (k *Kind) cut() bool { return !k.kept && !k.holds }

// sink is the process.
type sink struct {
	epoll, listener int
	port            int
	cut             bool // connections that have said something
	room            []byte
}

func newSink(cut bool, port int) (*sink, error) {
	s := &sink{cut: cut, room: make([]byte, 64<<10)}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if s.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(s.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(s.listener, 4096); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	name, err := unix.Getsockname(s.listener)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	s.port = name.(*unix.SockaddrInet4).Port
	return s, s.watch(s.listener)
}

func (s *sink) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (s *sink) run() error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if int(ev.Fd) == s.listener {
				s.accept()
			} else {
				s.drain(int(ev.Fd))
			}
		}
	}
}

func (s *sink) accept() {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if s.watch(fd) != nil {
			unix.Close(fd)
		}
	}
}

// drain reads what has come on a connection.
func (s *sink) drain(fd int) {
	for said := false; ; said = true {
		n, err := unix.Read(fd, s.room)
		if err == unix.EAGAIN && !(said && s.cut) {
			return
		}
		if n <= 0 {
			unix.Close(fd)
			return
		}
	}
}
