// Package terms is how long requests of a route may take, and for which failures they are
// sent to another member.
//
// It owns what the terms are. It does not own clocks, nor the retries themselves: who may be
// asked, and how many at a time, is package httpproxy's.
//
// Entry points: Terms, Retrying.Has, ParseGRPCTimeout.
//
// Concurrency: Terms are constant.
//
// Sources: RFC 9110 §9.2.2 (idempotent methods), RFC 9209 §2.3 (kinds of failures), the gRPC
// protocol over HTTP/2 (Timeout).
package terms

import (
	"math"
	"time"
)

// Terms are how long requests of a route may take, and when they are sent to another member.
// Times are kept by the coarse clock of the gateway. The zero value of a member stands for
// its limits.
type Terms struct {
	// Total is from the first octet of a request to the last one of its response, all tries
	// and waiting included. At it: 504, or the response is cut off. It is not for streams.
	Total time.Duration
	// PerTry is from turning to a member, or from the end of content that is passed on while
	// it comes, to the head of its response. At it: the next member, at last 504.
	PerTry time.Duration
	// Idle is how long a response or a tunnel may be silent once it has begun. At it: cut off.
	Idle time.Duration
	// Streams has Total hold for streams, too: tunnels, server-sent events, and calls of gRPC.
	Streams bool
	// Tries is how many members a request may be sent to.
	Tries int
	// On is what has it sent to another one; nil: what nobody has answered.
	On *Retrying
}

// Retrying is what has a request sent to another member. What may have reached a member goes
// to another one only if it is idempotent (RFC 9110 §9.2.2).
type Retrying struct {
	Connect  bool // there is no connection, so that nothing was sent
	Reset    bool // the connection ended before the whole answer
	Timeout  bool // there is no answer in time
	Statuses []int
	Codes    []int // of calls of gRPC that have no message yet; who names one says that calls may be repeated
}

// ParseGRPCTimeout reads how long a client of gRPC waits: at most eight digits and a unit.
func ParseGRPCTimeout(text []byte) (time.Duration, bool) {
	if len(text) < 2 || len(text) > 9 {
		return 0, false
	}
	unit, known := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[text[len(text)-1]]
	n := int64(0)
	for _, digit := range text[:len(text)-1] {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int64(digit-'0')
	}
	if known && n > math.MaxInt64/int64(unit) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * unit, known
}

// KindStatus is the failure of a member that answers with a status that another one is to be
// asked for.
const KindStatus = "destination_error"

// Has reports whether a failure, by its kind (RFC 9209 §2.3), has a request sent to another
// member.
func (on *Retrying) Has(kind string) bool {
	switch kind {
	case "connection_refused", "connection_timeout", "destination_ip_unroutable":
		return on.Connect
	case "connection_terminated", "http_response_incomplete":
		return on.Reset
	case "connection_read_timeout":
		return on.Timeout
	case "destination_unavailable", KindStatus: // it was taken out of use; or the status was asked for
		return true
	}
	return on.Connect // TLS has failed
}
