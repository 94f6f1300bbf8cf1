package doq

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/quic-go/quic-go"

	"pharos/internal/serve/dnsserver"
)

// serveStream answers the query of one stream (RFC 9250 §4.2).
func serveStream(conn *quic.Conn, s *quic.Stream, v *dnsserver.Visit) {
	defer s.ReleaseStreamCredit()
	limits := v.Limits()
	s.SetReadDeadline(deadline(limits.Read))
	msg, release, err := readQuery(s.Context(), s, v)
	if err != nil {
		refuseStream(conn, s, v, err)
		return
	}
	outcome := v.Ask(s.Context(), msg, func(answer []byte, _ bool) error {
		s.SetWriteDeadline(deadline(limits.Write))
		err := writeMessage(s, answer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			v.Count(dnsserver.SlowClients)
		}
		return err
	})
	release()
	switch outcome {
	case dnsserver.Sent:
		s.Close() // FIN
	case dnsserver.Alien:
		refuseStream(conn, s, v, violation("no query, or one with edns-tcp-keepalive"))
	case dnsserver.Busy:
		s.CancelWrite(codeExcessiveLoad)
	case dnsserver.Lost:
		s.CancelWrite(codeRequestCancelled)
	default: // there is no answer
		s.CancelWrite(codeUnspecified)
	}
}

// readQuery reads a query and the end of the stream behind it.
func readQuery(ctx context.Context, s io.Reader, v *dnsserver.Visit) (msg []byte, release func(), err error) {
	var length [2]byte
	if _, err := io.ReadFull(s, length[:]); err != nil {
		return nil, nil, early(err)
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	release, ok := v.Reserve(ctx, size)
	if !ok {
		return nil, nil, ctx.Err()
	}
	msg = make([]byte, size)
	if _, err = io.ReadFull(s, msg); err != nil {
		release()
		return nil, nil, early(err)
	}
	var more [1]byte
	if _, err = io.ReadFull(s, more[:]); err != io.EOF {
		release()
		if err == nil {
			err = violation("more than one query on a stream")
		}
		return nil, nil, err
	}
	if size >= 2 && (msg[0] != 0 || msg[1] != 0) { // RFC 9250 §4.2.1
		release()
		return nil, nil, violation("a message id that is not 0")
	}
	return msg, release, nil
}

// early says what the end of a stream before that of its query is.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return violation("the stream ends before its query does")
	}
	return err
}

// refuseStream ends a stream whose query cannot be answered, and its connection if
// RFC 9250 §4.3.3 says so.
func refuseStream(conn *quic.Conn, s *quic.Stream, v *dnsserver.Visit, err error) {
	switch {
	case errors.Is(err, errProtocol):
		v.Count(dnsserver.Malformed)
		conn.CloseWithError(codeProtocol, err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		v.Count(dnsserver.SlowClients)
		s.CancelRead(codeExcessiveLoad)
		s.CancelWrite(codeExcessiveLoad)
	default: // the client took its query back (RFC 9250 §4.3.1), or is gone
		s.CancelRead(codeRequestCancelled)
		s.CancelWrite(codeRequestCancelled)
	}
}

// outputs are buffers for messages with their lengths in front.
var outputs = sync.Pool{New: func() any { return new([]byte) }}

// keptOutput is the largest buffer that is kept for the next answer, in octets.
const keptOutput = 4096

// writeMessage writes a message and its length in one piece, for one packet.
func writeMessage(w io.Writer, msg []byte) error {
	out := outputs.Get().(*[]byte)
	*out = append(binary.BigEndian.AppendUint16((*out)[:0], uint16(len(msg))), msg...)
	_, err := w.Write(*out)
	if cap(*out) <= keptOutput {
		outputs.Put(out)
	}
	return err
}
