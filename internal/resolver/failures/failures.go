// Package failures remembers the stories of failed resolutions, so that an operator
// who is shown the id in a SERVFAIL can ask why.
//
// It owns how many are kept, and whose. It does not own what a story says (package
// iterate) nor how it is told (package explain).
//
// Entry points: New; Store.Put, Store.Get, Store.Stats.
//
// Concurrency: a Store may be used by many at once.
package failures

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// Record is one failure.
type Record struct {
	ID      iterate.FailureID
	At      time.Time // when it was told first
	Client  netip.Addr
	Name    dnsname.Name
	Type    rdata.Type
	Error   dnswire.ExtendedError
	Spent   iterate.Spent
	Elapsed time.Duration
	Steps   []iterate.Step
	Told    uint64    // how often; finished answers of the cache are not counted
	Last    time.Time // when it was told last
}

// Limits bound a Store.
type Limits struct {
	Octets int           // of all records
	Age    time.Duration // of a record
	// OfZone is the share of Octets that the failures of one zone may have: a tenth, so
	// that a flood of questions for one zone that is down does not drive out the others.
	OfZone int
}

// DefaultLimits keep the failures of a day, some 20,000 of them.
var DefaultLimits = Limits{Octets: 32 << 20, Age: 24 * time.Hour, OfZone: 10}

// Store is a bounded set of records. Make it with New.
type Store struct {
	limits Limits

	mu     sync.Mutex
	byID   map[iterate.FailureID]*entry
	all    *list.List // of *entry, oldest first
	zones  map[dnsname.Name]*zoneEntries
	octets int
}

type entry struct {
	record Record
	octets int
	zone   dnsname.Name
	inAll  *list.Element
	ofZone *list.Element
}

type zoneEntries struct {
	list   *list.List // of *entry, oldest first
	octets int
}

// New returns an empty Store.
func New(limits Limits) *Store {
	return &Store{
		limits: limits, byID: make(map[iterate.FailureID]*entry),
		all: list.New(), zones: make(map[dnsname.Name]*zoneEntries),
	}
}

// Put keeps a failure that is told to a client at r.At. Of one whose id is there
// already only that is noted. r belongs to the Store.
func (s *Store) Put(r Record) {
	if r.ID == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[r.ID]; e != nil {
		e.record.Told++
		e.record.Last = r.At
		return
	}
	r.Told, r.Last = 1, r.At
	e := &entry{record: r, octets: sizeOf(&r), zone: zoneOf(&r)}
	s.add(e)
	for z := s.zones[e.zone]; z.octets > s.limits.Octets/s.limits.OfZone && z.list.Len() > 1; {
		s.remove(z.list.Front().Value.(*entry))
	}
	for s.octets > s.limits.Octets || s.isOld(r.At) {
		s.remove(s.all.Front().Value.(*entry))
	}
}

func (s *Store) isOld(now time.Time) bool {
	first := s.all.Front()
	return first != nil && now.Sub(first.Value.(*entry).record.At) > s.limits.Age
}

func (s *Store) add(e *entry) {
	z := s.zones[e.zone]
	if z == nil {
		z = &zoneEntries{list: list.New()}
		s.zones[e.zone] = z
	}
	e.inAll, e.ofZone = s.all.PushBack(e), z.list.PushBack(e)
	z.octets += e.octets
	s.octets += e.octets
	s.byID[e.record.ID] = e
}

func (s *Store) remove(e *entry) {
	z := s.zones[e.zone]
	s.all.Remove(e.inAll)
	z.list.Remove(e.ofZone)
	if z.octets -= e.octets; z.list.Len() == 0 {
		delete(s.zones, e.zone)
	}
	s.octets -= e.octets
	delete(s.byID, e.record.ID)
}

// Get returns the failure with an id. Its Steps are not to be written to.
func (s *Store) Get(now time.Time, id iterate.FailureID) (r Record, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil || now.Sub(e.record.At) > s.limits.Age {
		return Record{}, false
	}
	return e.record, true
}

// Stats returns how many failures are kept, and roughly their octets of memory.
func (s *Store) Stats() (records, octets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID), s.octets
}

// zoneOf returns the zone whose servers were asked last, which is as near to the fault
// as it came; of what nobody was asked for, the name.
func zoneOf(r *Record) dnsname.Name {
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if !r.Steps[i].Zone.IsZero() {
			return r.Steps[i].Zone
		}
	}
	return r.Name.Parent()
}

// Octets that a record and a step take beside their text.
const (
	recordOctets = int(unsafe.Sizeof(entry{})) + 4*int(unsafe.Sizeof(list.Element{})) + 64
	stepOctets   = int(unsafe.Sizeof(iterate.Step{}))
)

// sizeOf counts names once: the steps of a story share theirs.
func sizeOf(r *Record) int {
	n := recordOctets + r.Name.Len() + len(r.Error.Text) + cap(r.Steps)*stepOctets
	for i := range r.Steps {
		n += len(r.Steps[i].Note)
	}
	return n
}
