package dnsserver

import "time"

// Limits bound what the clients of one Entrance can hold. Zero fields take the
// default.
type Limits struct {
	// Connections is the number of connections at a time. At the limit the one
	// that has been idle for longest is closed for the new one, which is what
	// RFC 7766 §6.2.3 lets a server do; if none is idle, the new one is refused.
	Connections int
	// PerClient is the number of connections at a time from one IPv4 address or
	// one IPv6 /64. At the limit the new one is refused: the others are the
	// client's own to close.
	PerClient int
	// Queries is the number of queries that one connection may bring. After them it
	// is closed in order, and the client opens another. 0: any number.
	Queries int
	// InFlight is the number of queries of one connection that wait for an answer
	// or whose answer waits to be sent. At the limit no more is read from the
	// connection until one is done.
	InFlight int
	// Idle is for how long a connection without queries in flight is kept
	// (RFC 7766 §6.2.3 leaves it to the server, "of the order of a few seconds").
	Idle time.Duration
	// Read is for how long a message may take from its first octet to its last.
	Read time.Duration
	// Handshake is for how long a client may take to be let in: for the header of a
	// proxy and for TLS, each.
	Handshake time.Duration
	// Write is for how long a client may take to accept the answers that are
	// ready for it. It is then cut off.
	Write time.Duration
}

// Defaults of Limits. All are chosen, not derived: 2,048 connections of 5 KB
// (measured, idle) are 10 MB; 128 for a client leave room for a resolver farm behind one address;
// 64 queries in flight are what one UDP batch has; 10 s of idleness let a resolver
// come back without a handshake; 5 s are ample for a message and, per write, for
// any client that is alive.
const (
	DefaultTCPConnections = 2048
	DefaultTCPPerClient   = 128
	DefaultTCPInFlight    = 64
	DefaultTCPIdle        = 10 * time.Second
	DefaultTCPRead        = 5 * time.Second
	DefaultTCPWrite       = 5 * time.Second
	DefaultHandshake      = 5 * time.Second
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Queries:     max(l.Queries, 0),
		Handshake:   orDefault(l.Handshake, DefaultHandshake),
		Connections: orDefault(l.Connections, DefaultTCPConnections),
		PerClient:   orDefault(l.PerClient, DefaultTCPPerClient),
		InFlight:    orDefault(l.InFlight, DefaultTCPInFlight),
		Idle:        orDefault(l.Idle, DefaultTCPIdle),
		Read:        orDefault(l.Read, DefaultTCPRead),
		Write:       orDefault(l.Write, DefaultTCPWrite),
	}
}

const (
	// drainTime is for how long a connection is still read after Shutdown has
	// begun, for queries that were on their way.
	drainTime = 50 * time.Millisecond

	// acceptPause is how long accepting rests when it fails for want of file
	// descriptors or memory: clients wait in the backlog meanwhile.
	acceptPause = 20 * time.Millisecond

	// smallBuffer is the room for queries that a connection has at the least, in
	// octets, and what it goes back to when idle. Nearly all queries are shorter.
	smallBuffer = 1024
)
