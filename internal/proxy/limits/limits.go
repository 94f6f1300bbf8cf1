// Package limits is what connections to the HTTP gateway may cost.
//
// It owns the limits, their reasons and their defaults. It does not own keeping them (packages
// httpproxy, http1 and http2).
//
// Entry points: Limits, Limits.WithDefaults.
//
// Concurrency: values.
package limits

import (
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/http2"
)

// Limits bounds what connections may cost. The zero value of a member stands
// for its default. Times are kept by a clock that ticks ten times a second: a
// limit is never early and at most 0.2 s late, a second with 65,536 connections.
type Limits struct {
	// HTTP bounds one message head. Defaults: 8 KiB, 32 KiB, 100 fields.
	HTTP http1.Limits
	// HTTP2 bounds one connection of HTTP/2. Its times and the size of a head are those
	// below and of HTTP.
	HTTP2 http2.Limits
	// HTTP3Resets is of HTTP/3 what HTTP2.Resets is. Default 200. At it: H3_EXCESSIVE_LOAD.
	HTTP3Resets int
	// MaxConnections of clients at once, in number; and requests at once, where one
	// connection may have several. Default 65536. At it: 503, or REFUSED_STREAM.
	MaxConnections int
	// PerClient is how many connections one client may have, an IPv4 address or a /64 of
	// IPv6; negative for no limit. Trusted proxies may have any number. Default 16384, a
	// quarter of MaxConnections: nobody alone takes all places. At it: 503, over TLS closed.
	PerClient int
	// RequestHead is from the first octet of a request to the end of its head.
	// Default 10 s, absolute, against slowloris. At it: 408.
	RequestHead time.Duration
	// Idle is how long a client connection may wait for its next request.
	// Default 60 s, about nginx's. At it: closed.
	Idle time.Duration
	// Rest is how long a client connection keeps a goroutine while it waits for its
	// next request. Default 0.5 s, after which few come in the same burst.
	Rest time.Duration
	// OriginIdle is how long an unused origin connection is kept. Default 30 s.
	OriginIdle time.Duration
	// Connect is for one connection to an origin server. Default 1 s: members are
	// near, and the next one is waiting. At it: the next member, at last 504.
	Connect time.Duration
	// Response is from the end of the request to the first octets of its response,
	// and between two pieces of it. Default 30 s. At it: 504, or cut off.
	Response time.Duration
	// Stall is how long a client may neither send nor take an octet of content.
	// Default 20 s. At it: 408, or cut off.
	Stall time.Duration
	// MinRate is the least octets per second of content a client must send or take,
	// measured over all of it after MinRateGrace. Default 128, which a modem
	// of 1990 reaches; negative for none. At it: 408, or cut off.
	MinRate int
	// MinRateGrace is how long MinRate is not asked for. Default 30 s.
	MinRateGrace time.Duration
	// Tunnel is how long an upgraded connection may be silent both ways.
	// Default 1 h. At it: closed.
	Tunnel time.Duration
	// Linger is how long, and LingerBytes how many octets, we go on reading from a
	// client whose request was answered before it was all sent, so that it can read
	// the answer before the connection is reset. Defaults 2 s and 256 KiB.
	Linger      time.Duration
	LingerBytes int64
	// DrainGrace is how long Shutdown leaves a connection open that has carried a
	// request a moment ago, for the next one of its client, which may be on its way.
	// Default 1 s. At it: closed.
	DrainGrace time.Duration
	// MaxContent is the largest request content in octets; 0 is no limit. At it: 413.
	MaxContent int64
	// Tries is how many members one request may be sent to. Default 3.
	Tries int
	// Inspect is how many octets of content are looked at for routes that go by it. Default
	// 16 KiB, at most 32, so that the buffer holds them behind the largest head. What is
	// behind them is not there for the route.
	Inspect int
	// RetryBudget is how many percent of the requests in flight to a pool may be retries,
	// leastRetries in any case. Default 20. At it: the failure is the answer.
	RetryBudget int
	// RetryWithin is how long after its head was read a request may still be sent
	// to another member. Default 10 s, so that a retry never doubles Response.
	RetryWithin time.Duration
	// IdlePerOrigin is how many unused connections are kept per origin server, in
	// number. Default 1024. At it: the connection is closed after its response.
	IdlePerOrigin int
	// AccessLogBuffer is how many octets of log lines may wait for the writer.
	// Default 1 MiB. At it: lines are dropped and counted.
	AccessLogBuffer int
}

// MaxTries bounds Limits.Tries, so that the members tried fit on the stack.
const MaxTries = 8

// WithDefaults returns l with the defaults of what is not said.
func (l Limits) WithDefaults() Limits {
	orDuration := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	orInt := func(n *int, otherwise int) {
		if *n == 0 {
			*n = otherwise
		}
	}
	orInt(&l.HTTP3Resets, 200)
	orInt(&l.MaxConnections, 65536)
	orInt(&l.PerClient, 16384)
	orDuration(&l.RequestHead, 10*time.Second)
	orDuration(&l.Idle, 60*time.Second)
	orDuration(&l.Rest, 500*time.Millisecond)
	orDuration(&l.OriginIdle, 30*time.Second)
	orDuration(&l.Connect, time.Second)
	orDuration(&l.Response, 30*time.Second)
	orDuration(&l.Stall, 20*time.Second)
	orInt(&l.MinRate, 128)
	orDuration(&l.MinRateGrace, 30*time.Second)
	orDuration(&l.Tunnel, time.Hour)
	orDuration(&l.Linger, 2*time.Second)
	orDuration(&l.DrainGrace, time.Second)
	if l.LingerBytes == 0 {
		l.LingerBytes = 256 << 10
	}
	orInt(&l.Tries, 3)
	orInt(&l.RetryBudget, 20)
	orInt(&l.Inspect, 16<<10)
	l.Inspect = min(l.Inspect, 32<<10)
	l.Tries = min(max(l.Tries, 1), MaxTries)
	orDuration(&l.RetryWithin, 10*time.Second)
	orInt(&l.IdlePerOrigin, 1024)
	orInt(&l.AccessLogBuffer, 1<<20)
	return l
}
