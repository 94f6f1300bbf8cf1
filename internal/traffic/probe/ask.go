package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"pharos/internal/traffic/health"
)

// verdict is what one probe says.
type verdict uint8

const (
	bad    verdict = iota // the target is not well
	good                  // it is
	unsent                // nothing about the target: we could not ask
)

// outcome is how one probe ended.
type outcome struct {
	verdict verdict
	cause   string

	said        *health.Saying // by an agent
	certificate time.Time      // the end of the one that was shown
	warning     string         // what an operator should look at
}

// result returns o as evidence of a probe that ended at that time.
func (o outcome) result(ended time.Time, took time.Duration) health.Result {
	return health.Result{
		OK: o.verdict == good, At: ended, Latency: took, Cause: o.cause,
		Said: o.said, Certificate: o.certificate, Warning: o.warning,
	}
}

// dialer makes a connection, until ctx is done.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// newTarget compiles what is asked of key, so that a probe only asks.
func newTarget(key health.Target) *target {
	t := &target{key: key}
	t.item.Value = t
	t.address = key.ProbeAddress().String()
	switch key.Check.Kind {
	case health.HTTP, health.HTTPS, health.AgentHTTP:
		t.match = compileMatch(t.terms().Match)
	case health.DNS:
		t.question, t.broken = compileQuestion(t.terms().Question)
	}
	if key.Check.Kind.IsEncrypted() {
		t.tls = &handshaker{terms: t.terms().TLS, name: serverName(key)}
	}
	return t
}

// ask probes t once, within its timeout.
func (t *target) ask(ctx context.Context, dial dialer) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.params().Timeout)
	defer cancel()
	if t.broken != nil {
		return outcome{verdict: unsent, cause: t.broken.Error(), warning: t.broken.Error()}
	}
	switch t.key.Check.Kind {
	case health.HTTP, health.HTTPS:
		return t.askHTTP(ctx, dial)
	case health.GRPC, health.GRPCS:
		return t.askGRPC(ctx, dial)
	case health.DNS:
		return t.askDNS(ctx, dial)
	case health.UDP:
		return t.askUDP(ctx, dial)
	case health.ICMP:
		return t.askICMP(ctx)
	case health.Command:
		return t.askCommand(ctx)
	case health.Agent:
		return t.askAgent(ctx, dial)
	case health.AgentHTTP:
		return t.askAgentHTTP(ctx, dial)
	}
	conn, err := t.connect(ctx, dial, "tcp", nil)
	if err != nil {
		return t.failed(err, "connecting")
	}
	defer conn.Close()
	if t.tls == nil {
		return outcome{verdict: good, cause: "connected"}
	}
	return t.tls.noted(conn, outcome{verdict: good, cause: "handshake made: " + tls.VersionName(conn.state.Version)})
}

// connection is one that ends when the context it was made for does: its deadline must
// end a probe whose target sends a byte now and then, and Close of the Prober one that
// is reading.
type connection struct {
	net.Conn
	stop  func() bool
	state tls.ConnectionState // of an encrypted one
}

// Close ends the connection.
func (c *connection) Close() error {
	c.stop()
	return c.Conn.Close()
}

// connect makes a connection to t, with a handshake if its kind has one. protocols are
// offered by ALPN (RFC 7301).
func (t *target) connect(ctx context.Context, dial dialer, network string, protocols []string) (*connection, error) {
	conn, err := dial(ctx, network, t.address)
	if err != nil {
		return nil, &during{"connecting", err}
	}
	if t.key.Check.Kind == health.TCP || t.key.Check.Kind == health.TLS {
		reset(conn)
	}
	c := &connection{Conn: conn}
	c.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	if t.tls == nil {
		return c, nil
	}
	if err := t.tls.handshake(ctx, c, protocols); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// reset makes the close of conn a reset, if it is a socket: a connection checked
// each second would otherwise leave a port in TIME_WAIT each second.
func reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
}

// failed names err for people.
func (t *target) failed(err error, doing string) outcome {
	var timeout net.Error
	var errno syscall.Errno
	var handshake *handshakeError
	var ours *ourError
	var step *during
	if errors.As(err, &step) {
		doing, err = step.doing, step.err
	}
	switch {
	case errors.As(err, &ours):
		return outcome{verdict: unsent, cause: err.Error(), warning: err.Error()}
	case errors.As(err, &errno) && isOurs(errno):
		return outcome{verdict: unsent, cause: errno.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if errors.As(err, &handshake) {
			doing = "in the TLS handshake"
		}
		return outcome{cause: fmt.Sprintf("timeout after %v %s", t.params().Timeout, doing)}
	case errors.As(err, &handshake):
		return outcome{cause: handshake.Error(), certificate: handshake.certificate, warning: handshake.warning}
	case errno != 0:
		return outcome{cause: errno.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return outcome{cause: "connection closed " + doing}
	}
	return outcome{cause: health.Printable(err.Error())}
}

// during is an error of a step that is not the one all the rest is.
type during struct {
	doing string
	err   error
}

func (e *during) Error() string { return e.doing + ": " + e.err.Error() }
func (e *during) Unwrap() error { return e.err }

// ourError is a reason of ours why nothing could be asked, which an operator has to
// take away: the configuration names what is not there, or the system does not permit it.
type ourError struct{ err error }

func (e *ourError) Error() string { return e.err.Error() }
func (e *ourError) Unwrap() error { return e.err }

// isOurs reports whether errno is a shortage of this machine, which says nothing
// about the target: a node that runs out of ports must not find everybody down.
func isOurs(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN:
		return true
	}
	return false
}
