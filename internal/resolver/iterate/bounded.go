package iterate

import (
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file bounds what the resolver remembers beside its cache: servers, chains of
// trust, proofs that names do not exist, answers for networks, failures and reports.

// divideMemory gives each kind its part, in sixteenths of all.
func (r *Resolver) divideMemory(octets int) {
	r.hosts.known.bound(octets/16*4, byServer)
	r.chains.known.bound(octets/16*4, byName)
	r.denials.zones.bound(octets/16*4, byName)
	r.subnets.known.bound(octets/16*2, byQuestion)
	r.failing.known.bound(octets/16, byQuestion)
	r.reports.agents.bound(octets/32, byName)
	r.reports.sent.bound(octets/32, byName)
}

// What an entry costs beside its value and what its key points to, by the key's size: its
// part of a map and of an order that are half empty.
const (
	byName     = 150
	byServer   = 270
	byQuestion = 340
)

// Memory returns about how many octets are remembered beside the cache.
func (r *Resolver) Memory() int {
	return r.hosts.known.octets + r.chains.known.octets + r.denials.zones.octets + r.subnets.known.octets +
		r.failing.known.octets + r.reports.agents.octets + r.reports.sent.octets
}

// bounded is a map whose entries take a bounded number of octets, as its user reckons
// them. What was put there longest ago is forgotten first.
//
// Invariant: octets is the sum over all entries, and at most most, or there is one entry.
// Invariant: order has each key of the map with its number, numbers ascending.
type bounded[K comparable, V any] struct {
	entries map[K]boundedEntry[V]
	order   []numbered[K] // from head on; those whose number is not their entry's are gone
	head    int
	last    uint64
	octets  int
	most    int
	each    int        // what an entry costs beside what it is put with
	dropped func(K, V) // told of what is forgotten to make room; may be nil
}

type boundedEntry[V any] struct {
	value  V
	number uint64
	octets int
}

type numbered[K comparable] struct {
	key    K
	number uint64
}

func (b *bounded[K, V]) bound(most, each int) { b.most, b.each = most, each }

// get returns the value of a key; the zero value if it has none.
func (b *bounded[K, V]) get(k K) V { return b.entries[k].value }

func (b *bounded[K, V]) has(k K) bool {
	_, ok := b.entries[k]
	return ok
}

func (b *bounded[K, V]) len() int { return len(b.entries) }

// put gives a key a value of so many octets. It is the newest then.
func (b *bounded[K, V]) put(k K, v V, octets int) {
	octets += b.each
	if b.entries == nil {
		b.entries = make(map[K]boundedEntry[V])
	}
	b.last++
	b.order = append(b.order, numbered[K]{k, b.last})
	b.octets += octets - b.entries[k].octets
	b.entries[k] = boundedEntry[V]{v, b.last, octets}
	b.makeRoom()
}

// grow notes that the value of a key takes more octets than it was put with, or fewer.
func (b *bounded[K, V]) grow(k K, octets int) {
	if e, ok := b.entries[k]; ok && octets != 0 {
		e.octets += octets
		b.octets += octets
		b.entries[k] = e
		b.makeRoom()
	}
}

func (b *bounded[K, V]) makeRoom() {
	for b.octets > b.most && len(b.entries) > 1 {
		oldest := b.order[b.head]
		b.head++
		if e, ok := b.entries[oldest.key]; ok && e.number == oldest.number {
			b.drop(oldest.key)
			if b.dropped != nil {
				b.dropped(oldest.key, e.value)
			}
		}
	}
	b.tidy()
}

// drop forgets a key.
func (b *bounded[K, V]) drop(k K) {
	b.octets -= b.entries[k].octets
	delete(b.entries, k)
}

// clear forgets everything.
func (b *bounded[K, V]) clear() {
	b.entries, b.order, b.head, b.octets = nil, nil, 0, 0
}

// tidy takes out of the order what is gone, when that is most of it.
func (b *bounded[K, V]) tidy() {
	if len(b.order) < 2*len(b.entries)+64 {
		return
	}
	kept := b.order[:0]
	for _, n := range b.order[b.head:] {
		if e, ok := b.entries[n.key]; ok && e.number == n.number {
			kept = append(kept, n)
		}
	}
	clear(b.order[len(kept):])
	b.order, b.head = kept, 0
}

func (b *bounded[K, V]) check() {
	octets := 0
	for _, e := range b.entries {
		octets += e.octets
	}
	must(octets == b.octets, "remembered octets are miscounted")
	must(octets <= b.most || len(b.entries) == 1, "more is remembered than allowed")
	listed := 0
	for _, n := range b.order[b.head:] {
		if e, ok := b.entries[n.key]; ok && e.number == n.number {
			listed++
		}
	}
	must(listed == len(b.entries), "something remembered would never be forgotten")
}

// listOctets is what the RDATA of records take.
func listOctets(list [][]byte) (n int) {
	for _, data := range list {
		n += 24 + len(data)
	}
	return n
}

func signedOctets(sets []rrcache.Signed) (n int) {
	for _, s := range sets {
		n += 112 + s.Name.Len() + listOctets(s.Data) + listOctets(s.Sigs)
	}
	return n
}

func recordsOctets(records []rdata.Record) (n int) {
	for _, r := range records {
		n += 64 + r.Name.Len() + len(r.Data)
	}
	return n
}

// cloneSigned returns s in memory of its own, so that it holds no message of which it
// is a part.
func cloneSigned(s rrcache.Signed) rrcache.Signed {
	s.Name, s.Data, s.Sigs = s.Name.Clone(), cloneList(s.Data), cloneList(s.Sigs)
	return s
}

func cloneList(list [][]byte) [][]byte {
	total := 0
	for _, data := range list {
		total += len(data)
	}
	all, out := make([]byte, 0, total), make([][]byte, len(list))
	for i, data := range list {
		begin := len(all)
		all = append(all, data...)
		out[i] = all[begin:len(all):len(all)]
	}
	return out
}

func cloneRecord(r rdata.Record) rdata.Record {
	r.Name, r.Data = r.Name.Clone(), append([]byte(nil), r.Data...)
	return r
}
