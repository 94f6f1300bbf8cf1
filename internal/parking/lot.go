package parking

import "sync"

// Lot is where many descriptors are watched for those whose they are, by one goroutine
// for all: one who waits long needs no goroutine meanwhile, whose stack is most of what an
// idle connection costs. Make it with NewLot. It may be used by several goroutines.
type Lot[T comparable] struct {
	// Constant after NewLot.
	wake  func(T)
	watch watcher
	ended sync.WaitGroup

	mu     sync.Mutex // guards all below; no other lock is taken under it
	parked map[int]T
	closed bool
}

// NewLot returns an empty Lot. It calls wake, on a goroutine of its own that all wait for,
// with who has parked a descriptor when that can be read or has ended; then it is parked no
// more. It fails where the system has no such thing.
func NewLot[T comparable](wake func(T)) (*Lot[T], error) {
	l := &Lot[T]{wake: wake, parked: make(map[int]T)}
	if err := l.watch.open(); err != nil {
		return nil, err
	}
	l.ended.Go(func() { l.watch.run(l.roll) }) // ended by Close
	return l, nil
}

// Park has who be woken when fd can be read. It reports false, and parks nothing, if the
// Lot is closed, if fd cannot be watched or is there already, or if isStill, which is called
// with the Lot locked, says that who does not want to any more. Before fd is closed it has
// to be taken.
func (l *Lot[T]) Park(fd int, who T, isStill func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, has := l.parked[fd]; has || l.closed || !isStill() || !l.watch.arm(fd) {
		return false
	}
	l.parked[fd] = who
	return true
}

// Take has who not be woken for fd any more, and reports whether it was to be.
func (l *Lot[T]) Take(fd int, who T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if there, has := l.parked[fd]; !has || there != who {
		return false
	}
	delete(l.parked, fd)
	l.watch.disarm(fd)
	return true
}

// Len returns how many are parked.
func (l *Lot[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.parked)
}

// Close ends the watching. Who is parked is not woken.
func (l *Lot[T]) Close() {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if was {
		return
	}
	l.watch.stop()
	l.ended.Wait()
	l.watch.close()
}

// roll wakes who has parked fd.
func (l *Lot[T]) roll(fd int) {
	l.mu.Lock()
	who, has := l.parked[fd]
	delete(l.parked, fd)
	l.mu.Unlock()
	if has {
		l.wake(who)
	}
}
