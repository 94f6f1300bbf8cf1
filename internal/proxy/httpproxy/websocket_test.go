//lint:file-ignore SA1019 The Transport of net/http refuses the :protocol of RFC 8441.

package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// dialogue is what the two ends of one WebSocket say: whole frames of RFC 6455, as octets.
type dialogue struct {
	client, server []byte
	pieces         uint64 // seed of how both ends cut what they write and read
}

// dialogues returns generated ones: each kind of frame, fragments with control frames in
// between, every form of a length, compressed messages (RSV1, RFC 7692), close codes with
// and without reason. Of each tenth, both ends say a megabyte before they listen well.
func dialogues(n int) []dialogue {
	var all []dialogue
	for i := range n {
		r := rand.New(rand.NewPCG(6455, uint64(i)))
		d := dialogue{pieces: uint64(i)}
		for _, side := range []struct {
			to     *[]byte
			masked bool
		}{{&d.client, true}, {&d.server, false}} {
			var b []byte
			for range r.IntN(8) {
				b = appendMessage(b, r, side.masked)
			}
			for i%10 == 9 && len(b) < 1<<20 {
				b = appendWebSocketFrame(b, r, 0x82, make([]byte, 60_000), side.masked)
			}
			*side.to = appendClose(b, r, side.masked)
		}
		all = append(all, d)
	}
	return all
}

// appendMessage appends a message in one or more frames.
func appendMessage(b []byte, r *rand.Rand, masked bool) []byte {
	const text, binaryData, ping, pong, fin, rsv1 = 1, 2, 9, 10, 0x80, 0x40
	lengths := []int{0, 1, 125, 126, 127, 1000, 16384, 65535, 65536, 70000}
	first := byte(text + r.IntN(2))
	if r.IntN(3) == 0 {
		first |= rsv1
	}
	fragments := 1 + r.IntN(4)
	for i := range fragments {
		head := byte(0)
		if i == 0 {
			head = first
		}
		if i == fragments-1 {
			head |= fin
		}
		content := make([]byte, lengths[r.IntN(len(lengths))])
		for j := range content {
			content[j] = byte(r.Uint32())
		}
		b = appendWebSocketFrame(b, r, head, content, masked)
		if r.IntN(3) == 0 {
			b = appendWebSocketFrame(b, r, fin|byte(ping+r.IntN(2)), content[:min(len(content), 125)], masked)
		}
	}
	return b
}

func appendClose(b []byte, r *rand.Rand, masked bool) []byte {
	codes := []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 3000, 4999}
	var content []byte
	if r.IntN(4) > 0 {
		content = append(binary.BigEndian.AppendUint16(nil, codes[r.IntN(len(codes))]), "good bye"[:r.IntN(9)]...)
	}
	return appendWebSocketFrame(b, r, 0x88, content, masked)
}

func appendWebSocketFrame(b []byte, r *rand.Rand, head byte, content []byte, masked bool) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	b = append(b, head)
	switch n := len(content); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return append(b, content...)
	}
	key := [4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
	b = append(b, key[:]...)
	for i, c := range content {
		b = append(b, c^key[i%4])
	}
	return b
}

// say writes in pieces of any size.
func (d *dialogue) say(w io.Writer, what []byte, seed uint64) error {
	r := rand.New(rand.NewPCG(d.pieces, seed))
	for len(what) > 0 {
		n := min(1+r.IntN(1<<r.IntN(17)), len(what))
		if _, err := w.Write(what[:n]); err != nil {
			return err
		}
		what = what[n:]
	}
	return nil
}

// hear reads as many octets as are to come, in small pieces, and compares them.
func (d *dialogue) hear(r io.Reader, want []byte, seed uint64) error {
	p := rand.New(rand.NewPCG(d.pieces, seed))
	room := make([]byte, 1<<14)
	for at := 0; at < len(want); {
		n, err := r.Read(room[:1+p.IntN(len(room))])
		if !bytes.Equal(room[:n], want[at:min(at+n, len(want))]) {
			return fmt.Errorf("the octets from %d on are others than were said", at)
		}
		if at += n; err != nil && at < len(want) {
			return fmt.Errorf("after %d of %d octets: %w", at, len(want), err)
		}
	}
	return nil
}

