package httpproxy

import (
	"sync/atomic"
	"time"

	"pharos/internal/proxy/h3conn"
	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/quota"
)

// shardCount spreads the counters so that cores seldom write to one cache line;
// a connection keeps to one shard.
const shardCount = 16

// shard is one part of the counters. All atomic.
type shard struct {
	accepted, closed, shed, crowded    atomic.Uint64
	classes                            [6]atomic.Uint64 // by first digit of the status; 0: never answered
	retries, connectFailures, timeouts atomic.Uint64
	originNew, originReused, stale     atomic.Uint64
	refused, aborted, tunnels          atomic.Uint64
	inspectRefused                     atomic.Uint64
	bytesIn, bytesOut                  atomic.Uint64
	latency                            [histogram.Buckets]atomic.Uint64
	latencyNanos                       atomic.Uint64

	http2, sessionsBroken                                atomic.Uint64
	streams, streamResets, streamsBroken, streamsRefused atomic.Uint64
	http3                                                h3conn.Counts
	excesses                                             [quota.Excesses]atomic.Uint64 // of HTTP/2
	_                                                    [64]byte
}

// Counters is a reading of a Server's counters since New.
type Counters struct {
	Accepted  uint64    // client connections
	Active    int       // client connections now
	Resting   int       // of them, without a goroutine
	InFlight  int64     // requests now
	Shed      uint64    // client connections refused at MaxConnections
	Crowded   uint64    // client connections refused at PerClient
	Responses [6]uint64 // by first digit of the status; 0: never answered
	Retries   uint64    // requests sent to another member
	Refused   uint64    // requests refused for their form
	Aborted   uint64    // responses cut off in the middle
	Tunnels   uint64    // upgraded connections
	Timeouts  uint64    // limits of time that were reached
	Hasty     uint64    // requests refused at mostInspected

	HTTP2 HTTP2Counters
	HTTP3 HTTP2Counters // the same of HTTP/3

	ConnectFailures uint64 // of origin connections
	OriginNew       uint64 // origin connections opened
	OriginReused    uint64 // requests on a kept origin connection
	OriginStale     uint64 // kept origin connections found dead

	BytesIn, BytesOut uint64                    // of content, from and to clients
	Latency           [histogram.Buckets]uint64 // see histogram.Bound
	LatencySum        time.Duration
	LogDropped        uint64 // access log lines
}

// HTTP2Counters is what concerns HTTP/2 and HTTP/3 only.
type HTTP2Counters struct {
	Connections uint64 // of clients
	Ended       uint64 // of them, by us as the client broke a rule
	Streams     uint64 // requests
	Resets      uint64 // streams that the client has reset
	Broken      uint64 // streams that we have reset as the client broke a rule
	Refused     uint64 // streams refused as there were too many

	Excesses [quota.Excesses]uint64 // connections of Ended, by the bound that was passed
}

func (c *HTTP2Counters) add(m *h3conn.Counts) {
	c.Connections += m.Connections.Load()
	c.Ended += m.Ended.Load()
	c.Streams += m.Streams.Load()
	c.Resets += m.Resets.Load()
	c.Broken += m.Broken.Load()
	c.Refused += m.Refused.Load()
	for e := range m.Excesses {
		c.Excesses[e] += m.Excesses[e].Load()
	}
}

// Counters returns a reading. Single values are exact; they are not of one
// instant.
func (s *Server) Counters() Counters {
	var c Counters
	for i := range s.shards {
		h := &s.shards[i]
		c.Accepted += h.accepted.Load()
		c.Shed += h.shed.Load()
		c.Crowded += h.crowded.Load()
		for j := range h.classes {
			c.Responses[j] += h.classes[j].Load()
		}
		c.Retries += h.retries.Load()
		c.Refused += h.refused.Load()
		c.Aborted += h.aborted.Load()
		c.Tunnels += h.tunnels.Load()
		c.Timeouts += h.timeouts.Load()
		c.Hasty += h.inspectRefused.Load()
		c.HTTP2.Connections += h.http2.Load()
		c.HTTP2.Ended += h.sessionsBroken.Load()
		c.HTTP2.Streams += h.streams.Load()
		c.HTTP2.Resets += h.streamResets.Load()
		c.HTTP2.Broken += h.streamsBroken.Load()
		c.HTTP2.Refused += h.streamsRefused.Load()
		for e := range h.excesses {
			c.HTTP2.Excesses[e] += h.excesses[e].Load()
		}
		c.HTTP3.add(&h.http3)
		c.ConnectFailures += h.connectFailures.Load()
		c.OriginNew += h.originNew.Load()
		c.OriginReused += h.originReused.Load()
		c.OriginStale += h.stale.Load()
		c.BytesIn += h.bytesIn.Load()
		c.BytesOut += h.bytesOut.Load()
		for j := range h.latency {
			c.Latency[j] += h.latency[j].Load()
		}
		c.LatencySum += time.Duration(h.latencyNanos.Load())
	}
	c.InFlight = s.inFlight.Load()
	c.Active = s.connections()
	if lot := s.lot.Load(); lot != nil {
		c.Resting = lot.Len()
	}
	if s.access != nil {
		c.LogDropped = s.access.Dropped()
	}
	return c
}
