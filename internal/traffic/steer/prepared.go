package steer

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"sync/atomic"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// Prepared is the result of a decision: the records that may be answered, in the order of
// the members, and how many of them are at a time. It is immutable, but for what it is
// made of: with a turn and a client it yields an answer.
type Prepared struct {
	Type    rdata.Type
	TTL     rdata.TTL
	Limit   int     // records in one answer
	Members []int32 // by record: index of View.Members; -1 for a set address
	View    *pool.View
	AllDown bool // nobody is healthy, nor are those answered
	// Fallback: View is the one of the fallback, or the addresses are set.
	Fallback bool

	// Input is what the decision was made from, for the first client of its class. Not to
	// be written to.
	Input *Input
	// Fact is for who keeps past decisions (package decisions): 0 until it has looked at
	// this one.
	Fact atomic.Uint64

	rdata  []byte // of all records
	ends   []int  // where the RDATA of each ends
	order  []int32
	shared *pool.Choice // whose order is used, by members, rather than order
	sticky *sticky

	// The records in wire form, owned by the question's name, twice over: an answer that
	// begins with any of them is one piece.
	wire   []byte
	starts []int // of each record in wire, and the end of the last
}

// ownerInQuestion is a compression pointer to the name of the question (RFC 1035 §4.1.4).
const ownerInQuestion = 0xC00C

// prepare makes the records of the members kept.
func (d *decision) prepare(weights []int) *Prepared {
	p := d.newPrepared()
	for at, i := range d.kept {
		p.add(i, d.Spec.appendRDATA(nil, &d.view.Members[i], d.Type, weights[at]))
	}
	p.finish()
	if f := sightOf(d.Spec.Filters).sticky; f != nil {
		p.sticky = &sticky{bits4: f.Bits4, bits6: f.Bits6}
		for at, i := range d.kept {
			p.sticky.members = append(p.sticky.members, hashText(seedMember, d.view.Members[i].Name))
			p.sticky.weights = append(p.sticky.weights, float64(weights[at]))
		}
	}
	if p.shared = d.isSharedOrder(); p.shared == nil {
		p.order = d.orderOf(weights)
	}
	return p
}

// prepareSet makes the records of the addresses of the fallback.
func (d *decision) prepareSet() *Prepared {
	p := d.newPrepared()
	p.Fallback = true
	for _, a := range d.Spec.Addresses {
		if a = a.Unmap(); a.Is4() == (d.Type == rdata.TypeA) {
			p.order = append(p.order, int32(len(p.Members)))
			p.add(-1, a.AsSlice())
		}
	}
	p.finish()
	d.trace.finish(d, p)
	return p
}

func (d *decision) newPrepared() *Prepared {
	ttl := d.Spec.TTL
	if d.Changing {
		ttl = d.Spec.ShortTTL
	}
	return &Prepared{Input: d.Input, Type: d.Type, TTL: ttl, Limit: d.Spec.limit(), View: d.view, AllDown: d.allDown, Fallback: d.fallback}
}

func (p *Prepared) add(member int32, data []byte) {
	p.Members = append(p.Members, member)
	p.rdata = append(p.rdata, data...)
	p.ends = append(p.ends, len(p.rdata))
}

// finish writes the records out.
func (p *Prepared) finish() {
	p.Limit = min(p.Limit, len(p.Members))
	for at := range 2 * len(p.Members) {
		data := p.RDATA(at % len(p.Members))
		p.starts = append(p.starts, len(p.wire))
		p.wire = binary.BigEndian.AppendUint16(p.wire, ownerInQuestion)
		p.wire = binary.BigEndian.AppendUint16(p.wire, uint16(p.Type))
		p.wire = binary.BigEndian.AppendUint16(p.wire, uint16(rdata.ClassIN))
		p.wire = binary.BigEndian.AppendUint32(p.wire, uint32(p.TTL))
		p.wire = binary.BigEndian.AppendUint16(p.wire, uint16(len(data)))
		p.wire = append(p.wire, data...)
	}
	p.starts = append(p.starts, len(p.wire))
}

// Len returns the number of records that there are to choose from. None: NODATA.
func (p *Prepared) Len() int { return len(p.Members) }

// Outcome returns what answers from p say.
func (p *Prepared) Outcome() pool.Outcome {
	switch {
	case len(p.Members) == 0:
		return pool.None
	case p.Fallback:
		return pool.FromFallback
	case p.AllDown:
		return pool.WhileAllDown
	}
	return pool.Some
}

// RDATA returns the data of record i. Not to be written to.
func (p *Prepared) RDATA(i int) []byte {
	start := 0
	if i > 0 {
		start = p.ends[i-1]
	}
	return p.rdata[start:p.ends[i]:p.ends[i]]
}