// acceptOf is the proof of RFC 6455 §4.2.2.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// webSocketOrigin has each dialogue that a request names, and then closes.
func webSocketOrigin(t *testing.T, all []dialogue) string {
	return startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		i, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
		if err != nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("the origin was asked %v %v", req.URL, req.Header)
			return
		}
		d := &all[i]
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
			acceptOf(req.Header.Get("Sec-WebSocket-Key")))
		heard := make(chan error, 1)
		go func() { heard <- d.hear(r, d.client, 1) }()
		if err := d.say(conn, d.server, 2); err != nil {
			t.Errorf("dialogue %d: the origin says: %v", i, err)
		}
		if err := <-heard; err != nil {
			t.Errorf("dialogue %d: the origin hears: %v", i, err)
		}
	})
}

// have plays the client's part and waits for the end of the connection.
func (d *dialogue) have(w io.Writer, r io.Reader) error {
	said := make(chan error, 1)
	go func() { said <- d.say(w, d.client, 3) }()
	if err := d.hear(r, d.server, 4); err != nil {
		return fmt.Errorf("the client hears: %w", err)
	}
	if err := <-said; err != nil {
		return fmt.Errorf("the client says: %w", err)
	}
	if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
		return fmt.Errorf("%d octets and %v after the last frame", n, err)
	}
	return nil
}

// each runs f for every dialogue, some at once.
func each(t *testing.T, all []dialogue, f func(i int) error) {
	turn := make(chan struct{}, 30)
	var running sync.WaitGroup
	for i := range all {
		turn <- struct{}{}
		running.Go(func() {
			defer func() { <-turn }()
			if err := f(i); err != nil {
				t.Errorf("dialogue %d: %v", i, err)
			}
		})
	}
	running.Wait()
}

const webSocketDialogues = 300

// TestWebSocketOver1: octet by octet what both ends said, over HTTP/1.1.
func TestWebSocketOver1(t *testing.T) {
	all := dialogues(webSocketDialogues)
	g := startGateway(t, Config{}, webSocketOrigin(t, all))
	each(t, all, func(i int) error {
		conn, err := net.Dial("tcp", g.address)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		key := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i)))
		fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", i, key)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != acceptOf(key) || resp.Header.Get("Sec-WebSocket-Extensions") == "" {
			return fmt.Errorf("%v %v", err, resp)
		}
		return all[i].have(conn, r)
	})
}

// TestWebSocketOver2: the same over HTTP/2 (RFC 8441), thirty at a time on one connection.
func TestWebSocketOver2(t *testing.T) {
	all := dialogues(webSocketDialogues)
	g := startGateway(t, Config{}, webSocketOrigin(t, all))
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	each(t, all, func(i int) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		content, w := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, "CONNECT", fmt.Sprintf("http://%s/%d", g.address, i), content)
		if err != nil {
			return err
		}
		req.Header.Set(":protocol", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		defer w.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Sec-WebSocket-Accept") != "" || resp.Header.Get("Sec-WebSocket-Extensions") == "" {
			return fmt.Errorf("%v", resp)
		}
		return all[i].have(w, resp.Body)
	})
}

// An extended CONNECT opens a tunnel only if the origin server has switched, with the proof
// that it understood; any 2xx would be taken for it. A refusal is an ordinary response.
func TestWebSocketOver2Refused(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"not switched":     {ok2, "1 status 502"},
		"without proof":    {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "1 status 502"},
		"forged proof":     {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + acceptOf("x") + "\r\n\r\n", "1 status 502"},
		"another protocol": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "1 status 502"},
		"refused":          {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "1 status 403 end"},
	} {
		g := startGateway(t, Config{}, startOrigin(t, answering(c.answer)))
		c2 := dial2(g)
		c2.head(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "h", "sec-websocket-version", "13")
		if got := c2.next(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
