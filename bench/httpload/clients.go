package httpload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Result is what became of the requests.
type Result struct {
	Sent, Answered int
	Wrong          int           // of those answered: not what the request asked for
	Refused        int           // of those answered: another status than 200
	Closed         int           // connections that the server closed, or that were given up
	Unanswered     int           // when the time was over
	First          string        // the first wrong response or failure, described
	Elapsed        time.Duration // to the last response
	Latency        Latency
}

// ErrWrong is in the error of a result with wrong answers.
var ErrWrong = errors.New("answers were wrong")

// tolerated is the part of requests that may fail: a gateway whose machine stood
// still for a second gives up what was under way.
const tolerated = 0.001

// Err returns an error if a response was wrong, or too many were missing for the
// figures to mean anything.
func (r Result) Err() error {
	failed := max(r.Refused+r.Unanswered, r.Closed)
	if r.Wrong > 0 || float64(failed) > tolerated*float64(r.Sent) {
		err := fmt.Errorf("of %d requests %d were answered wrong, %d refused and %d not answered, and %d connections were closed; the first: %s",
			r.Sent, r.Wrong, r.Refused, r.Unanswered, r.Closed, r.First)
		if r.Wrong > 0 {
			err = errors.Join(ErrWrong, err)
		}
		return err
	}
	if r.Answered == 0 {
		return errors.New("no request was answered")
	}
	return nil
}

// Clients are connections to one server.
type Clients struct {
	loop     *Loop
	conns    []*conn
	requests [][]byte

	// Of the run under way; the thread's.
	next      int // request
	began     time.Time
	now       int64
	until     int64 // when no more is asked
	once      bool  // each connection asks once; queue are those that have not yet, or that are free
	queue     []*conn
	pace      pace
	sleeps    bool
	waiting   int
	last      int64
	cancelled <-chan struct{}
	finished  chan struct{}
	res       Result
}

// Request returns the numbered request to a host and path.
func Request(number int, host, path string) []byte {
	if path == "/" {
		path = ""
	}
	return fmt.Appendf(nil, "GET %s%s%0*d HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\n"+
		"Accept-Language: en\r\nAccept-Encoding: gzip, deflate\r\nCookie: session=0123456789abcdef\r\n\r\n", path, numbered, numberLen, number, host)
}

// Connect opens n connections. The requests, made by Request, are asked in turn.
func (l *Loop) Connect(to netip.AddrPort, n int, requests [][]byte) (*Clients, error) {
	c := &Clients{loop: l, requests: requests}
	var err error
	l.order(func() {
		for range n {
			var fd int
			if fd, err = dial(to); err != nil {
				break
			}
			client := &conn{fd: fd, side: sideClient, of: c, buf: make([]byte, headRoom+l.content)}
			c.conns = append(c.conns, client)
			if err = l.watch(client); err != nil {
				break
			}
		}
	})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connection %d of %d: %w", len(c.conns)+1, n, err)
	}
	return c, nil
}

// Close closes the connections.
func (c *Clients) Close() {
	c.loop.order(func() {
		for _, client := range c.conns {
			c.loop.drop(client)
		}
	})
}

// Run asks on all connections, again as soon as a response is there, for the given
// time.
func (c *Clients) Run(ctx context.Context, d time.Duration) (Result, error) {
	return c.start(ctx, d, len(c.conns), false, pace{})
}

// Once asks once on each connection, a few at a time.
func (c *Clients) Once(ctx context.Context) (Result, error) {
	const atATime = 16
	return c.start(ctx, time.Minute, min(atATime, len(c.conns)), true, pace{})
}

// start has the first n connections ask, and those behind them wait in the queue.
func (c *Clients) start(ctx context.Context, d time.Duration, n int, once bool, p pace) (Result, error) {
	c.finished = make(chan struct{})
	c.loop.order(func() {
		c.res, c.waiting, c.now, c.last = Result{}, 0, 0, 0
		c.until, c.once, c.pace, c.cancelled = int64(d), once, p, ctx.Done()
		c.queue = append(c.queue[:0], c.conns[n:]...)
		c.began = time.Now()
		c.loop.active = c
		for _, client := range c.conns[:n] {
			c.ask(client, c.now)
		}
	})
	select {
	case <-c.finished:
	case <-c.loop.done:
		return Result{}, errors.New("the load has ended")
	}
	return c.res, ctx.Err()
}

// patience is how long responses are waited for after the time is over.
const patience = 2 * time.Second

