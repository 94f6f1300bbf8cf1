package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/resolver/iterate"
)

// Peer is how a server is known that is asked over an encrypted transport. Who has
// not proven to be it is told nothing.
type Peer struct {
	// ID tells peers apart: of two with the same one, the connections to the first are
	// kept on when routes change. Empty: it is the same as no other.
	ID string
	// TLS has what is verified, and how; protocols (ALPN) and the cache of sessions
	// are added here.
	TLS *tls.Config
	// Name and Path are of the URI that DoH has: https://Name/Path.
	Name, Path string
}

// Times and limits of connections that are kept. All are chosen, not derived.
const (
	// connectTimeout is how long TCP, TLS or QUIC may take to be agreed on. Exchanges
	// that wait for it give up on their own.
	connectTimeout = 4 * time.Second

	// plainIdle and encryptedIdle are how long a connection without a question is
	// kept. RFC 7766 §6.2.3: of the order of seconds; what cost a handshake is worth
	// keeping for longer. Most servers close it before.
	plainIdle     = 5 * time.Second
	encryptedIdle = 30 * time.Second

	// pipelined is how many questions are on one connection before another one is
	// opened to the server, connectionsPerServer how many that may be, and
	// pipelinedMost how many questions each then takes. Beyond it a question fails,
	// as if the server could not be reached.
	pipelined            = 64
	connectionsPerServer = 8
	pipelinedMost        = 256

	// strays is how many messages nobody has asked for a server may send on a
	// connection: late answers are some, more are mischief.
	strays = 64

	// sessions is how many TLS sessions are kept for one peer to resume. TLS 1.3
	// uses each once (RFC 8446 §C.4).
	sessions = 16
)

// links are the connections to other servers that outlive a question: over TCP, and
// all encrypted ones.
//
//	Send ──► ask ──► link to the server: a connection there is, or a new one
//	                 its own id on it ──► reply, whatever the order ──► the Send's id
//
// A question whose connection breaks before the reply, having been used before,
// is asked once more on a new one: the server may close what is idle at any time
// (RFC 7766 §6.2.4).
type links struct {
	// Constant after newLinks.
	most int // connections of all streams
	// pingTimeout and connectTimeout, or Config.patience if that is longer.
	ping, connect time.Duration
	ctx           context.Context
	end           context.CancelFunc
	work          sync.WaitGroup // goroutines that read

	opened, reused, resumed, broken [iterate.DoQ + 1]atomic.Uint64

	mu      sync.Mutex            // guards what follows, and what streams say it does
	streams map[linkTo][]*stream  // not empty ones
	count   int                   // of all streams
	https   map[linkTo]*httpsLink // never more than there are peers
	quics   map[linkTo]*quicLink  // likewise
	peers   map[int]*peer         // by number
	last    int                   // the number given out last
	closed  bool
}

// linkTo is where a link leads.
type linkTo struct {
	at   netip.AddrPort
	over iterate.Transport
	peer int // 0 over Do53
}

// LinkCounts counts connections over one transport since New. Do53 is TCP.
type LinkCounts struct {
	Opened  uint64 // connections
	Reused  uint64 // questions on a connection that had carried another
	Resumed uint64 // connections that continued a TLS session
	Broken  uint64 // connections that failed, to be made or later
}

func newLinks(most int, patience time.Duration) *links {
	l := &links{most: most, ping: max(pingTimeout, patience), connect: max(connectTimeout, patience), streams: map[linkTo][]*stream{}, https: map[linkTo]*httpsLink{},
		quics: map[linkTo]*quicLink{}, peers: map[int]*peer{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// ask sends the query of s and returns the reply with its id, and the time between
// the two. It ends with ctx.
func (l *links) ask(ctx context.Context, s iterate.Send) (reply []byte, took time.Duration, err error) {
	to := linkTo{s.To, s.Over, s.Peer}
	switch s.Over {
	case iterate.DoH:
		reply, took, err = l.askHTTPS(ctx, to, s.Msg)
	case iterate.DoQ:
		reply, took, err = l.askQUIC(ctx, to, s.Msg)
	default:
		reply, took, err = l.askStream(ctx, to, s.Msg)
	}
	if err == nil && len(reply) >= 2 {
		copy(reply, s.Msg[:2])
	}
	return reply, took, err
}

// tlsTo returns what TLS to a peer is agreed on with, over a protocol.
func (l *links) tlsTo(to linkTo, least uint16, protocol string) *tls.Config {
	return l.peer(to).over(least, protocol)
}

// over returns what TLS is agreed on with, over a protocol.
func (p Peer) over(least uint16, protocol string) *tls.Config {
	c := p.TLS.Clone()
	c.NextProtos, c.MinVersion = []string{protocol}, max(c.MinVersion, least)
	return c
}

// met counts a new connection.
func (l *links) met(over iterate.Transport, state *tls.ConnectionState) {
	l.opened[over].Add(1)
	if state != nil && state.DidResume {
		l.resumed[over].Add(1)
	}
}

// counts returns the counters of a transport.
func (l *links) counts(over iterate.Transport) LinkCounts {
	return LinkCounts{l.opened[over].Load(), l.reused[over].Load(), l.resumed[over].Load(), l.broken[over].Load()}
}

// open returns how many connections there are over TCP and TLS.
func (l *links) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// close ends every connection, and returns when nothing is left running.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	for _, all := range l.streams {
		for _, s := range all {
			s.abort()
		}
	}
	https, quics := l.https, l.quics
	l.https, l.quics = nil, nil
	l.mu.Unlock()
	l.end()
	for _, h := range https {
		h.close()
	}
	for _, q := range quics {
		q.close()
	}
	l.work.Wait()
}

var errBusy = fmt.Errorf("%w: too many questions wait for this server", iterate.ErrLocal)
