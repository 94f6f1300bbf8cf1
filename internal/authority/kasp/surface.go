package kasp

import (
	"slices"
	"time"
)

// Record is a kind of record that speaks of a key, each with a State of its own.
type Record uint8

// The kinds.
const (
	DNSKEY     Record = iota // the key itself
	Signatures               // RRSIG of data, by a ZSK or CSK
	DS                       // at the parent, of a KSK or CSK
)

// State is how far the caches of the world know a record.
type State uint8

// The states.
const (
	Hidden      State = iota // nobody has it
	Rumoured                 // it is published; some may not have it yet
	Omnipresent              // whoever has anything has it
	Unretentive              // it is withdrawn; some may still have it
)

// String returns the state in lower case.
func (s State) String() string {
	return [...]string{"hidden", "rumoured", "omnipresent", "unretentive"}[s]
}

// Content is what one surface of the zone (DNSKEY or data) has or had: the keys
// that stand in it or sign it, in ascending order.
type Content struct {
	Keys []ID `json:"keys"`
	// Until is the generation that replaced it; 0: it is published now.
	Until uint64 `json:"until,omitempty"`
	// TTL is the longest with which it was published.
	TTL time.Duration `json:"ttl"`
	// Fading: every server shows the successor, and Left has yet to pass.
	Fading bool          `json:"fading,omitempty"`
	Left   time.Duration `json:"left,omitempty"`
}

// ParentContent is a DS RRset that the parent shows, showed, or was asked for.
type ParentContent struct {
	Keys []ID `json:"keys"`
	// Unknown: there are also DS records of keys that are not ours.
	Unknown bool `json:"unknown,omitempty"`
	Seen    bool `json:"seen,omitempty"`  // a server of the parent shows it
	Asked   bool `json:"asked,omitempty"` // we ask for it, so it may come any time
	// Until is the generation in which it is no longer asked for; 0: it is, or
	// never was.
	Until  uint64        `json:"until,omitempty"`
	TTL    time.Duration `json:"ttl"`
	Fading bool          `json:"fading,omitempty"`
	Left   time.Duration `json:"left,omitempty"`
}

// isEmpty reports whether validators take the zone for unsigned.
func (c *ParentContent) isEmpty() bool { return len(c.Keys) == 0 && !c.Unknown }

// Memory is all that a Machine has to remember, to be kept on disk.
type Memory struct {
	Generation uint64 `json:"generation"` // of what the zone's servers are to show
	LastID     ID     `json:"lastID"`
	Keys       []Key  `json:"keys"`
	// Spares are keys made in advance, in the order in which they are to be used.
	Spares []Key           `json:"spares,omitempty"`
	DNSKEY []Content       `json:"dnskey"` // the last one is published
	Data   []Content       `json:"data"`   // the last one is published
	DS     []ParentContent `json:"ds"`
	// Ask is the DS RRset that the parent is asked for; AskNone: to have none.
	Ask     []ID `json:"ask,omitempty"`
	AskNone bool `json:"askNone,omitempty"`
	// Looked: the parent has been seen once.
	Looked bool `json:"looked,omitempty"`
}

// WithoutTimes returns m without what only says how much time has yet to pass, to
// see whether anything else has changed.
func (m Memory) WithoutTimes() Memory {
	m = clone(m)
	for i := range m.Keys {
		m.Keys[i].Idle = 0
	}
	for _, list := range [][]Content{m.DNSKEY, m.Data} {
		for i := range list {
			list[i].Left = 0
		}
	}
	for i := range m.DS {
		m.DS[i].Left = 0
	}
	return m
}

func clone(m Memory) Memory {
	m.Keys = slices.Clone(m.Keys)
	for i := range m.Keys {
		m.Keys[i].DNSKEY = slices.Clone(m.Keys[i].DNSKEY)
	}
	m.Spares = slices.Clone(m.Spares)
	m.DNSKEY, m.Data, m.DS = slices.Clone(m.DNSKEY), slices.Clone(m.Data), slices.Clone(m.DS)
	for _, list := range [][]Content{m.DNSKEY, m.Data} {
		for i := range list {
			list[i].Keys = slices.Clone(list[i].Keys)
		}
	}
	for i := range m.DS {
		m.DS[i].Keys = slices.Clone(m.DS[i].Keys)
	}
	m.Ask = slices.Clone(m.Ask)
	return m
}

// newest returns the content that is published.
func newest(list []Content) []ID { return list[len(list)-1].Keys }

// published returns list with set as its newest content, from generation on.
func published(list []Content, set []ID, generation uint64) []Content {
	next := slices.Clone(list)
	next[len(next)-1].Until = generation
	// What comes back is no longer on its way out.
	next = slices.DeleteFunc(next, func(c Content) bool { return slices.Equal(c.Keys, set) })
	return append(next, Content{Keys: set})
}

// stateIn returns the state of k's record in a surface.
func stateIn(list []Content, k ID) State {
	with := 0
	for _, c := range list {
		if slices.Contains(c.Keys, k) {
			with++
		}
	}
	return stateOf(slices.Contains(newest(list), k), with, len(list))
}

func stateOf(now bool, with, all int) State {
	switch {
	case now && with == all:
		return Omnipresent
	case now:
		return Rumoured
	case with > 0:
		return Unretentive
	}
	return Hidden
}

// stateAtParent returns the state of k's DS record. What is only asked for is
// nowhere yet.
func stateAtParent(list []ParentContent, k ID) State {
	seen, with, all := false, 0, 0
	for _, c := range list {
		if c.Asked && !c.Seen && !c.Fading {
			continue
		}
		all++
		if slices.Contains(c.Keys, k) {
			with++
			seen = seen || c.Seen
		}
	}
	return stateOf(seen, with, all)
}

// State returns the state of a record of key k.
func (m *Machine) State(k ID, r Record) State {
	switch r {
	case DNSKEY:
		return stateIn(m.memory.DNSKEY, k)
	case Signatures:
		return stateIn(m.memory.Data, k)
	}
	return stateAtParent(m.memory.DS, k)
}

// isNowhere reports whether nobody can have anything of k any more.
func (m *Machine) isNowhere(k ID) bool {
	return m.State(k, DNSKEY) == Hidden && m.State(k, Signatures) == Hidden && !m.isNamed(k)
}

// isNamed reports whether any DS RRset that the parent shows, showed or may show
// has k.
func (m *Machine) isNamed(k ID) bool {
	return slices.ContainsFunc(m.memory.DS, func(c ParentContent) bool { return slices.Contains(c.Keys, k) })
}

// union returns the sorted union of sets.
func union(sets ...[]ID) []ID {
	all := slices.Concat(sets...)
	slices.Sort(all)
	return slices.Compact(all)
}

// without returns a without the IDs of b.
func without(a, b []ID) []ID {
	return slices.DeleteFunc(slices.Clone(a), func(id ID) bool { return slices.Contains(b, id) })
}
