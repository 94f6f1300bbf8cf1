package dnsload

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// QUIC is a load of DNS over QUIC (RFC 9250): Config.Flows connections that stay open,
// each with Config.Window questions under way, a stream each. As HTTPS it takes more of a
// processor than what it loads.
type QUIC struct {
	cfg   Config
	conns []*quic.Conn
}

// NewQUIC connects Config.Flows times.
func NewQUIC(ctx context.Context, cfg Config, secure *tls.Config) (*QUIC, error) {
	if err := cfg.complete(64); err != nil { // each question under way counts by itself
		return nil, err
	}
	l := &QUIC{cfg: cfg}
	for i := range cfg.Flows {
		conn, err := quic.DialAddr(ctx, cfg.Server.String(), secure.Clone(), &quic.Config{MaxIdleTimeout: time.Minute})
		if err == nil {
			l.conns = append(l.conns, conn)
			err = l.ask(ctx, conn, i%len(cfg.Queries), new(Result))
		}
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return l, nil
}

// Close closes the connections.
func (l *QUIC) Close() {
	for _, c := range l.conns {
		c.CloseWithError(0, "") // DOQ_NO_ERROR
	}
}

// Run asks for the given time and waits for the last answers.
func (l *QUIC) Run(ctx context.Context, d time.Duration) (Result, error) {
	return l.cfg.oneByOne(d, func(i, query int, res *Result) error { return l.ask(ctx, l.conns[i], query, res) })
}

// ask asks one question, whose ID is 0 (RFC 9250 §4.2.1).
func (l *QUIC) ask(ctx context.Context, c *quic.Conn, query int, res *Result) error {
	q := &l.cfg.Queries[query]
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	res.Sent++
	msg, err := exchange(ctx, c, q.Msg)
	if err != nil {
		res.Lost++
		return err
	}
	res.answered(q, msg, l.cfg.Sample)
	return nil
}

func exchange(ctx context.Context, c *quic.Conn, query []byte) ([]byte, error) {
	stream, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if at, ok := ctx.Deadline(); ok {
		stream.SetDeadline(at)
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil { // the client's side: no more will come
		return nil, err
	}
	msg, err := io.ReadAll(io.LimitReader(stream, 1<<16+2))
	if err != nil {
		return nil, err
	}
	if len(msg) < 2 || int(binary.BigEndian.Uint16(msg)) != len(msg)-2 {
		return nil, fmt.Errorf("%d octets are no message with its length before it", len(msg))
	}
	return msg[2:], nil
}
