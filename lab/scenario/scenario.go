// Package scenario reads and plays .rpl files: dialogues between a client, the
// resolver and the servers of the world, written down as the packets each of
// them says. The resolver is the program's own state machine, in process, with a
// clock that the file moves.
//
// It owns the language (both dialects, see Dialect), the matching of messages
// and the running of steps. It does not own the network's weather: that is
// package simnet; here a packet is answered at once or not at all.
//
//	CONFIG section      settings of the resolver, mapped by World
//	RANGE ... ADDRESS   what the server at an address says while steps a..b run
//	  ENTRY             MATCH which query, ADJUST the reply, REPLY flags, SECTIONs
//	STEP n KIND         QUERY, CHECK_ANSWER, REPLY, TIMEOUT, TIME_PASSES, ...
//
// Entry points: Parse, Scenario.Run. What a file asks for and this runner or the
// resolver does not have is an *Unsupported error: the reason to skip it.
//
// Concurrency: a Scenario is constant after Parse; a run belongs to one
// goroutine.
//
// The language is described in docs/formats/rpl.md.
package scenario

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/dns/dnswire"
)

// Dialect is one of the two readings of the language.
type Dialect uint8

// The dialects. They differ in the CONFIG section, in which step's number counts
// for a RANGE while packets fly (Unbound: the next step, Deckard: the last one),
// in REPLY steps (Unbound: a reply at that moment, Deckard: one held ready for
// the first query it matches), and in what a server says to a query that no
// entry matches (Unbound: nothing, Deckard: SERVFAIL).
const (
	Unbound Dialect = iota
	Deckard
)

// Scenario is one parsed file.
type Scenario struct {
	File     string // for messages
	Title    string
	Dialect  Dialect
	Settings []Setting
	Ranges   []*Range
	Steps    []*Step
}

// Setting is one line "key: value" of the CONFIG section. Clause is the block
// that it stands in ("server", "stub-zone", ...), and Block tells two blocks of
// one kind apart.
type Setting struct {
	Clause     string
	Block      int
	Key, Value string
	Line       int
}

// Range is what servers say while the steps From to To run, both included.
type Range struct {
	From, To  int
	Addresses []netip.Addr // empty: every address
	Entries   []*Entry
	Line      int
}

// Kind is what a step does.
type Kind string

// The kinds of step that can be run.
const (
	Nothing       Kind = "NOTHING"
	Query         Kind = "QUERY"
	CheckAnswer   Kind = "CHECK_ANSWER"
	CheckOutQuery Kind = "CHECK_OUT_QUERY"
	Reply         Kind = "REPLY"
	Timeout       Kind = "TIMEOUT"
	Failure       Kind = "ERROR"
	TimePasses    Kind = "TIME_PASSES"
	Traffic       Kind = "TRAFFIC"
)

// Step is one action of the dialogue.
type Step struct {
	ID      int
	Kind    Kind
	Address netip.Addr    // whom it is about; the zero Addr is anybody
	Elapse  time.Duration // of TIME_PASSES
	Entry   *Entry        // of QUERY, CHECK_ANSWER, CHECK_OUT_QUERY, REPLY
	Line    int
}

// Entry is one message with the conditions under which it is meant.
type Entry struct {
	Line     int
	Match    Match
	Adjust   Adjust
	Message  dnswire.Message
	Raw      []byte   // a whole message from hexadecimal, sent in place of Message
	Declared Sections // which sections the file wrote, even if empty
	Extra    []*Entry // further packets, sent right behind this one
}

// Sections says which sections an entry wrote.
type Sections struct{ Question, Answer, Authority, Additional bool }

// Adjust is what is changed in an entry's message before it is sent.
type Adjust struct {
	CopyID    bool // the query's id
	CopyQuery bool // the query's question
	Silent    bool // send nothing
	WrongID   bool // an id that is not the query's
	LowerCase bool // the question's name in lower case, however it was asked
	Refuse    bool // the network says that nobody listens there
}

// Unsupported is a demand of a file that cannot be met here.
type Unsupported struct {
	Class string // short, for counting: "dnssec", "whitebox", "config", ...
	What  string
	Line  int
}

// Error returns the demand with its place.
func (u *Unsupported) Error() string {
	return fmt.Sprintf("line %d: %s: %s", u.Line, u.Class, u.What)
}
