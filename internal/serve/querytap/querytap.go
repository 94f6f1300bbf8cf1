// Package querytap tells others of queries and their answers: as dnstap frames, and
// as lines of a log.
//
//	loops: Put (a copy into a free event) -> queue -> one goroutine -> dnstap frames
//	                                                               -> lines of JSON
//
// It owns the copies, the queue, both forms, and the connection to who listens. It does
// not own which queries are told of (package node), nor the file of the log.
//
// Nothing waits: when all events are in use, because what is written to is slow or gone,
// queries are not told of, and counted.
//
// Entry points: New, Tap.Put.
//
// Concurrency: Put may be called from any number of goroutines, and allocates nothing
// once the events have grown; all else belongs to one goroutine, which Close ends.
//
// Sources: dnstap.info (dnstap.proto, Frame Streams), by its authors' libraries.
package querytap

import (
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Limits of what waits to be written.
const (
	// Events is how many queries wait at a time: some milliseconds of a busy loop, and
	// 2 MB with messages of usual size. When all are in use, more are dropped.
	Events = 2048
	// keepOctets is how large a buffer may be that is kept with its event: an answer
	// over UDP fits. Larger ones are let go of.
	keepOctets = 4096
	// pause is how long after a failure the connection is tried again.
	pause = time.Second
)

// Event is a query and its answer.
type Event struct {
	Query, Answer []byte // whole messages; none where there was none, or is none to be told
	Client, Local netip.AddrPort
	Transport     string // "udp", "tcp", "dot", "doh", "doh3", "doq"
	Received      time.Time
	Sent          time.Time

	Name      dnsname.Name // of the question; the log needs what follows
	Type      rdata.Type
	Rcode     dnswire.Rcode // of the answer, if there is one
	Octets    int           // of it; 0 if there is none
	View      string
	Zone      string
	Recursive bool // the resolver was for this client: CLIENT in dnstap, otherwise AUTH
	Frame     bool // tell of it by dnstap
	Line      bool // and in the log

	name [dnsname.MaxLen]byte // of an event in the queue: memory of Name
}

// Config is where queries are told of.
type Config struct {
	Socket   string    // a Unix socket that a collector of dnstap listens at; empty: none
	File     string    // a file for dnstap frames; empty: none
	Lines    io.Writer // for the log; nil: none
	Identity string    // of this server, in dnstap
	Version  string    // of this program, in dnstap
	Log      *slog.Logger
}

// Counts are what became of events.
type Counts struct {
	Frames, Lines, Dropped, Failed uint64
}

// Tap tells of queries.
type Tap struct {
	// Constant after New.
	config Config
	free   chan *Event // closed by nobody
	queue  chan *Event // never full: there are as many places as events
	quit   chan struct{}
	once   sync.Once
	work   sync.WaitGroup

	frames, lines, dropped, failed atomic.Uint64

	// Owned by the goroutine.
	out    *stream
	retry  time.Time
	looked time.Time // when the file was last looked for
	told   bool      // that there is nobody to write to
	record record
}

// New starts a Tap. Nothing has to be there yet that it writes to.
func New(c Config) *Tap {
	t := &Tap{config: c, free: make(chan *Event, Events), queue: make(chan *Event, Events), quit: make(chan struct{})}
	for range Events {
		t.free <- new(Event)
	}
	t.work.Go(t.run) // ended by Close
	return t
}

// Put tells of an event, of which it keeps copies. It does not wait.
func (t *Tap) Put(e *Event) {
	select {
	case mine := <-t.free:
		query, answer := append(mine.Query[:0], e.Query...), append(mine.Answer[:0], e.Answer...)
		*mine = *e
		mine.Query, mine.Answer = query, answer
		if !e.Name.IsZero() {
			mine.Name = dnsname.View(mine.name[:copy(mine.name[:], e.Name.Wire())])
		}
		t.queue <- mine
	default:
		t.dropped.Add(1)
	}
}

// Counts returns what was counted.
func (t *Tap) Counts() Counts {
	return Counts{t.frames.Load(), t.lines.Load(), t.dropped.Load(), t.failed.Load()}
}

// Close writes what waits, and ends.
func (t *Tap) Close() {
	t.once.Do(func() { close(t.quit) })
	t.work.Wait()
}

func (t *Tap) run() {
	defer func() { t.out.close() }()
	for {
		select {
		case e := <-t.queue:
			t.tell(e)
		case <-t.quit:
			for len(t.queue) > 0 {
				t.tell(<-t.queue)
			}
			return
		}
		if len(t.queue) == 0 {
			t.flush()
		}
	}
}

// tell writes one event and gives it back.
func (t *Tap) tell(e *Event) {
	if e.Frame {
		t.frame(e)
	}
	if e.Line && t.config.Lines != nil {
		if _, err := t.config.Lines.Write(t.record.line(e)); err != nil {
			t.failed.Add(1)
		} else {
			t.lines.Add(1)
		}
	}
	if cap(e.Query) > keepOctets {
		e.Query = nil
	}
	if cap(e.Answer) > keepOctets {
		e.Answer = nil
	}
	t.free <- e
}
