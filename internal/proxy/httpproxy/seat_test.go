package httpproxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

// TestLateInterruptionOfSeat: who looks for what is overdue may come late, when the step that
// was overdue is over. The wait for more of a request's content goes on then.
func TestLateInterruptionOfSeat(t *testing.T) {
	const begun, rest = "2\r\nab\r\n", "0\r\n\r\n"
	half := make(chan struct{})
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		if _, err := io.CopyN(io.Discard, r, int64(len(begun))); err == nil {
			close(half)
		}
		io.CopyN(io.Discard, r, int64(len(rest)))
		io.WriteString(conn, ok2)
	}))
	c := dial2(g)
	c.post(1, "/")
	c.WriteData(1, false, []byte("ab"))
	<-half
	g.server.mu.Lock()
	for c := range g.server.clients {
		for _, seat := range c.session.appendClients(nil) {
			seat.conn.SetDeadline(time.Unix(1, 0))
		}
	}
	g.server.mu.Unlock()
	c.WriteData(1, true, nil)
	c.want("1 status 200", `1 data "ok" end`)
}
