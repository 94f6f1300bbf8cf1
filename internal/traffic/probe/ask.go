package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
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
}

func newTarget(key health.Target) *target {
	t := &target{key: key, params: key.Check.Params.Normal(), place: -1}
	if key.Check.Kind == health.HTTP {
		t.request = request(key)
	}
	return t
}

// request returns the bytes of an HTTP check. RFC 9112 §9.6: close says that
// nothing follows; the connection is not used again.
func request(key health.Target) []byte {
	host, path := key.Check.Host, key.Check.Path
	if host == "" {
		host = key.ProbeAddress().String()
	}
	if path == "" {
		path = "/"
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: pharos-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n")
}

// ask probes t once, within its timeout.
func (t *target) ask(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error)) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.params.Timeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", t.key.ProbeAddress().String())
	if err != nil {
		return t.failed(err, "connecting")
	}
	defer conn.Close()
	if t.key.Check.Kind == health.TCP {
		reset(conn)
		return outcome{good, "connected"}
	}
	// Close must end a probe that is reading; its deadline must end one whose target
	// sends a byte now and then.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(t.request); err != nil {
		return t.failed(err, "sending the request")
	}
	code, err := readStatus(bufio.NewReaderSize(conn, maxLine))
	if err != nil {
		return t.failed(err, "waiting for a status")
	}
	cause := "status " + strconv.Itoa(code)
	if !t.key.Check.Status.Has(code) {
		return outcome{bad, cause}
	}
	return outcome{good, cause}
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
	switch {
	case errors.As(err, &errno) && isOurs(errno):
		return outcome{unsent, errno.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return outcome{bad, fmt.Sprintf("timeout after %v %s", t.params.Timeout, doing)}
	case errno != 0:
		return outcome{bad, errno.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return outcome{bad, "connection closed " + doing}
	}
	return outcome{bad, err.Error()}
}

// isOurs reports whether errno is a shortage of this machine, which says nothing
// about the target: a node that runs out of ports must not find everybody down.
func isOurs(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL:
		return true
	}
	return false
}

// Limits of what is read of an answer. A longer one is not HTTP that a check could
// understand; the content is never read, however large.
const (
	maxLine    = 4096 // octets of a status line or field line
	maxInterim = 8    // interim (1xx) responses; as many as the gateway lets through
	maxFields  = 100  // field lines of an interim response
)

// errNotHTTP is wrapped by errors about what was answered.
var errNotHTTP = errors.New("not HTTP/1")

// readStatus reads the status code of the final response (RFC 9110 §15.2: any
// number of interim responses may come before it).
func readStatus(r *bufio.Reader) (int, error) {
	for range maxInterim {
		line, err := readLine(r)
		if err != nil {
			return 0, err
		}
		code, err := statusOf(line)
		if err != nil || code >= 200 || code == 101 {
			return code, err
		}
		if err := skipFields(r); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: more than %d interim responses", errNotHTTP, maxInterim)
}

// statusOf reads a status line (RFC 9112 §4): HTTP-version SP 3DIGIT SP [reason].
// The space before an absent reason may be missing.
func statusOf(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if (version != "HTTP/1.1" && version != "HTTP/1.0") || err != nil || len(code) != 3 || n < 100 {
		return 0, fmt.Errorf("%w: answered %.40q", errNotHTTP, line)
	}
	return n, nil
}

func skipFields(r *bufio.Reader) error {
	for range maxFields {
		if line, err := readLine(r); err != nil || line == "" {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d fields in an interim response", errNotHTTP, maxFields)
}

// readLine reads a line of at most maxLine octets, without its end. RFC 9112 §2.2: a
// lone LF may be taken for a line end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: answered %.40q", errNotHTTP, line)
	}
	if err != nil {
		if len(line) > 0 && errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%w: answered %.40q and closed", errNotHTTP, line)
		}
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}
