// Package syslog sends lines to a log daemon.
//
// It owns the form of a message, how it travels, and what becomes of lines when nobody is
// there. It does not own the lines, nor how many of them may wait: who writes to a Writer
// must expect a write to take as long as writeWithin.
//
//	lines --Write--> <134>1 2026-11-22T15:04:05.678901Z host pharos 4711 access - line
//
//	unix:/dev/log           a datagram each, or a stream where that is what listens
//	udp://192.0.2.1:514     a datagram each                         RFC 5426
//	tcp://192.0.2.1:601     length, space, message                  RFC 6587 §3.4.1
//
// Entry points: Open, Parse, Writer.Write.
//
// Concurrency: a Writer may be used from anywhere; one write goes at a time.
//
// Sources: RFC 5424 (the form), RFC 5426 (UDP), RFC 6587 (TCP).
package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pharos/internal/clock"
)

// Limits that are not configurable, and why.
const (
	// maxMessage is the longest message in octets. A longer one is cut: RFC 5424 §6.1 asks
	// receivers to take 2048, and the usual ones take 8192.
	maxMessage = 8192
	// writeWithin is how long a connect or a write may take; then its lines are lost. A
	// daemon is near.
	writeWithin = 2 * time.Second
	// again is how long after a failure lines are lost before the next try, so that a
	// daemon that is gone costs no waiting.
	again = time.Second
)

// Config is to whom messages go, and as what.
type Config struct {
	Address  string // see Parse
	Facility string // one of Facilities
	App      string // APP-NAME; empty: pharos
	Kind     string // MSGID: which log it is
}

// Facilities are the numbers of RFC 5424 §6.2.1, by their usual names.
var Facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// severity of all messages: informational (RFC 5424 §6.2.1).
const severity = 6

// Parse reads an address: unix:/dev/log, udp://host:port or tcp://host:port.
func Parse(address string) (network, at string, err error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
	case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/") && u.Host == "":
		return "unixgram", u.Path, nil
	case (u.Scheme == "udp" || u.Scheme == "tcp") && u.Path == "" && u.Hostname() != "" && u.Port() != "":
		return u.Scheme, u.Host, nil
	}
	return "", "", fmt.Errorf("%q is no address of a log daemon; want unix:/dev/log, udp://192.0.2.1:514 or tcp://192.0.2.1:601", address)
}

// Writer sends lines. Make it with Open.
type Writer struct {
	// Constant after Open.
	network, at  string
	begin, after string // of a message, before and behind its time

	mu      sync.Mutex // guards all below; held while messages are sent
	conn    net.Conn   // nil: none
	stream  bool       // conn has no message bounds of its own
	message []byte
	retryAt time.Time // before it nobody is called
	lines   []byte    // a line that has not ended yet
}

// Open returns a Writer. It connects with the first line: a daemon may come and go.
func Open(c Config) (*Writer, error) {
	network, at, err := Parse(c.Address)
	if err != nil {
		return nil, err
	}
	facility, known := Facilities[c.Facility]
	if !known {
		return nil, fmt.Errorf("there is no facility %q; there are daemon, user, local0 to local7 and others", c.Facility)
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	if c.App == "" {
		c.App = "pharos"
	}
	return &Writer{
		network: network, at: at, begin: fmt.Sprintf("<%d>1 ", facility*8+severity),
		after: fmt.Sprintf(" %s %s %d %s - ", word(host, 255), word(c.App, 48), os.Getpid(), word(c.Kind, 32)),
	}, nil
}

// word returns text as a part of a head: printable ASCII, or "-" (RFC 5424 §6).
func word(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), most)]
}

// errWaiting is why lines are lost shortly after a failure.
var errWaiting = errors.New("the log daemon could not be reached a moment ago")

// Write sends the lines in p, a message each, and returns how many octets of p were sent.
// Lines behind one that cannot be sent are lost with it.
func (w *Writer) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := clock.Now()
	for n < len(p) {
		end := bytes.IndexByte(p[n:], '\n')
		if end < 0 {
			w.lines = append(w.lines, p[n:]...)
			return len(p), nil
		}
		line := p[n : n+end]
		if len(w.lines) > 0 {
			w.lines = append(w.lines, line...)
			line = w.lines
		}
		if err := w.send(line, now); err != nil {
			return n, err
		}
		w.lines = w.lines[:0]
		n += end + 1
	}
	return n, nil
}

// send sends one message; once more on a new connection if one that was there has broken.
func (w *Writer) send(line []byte, now time.Time) error {
	kept := w.conn != nil
	for {
		if w.conn == nil {
			if err := w.connect(now); err != nil {
				return err
			}
		}
		err := w.put(line, now)
		if err == nil {
			return nil
		}
		w.drop()
		if !kept || isTimeout(err) {
			w.retryAt = now.Add(again)
			return err
		}
		kept = false
	}
}

func (w *Writer) connect(now time.Time) error {
	if now.Before(w.retryAt) {
		return errWaiting
	}
	conn, err := net.DialTimeout(w.network, w.at, writeWithin)
	w.stream = w.network == "tcp"
	if errors.Is(err, syscall.EPROTOTYPE) { // a stream listens there
		conn, err = net.DialTimeout("unix", w.at, writeWithin)
		w.stream = true
	}
	if err != nil {
		w.retryAt = now.Add(again)
		return err
	}
	w.conn = conn
	return nil
}

// room stands before each message, for its length and a space.
const room = "      "

func (w *Writer) put(line []byte, now time.Time) error {
	b := append(append(w.message[:0], room...), w.begin...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, w.after...)
	b = append(b, line[:min(len(line), maxMessage+len(room)-len(b))]...)
	w.message = b
	message := b[len(room):]
	if w.stream {
		length := strconv.Itoa(len(message)) + " "
		message = b[len(room)-len(length):]
		copy(message, length)
	}
	w.conn.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err := w.conn.Write(message)
	return err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (w *Writer) drop() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// Close ends the connection.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
	return nil
}
