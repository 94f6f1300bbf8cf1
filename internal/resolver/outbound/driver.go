// Package outbound carries the resolver's questions to other servers: it
// performs what package iterate decides, with real sockets and timers.
package outbound

import (
	"context"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// Config is what a Driver is made from. The zero Config works.
type Config struct {
	// Hints, Port, NoIPv4, NoIPv6, Limits: see iterate.Config.
	Hints          []rdata.Record
	Port           uint16
	NoIPv4, NoIPv6 bool
	Limits         iterate.Limits
	// Cache is where to keep what is learnt; nil: a new one of standard size.
	Cache *rrcache.Cache
	// Clients is the number of questions that may be in work or waiting at a time:
	// 10,000. At the limit Ask refuses.
	Clients int
	// Exchanges is the number of sockets open at a time: 2,048. At the limit an
	// exchange fails at once, as if its server could not be reached.
	Exchanges int
}

// Options of one question.
type Options struct {
	CD, DO bool
	Trace  bool
}

// Driver owns a Resolver and its sockets.
type Driver struct {
	cfg Config
}

// New starts a Driver.
func New(cfg Config) *Driver { return &Driver{cfg: cfg} }

// Resolve asks and waits for the answer.
func (d *Driver) Resolve(ctx context.Context, name dnsname.Name, t rdata.Type, o Options) (iterate.Answer, error) {
	return iterate.Answer{}, context.Canceled
}

// Ask asks and returns; done is called with the answer, on a goroutine of the
// Driver, and must not block. It reports false, and done is not called, when
// there are too many questions or the Driver is closed.
func (d *Driver) Ask(name dnsname.Name, t rdata.Type, o Options, done func(iterate.Answer)) bool {
	return false
}

// Cache returns the cache, for lookups on the listeners' loops.
func (d *Driver) Cache() *rrcache.Cache { return d.cfg.Cache }

// Close ends all work; questions in work are answered SERVFAIL.
func (d *Driver) Close() {}
