// Package anchor knows what chains of trust begin with, and how that changes in time:
// keys of trust points that come and go by the rules of RFC 5011, and names that are
// not validated for a while (RFC 7646).
//
// It owns the states of keys, when they are looked at next, the forms in which anchors
// are configured, and the form in which states are kept. It does not own how a DNSKEY
// RRset is fetched, nor files and timers (package custody), nor what is done with
// anchors (package iterate).
//
//	          seen, signed          30 days, seen again
//	(unknown) ───────────► AddPend ────────────────────► Valid ◄──────► Missing
//	    ▲                     │ gone, or revoked           │  seen/gone   │
//	    └─────────────────────┘                            └──► Revoked ◄─┘ self-signed, REVOKE bit
//	                                                            30 days │
//	                                                                Removed
//
// Entry points: New, Point.Observe, Point.Failed, Point.Anchors; Parse (configured anchors);
// Encode, Decode (states); Negatives.
//
// Concurrency: everything here belongs to one goroutine at a time.
//
// Sources: RFC 4034 §2 and §5, RFC 5011, RFC 7646, RFC 7958 (root-anchors.xml).
package anchor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// State is where a key is in its life (RFC 5011 §4.2). A key in state Start is not
// known, so there is none.
type State uint8

// The states.
const (
	AddPend State = iota // seen, but not for long enough
	Valid                // trusted
	Missing              // trusted, but not in the zone at present
	Revoked              // by itself, for ever
	Removed              // revoked, or missing, for long; remembered so that no configured DS record revives it
)

var stateNames = [...]string{"add-pending", "valid", "missing", "revoked", "removed"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

func parseState(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}

// Times of RFC 5011 §2.3 and §2.4.
const (
	addHold    = 30 * 24 * time.Hour
	removeHold = 30 * 24 * time.Hour
	// keepMissing is how long a key that has left without being revoked is trusted: a
	// year and a day, as in Unbound. RFC 5011 leaves it to the operator.
	keepMissing = 366 * 24 * time.Hour

	queryLeast, queryMost = time.Hour, 15 * 24 * time.Hour
	retryLeast, retryMost = time.Hour, 24 * time.Hour
)

// maxKeys bounds what one trust point remembers: 32 keys, where the root has had four in
// fifteen years. At the limit new keys are not taken up.
const maxKeys = 32

// Bits of a DNSKEY record's flags.
const (
	flagZone   = 0x0100
	flagRevoke = 0x0080
	flagSEP    = 0x0001
)

// Key is a key of a trust point.
type Key struct {
	RDATA []byte // without the REVOKE bit
	State State
	Since time.Time // when it came into the state
	Hold  time.Duration
}

// Tag returns the key's tag.
func (k Key) Tag() uint16 { return dnssec.KeyTag(k.RDATA) }

// Algorithm returns the key's algorithm.
func (k Key) Algorithm() uint8 { return k.RDATA[3] }

// Until returns when the state ends by itself, if nothing else happens; the zero time
// if it does not.
func (k Key) Until() time.Time {
	switch k.State {
	case AddPend:
		return k.Since.Add(k.Hold)
	case Revoked:
		return k.Since.Add(removeHold)
	case Missing:
		return k.Since.Add(keepMissing)
	}
	return time.Time{}
}

// Point is a trust point: a zone with keys that are trusted without a parent's word.
//
// Invariant: no two keys have the same RDATA, and none the REVOKE bit.
type Point struct {
	Zone dnsname.Name
	Keys []Key
	// Configured are the DS records that no key here is known to be of yet.
	Configured [][]byte
	// Initial are fingerprints of the anchors that were configured.
	Initial  []string
	Checked  time.Time // when the zone's keys were last seen and verified
	Next     time.Time // when they are to be looked at
	Failures int       // checks in a row that came to nothing
	Problem  string    // of the last of them

	reached bool // by this process: the keys came, whatever they were worth
	early   int  // tries before that
}

// New returns the trust points of configured anchors, DS and DNSKEY records, with what
// is known from before. known may be nil. What is known of a zone counts only if one of
// the anchors that it came from is still configured: who has replaced them all wants
// nothing of the keys before.
func New(now time.Time, configured []rdata.Record, known []*Point) []*Point {
	initial := map[dnsname.Name][]string{}
	for _, r := range configured {
		initial[r.Name] = append(initial[r.Name], fingerprint(r))
	}
	var points []*Point
	for _, r := range configured {
		p := find(points, r.Name)
		if p == nil {
			p = &Point{Zone: r.Name, Next: now}
			if old := find(known, r.Name); old != nil && slices.ContainsFunc(old.Initial, func(f string) bool { return slices.Contains(initial[r.Name], f) }) {
				*p = *old
				p.Keys, p.Configured = slices.Clone(old.Keys), nil
			}
			p.Initial = initial[r.Name]
			points = append(points, p)
		}
		switch {
		case r.Type == rdata.TypeDS && !p.isKnown(r.Data):
			p.Configured = append(p.Configured, r.Data)
		case r.Type == rdata.TypeDNSKEY && len(r.Data) > 4 && r.Data[1]&flagRevoke == 0 && p.key(r.Data) == nil:
			p.Keys = append(p.Keys, Key{RDATA: r.Data, State: Valid, Since: now})
		}
	}
	return points
}

func fingerprint(r rdata.Record) string {
	sum := sha256.Sum256(append([]byte{byte(r.Type)}, r.Data...))
	return hex.EncodeToString(sum[:8])
}

func find(points []*Point, zone dnsname.Name) *Point {
	for _, p := range points {
		if p.Zone == zone {
			return p
		}
	}
	return nil
}

// isKnown reports whether a DS record is of a key that has a state.
func (p *Point) isKnown(data []byte) bool {
	d, ok := dnssec.ParseDS(data)
	return ok && slices.ContainsFunc(p.Keys, func(k Key) bool {
		parsed, valid := dnssec.ParseKey(k.RDATA)
		return valid && d.IsOf(p.Zone, parsed)
	})
}

func (p *Point) key(data []byte) *Key {
	for i := range p.Keys {
		if bytes.Equal(p.Keys[i].RDATA, data) {
			return &p.Keys[i]
		}
	}
	return nil
}

// Anchors returns what chains of trust may begin with: keys that are Valid or Missing
// (RFC 5011 §4.2), and configured DS records whose key has not been seen yet.
func (p *Point) Anchors() []rdata.Record {
	var out []rdata.Record
	add := func(t rdata.Type, data []byte) {
		out = append(out, rdata.Record{Name: p.Zone, Type: t, Class: rdata.ClassIN, Data: data})
	}
	for _, k := range p.Keys {
		if k.State == Valid || k.State == Missing {
			add(rdata.TypeDNSKEY, k.RDATA)
		}
	}
	for _, data := range p.Configured {
		add(rdata.TypeDS, data)
	}
	return out
}
