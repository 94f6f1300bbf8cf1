package rrcache

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is the cache on its way to a disk and back (docs/formats/resolver-cache.md).
// Times there are those of the wall clock, in nanoseconds since 1970.
//
//	record  1 slot(1) marks(1) type(2) until(8) owner(1+n) size(4) value
//	answer  2 marks(1) RCODE(2) kind(8) born(8) until(8) gone(8) counts(3*2) owner(1+n) size(2) records
//
// Failures and what is bogus stay behind: they are soon over, or to be tried again.

const (
	savedRecord = 1
	savedAnswer = 2

	savedMain   = 0x01 // of the main queue, or asked for again
	savedSecure = 0x02 // of an answer
)

// Cursor is how far a cache has been gone through: what was asked for again comes
// first, then the rest. The zero Cursor is the beginning.
type Cursor struct {
	rest        bool
	part, chunk int
}

// answerParts is in how many parts the answers are gone through.
const answerParts = 256

// AppendSaved appends to b the next part of what the cache has, some ten thousands of
// octets, and moves the cursor on; it reports whether there is more. It takes one
// lock for as long as that takes. What comes and goes meanwhile may be missed or met
// twice.
func (c *Cache) AppendSaved(b []byte, now time.Time, at *Cursor) (out []byte, more bool) {
	w := saver{b: b, base: now.UnixNano() - int64(c.instant(now)), now: c.instant(now), rest: at.rest}
	if at.part < answerParts {
		each := max(len(c.ready.sets)/answerParts, 1)
		for i := at.part * each; i < min((at.part+1)*each, len(c.ready.sets)); i++ {
			for way := range c.ready.sets[i].entries {
				if e := c.ready.sets[i].entries[way].Load(); e != nil {
					w.answer(e, c.ready.gone(e), c.ready.isMain(i, e))
				}
			}
		}
		at.part++
		return w.b, true
	}
	i := at.part - answerParts
	s := &c.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.chunk < len(s.chunks) {
		for it := range s.chunks[at.chunk].living() {
			w.record(it)
		}
		at.chunk++
		return w.b, true
	}
	if at.part, at.chunk = at.part+1, 0; at.part-answerParts < len(c.shards) {
		return w.b, true
	}
	more = !at.rest
	*at = Cursor{rest: true}
	return w.b, more
}

// isMain reports whether an entry of a set is of the main queue.
func (t *readyTable) isMain(set int, e *readyEntry) bool {
	s := &t.shards[set%readyShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.main
}

type saver struct {
	b    []byte
	base int64 // the wall clock at the cache's epoch, as the clock goes now
	now  instant
	rest bool // what was not asked for again
}

func (w *saver) record(it item) {
	if w.now >= it.until() || it.slot() == slotFailure || it.slot() <= slotName && stateIn(it.rank()) == Bogus {
		return
	}
	if it.slot() == slotCut && it.value()[0] == 1 { // of a zone of ours, which tells it anew
		return
	}
	marks := byte(0)
	if it.has(markMain) || it.uses() > 0 {
		marks = savedMain
	}
	if w.rest != (marks == 0) {
		return
	}
	w.b = append(w.b, savedRecord, byte(it.slot()), marks)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(it.t()))
	w.time(it.until())
	w.b = append(append(w.b, byte(len(it.owner()))), it.owner()...)
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(it.value())))
	w.b = append(w.b, it.value()...)
}

func (w *saver) answer(e *readyEntry, gone instant, isMain bool) {
	if w.now >= gone || e.rcode == dnswire.RcodeServFail || e.failure != nil {
		return
	}
	marks := byte(0)
	if isMain || usesIn(e.marks.Load()) > 0 {
		marks = savedMain
	}
	if w.rest != (marks == 0) {
		return
	}
	if e.secure {
		marks |= savedSecure
	}
	w.b = binary.BigEndian.AppendUint16(append(w.b, savedAnswer, marks), uint16(e.rcode))
	w.b = binary.BigEndian.AppendUint64(w.b, e.kind)
	w.time(e.born)
	w.time(e.until())
	w.time(gone)
	for _, n := range e.counts {
		w.b = binary.BigEndian.AppendUint16(w.b, n)
	}
	w.b = append(append(w.b, e.nameLen), e.data[:e.nameLen]...)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(e.body())))
	w.b = append(w.b, e.body()...)
}

