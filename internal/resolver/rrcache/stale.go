package rrcache

import (
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is what happens to answers near the end of their time and beyond it.

// Expired is an answer whose time is over, but that may be given when nobody can
// be asked (RFC 8767).
type Expired struct {
	cache *Cache
	entry *readyEntry
	plain bool // without the records of DNSSEC
}

// Stale returns the expired answer to a question of class IN; nil if there is none,
// or if it has expired for longer than Limits.Stale. One that was made for clients
// with another wish for signatures will do, as will one that was validated for who
// does not care.
func (c *Cache) Stale(now time.Time, name dnsname.Name, t rdata.Type, do, cd bool) *Expired {
	if c.limits.Stale <= 0 {
		return nil
	}
	at := c.instant(now)
	for _, as := range [...]struct{ do, cd bool }{{do, cd}, {!do, cd}, {do, false}, {!do, false}} {
		kind := readyKind(t, rdata.ClassIN, as.do, as.cd)
		e := c.ready.find(name.Wire(), kind, c.hash(name.Wire(), kind))
		if e == nil || at < e.until() || at >= c.ready.gone(e) || e.rcode == dnswire.RcodeServFail {
			continue
		}
		e.use(at)
		return &Expired{c, e, !do}
	}
	return nil
}

// Message returns the answer with the TTL of stale answers.
func (x *Expired) Message() *dnswire.Message {
	e := x.entry
	t := e.questionType()
	m := e.message()
	for _, section := range [...]*[]rdata.Record{&m.Answer, &m.Authority, &m.Additional} {
		*section = slices.DeleteFunc(*section, func(r rdata.Record) bool { return x.plain && proves(r.Type) && r.Type != t })
		for i := range *section {
			(*section)[i].TTL = min((*section)[i].TTL, x.cache.limits.StaleTTL)
		}
	}
	return m
}

func (e *readyEntry) questionType() rdata.Type { return rdata.Type(e.kind >> 32) }

// message returns the answer as it came, with the TTLs that it had then.
func (e *readyEntry) message() *dnswire.Message {
	m, err := e.parse()
	if err != nil {
		panic("BUG: an answer was kept that cannot be read: " + err.Error())
	}
	return m
}

func (e *readyEntry) parse() (*dnswire.Message, error) {
	m, err := parseAnswer(e.name(), e.kind, e.counts, e.body())
	if err != nil {
		return nil, err
	}
	m.Rcode = e.rcode
	return m, nil
}

// parseAnswer reads records that are compressed with regard to a question.
func parseAnswer(name dnsname.Name, kind uint64, counts [3]uint16, body []byte) (*dnswire.Message, error) {
	msg := dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: rdata.Type(kind >> 32), Class: rdata.Class(kind >> 16)})
	for i, n := range counts {
		msg[6+2*i], msg[7+2*i] = byte(n>>8), byte(n)
	}
	return dnswire.ParseMessage(append(msg, body...))
}

// proves reports whether records of the type are there only for who wants proof.
func proves(t rdata.Type) bool {
	return t == rdata.TypeRRSIG || t == rdata.TypeNSEC || t == rdata.TypeNSEC3
}
