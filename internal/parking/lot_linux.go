package parking

import (
	"os"

	"golang.org/x/sys/unix"
)

// watcher is what a Lot has of the system: an epoll instance, and an event to end by.
type watcher struct {
	epoll, bell int
	place       *Place // of epoll
}

func (w *watcher) open() (err error) {
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(w.epoll)
		return os.NewSyscallError("eventfd", err)
	}
	if err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, w.bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.bell)}); err == nil {
		w.place, err = New(w.epoll)
	}
	if err != nil {
		unix.Close(w.epoll)
		unix.Close(w.bell)
	}
	return err
}

// arm has fd be told of once.
func (w *watcher) arm(fd int) bool {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
	err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &event)
	if err == unix.EEXIST { // it was told of before
		err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, fd, &event)
	}
	return err == nil
}

func (w *watcher) disarm(fd int) {
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil) // closing it does so, too
}

// run calls told for each descriptor that has something, until stop.
func (w *watcher) run(told func(fd int)) {
	var events [128]unix.EpollEvent
	for {
		n, err := unix.EpollWait(w.epoll, events[:], 0)
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == w.bell {
				return
			}
			told(int(e.Fd))
		}
		if n <= 0 && err != unix.EINTR {
			w.place.Wait(-1)
		}
	}
}

func (w *watcher) stop() { _, _ = unix.Write(w.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (w *watcher) close() {
	w.place.Close()
	unix.Close(w.epoll)
	unix.Close(w.bell)
}