func (w *saver) time(at instant) {
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(w.base+int64(at)))
}

// errSaved: what was to be restored was not written by AppendSaved.
var errSaved = errors.New("not the octets of a saved cache")

// Restore takes back what AppendSaved has appended at a time, but for what is over by
// the wall clock, what the cache knows better by now, what is in zones of ours, and
// what forgotten has: a flush since then. It returns how many entries that were. saved
// may come from anywhere: with an error what stood before the fault has been taken.
// It keeps no part of saved.
func (c *Cache) Restore(now time.Time, saved []byte, savedAt time.Time, forgotten []Selection) (count int, err error) {
	r := restorer{c: c, now: now, at: c.instant(now), age: max(now.Sub(savedAt), 0), savedAt: savedAt.UnixNano()}
	r.u.b = saved
	for _, s := range forgotten {
		if r.forgotten == nil {
			r.forgotten = make(map[dnsname.Name][]Selection)
		}
		r.forgotten[s.Name] = append(r.forgotten[s.Name], s)
	}
	for len(r.u.b) > 0 {
		var kept bool
		switch r.u.octet() {
		case savedRecord:
			kept, err = r.record()
		case savedAnswer:
			kept, err = r.answer()
		default:
			err = errSaved
		}
		if err != nil {
			return count, err
		}
		if kept {
			count++
		}
	}
	return count, nil
}

type restorer struct {
	u         unpacker
	c         *Cache
	now       time.Time
	at        instant
	savedAt   int64
	age       time.Duration // since it was saved; 0 if the clock was put back
	forgotten map[dnsname.Name][]Selection
}

// time returns a time of the file as one of this cache. What was left of it when it
// was saved, it has at most: a clock that was put back makes nothing live longer.
func (r *restorer) time(wall uint64) instant {
	left := time.Duration(int64(wall) - r.savedAt)
	const most = 100 * 365 * 24 * time.Hour // against numbers that no clock has had
	return r.at + min(max(left, -most), most) - r.age
}

// name reads an owner and checks it.
func (r *restorer) name() (dnsname.Name, error) {
	wire := r.u.take(int(r.u.octet()))
	name, rest, err := dnsname.FromWire(wire)
	if err != nil || rest != len(wire) || r.u.bad || name.Wire() != string(wire) {
		return dnsname.Name{}, errSaved
	}
	return name, nil
}

// isOurs reports whether a name is in a zone of this server's own.
func (r *restorer) isOurs(name dnsname.Name) bool {
	if r.c.own.zoneOf == nil {
		return false
	}
	_, ours := r.c.own.zoneOf(name)
	return ours
}

func (r *restorer) wasForgotten(is func(Selection) bool, name dnsname.Name) bool {
	if len(r.forgotten) == 0 {
		return false
	}
	for n := name; !n.IsZero(); n = n.Parent() {
		if slices.ContainsFunc(r.forgotten[n], is) {
			return true
		}
	}
	return false
}

func (r *restorer) record() (kept bool, err error) {
	k := key{slot: slot(r.u.octet())}
	marks := r.u.octet()
	k.t = rdata.Type(r.u.uint16())
	until := r.time(r.u.uint64())
	if k.name, err = r.name(); err != nil {
		return false, err
	}
	value := r.u.take(int(r.u.uint32()))
	if r.u.bad || k.slot >= slotFailure || k.slot != slotSet && k.t != 0 {
		return false, errSaved
	}
	v, err := unpackItem(k, value)
	if err != nil {
		return false, err
	}
	if !isWellFormed(k, v) {
		return false, errSaved
	}
	if until <= r.at || r.isOurs(k.name) || r.wasForgotten(func(s Selection) bool { return s.hasKey(k) }, k.name) {
		return false, nil
	}
	s, hash := r.c.place(k)
	return s.restore(k, hash, value, r.at, until, marks&savedMain != 0), nil
}

