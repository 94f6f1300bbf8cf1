// Package transfer is what is said when a zone goes from one server to another:
// the messages of AXFR and IXFR on the sending side, and what a receiver makes of
// them.
//
//	Whole       SOA | all other records | SOA                                  RFC 5936
//	Differences SOA | old SOA, deleted, new SOA, added | ... | SOA             RFC 1995
//	Current     SOA
//
// It owns the order of records, their division into messages, and every check of
// what comes in. It does not own connections and signatures (packages dnsserver,
// xfr, tsig), nor what makes records a zone (package zone).
//
// Entry points: Whole, Differences, Current, Messages; Receiver, Apply.
//
// Concurrency: sequences read immutable zones and journals; a Receiver belongs to
// one goroutine.
//
// Sources: RFC 5936, RFC 1995, RFC 1982.
package transfer

import (
	"encoding/binary"
	"iter"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// pieceOctets is how large the messages of a transfer are made: compression
// pointers do not reach further (RFC 1035 §4.1.4), and it lets other answers of
// the connection come between. A record that is larger gets a larger message.
const pieceOctets = 16 << 10

// SOA returns the SOA record of z, in the zone's memory.
func SOA(z *zone.Zone) rdata.Record {
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	return rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
}

// Whole yields the records of an AXFR (RFC 5936 §2.2).
func Whole(z *zone.Zone) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		soa := SOA(z)
		if !yield(soa) {
			return
		}
		for r := range z.Records() {
			if r.Type == rdata.TypeSOA && r.Name == z.Origin() {
				continue
			}
			if !yield(r) {
				return
			}
		}
		yield(soa)
	}
}

// ExpireOf returns the field EXPIRE of the SOA record of z, in seconds.
func ExpireOf(z *zone.Zone) uint32 {
	data := SOA(z).Data
	return binary.BigEndian.Uint32(data[len(data)-8:]) // before MINIMUM, the last
}

// Differences yields the records of an IXFR that leads to z (RFC 1995 §4).
func Differences(z *zone.Zone, list []*journal.Difference) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		if !yield(SOA(z)) {
			return
		}
		for _, d := range list {
			if !yield(d.OldSOA) || !all(d.Deleted(), yield) || !yield(d.NewSOA) || !all(d.Added(), yield) {
				return
			}
		}
		yield(SOA(z))
	}
}

func all(records iter.Seq[rdata.Record], yield func(rdata.Record) bool) bool {
	for r := range records {
		if !yield(r) {
			return false
		}
	}
	return true
}

// Current yields the SOA record of z alone: "you have the newest", or over UDP
// "come by TCP" (RFC 1995 §2 and §4).
func Current(z *zone.Zone) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) { yield(SOA(z)) }
}

// Messages yields the response to q that carries records, in messages of up to
// limit octets, with whether each is the last. A message is good until the next
// one is asked for. If a record does not fit any message, the sequence ends
// without a last one. first, which may be nil, adds options to the first message.
func Messages(q *dnswire.Query, records iter.Seq[rdata.Record], limit int, first func(out *dnswire.Builder)) iter.Seq2[[]byte, bool] {
	return func(yield func(msg []byte, last bool) bool) {
		w := &pieces{query: q, limit: limit, buf: make([]byte, dnswire.MaxMessage+dnswire.BufferSlack)}
		w.begin(min(limit, pieceOctets))
		if first != nil {
			first(&w.out)
		}
		for r := range records {
			if w.add(r) {
				continue
			}
			if w.out.Count(dnswire.Answer) > 0 {
				if !yield(w.out.Finish(), false) {
					return
				}
				w.begin(min(limit, pieceOctets))
				if w.add(r) {
					continue
				}
			}
			if w.begin(limit); !w.add(r) {
				return
			}
		}
		yield(w.out.Finish(), true)
	}
}

// pieces makes one message after the other.
type pieces struct {
	query *dnswire.Query
	limit int
	buf   []byte
	out   dnswire.Builder
}

func (w *pieces) begin(limit int) {
	w.out.Reset(w.query, w.buf, limit)
	w.out.SetAA(true) // RFC 5936 §2.2.1
}

func (w *pieces) add(r rdata.Record) bool {
	return w.out.Add(dnswire.Answer, r.Name, r.Type, r.Class, r.TTL, r.Data)
}
