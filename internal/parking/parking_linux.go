package parking

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Place is where the reader of one descriptor waits. Make it with New.
type Place struct {
	// Constant after New.
	watched int
	fd      int                            // an epoll instance that watches it
	file    *os.File                       // fd, for the runtime's poller
	park    func(func(uintptr) bool) error // waits until its argument reports true
	look    func(uintptr) bool             // reports whether fd has something

	alarm time.Time // when Wait ends at the latest; the zero Time: never
}

// New returns a Place to wait for fd, which is to stay open until Close.
func New(fd int) (*Place, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // or os takes it for nothing that can be waited for
		unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Place{watched: fd, fd: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
	if err := p.open(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Place) open() error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil { // the poller has not taken it
		return err
	}
	var events [1]unix.EpollEvent
	p.park = raw.Read
	p.look = func(fd uintptr) bool {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), 1, 0, 0, 0)
		return errno == 0 && n > 0
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, p.watched, &unix.EpollEvent{Events: unix.EPOLLONESHOT}))
}

// Wait returns when the descriptor can be read, or has ended, and after d at the latest,
// if that is not less than 0. It may return early, and does when the descriptor is closed.
func (p *Place) Wait(d time.Duration) {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT}
	if _, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_MOD, uintptr(p.watched), uintptr(unsafe.Pointer(&event)), 0, 0); errno != 0 {
		return // it is closed, as who reads from it will be told
	}
	p.setAlarm(d)
	_ = p.park(p.look) // an error says that it is time
}

// setAlarm has Wait end after d. An earlier alarm is left as it is: most are put off again
// and again, and to wake once too often costs less than to set it each time.
func (p *Place) setAlarm(d time.Duration) {
	if d < 0 && p.alarm.IsZero() {
		return
	}
	now := time.Now()
	isAhead, at := p.alarm.After(now), time.Time{}
	if d >= 0 {
		at = now.Add(d)
	}
	if isAhead && (d < 0 || !at.Before(p.alarm)) {
		return
	}
	p.alarm = at
	_ = p.file.SetReadDeadline(at)
}

// Close gives the Place up. Nobody waits in it.
func (p *Place) Close() { p.file.Close() }
