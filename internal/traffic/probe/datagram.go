package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"pharos/internal/traffic/health"
)

// askUDP sends a datagram and waits for one that begins as expected. The socket is
// connected, so that the system passes on only what comes from the target, and
// that nobody listens there.
func (t *target) askUDP(ctx context.Context, dial dialer) outcome {
	c, err := t.connect(ctx, dial, "udp", nil)
	if err != nil {
		return t.failed(err, "connecting")
	}
	defer c.Close()
	if _, err := c.Write([]byte(t.terms().Send)); err != nil {
		return t.failed(err, "sending")
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return t.failed(err, "waiting for an answer")
	}
	if !strings.HasPrefix(string(buf[:n]), t.terms().Expect) {
		return outcome{cause: fmt.Sprintf("answered %.40q", buf[:n])}
	}
	return outcome{verdict: good, cause: fmt.Sprintf("answered with %d octets", n)}
}

// How echo requests can be sent, best first: a ping socket needs no privilege, but a
// group that the system names; a raw one needs CAP_NET_RAW.
var pingNetworks = [2][2]string{{"udp4", "ip4:icmp"}, {"udp6", "ip6:ipv6-icmp"}}

// errNoPing is why no echo request can be sent.
const errNoPing = "icmp is not permitted (%w); add the group of the node to net.ipv4.ping_group_range, or give it CAP_NET_RAW"

// lastEcho is the sequence number of the last echo request.
var lastEcho atomic.Uint32

// echoToken is what this process puts in its echo requests, to know its own replies: a
// raw socket is shown those of everybody.
var echoToken = sync.OnceValue(func() []byte {
	token := make([]byte, 16)
	rand.Read(token) // never fails
	return token
})

// askICMP sends an echo request (RFC 792, RFC 4443 §4.1) and waits for its reply.
func (t *target) askICMP(ctx context.Context) outcome {
	to := t.key.Address.Addr()
	conn, err := openPing(to)
	if err != nil {
		return t.failed(err, "opening a socket")
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sequence := uint16(lastEcho.Add(1))
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xFFFF, Seq: int(sequence), Data: echoData(sequence)}}
	if to.Is6() {
		request.Type = ipv6.ICMPTypeEchoRequest
	}
	octets, err := request.Marshal(nil) // the system adds the sum for IPv6
	if err != nil {
		return t.failed(err, "writing the echo request")
	}
	var peer net.Addr = &net.UDPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	if conn.raw {
		peer = &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
	}
	if _, err := conn.WriteTo(octets, peer); err != nil {
		return t.failed(err, "sending the echo request")
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return t.failed(err, "waiting for the echo reply")
		}
		if isReply(buf[:n], to, from, sequence) {
			return outcome{verdict: good, cause: "echo reply"}
		}
	}
}

// echoData is what a request carries and its reply has to bring back.
func echoData(sequence uint16) []byte {
	return binary.BigEndian.AppendUint16(bytes.Clone(echoToken()), sequence)
}

// isReply reports whether a message is the reply to our request.
func isReply(octets []byte, to netip.Addr, from net.Addr, sequence uint16) bool {
	protocol, kind := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if to.Is6() {
		protocol, kind = 58, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, octets)
	if err != nil || m.Type != kind {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok || echo.Seq != int(sequence) || !bytes.Equal(echo.Data, echoData(sequence)) {
		return false
	}
	switch a := from.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("") == to.WithZone("")
	case *net.IPAddr:
		addr, _ := netip.AddrFromSlice(a.IP)
		return addr.Unmap() == to.WithZone("")
	}
	return false
}

// pinger is a socket for echo requests.
type pinger struct {
	*icmp.PacketConn
	raw bool
}

func openPing(to netip.Addr) (pinger, error) {
	family, any := 0, "0.0.0.0"
	if to.Is6() {
		family, any = 1, "::"
	}
	var errs []error
	for i, network := range pingNetworks[family] {
		conn, err := icmp.ListenPacket(network, any)
		if err == nil {
			return pinger{conn, i == 1}, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EPROTONOSUPPORT) {
			return pinger{}, err
		}
	}
	return pinger{}, &ourError{fmt.Errorf(errNoPing, errs[len(errs)-1])}
}

// maxAgent is how much of what an agent says is read, in octets: a line.
const maxAgent = 4096

// askAgent connects, sends what the check says, and reads a line.
func (t *target) askAgent(ctx context.Context, dial dialer) outcome {
	c, err := t.connect(ctx, dial, "tcp", nil)
	if err != nil {
		return t.failed(err, "connecting")
	}
	defer c.Close()
	if t.terms().Send != "" {
		if _, err := c.Write([]byte(t.terms().Send)); err != nil {
			return t.failed(err, "sending")
		}
	}
	said := make([]byte, 0, maxAgent)
	for len(said) < maxAgent && !isSaid(said) {
		n, err := c.Read(said[len(said):maxAgent])
		said = said[:len(said)+n]
		if err != nil && len(bytes.TrimSpace(said)) == 0 {
			return t.failed(err, "waiting for the agent to speak")
		}
		if err != nil {
			break // what closes or falls silent has said its line, or ParseAgent tells
		}
	}
	return judgeAgent(string(said))
}

// isSaid reports whether an agent has said a whole line, or a whole object, which may
// have many.
func isSaid(said []byte) bool {
	line := bytes.TrimLeft(said, " \t\r\n")
	if bytes.HasPrefix(line, []byte("{")) {
		return bytes.HasSuffix(bytes.TrimRight(line, " \t\r\n"), []byte("}"))
	}
	return bytes.ContainsRune(line, '\n')
}

// askAgentHTTP reads what the agent says from the content of a response.
func (t *target) askAgentHTTP(ctx context.Context, dial dialer) outcome {
	var c *connection
	r, err := t.exchange(ctx, dial, cmp.Or(t.terms().Path, "/"), &c)
	switch {
	case err != nil:
		return t.failed(err, "waiting for a response")
	case r.status != 200:
		return outcome{cause: fmt.Sprintf("status %d, want 200 with what the agent says", r.status)}
	case len(r.content) > maxAgent:
		return outcome{cause: fmt.Sprintf("the agent says more than %d octets", maxAgent)}
	}
	return judgeAgent(string(r.content))
}

// judgeAgent says what the words of an agent mean. What cannot be understood is a
// failure: an agent that talks nonsense cannot vouch for its member.
func judgeAgent(text string) outcome {
	s, err := health.ParseAgent(text)
	if err != nil {
		return outcome{cause: err.Error()}
	}
	o := outcome{verdict: good, said: &s, cause: "its agent says it is well"}
	if s.Down {
		o.verdict, o.cause = bad, "its agent says it is down"
	}
	if s.Cause != "" {
		o.cause += ": " + s.Cause
	}
	return o
}
