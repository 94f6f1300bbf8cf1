// Package tracecontext is W3C trace context: which trace a request belongs to, how that is
// read from its fields and told to the next server, and what a request leaves behind in a
// trace.
//
// It owns the two fields, sampling, and the shape of what is exported. It does not own who
// is believed, nor what is done with what is exported (package otlp).
//
//	traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//	             |  |                                |                |
//	             |  trace, 16 octets                 span, 8 octets   flags: 1 is sampled
//	             version
//
// Requests that are over are also kept for whoever asks what became of one (Ring).
//
// Entry points: Parse, ParseState, Context.Append, IsSampled, Request, Ring.
//
// Concurrency: functions of their arguments. None of them allocates.
//
// Sources: W3C Trace Context (Recommendation of 23 November 2021) §3.2, §3.3, §4.2.
package tracecontext

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"
)

// TraceID is the number of a trace. All zero: there is none.
type TraceID [16]byte

// SpanID is the number of a span. All zero: there is none.
type SpanID [8]byte

// IsZero reports whether there is none.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// IsZero reports whether there is none.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// Append appends the id in lower case hexadecimal.
func (id TraceID) Append(b []byte) []byte { return hex.AppendEncode(b, id[:]) }

// Append appends the id in lower case hexadecimal.
func (id SpanID) Append(b []byte) []byte { return hex.AppendEncode(b, id[:]) }

// Sampled is the flag that spans are recorded (§3.2.2.5.1).
const Sampled = 1

// Context is where in which trace a request is.
type Context struct {
	Trace TraceID
	Span  SpanID
	Flags byte
}

// Length is that of a traceparent of version 00, and SpanAt where its span begins.
const (
	Length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	SpanAt = len("00-4bf92f3577b34da6a3ce929d0e0e4736-")
)

// Parse reads a traceparent. Only lower case is one (§3.2.2), version ff and ids of zeros
// are none; what a version to come has behind the flags is passed over (§4.3).
func Parse(value []byte) (c Context, ok bool) {
	if len(value) < Length || value[2] != '-' || value[SpanAt-1] != '-' || value[SpanAt+16] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	ok = fromHex(version[:], value[:2]) && fromHex(c.Trace[:], value[3:SpanAt-1]) && fromHex(c.Span[:], value[SpanAt:SpanAt+16]) && fromHex(flags[:], value[SpanAt+17:Length])
	switch {
	case !ok || version[0] == 0xff || c.Trace.IsZero() || c.Span.IsZero():
		return Context{}, false
	case len(value) > Length && (version[0] == 0 || value[Length] != '-'):
		return Context{}, false
	}
	c.Flags = flags[0] & Sampled // others are of versions to come (§3.2.2.5.2)
	return c, true
}

func fromHex(to, from []byte) bool {
	for _, c := range from {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, from)
	return err == nil
}

// Append appends a traceparent.
func (c Context) Append(b []byte) []byte {
	b = append(c.Trace.Append(append(b, "00-"...)), '-')
	b = append(c.Span.Append(b), '-', '0', '0'+c.Flags&Sampled)
	return b
}

// Limits of a tracestate (§3.3.1.5, §3.3.2); a longer one is dropped whole, as a part
// of one would mislead who reads it.
const (
	maxState        = 512 // octets, together
	maxStateMembers = 32
)

// ParseState reports whether the value of a field tracestate, which may be one of several,
// is well-formed, and how many members it has.
func ParseState(value []byte) (members int, ok bool) {
	if len(value) > maxState {
		return 0, false
	}
	for rest, more := value, true; more; {
		var member []byte
		member, rest, more = bytes.Cut(rest, comma)
		member = bytes.Trim(member, " \t")
		if len(member) == 0 {
			continue // §3.3.1.1: empty members are allowed
		}
		key, text, is := bytes.Cut(member, equals)
		if !is || !isKey(key) || !isValue(text) {
			return 0, false
		}
		if members++; members > maxStateMembers {
			return 0, false
		}
	}
	return members, true
}

var (
	comma  = []byte(",")
	equals = []byte("=")
)

// isKey: simple-key or tenant@system (§3.3.1.3.1).
func isKey(key []byte) bool {
	tenant, system, multi := bytes.Cut(key, []byte("@"))
	if !multi {
		return len(key) >= 1 && len(key) <= 256 && isLower(key[0]) && areKey(key)
	}
	return len(tenant) >= 1 && len(tenant) <= 241 && (isLower(tenant[0]) || isDigit(tenant[0])) && areKey(tenant) &&
		len(system) >= 1 && len(system) <= 14 && isLower(system[0]) && areKey(system)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func areKey(b []byte) bool {
	for _, c := range b {
		if !isLower(c) && !isDigit(c) && c != '_' && c != '-' && c != '*' && c != '/' {
			return false
		}
	}
	return true
}

// isValue: printable ASCII without comma and equals sign, not ending in a space (§3.3.1.3.2).
func isValue(b []byte) bool {
	if len(b) == 0 || len(b) > 256 || b[len(b)-1] == ' ' {
		return false
	}
	for _, c := range b {
		if c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return true
}

// IsSampled reports whether a trace is one of so many that are recorded. Whoever decides so
// by the random part of its id, which is the last 7 octets, decides the same (§2.3 of Level 2).
func IsSampled(id TraceID, every int) bool {
	random := binary.BigEndian.Uint64(id[8:]) << 8
	return every == 1 || every > 1 && random < ^uint64(0)/uint64(every)
}

// Request is a request that is over, as a trace has it.
type Request struct {
	Context
	Parent SpanID // zero: it is the first of its trace
	State  string // tracestate that came with it

	Began time.Time
	Took  time.Duration

	Method, Scheme, Host, Path, Query string
	Version                           string // of HTTP: 1.1, 2
	Agent                             string
	Client                            netip.Addr
	ID                                string // request id
	Route, Pool                       string // names; empty: it came to none
	Status                            int    // 0: nothing was answered
	Reason                            string // why the gateway answered by itself, or cut it off
	Received, Sent                    int64  // octets of content
	Queue                             time.Duration
	Filters                           []string // of the route, by name
	Mirrored                          string   // the pool that got a copy; empty: none did
	Policy                            string   // by which members were picked
	Candidates                        []string // who could be, in words

	Tries []Try
}

// Try is a member that was asked.
type Try struct {
	Span      SpanID
	Pool      string
	Member    string
	Address   netip.AddrPort
	After     time.Duration // from Request.Began on
	Took      time.Duration
	Connect   time.Duration // 0: on a connection that was kept
	FirstByte time.Duration // 0: no response began
	Status    int           // 0: none
	Reason    string        // empty: its response was passed on
}
