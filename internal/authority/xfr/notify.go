package xfr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/transfer"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

const (
	// notifyTries and firstPause: RFC 1996 §3.6 leaves them to us. The pauses double,
	// so a server that restarts within two minutes is told.
	notifyTries = 7
	firstPause  = time.Second
	// notifyWorkers bounds how many NOTIFY messages are under way; others wait.
	notifyWorkers = 64
)

// Notice is what became of telling a server about a zone.
type Notice struct {
	Zone   dnsname.Name
	To     netip.AddrPort
	Serial rdata.Serial // told of
	Since  time.Time    // when it was first told
	Tries  int
	Done   bool   // the server has answered, or we have given up: then Problem says why
	Error  string // of the last try
}

// Problem returns what an operator should know, or nothing.
func (n Notice) Problem() string {
	if !n.Done || n.Error == "" {
		return ""
	}
	return fmt.Sprintf("server %s was told %d times of serial %d of zone %s, in vain: %s", n.To, n.Tries, n.Serial, n.Zone, n.Error)
}

// Notifier tells secondaries that zones have changed (RFC 1996).
type Notifier struct {
	// Constant after NewNotifier.
	ctx     context.Context
	cancel  context.CancelFunc
	slots   chan struct{}
	log     *slog.Logger
	trouble func(zone dnsname.Name)
	work    sync.WaitGroup

	mu      sync.Mutex                                // guards what follows
	notices map[dnsname.Name]map[netip.AddrPort]*told // by zone and server; no empty ones
	sent    uint64                                    // messages
	failed  uint64                                    // servers given up
}

// told is a Notice and what is being done about it.
type told struct {
	Notice
	abandon context.CancelFunc
}

// NewNotifier returns a Notifier. trouble is called, without a lock held, when the
// Problem of a notice about zone may have changed.
func NewNotifier(log *slog.Logger, trouble func(zone dnsname.Name)) *Notifier {
	n := &Notifier{slots: make(chan struct{}, notifyWorkers), log: log, trouble: trouble, notices: map[dnsname.Name]map[netip.AddrPort]*told{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Announce tells the servers that the zone of soa has changed. What they were
// still to be told before is dropped: the newest is all that counts. Servers that
// are not in the list any more are forgotten.
func (n *Notifier) Announce(soa rdata.Record, servers []Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	soa.Name, soa.Data = soa.Name.Clone(), slices.Clone(soa.Data)
	n.forgetLocked(soa.Name)
	for _, server := range servers {
		ctx, cancel := context.WithCancel(n.ctx)
		t := &told{Notice{Zone: soa.Name, To: server.Address, Serial: transfer.SerialOf(soa), Since: clock.Now()}, cancel}
		if n.notices[soa.Name] == nil {
			n.notices[soa.Name] = map[netip.AddrPort]*told{}
		}
		n.notices[soa.Name][server.Address] = t
		n.work.Go(func() { // ends with the answer, after notifyTries, or when Announce or Close abandons it
			defer cancel()
			n.tell(ctx, t, soa, server)
		})
	}
}

// Forget drops a zone.
func (n *Notifier) Forget(zone dnsname.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetLocked(zone)
}

// forgetLocked abandons what is being said about zone, and all that was.
func (n *Notifier) forgetLocked(zone dnsname.Name) {
	for _, t := range n.notices[zone] {
		t.abandon()
	}
	delete(n.notices, zone)
}

// tell sends NOTIFY until the server answers.
func (n *Notifier) tell(ctx context.Context, t *told, soa rdata.Record, server Peer) {
	msg := notifyMessage(soa)
	for try, pause := 1, firstPause; ; try, pause = try+1, 2*pause {
		err := n.tellOnce(ctx, server, msg)
		if ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		n.sent++
		t.Tries, t.Error = try, ""
		if err != nil {
			t.Error = err.Error()
		}
		if t.Done = err == nil || try == notifyTries; t.Done && err != nil {
			n.failed++
		}
		n.mu.Unlock()
		if t.Done {
			break
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
	if problem := t.Problem(); problem != "" {
		n.log.Warn("secondary not told of a change", "zone", t.Zone.String(), "server", t.To.String(), "error", t.Error)
	} else {
		n.log.Info("secondary told of a change", "zone", t.Zone.String(), "server", t.To.String(), "serial", uint32(t.Serial), "tries", t.Tries)
	}
	n.trouble(t.Zone)
}

func (n *Notifier) tellOnce(ctx context.Context, server Peer, msg []byte) error {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rcode, err := server.notify(ctx, msg, 1)
	if err == nil && rcode != dnswire.RcodeNoError {
		err = fmt.Errorf("it answers %s; is this server one of its primaries for the zone?", rcode)
	}
	return err
}

// notify sends a NOTIFY and returns what the server says.
func (p Peer) notify(ctx context.Context, msg []byte, tries int) (dnswire.Rcode, error) {
	m, err := p.ask(ctx, msg, tries)
	switch {
	case err != nil:
		return 0, err
	case m.Opcode != dnswire.OpcodeNotify:
		return 0, errors.New("the answer is not to a NOTIFY")
	}
	return m.Rcode, nil
}

// NotifyOf tells a server once that an RRset of a child zone has changed, such as CDS (RFC 9859
// §4.2), and returns why that was not taken.
func NotifyOf(ctx context.Context, p Peer, child dnsname.Name, t rdata.Type) error {
	m := dnswire.Message{
		ID: newID(), Opcode: dnswire.OpcodeNotify, AA: true, HasQuestion: true,
		Question: dnswire.Question{Name: child, Type: t, Class: rdata.ClassIN},
	}
	rcode, err := p.notify(ctx, m.Append(nil), udpTries)
	if err == nil && rcode != dnswire.RcodeNoError {
		err = fmt.Errorf("it answers %s", rcode)
	}
	return err
}

// notifyMessage returns a NOTIFY with the new SOA record as a hint (RFC 1996
// §3.7).
func notifyMessage(soa rdata.Record) []byte {
	m := dnswire.Message{
		ID: newID(), Opcode: dnswire.OpcodeNotify, AA: true, HasQuestion: true,
		Question: dnswire.Question{Name: soa.Name, Type: rdata.TypeSOA, Class: rdata.ClassIN},
		Answer:   []rdata.Record{soa},
	}
	return m.Append(nil)
}

// Notices returns what became of each notice about zone, by server.
func (n *Notifier) Notices(zone dnsname.Name) []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Notice
	for _, t := range n.notices[zone] {
		all = append(all, t.Notice)
	}
	slices.SortFunc(all, func(a, b Notice) int { return a.To.Compare(b.To) })
	return all
}

// Counts returns how many messages were sent, and how many servers were given up.
func (n *Notifier) Counts() (sent, failed uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent, n.failed
}

// Close drops all that is still to be told, and waits for what is under way.
func (n *Notifier) Close() {
	n.cancel()
	n.work.Wait()
}
