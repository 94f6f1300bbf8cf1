package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/internal/clock"
	"pharos/internal/resolver/iterate"
)

// exchange is one query on its way, or a timer of the machine's. It is the loop's.
type exchange struct {
	number uint64
	timer  timer   // of a query over UDP, or of a Wait
	linked *linked // over a connection that outlives the query

	tell  func(Ended)   // nil: nobody watches its server
	asked time.Duration // by watch, if somebody does

	isDatagram bool           // it is a query over UDP
	to         netip.AddrPort // of epoll: who is asked
	socket     int            // of epoll: file descriptor and 1; 0: none
	kept       int            // of epoll: number of the socket, if it is a kept one, and 1
	heard      bool           // of epoll: its server has sent something
	conn       *net.UDPConn   // of portable; nil: none
}

// linked is one query over a link, which a goroutine waits for.
type linked struct {
	driver *Driver
	iterate.Send
	ctx    context.Context // ends with the time, or when the exchange is closed
	cancel context.CancelFunc
	ended  atomic.Bool // it is closed: nobody wants to know
}

// Ended is how an exchange with a server has ended.
type Ended struct {
	Reply []byte // what has come; nil: nothing
	Err   error  // why nothing has; nil without a Reply: nothing in time
	Took  time.Duration
}

// tellEnded tells who watches a server how an exchange with it has ended. What comes after the
// first that came counts for nothing.
func (d *Driver) tellEnded(ev iterate.Event) {
	var number uint64
	var e Ended
	switch ev := ev.(type) {
	case iterate.Arrived:
		number, e.Reply = ev.Exchange, ev.Msg
	case iterate.Expired:
		number = ev.Exchange
	case iterate.Failed:
		number, e.Err = ev.Exchange, ev.Err
	}
	if x := d.open.Get(number); x != nil && x.tell != nil {
		e.Took = d.watch.elapsed() - x.asked
		x.tell(e)
		x.tell = nil
	}
}

// isLinked reports whether the query goes over a connection that outlives it.
func isLinked(s iterate.Send) bool { return s.TCP || s.Over != iterate.Do53 }

// send starts an exchange.
func (d *Driver) send(s iterate.Send) {
	if s.To == iterate.Inside {
		d.backlog = append(d.backlog, d.askInside(s))
		return
	}
	if d.sockets.Add(1) > d.exchanges {
		d.sockets.Add(-1)
		d.backlog = append(d.backlog, iterate.Failed{Exchange: s.Exchange, Err: errNoSocket})
		return
	}
	x := d.newExchange(s.Exchange)
	if d.observe != nil {
		x.tell, x.asked = d.observe(s.To), d.watch.elapsed()
	}
	if isLinked(s) {
		x.linked = &linked{driver: d, Send: s}
		x.linked.ctx, x.linked.cancel = context.WithTimeout(context.Background(), max(s.Timeout, d.patience))
		d.running.Go(x.linked.run) // ended by its timeout, or by end
		return
	}
	x.isDatagram = true
	if err := d.datagrams.send(x, s.To, s.Msg); err != nil {
		d.end(s.Exchange)
		d.backlog = append(d.backlog, iterate.Failed{Exchange: s.Exchange, Err: explain(err)})
		return
	}
	d.timers.start(&x.timer, d.watch.elapsed(), s.Timeout)
}

// wait starts a timer.
func (d *Driver) wait(w iterate.Wait) {
	d.timers.start(&d.newExchange(w.Exchange).timer, d.watch.elapsed(), w.Timeout)
}

// newExchange returns an exchange that is open.
func (d *Driver) newExchange(number uint64) *exchange {
	var x *exchange
	if last := len(d.spare) - 1; last >= 0 {
		x, d.spare = d.spare[last], d.spare[:last]
	} else {
		x = new(exchange)
	}
	x.number, x.timer.exchange = number, number
	d.open.Put(number, x)
	return x
}

// end closes an exchange, if it is open: its socket, or its timer, or it gives a
// connection back.
func (d *Driver) end(number uint64) {
	x := d.open.Get(number)
	if x == nil {
		return
	}
	d.open.Delete(number)
	d.timers.stop(&x.timer)
	if x.isDatagram {
		d.datagrams.end(x)
		d.sockets.Add(-1)
	}
	if l := x.linked; l != nil {
		l.ended.Store(true)
		l.cancel()
	}
	*x = exchange{}
	d.spare = append(d.spare, x)
}

// errNoCopy: there is no copy of the zone that may be used now.
var errNoCopy = fmt.Errorf("%w: there is no copy of the zone", iterate.ErrLocal)

// askInside is send for what is answered here.
func (d *Driver) askInside(s iterate.Send) iterate.Event {
	if d.inside != nil {
		if reply := d.inside(clock.Now(), s.Msg, s.TCP); reply != nil {
			return iterate.Arrived{Exchange: s.Exchange, Msg: reply}
		}
	}
	return iterate.Failed{Exchange: s.Exchange, Err: errNoCopy}
}

// run asks: there is one reply, or an error.
func (l *linked) run() {
	defer l.driver.sockets.Add(-1)
	defer l.cancel()
	reply, took, err := l.driver.links.ask(l.ctx, l.Send)
	if err == nil {
		l.driver.post(event{ev: iterate.Arrived{Exchange: l.Exchange, Msg: reply, Took: took}})
		return
	}
	if l.ended.Load() {
		return
	}
	var failed iterate.Event = iterate.Failed{Exchange: l.Exchange, Err: explain(err)}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		failed = iterate.Expired{Exchange: l.Exchange}
	}
	l.driver.post(event{ev: failed})
}

// explain makes of an error of the network what the machine is to know: that a
// whole address family is out of reach, that this machine is at its limits, or
// what the system said, without the addresses, which the machine adds.
func explain(err error) error {
	for _, none := range []error{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT} {
		if errors.Is(err, none) {
			return fmt.Errorf("%w: %w", iterate.ErrNoRoute, none)
		}
	}
	for _, local := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EACCES} {
		if errors.Is(err, local) {
			return fmt.Errorf("%w: %w", iterate.ErrLocal, local)
		}
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosedEarly
	}
	return err
}
