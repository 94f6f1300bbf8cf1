package update

import (
	"crypto/sha256"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/tsig"
)

// Seen remembers signed updates for as long as their signatures hold, so that none
// is carried out twice: neither one that a client repeats because the answer was
// lost, nor one that somebody has recorded and sends again, when the records that
// it added have been deleted since (RFC 8945 §10 leaves that to the server).
//
// It belongs to one goroutine at a time.
type Seen struct {
	most int
	of   map[Mark]*seen
	fifo []Mark // in the order of seen.at
}

// MaxSeen is how many updates are remembered: some 20 MB. A server that takes more
// of them in SeenFor forgets the oldest before their time.
const MaxSeen = 1 << 17

// SeenFor is how long a signature may hold after it was first seen: clocks may
// differ by tsig.Fudge both ways.
const SeenFor = 2 * tsig.Fudge

// Mark is what a signed update is known by.
type Mark [16]byte

// MarkOf returns the mark of a request that is signed with mac by the key of a name.
func MarkOf(key dnsname.Name, mac []byte) Mark {
	sum := sha256.Sum256(append([]byte(key.Wire()), mac...))
	return Mark(sum[:])
}

type seen struct {
	at    time.Time
	done  bool
	rcode dnswire.Rcode
}

// NewSeen returns a Seen for up to most updates.
func NewSeen(most int) *Seen { return &Seen{most: most, of: map[Mark]*seen{}} }

// State is what is known of an update.
type State uint8

// The states.
const (
	New    State = iota // not seen before; from now on it is in work
	InWork              // seen, and not decided yet
	Done                // seen, and answered
)

// Begin says whether an update was seen before and, if it is done, how it was
// answered.
func (s *Seen) Begin(m Mark, now time.Time) (State, dnswire.Rcode) {
	for len(s.fifo) > 0 {
		first, there := s.of[s.fifo[0]]
		if there && now.Sub(first.at) <= SeenFor && len(s.fifo) < s.most {
			break
		}
		delete(s.of, s.fifo[0])
		s.fifo = s.fifo[1:]
	}
	if old := s.of[m]; old != nil {
		if old.done {
			return Done, old.rcode
		}
		return InWork, 0
	}
	s.of[m] = &seen{at: now}
	s.fifo = append(s.fifo, m)
	return New, 0
}

// End says how an update was answered. One that failed here, not by what it asks
// for, is forgotten: it may be tried again.
func (s *Seen) End(m Mark, rcode dnswire.Rcode) {
	if rcode == dnswire.RcodeServFail {
		delete(s.of, m)
	} else if e := s.of[m]; e != nil {
		e.done, e.rcode = true, rcode
	}
}
