package httpproxy

import (
	"sync"
	"time"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/proxy/stamp"
	"pharos/internal/proxy/terms"
	"pharos/internal/proxy/tracecontext"
	"pharos/internal/traffic/pool"
)

// exchange is one request and its response on their way: everything that is
// needed while a connection is not idle. It is taken from a pool with the first
// octet of a request and given back when the connection waits again.
//
//	in: | head | content decoded so far | ... | not yet read by the parser | free |
//	    0    content                contentEnd  at                       filled
type exchange struct {
	in         []byte
	at, filled int // [at, filled) of in is unread
	content    int // where the content that was kept begins
	contentEnd int
	req        http1.Parser

	back           []byte // from the origin
	backAt, backTo int    // [backAt, backTo) of back is unread
	resp           http1.Parser

	small              *buffers           // what in and back are mostly; nil: lent to others
	largeIn, largeBack *[largeBuffer]byte // what they are instead; nil: not

	out      []byte // what goes out next, to either side
	head     []byte // the request as it is sent to an origin, to be sent again
	path     []byte // normalised
	pathRoom []byte
	trailers []byte // whole field lines that go on
	id       []byte // request id
	line     []byte // access log

	way
	seen
	passing
	choice  choice
	member  *pool.Member
	began   time.Time
	asked   time.Time     // when the member at hand was turned to
	upload  *upload       // nil unless the content is passed on while it comes
	sending http1.Framing // our framing of the request's content
	upgrade []byte        // protocol offered to the origin

	status   int  // sent to the client; 0: none yet
	started  bool // some octet of a final response went to the client
	tries    int
	doubt    doubt
	received int64 // octets of request content
	sent     int64 // octets of response content
	reason   string
}

// seen is what is told of a request when it is over.
type seen struct {
	stamp stamp.Stamp
	times times
	trace trace
	coded coded
}

// passing is what of a request is between its head and its pool.
type passing struct {
	pass      filter.Pass
	inspected inspection
	ownAltSvc bool       // the origin server's Alt-Svc does not go on
	mirrored  string     // the pool that gets a copy of the request; "": none does
	retrying  *pool.Load // of the pool among whose retries the request is; nil: it is not
}

// way is where a request goes.
type way struct {
	table    *served.Table
	route    *route.Route
	matched  []byte     // the path that led to it: normalised
	pool     *pool.Pool // nil: the route carries the request nowhere
	index    int        // of pool in table
	counters *served.PoolCounters
	chain    *filter.Chain // that requests of the route go through; nil: there is none
	tally    *filter.Tally
	terms    *terms.Terms // nil: those of the server
}

var exchanges = sync.Pool{New: func() any {
	x := &exchange{head: make([]byte, 0, 2048), line: make([]byte, 0, 1024), id: make([]byte, 0, 64), pathRoom: make([]byte, 0, 256)}
	x.equip()
	return x
}}

// largeBuffers are shared by all exchanges, as few need one at a time.
var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// reset makes x ready for the next request; octets already read stay.
func (x *exchange) reset() {
	x.trailers, x.id = x.trailers[:0], x.id[:0]
	x.path, x.way, x.member = nil, way{}, nil
	x.upload, x.upgrade, x.sending = nil, nil, http1.NoContent
	x.status, x.started, x.tries, x.received, x.sent, x.reason = 0, false, 0, 0, 0, ""
	x.inspected, x.mirrored = inspection{}, ""
	x.choice.counted, x.choice.held, x.doubt = 0, 0, doubt{}
	x.trace.Context, x.trace.at = tracecontext.Context{}, 0
	x.coded = coded{}
	x.backAt, x.backTo = 0, 0
}

func (x *exchange) unread() int { return x.filled - x.at }

func (x *exchange) rewind() { x.at, x.filled = 0, 0 }

// moveDown brings what is unread to the start of the buffer, so that a head
// begins at 0.
func (x *exchange) moveDown() {
	if x.at > 0 {
		x.filled = copy(x.in, x.in[x.at:x.filled])
		x.at = 0
	}
}

// growIn gives in the largest size; false when it has that already.
func (x *exchange) growIn() bool {
	if x.largeIn != nil {
		return false
	}
	x.largeIn = largeBuffers.Get().(*[largeBuffer]byte)
	copy(x.largeIn[:], x.in[:x.filled])
	x.in = x.largeIn[:]
	return true
}

// growBack does the same for back.
func (x *exchange) growBack() bool {
	if x.largeBack != nil {
		return false
	}
	x.largeBack = largeBuffers.Get().(*[largeBuffer]byte)
	copy(x.largeBack[:], x.back[:x.backTo])
	x.back = x.largeBack[:]
	return true
}

// shrink gives large buffers back, and forgets what the request led to.
func (x *exchange) shrink() {
	if x.largeIn != nil {
		largeBuffers.Put(x.largeIn)
		x.in, x.largeIn = x.small.in, nil
	}
	if x.largeBack != nil {
		largeBuffers.Put(x.largeBack)
		x.back, x.largeBack = x.small.back, nil
	}
	if cap(x.out) > largeBuffer {
		x.out = make([]byte, 0, smallBuffer)
	}
	x.at, x.filled = 0, 0
	x.way, x.member, x.upload = way{}, nil, nil
	x.choice.view, x.choice.load, x.choice.affinity = nil, nil, nil
}
