// Package iterate resolves names from the root down: a pure state machine that
// turns events (questions, replies, timeouts) into actions (queries to send,
// answers).
//
// It owns every decision of iterative resolution: which server is asked, what of
// its reply is believed, when to try again, when to give up. It does not own
// sockets, timers, or a clock (package outbound; in tests, a script), nor memory
// of records (package rrcache).
//
// Entry points: New, Resolver.Step, Resolver.FromCache.
//
// Concurrency: a Resolver belongs to one goroutine, except for FromCache.
//
// Sources: RFC 1034 §5.3.3, RFC 2181, RFC 2308, RFC 5452, RFC 6672, RFC 6891,
// RFC 7766, RFC 8914, RFC 9520, RFC 9609.
package iterate

import (
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Resolver is the machine. It belongs to one goroutine.
type Resolver struct {
	cfg    Config
	limits Limits
}

// New returns a Resolver that has asked nothing yet.
func New(cfg Config) *Resolver {
	return &Resolver{cfg: cfg, limits: cfg.Limits.withDefaults()}
}

// Step takes one event in and appends to acts what is to be done about it.
func (r *Resolver) Step(now time.Time, ev Event, acts []Action) []Action {
	return acts
}

// FromCache answers without asking anybody, for queries with RD=0 (RFC 1034 §4.3.1).
func (r *Resolver) FromCache(now time.Time, name dnsname.Name, t rdata.Type) (Answer, bool) {
	return Answer{}, false
}
