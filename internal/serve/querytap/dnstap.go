package querytap

import (
	"net"
	"net/netip"
	"os"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"google.golang.org/protobuf/proto"

	"pharos/internal/clock"
)

// timeout is how long a collector may take to accept a connection or what is written.
const timeout = 2 * time.Second

// stream is frames on their way to a collector or into a file.
type stream struct {
	frames *framestream.Writer
	file   *os.File // nil for a socket
	conn   net.Conn
}

// open connects to the collector, or opens the file.
func (t *Tap) open() (*stream, error) {
	options := &framestream.WriterOptions{ContentTypes: [][]byte{dnstap.FSContentType}, Timeout: timeout}
	s := &stream{}
	var err error
	if t.config.Socket != "" {
		if s.conn, err = net.DialTimeout("unix", t.config.Socket, timeout); err != nil {
			return nil, err
		}
		options.Bidirectional = true
		s.frames, err = framestream.NewWriter(s.conn, options)
	} else {
		// Frames of another start cannot follow in one file: each begins a new one.
		if s.file, err = os.OpenFile(t.config.File, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640); err != nil {
			return nil, err
		}
		s.frames, err = framestream.NewWriter(s.file, options)
	}
	if err != nil {
		s.closeSocket()
		return nil, err
	}
	return s, nil
}

// isMoved reports whether the file is no longer at its path: it was rotated.
func (s *stream) isMoved(path string) bool {
	if s.file == nil {
		return false
	}
	open, err := s.file.Stat()
	there, pathErr := os.Stat(path)
	return err != nil || pathErr != nil || !os.SameFile(open, there)
}

func (s *stream) close() {
	if s != nil {
		s.frames.Close()
		s.closeSocket()
	}
}

func (s *stream) closeSocket() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// frame writes an event as two frames: the query, and the answer if there was one.
func (t *Tap) frame(e *Event) {
	if t.out == nil {
		now := clock.Now()
		if now.Before(t.retry) {
			t.failed.Add(1)
			return
		}
		var err error
		if t.out, err = t.open(); err != nil {
			t.lost(now, err)
			return
		}
		if t.told {
			t.told = false
			t.config.Log.Info("dnstap goes on")
		}
	}
	types := [...]dnstap.Message_Type{dnstap.Message_AUTH_QUERY, dnstap.Message_AUTH_RESPONSE}
	if e.Recursive {
		types = [...]dnstap.Message_Type{dnstap.Message_CLIENT_QUERY, dnstap.Message_CLIENT_RESPONSE}
	}
	for i, kind := range types {
		if i == 0 && len(e.Query) == 0 || i == 1 && len(e.Answer) == 0 {
			continue
		}
		frame, err := proto.Marshal(t.payload(e, kind))
		if err != nil {
			t.failed.Add(1)
			continue
		}
		if _, err := t.out.frames.WriteFrame(frame); err != nil {
			t.lost(clock.Now(), err)
			return
		}
		t.frames.Add(1)
	}
}

// lost ends a stream that cannot be written, for a while.
func (t *Tap) lost(now time.Time, err error) {
	if t.out != nil {
		t.out.closeSocket() // not close: that would write
	}
	t.out, t.retry = nil, now.Add(pause)
	t.failed.Add(1)
	if !t.told {
		t.told = true
		t.config.Log.Warn("dnstap cannot be written; queries are not told of until it can", "socket", t.config.Socket, "file", t.config.File, "error", err)
	}
}

// flush sends what was written, when nothing more waits.
func (t *Tap) flush() {
	if t.out == nil {
		return
	}
	if err := t.out.frames.Flush(); err != nil {
		t.lost(clock.Now(), err)
		return
	}
	now := clock.Now()
	if now.Sub(t.looked) < pause {
		return
	}
	if t.looked = now; t.out.isMoved(t.config.File) {
		t.out.close()
		t.out = nil
	}
}

// payload returns the message of a frame.
func (t *Tap) payload(e *Event, kind dnstap.Message_Type) *dnstap.Dnstap {
	family := dnstap.SocketFamily_INET6
	if e.Client.Addr().Is4() {
		family = dnstap.SocketFamily_INET
	}
	m := &dnstap.Message{
		Type: &kind, SocketFamily: &family, SocketProtocol: protocolOf(e.Transport),
		QueryAddress: octets(e.Client.Addr()), QueryPort: proto.Uint32(uint32(e.Client.Port())),
		ResponseAddress: octets(e.Local.Addr()), ResponsePort: proto.Uint32(uint32(e.Local.Port())),
		QueryTimeSec: proto.Uint64(uint64(e.Received.Unix())), QueryTimeNsec: proto.Uint32(uint32(e.Received.Nanosecond())),
	}
	if kind == dnstap.Message_AUTH_QUERY || kind == dnstap.Message_CLIENT_QUERY {
		m.QueryMessage = e.Query
	} else {
		m.ResponseTimeSec, m.ResponseTimeNsec = proto.Uint64(uint64(e.Sent.Unix())), proto.Uint32(uint32(e.Sent.Nanosecond()))
		m.ResponseMessage = e.Answer
	}
	message := dnstap.Dnstap_MESSAGE
	return &dnstap.Dnstap{Type: &message, Message: m, Identity: []byte(t.config.Identity), Version: []byte(t.config.Version)}
}

// protocolOf returns the protocol of a transport; the format has none for QUIC yet.
func protocolOf(transport string) *dnstap.SocketProtocol {
	p := dnstap.SocketProtocol_UDP
	switch transport {
	case "tcp":
		p = dnstap.SocketProtocol_TCP
	case "dot":
		p = dnstap.SocketProtocol_DOT
	case "doh", "doh3":
		p = dnstap.SocketProtocol_DOH
	}
	return &p
}

func octets(a netip.Addr) []byte { return a.AsSlice() }
