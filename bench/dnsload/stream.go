package dnsload

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Streams is a load over TCP or TLS: connections that stay open, each with a window
// of pipelined questions (RFC 7766 §6.2.1.1). What has been answered by one read is
// asked anew by one write, so a server that answers in bursts is asked in bursts.
//
// Each connection has a goroutine. Handshakes are over before anything is measured.
type Streams struct {
	cfg   Config
	conns []*streamConn
}

// streamConn is one connection. It belongs to one goroutine at a time.
type streamConn struct {
	cfg   *Config
	conn  net.Conn
	in    *bufio.Reader
	out   []byte
	slots []int // the query under way with each id; -1: none
	free  []uint16
	next  int // query
	res   Result
}

// NewStreams connects Config.Flows times, over TLS if secure is not nil.
func NewStreams(ctx context.Context, cfg Config, secure *tls.Config) (*Streams, error) {
	if err := cfg.complete(1024); err != nil {
		return nil, err
	}
	s := &Streams{cfg: cfg}
	for i := range cfg.Flows {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", cfg.Server.String())
		if err == nil && secure != nil {
			t := tls.Client(conn, secure)
			if err = t.HandshakeContext(ctx); err != nil {
				conn.Close()
			}
			conn = t
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		s.conns = append(s.conns, &streamConn{cfg: &s.cfg, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), next: i * len(cfg.Queries) / cfg.Flows})
	}
	return s, nil
}

// Close closes the connections.
func (s *Streams) Close() {
	for _, c := range s.conns {
		c.conn.Close()
	}
}

// Run asks for the given time and waits for the last answers.
func (s *Streams) Run(ctx context.Context, d time.Duration) (Result, error) {
	began := time.Now()
	end := began.Add(d)
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	var running sync.WaitGroup
	errs := make([]error, len(s.conns))
	for i, c := range s.conns {
		running.Go(func() { errs[i] = c.run(end) }) // ends with the time, or with the connection
	}
	running.Wait()
	var sum Result
	for _, c := range s.conns {
		sum = sum.Add(c.res)
	}
	sum.Elapsed = time.Since(began)
	return sum, errors.Join(errs...)
}

// run asks until end.
func (c *streamConn) run(end time.Time) error {
	c.res, c.slots, c.free = Result{}, make([]int, c.cfg.Window), c.free[:0]
	for id := range c.slots {
		c.slots[id] = -1
		c.free = append(c.free, uint16(id))
	}
	for {
		if time.Now().Before(end) {
			if err := c.ask(); err != nil {
				return err
			}
		}
		if len(c.free) == c.cfg.Window {
			return nil
		}
		c.conn.SetReadDeadline(time.Now().Add(c.cfg.Timeout))
		if err := c.take(); err != nil {
			c.res.Lost += c.cfg.Window - len(c.free)
			return fmt.Errorf("%d questions under way: %w", c.cfg.Window-len(c.free), err)
		}
		c.res.Syscalls++
		for c.hasMessage() {
			if err := c.take(); err != nil {
				return err
			}
		}
	}
}

// ask sends as many questions as there is room for, in one write.
func (c *streamConn) ask() error {
	c.out = c.out[:0]
	for _, id := range c.free {
		q := &c.cfg.Queries[c.next]
		c.slots[id] = c.next
		c.next = (c.next + 1) % len(c.cfg.Queries)
		c.out = binary.BigEndian.AppendUint16(c.out, uint16(len(q.Msg)))
		c.out = binary.BigEndian.AppendUint16(c.out, id)
		c.out = append(c.out, q.Msg[2:]...)
	}
	c.res.Sent += len(c.free)
	c.free = c.free[:0]
	c.conn.SetWriteDeadline(time.Now().Add(c.cfg.Timeout))
	_, err := c.conn.Write(c.out)
	return err
}

// hasMessage reports whether a whole answer has been received.
func (c *streamConn) hasMessage() bool {
	if c.in.Buffered() < 2 {
		return false
	}
	head, err := c.in.Peek(2)
	return err == nil && c.in.Buffered() >= 2+int(binary.BigEndian.Uint16(head))
}

// take reads one answer and checks it.
func (c *streamConn) take() error {
	var length [2]byte
	if _, err := io.ReadFull(c.in, length[:]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	msg, err := c.in.Peek(size)
	if err != nil {
		return err
	}
	defer c.in.Discard(size)
	if size < headerLen {
		return fmt.Errorf("an answer of %d octets", size)
	}
	id := int(binary.BigEndian.Uint16(msg))
	if id >= len(c.slots) || c.slots[id] < 0 {
		c.res.Stray++
		return nil
	}
	q := &c.cfg.Queries[c.slots[id]]
	c.slots[id] = -1
	c.free = append(c.free, uint16(id))
	c.res.Answered++
	problem := q.check(msg)
	if problem == "" && c.res.Answered%c.cfg.Sample == 0 {
		c.res.Compared++
		problem = q.compare(msg)
	}
	if problem != "" {
		c.res.Wrong++
		if c.res.First == "" {
			c.res.First = q.describe() + ": " + problem
		}
	}
	return nil
}
