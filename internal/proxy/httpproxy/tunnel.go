package httpproxy

import (
	"crypto/sha1"
	"encoding/base64"
	"net"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/origins"
	"pharos/internal/traffic/health"
)

// tunnel joins client and origin after the origin has agreed to switch
// protocols. Octets the client sent behind its request were held until now: had
// the origin not agreed, they would be the next request.
func (c *client) tunnel(x *exchange, oc *origins.Conn) refusal {
	if text := checkSwitch(x); text != "" {
		return refusal{status: 502, kind: "http_upgrade_failed", text: text, fault: health.Broken}
	}
	x.status, x.started = 101, true
	c.shard.tunnels.Add(1)
	c.setDeadline(c.idle(x, c.server.limits.Tunnel))
	if c.wire.join(x, x.back[x.backAt:x.backTo]) != nil {
		return gone("the client closed the connection before the tunnel")
	}
	x.sent = int64(x.backTo - x.backAt)
	done := make(chan struct{})
	go func() { // ends when either side has ended or failed
		defer close(done)
		head := x.at
		if x.unread() > 0 && c.write(oc.Conn, x.in[x.at:x.filled]) != nil {
			oc.Close()
			return
		}
		x.received = int64(x.unread()) + c.pass(oc.Conn, c.conn, x.in[head:])
	}()
	x.sent += c.pass(c.conn, oc.Conn, x.back)
	<-done
	x.choice.noted = time.Since(c.server.began)
	x.rewind()
	return refusal{}
}

// checkSwitch returns why a 101 response is not one to our request; "" if it is.
// Without this check an origin that only echoes fields could be made to open a
// tunnel past the gateway.
func checkSwitch(x *exchange) string {
	if x.upgrade == nil {
		return "the origin server switched protocols without being asked"
	}
	if got := x.resp.Upgrade(); got == nil || !http1.EqualFold(got, x.upgrade) {
		return "the origin server switched to another protocol than was offered"
	}
	if !x.req.IsWebSocket() {
		return ""
	}
	// RFC 6455 §4.2.2 item 5.4: the proof that the origin has understood.
	key, _ := x.req.Get(http1.FieldSecWebSocketKey)
	proof, _ := x.resp.Get(http1.FieldSecWebSocketAccept)
	sum := sha1.Sum(append(append([]byte(nil), key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	if base64.StdEncoding.EncodeToString(sum[:]) != string(proof) {
		return "the origin server's Sec-WebSocket-Accept does not match the key"
	}
	return ""
}

// pass copies from src to dst until src ends, which is passed on by closing
// dst's sending side, or either fails, which ends both. It returns how much.
func (c *client) pass(dst, src net.Conn, room []byte) (n int64) {
	if len(room) < leastRoom {
		room = make([]byte, leastRoom)
	}
	for {
		got, err := c.read(src, room)
		if err != nil {
			if hc, ok := dst.(interface{ CloseWrite() error }); !ok || err != errClosedByPeer || hc.CloseWrite() != nil {
				src.Close()
				dst.Close()
			}
			return n
		}
		c.setDeadline(c.idle(c.x, c.server.limits.Tunnel))
		if c.write(dst, room[:got]) != nil {
			src.Close()
			dst.Close()
			return n
		}
		n += int64(got)
	}
}