// isWellFormed reports whether the names and RDATA of a value are what this process
// could have put there.
func isWellFormed(k key, v any) bool {
	switch v := v.(type) {
	case *Entry:
		if v.Kind > NXDomain || (v.Kind == NXDomain) != (k.slot == slotName) || v.Trust > TrustAnswer || v.State == Bogus ||
			v.Kind == Positive && len(v.Set.Data) == 0 || !areValid(k.t, v.Set.Data) || !areValid(rdata.TypeRRSIG, v.Sigs) {
			return false
		}
		if !v.SOA.Name.IsZero() && (!isName(v.SOA.Name) || rdata.Validate(rdata.TypeSOA, v.SOA.Data) != nil) {
			return false
		}
		return !slices.ContainsFunc(v.Denial, func(s Signed) bool {
			return !isName(s.Name) || !areValid(s.Type, s.Data) || !areValid(rdata.TypeRRSIG, s.Sigs)
		})
	case *Delegation:
		return !slices.ContainsFunc(v.Servers, func(s Server) bool { return !isName(s.Name) })
	}
	return false
}

func isName(n dnsname.Name) bool {
	got, length, err := dnsname.FromWire([]byte(n.Wire()))
	return err == nil && length == n.Len() && got == n
}

func areValid(t rdata.Type, list [][]byte) bool {
	return !slices.ContainsFunc(list, func(data []byte) bool { return rdata.Validate(t, data) != nil })
}

// restore is put for what was saved: it takes nothing's place, and goes where it was.
func (s *shard) restore(k key, hash uint32, value []byte, now, until instant, isMain bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(k, hash)
	size := packedSize(k, value)
	if size > s.chunkSize || ok && now < s.at(s.index[i]).until() {
		return false
	}
	if ok {
		s.remove(i)
	}
	marks := byte(0)
	if isMain {
		marks = markMain
	}
	s.add(k, hash, value, now, until, marks)
	return true
}

func (r *restorer) answer() (kept bool, err error) {
	marks := r.u.octet()
	e := &readyEntry{rcode: dnswire.Rcode(r.u.uint16()), kind: r.u.uint64(), secure: marks&savedSecure != 0, main: marks&savedMain != 0}
	born, until, gone := r.time(r.u.uint64()), r.time(r.u.uint64()), r.time(r.u.uint64())
	for i := range e.counts {
		e.counts[i] = r.u.uint16()
	}
	name, err := r.name()
	if err != nil {
		return false, err
	}
	body := r.u.take(int(r.u.uint16()))
	if r.u.bad || len(body) > readyMost || e.rcode == dnswire.RcodeServFail || until < born || gone < until {
		return false, errSaved
	}
	e.born, e.ttl = born, uint32(min((until-born)/time.Second, 1<<32-1))
	m, err := parseAnswer(name, e.kind, e.counts, body)
	if err != nil {
		return false, err
	}
	m.Rcode = e.rcode
	e.fill(name, body)
	if min(gone, r.c.ready.gone(e)) <= r.at {
		return false, nil
	}
	if r.isOurs(name) || slices.ContainsFunc(m.Answer, func(record rdata.Record) bool { return r.isOurs(record.Name) }) {
		return false, nil
	}
	if len(r.forgotten) > 0 && r.wasAnswerForgotten(e, name, m) {
		return false, nil
	}
	hash := r.c.hash(name.Wire(), e.kind)
	if old := r.c.ready.find(name.Wire(), e.kind, hash); old != nil && (old.rcode != dnswire.RcodeServFail || r.at >= e.until()) {
		return false, nil // but that somebody came to nothing before this was read is no reason
	}
	r.c.ready.insert(e, hash, r.at)
	return true, nil
}

func (r *restorer) wasAnswerForgotten(e *readyEntry, name dnsname.Name, m *dnswire.Message) bool {
	is := func(n dnsname.Name) bool {
		return r.wasForgotten(func(s Selection) bool { return s.hasName(n) && (s.Type == 0 || s.Type == e.questionType()) }, n)
	}
	return is(name) || slices.ContainsFunc(m.Answer, func(record rdata.Record) bool { return is(record.Name) })
}