// tick looks at the clock, once for each batch of events, and ends the run.
func (c *Clients) tick() {
	c.now = int64(time.Since(c.began))
	over := c.now >= c.until
	select {
	case <-c.cancelled:
		over, c.until = true, 0
	default:
	}
	if c.pace.each > 0 {
		c.askDue()
	}
	idle := c.waiting == 0 && (over || len(c.queue) == 0 && c.pace.each == 0)
	if !idle && c.now < c.until+int64(patience) {
		return
	}
	late := c.pace.left(c.until)
	c.res.Sent += late
	if c.res.Unanswered += c.waiting + late; c.waiting+late > 0 {
		c.fail("no response in time")
	}
	c.res.Elapsed = time.Duration(max(c.last, 1))
	c.loop.active = nil
	close(c.finished)
}

// ask has a client ask what was due at a time.
func (c *Clients) ask(client *conn, due int64) {
	client.request, client.asked, client.waiting = c.next, due, true
	c.next = (c.next + 1) % len(c.requests)
	c.res.Sent++
	c.waiting++
	request := c.requests[client.request]
	switch n, err := client.write(request); {
	case err != nil:
		c.closed(client, err.Error())
	case n < len(request): // the server reads no more, though it owes nothing
		c.closed(client, "write: the socket's buffer is full")
	}
}

func (c *Clients) fail(what string) {
	if c.res.First == "" {
		c.res.First = what
	}
}

// closed gives up a connection that the server has closed.
func (c *Clients) closed(client *conn, how string) {
	if c.settle(client) {
		c.res.Unanswered++
	}
	c.res.Closed++
	c.fail(how)
	c.queue = slices.DeleteFunc(c.queue, func(q *conn) bool { return q == client })
	c.loop.drop(client)
}

// settle notes that a client waits no longer, and reports whether it did.
func (c *Clients) settle(client *conn) bool {
	waited := client.waiting
	if waited {
		client.waiting = false
		c.waiting--
	}
	return waited
}

// arrived looks at what a client has received, and asks again when the response is
// whole.
func (c *Clients) arrived(client *conn, open bool) {
	size, refused, problem := c.loop.response(client.buf[:client.have], c.requests[client.request])
	switch {
	case problem != "":
		c.settle(client)
		c.res.Answered++
		if refused {
			c.res.Refused++
		} else {
			c.res.Wrong++
		}
		c.closed(client, problem)
		return
	case size == 0 || !client.waiting:
		if !open {
			c.closed(client, "closed by the server")
		}
		return
	}
	client.consume(size)
	c.settle(client)
	c.res.Answered++
	c.last = c.now
	c.res.Latency.add(c.now - client.asked)
	switch {
	case c.pace.each > 0:
		c.queue = append(c.queue, client)
	case c.now >= c.until:
	case !c.once:
		c.ask(client, c.now)
	case len(c.queue) > 0:
		next := c.queue[0]
		c.queue = c.queue[1:]
		c.ask(next, c.now)
	}
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("content-length:")
)

// response returns the size of the response at the front of b, 0 if it is not
// whole yet, and what is wrong with it; refused says that it is the status.
func (l *Loop) response(b, request []byte) (size int, refused bool, problem string) {
	end := bytes.Index(b, headerEnd)
	if end < 0 {
		if len(b) >= headRoom {
			return 0, false, "a response without an end"
		}
		return 0, false, ""
	}
	head := b[:end]
	if !bytes.HasPrefix(head, statusOK) {
		return 0, true, fmt.Sprintf("response %.200q, want status 200", head)
	}
	if n := lengthOf(head); n != l.content {
		return 0, false, fmt.Sprintf("Content-Length %d, want %d, in %.400q", n, l.content, head)
	}
	size = end + len(headerEnd) + l.content
	if len(b) < size {
		return 0, false, ""
	}
	content := b[size-l.content : size]
	at := bytes.Index(request, []byte(numbered)) + len(numbered)
	if want := request[at : at+numberLen]; !bytes.Equal(content[:numberLen], want) || !bytes.Equal(content[numberLen:], l.dots) {
		return 0, false, fmt.Sprintf("content %.200q, want that of request %s", content, want)
	}
	return size, false, ""
}

// lengthOf returns the value of the field Content-Length, -1 without one.
func lengthOf(head []byte) int {
	for {
		_, rest, ok := bytes.Cut(head, []byte("\r\n"))
		if !ok {
			return -1
		}
		head = rest
		if len(head) < len(contentLength) || !bytes.EqualFold(head[:len(contentLength)], contentLength) {
			continue
		}
		value, _, _ := bytes.Cut(head[len(contentLength):], []byte("\r\n"))
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if err != nil {
			return -1
		}
		return n
	}
}