// first returns the record that an answer at turn begins with.
func (p *Prepared) first(turn uint64) int {
	if p.shared == nil {
		return int(p.order[turn%uint64(len(p.order))])
	}
	member := p.shared.Order[turn%uint64(len(p.shared.Order))]
	low, high := 0, len(p.Members)
	for low < high { // p.Members rise
		if mid := int(uint(low+high) >> 1); p.Members[mid] < member {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// Run returns an answer in one piece: count records in wire form, owned by the question's
// name. ok is false if it is not in one piece: then Pick has it.
func (p *Prepared) Run(turn uint64) (count int, wire []byte, ok bool) {
	if p.sticky != nil || len(p.Members) == 0 {
		return 0, nil, false
	}
	at := p.first(turn)
	return p.Limit, p.wire[p.starts[at]:p.starts[at+p.Limit]], true
}

// Pick appends to picks the records of an answer, by their places: those that turn leads
// to, or those of the client's network. The first is the one that turn or network is due;
// the others follow, so that a client that tries the next one is spread too.
func (p *Prepared) Pick(turn uint64, client netip.Addr, picks []uint16) []uint16 {
	if len(p.Members) == 0 {
		return picks
	}
	if p.sticky != nil && client.IsValid() {
		return p.sticky.first(p.sticky.keyOf(client), p.Limit, picks)
	}
	at := p.first(turn)
	for range p.Limit {
		picks = append(picks, uint16(at))
		if at++; at == len(p.Members) {
			at = 0
		}
	}
	return picks
}

// Wire returns record i in wire form, owned by the question's name.
func (p *Prepared) Wire(i int) []byte { return p.wire[p.starts[i]:p.starts[i+1]] }

// rankStep is between the priorities of SRV records and the preferences of MX records of
// one tier and the next: room for an operator's own records among them.
const rankStep = 10

// appendRDATA appends the record of type t that a member with a weight, in thousandths, makes.
func (s *Spec) appendRDATA(b []byte, m *pool.Member, t rdata.Type, weight int) []byte {
	switch t {
	case rdata.TypeA, rdata.TypeAAAA:
		return append(b, m.Address.Addr().AsSlice()...)
	case rdata.TypeSRV:
		b = binary.BigEndian.AppendUint16(b, uint16(rankStep*(m.Tier+1)))
		b = binary.BigEndian.AppendUint16(b, uint16(min((weight+999)/1000, 1<<16-1)))
		b = binary.BigEndian.AppendUint16(b, m.Address.Port())
	case rdata.TypeMX:
		b = binary.BigEndian.AppendUint16(b, uint16(rankStep*(m.Tier+1)))
	}
	name, err := dnsname.Parse(m.Host)
	if err != nil {
		name = dnsname.Root // "no such service" (RFC 2782, RFC 7505); the configuration has checked it
	}
	return name.AppendWire(b)
}

// identity returns what members with the same record have in common.
func (s *Spec) identity(m *pool.Member, t rdata.Type) []byte { return s.appendRDATA(nil, m, t, 0) }

// Parameters of SVCB and HTTPS records (RFC 9460 §14.3.2).
const (
	keyIPv4Hint = 4
	keyIPv6Hint = 6
)

// HasHints reports whether the RDATA of an SVCB or HTTPS record has hints.
func HasHints(data []byte) bool {
	at := 2
	for at < len(data) && data[at] != 0 {
		at += 1 + int(data[at])
	}
	for at++; at+4 <= len(data); at += 4 + int(binary.BigEndian.Uint16(data[at+2:])) {
		if key := binary.BigEndian.Uint16(data[at:]); key == keyIPv4Hint || key == keyIPv6Hint {
			return true
		}
	}
	return false
}

// AppendService appends the RDATA of the HTTPS or SVCB record whose hints are the records
// picked of v4 and v6; either may be nil.
func (s *Spec) AppendService(b []byte, v4, v6 *Prepared, picks4, picks6 []uint16) []byte {
	data := s.Service
	end := 2
	for data[end] != 0 { // the target
		end += 1 + int(data[end])
	}
	b = append(b, data[:end+1]...)
	did4, did6 := len(picks4) == 0, len(picks6) == 0
	for rest := data[end+1:]; ; {
		key := 1 << 16
		if len(rest) > 0 {
			key = int(binary.BigEndian.Uint16(rest))
		}
		if !did4 && key > keyIPv4Hint {
			b, did4 = v4.appendHint(b, keyIPv4Hint, picks4), true
		}
		if !did6 && key > keyIPv6Hint {
			b, did6 = v6.appendHint(b, keyIPv6Hint, picks6), true
		}
		if len(rest) == 0 {
			return b
		}
		size := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		b = append(b, rest[:size]...)
		rest = rest[size:]
	}
}

func (p *Prepared) appendHint(b []byte, key uint16, picks []uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, key)
	at := len(b)
	b = append(b, 0, 0)
	for _, i := range picks {
		b = append(b, p.RDATA(int(i))...)
	}
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}

// Sum stands for all that p says, in every octet and for every turn and client: two
// decisions with one sum lead to the same answers.
func (p *Prepared) Sum() uint64 {
	h := fnv.New64a()
	h.Write(p.wire)
	var b []byte
	for _, i := range p.order {
		b = binary.BigEndian.AppendUint32(b, uint32(i))
	}
	if p.shared != nil {
		for _, i := range p.shared.Order {
			b = binary.BigEndian.AppendUint32(b, uint32(i))
		}
	}
	if s := p.sticky; s != nil {
		b = append(b, byte(s.bits4), byte(s.bits6))
		for i, m := range s.members {
			b = binary.BigEndian.AppendUint64(b, m)
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(s.weights[i]))
		}
	}
	h.Write(binary.BigEndian.AppendUint32(b, uint32(p.Limit)))
	return h.Sum64()
}
