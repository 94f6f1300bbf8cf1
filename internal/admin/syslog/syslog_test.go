package syslog

import (
	"bufio"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func openTo(t *testing.T, address string) *Writer {
	t.Helper()
	w, err := Open(Config{Address: address, Facility: "local0", Kind: "access"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// form is RFC 5424 §6: HEADER SP STRUCTURED-DATA SP MSG.
var form = regexp.MustCompile(`^<134>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]{1,255} pharos \d+ access - (.*)$`)

func lineOf(t *testing.T, message string) string {
	t.Helper()
	m := form.FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("%q has not the form of RFC 5424", message)
	}
	return m[1]
}

// deadline is for a machine that is slow, not for one that is well.
const deadline = 30 * time.Second

// TestDatagrams: each line is a message of its own, over UDP and at /dev/log.
func TestDatagrams(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			at, scheme := "127.0.0.1:0", "udp://"
			if network == "unixgram" {
				at, scheme = filepath.Join(t.TempDir(), "log"), "unix:"
			}
			daemon, err := net.ListenPacket(network, at)
			if err != nil {
				t.Fatal(err)
			}
			defer daemon.Close()
			w := openTo(t, scheme+daemon.LocalAddr().String())
			long := strings.Repeat("x", 2*maxMessage)
			if n, err := w.Write([]byte("one\ntwo\n" + long + "\nhalf")); err != nil || n != len("one\ntwo\n"+long+"\nhalf") {
				t.Fatalf("%d, %v", n, err)
			}
			if _, err := w.Write([]byte(" whole\n")); err != nil {
				t.Fatal(err)
			}
			daemon.SetReadDeadline(time.Now().Add(deadline))
			b := make([]byte, 64<<10)
			for _, want := range []string{"one", "two", long, "half whole"} {
				n, _, err := daemon.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				if got := lineOf(t, string(b[:n])); got != want && (want != long || n != maxMessage || !strings.HasPrefix(long, got)) {
					t.Errorf("got %.50q of %d octets, want %.50q", got, n, want)
				}
			}
		})
	}
}

// readCounted reads one message with its length before it (RFC 6587 §3.4.1).
func readCounted(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// TestStreams: a daemon that was started anew is found again, over TCP and where a stream
// listens at the place of /dev/log; lines before that are lost, and said to be.
func TestStreams(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			at, scheme := "127.0.0.1:0", "tcp://"
			if network == "unix" {
				at, scheme = filepath.Join(t.TempDir(), "log"), "unix:"
			}
			daemon, err := net.Listen(network, at)
			if err != nil {
				t.Fatal(err)
			}
			defer daemon.Close()
			w := openTo(t, scheme+daemon.Addr().String())
			for _, line := range []string{"before", "after"} {
				sent := make(chan error, 1)
				go func() { // ends with the line that arrives
					for {
						if _, err := w.Write([]byte(line + " 1\n" + line + " 2\n")); err == nil {
							sent <- nil
							return
						}
					}
				}()
				conn, err := daemon.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.SetReadDeadline(time.Now().Add(deadline))
				<-sent
				r := bufio.NewReader(conn)
				for _, want := range []string{line + " 1", line + " 2"} {
					if line == "after" {
						want = "" // what was sent before the end was seen is lost
					}
					message, err := readCounted(r)
					if got := lineOf(t, message); err != nil || want != "" && got != want {
						t.Errorf("got %q, %v, want %q", got, err, want)
					}
					if line == "after" {
						break
					}
				}
				if line == "before" {
					if tcp, ok := conn.(*net.TCPConn); ok {
						tcp.SetLinger(0)
					}
				}
				conn.Close()
				if line == "before" {
					for { // until the end is seen
						w.mu.Lock()
						b := make([]byte, 1)
						w.conn.SetReadDeadline(time.Now().Add(deadline))
						_, err := w.conn.Read(b)
						w.mu.Unlock()
						if err != nil {
							break
						}
					}
				}
			}
		})
	}
}

// TestNobody: lines to nobody are lost at once, and it is said.
func TestNobody(t *testing.T) {
	w := openTo(t, "unix:"+filepath.Join(t.TempDir(), "nobody"))
	if n, err := w.Write([]byte("a\n")); err == nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := w.Write([]byte("b\n")); err != errWaiting {
		t.Errorf("a moment later: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"unix:/dev/log": "unixgram /dev/log", "unix:///dev/log": "unixgram /dev/log", "udp://192.0.2.1:514": "udp 192.0.2.1:514", "tcp://[2001:db8::1]:601": "tcp [2001:db8::1]:601",
		"": "", "/dev/log": "", "unix:log": "", "udp://192.0.2.1": "", "tcp://:601": "", "http://192.0.2.1:80": "", "tcp://a:1/b": "",
	} {
		network, at, err := Parse(address)
		if got := network + " " + at; want != "" && (got != want || err != nil) || want == "" && err == nil {
			t.Errorf("%q: got %q, %v, want %q", address, got, err, want)
		}
	}
	for _, c := range []Config{{Address: "x", Facility: "user"}, {Address: "unix:/dev/log", Facility: "users"}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if got := word("a b\n\x00c", 2); got != "ab" {
		t.Errorf("got %q", got)
	}
	if got := word("", 10); got != "-" {
		t.Errorf("got %q", got)
	}
}
