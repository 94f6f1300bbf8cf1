package xfr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"pharos/internal/authority/compact"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/spare"
)

// Limits bound one transfer.
type Limits struct {
	Records int
	Octets  int64
	Time    time.Duration
}

// Result is what a check of the primaries came to.
type Result struct {
	Zone    *zone.Zone    // the version to serve: the old one if it is the newest
	Form    transfer.Form // how it came
	From    netip.AddrPort
	Records int
	Octets  int64
	Took    time.Duration
	// Expires is for how long the server that was asked may serve the version itself,
	// if it says so (RFC 7314); negative if not.
	Expires time.Duration

	changes []transfer.Change // of an Incremental one
}

// inquiry is what is asked of the primaries of a zone.
type inquiry struct {
	name      dnsname.Name
	primaries []Peer
	records   int        // as in Zone
	old       *zone.Zone // the version that is here; nil: none
	force     bool       // the whole zone is transferred, whatever its serial
	log       *changeLog // of what is on disk
	twin      *compact.Twin
}

// ask asks the primaries in turn until one of them has the newest version or
// confirms that the old one is it, and keeps that.
func (s *Secondaries) ask(ctx context.Context, q inquiry) (Result, error) {
	var errs []error
	for _, p := range q.primaries {
		r, err := s.askOne(ctx, q, p)
		if err == nil || errors.Is(err, errNotKept) {
			return r, err
		}
		errs = append(errs, fmt.Errorf("primary %s: %w", p.Address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return Result{}, errors.Join(errs...)
}

// askOne asks one primary when it is its turn, which lasts until what it has sent is
// kept.
func (s *Secondaries) askOne(ctx context.Context, q inquiry, p Peer) (Result, error) {
	leave, err := s.config.Turns.take(ctx, p.Address.Addr())
	if err != nil {
		return Result{}, err
	}
	defer leave()
	began := clock.Now()
	r, err := checkOne(ctx, &fetcher{name: q.name, primary: p, old: q.old, force: q.old == nil || q.force, records: q.records, limits: s.config.Limits, expires: -1, idle: &s.kept})
	if err != nil {
		return Result{}, err
	}
	r.From, r.Took = p.Address, clock.Since(began)
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	r = s.compact(q, r)
	return r, s.keep(r, q)
}

// checkOne asks one primary. What it sends may at worst make this check fail, not
// the program.
func checkOne(ctx context.Context, f *fetcher) (r Result, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r, err = Result{}, fmt.Errorf("BUG: what it sent made the receiver panic: %v\n%s", cause, debug.Stack())
		}
	}()
	defer f.close()
	defer func() { r.Expires = f.expires }()
	if f.force {
		return f.whole(ctx)
	}
	old := f.old
	serial, err := f.serial(ctx)
	switch {
	case err != nil:
		return Result{}, err
	case serial == old.Serial():
		return Result{Zone: old, Form: transfer.UpToDate}, nil
	case !old.Serial().Less(serial): // RFC 1982
		return Result{}, fmt.Errorf("has serial %d, and %d is served here: serials must go forward; \"pharos zone refresh --force\" takes it all the same", serial, old.Serial())
	}
	if r, err = f.differences(ctx); err == nil {
		return r, nil
	}
	if ctx.Err() != nil {
		return Result{}, err
	}
	// RFC 1995 §4: whatever was wrong with IXFR, AXFR may go.
	r, wholeErr := f.whole(ctx)
	if wholeErr != nil {
		return Result{}, fmt.Errorf("IXFR: %w; AXFR: %w", err, wholeErr)
	}
	return r, nil
}

// fetcher gets one zone from one primary.
type fetcher struct {
	name    dnsname.Name
	primary Peer
	old     *zone.Zone
	force   bool // any serial will do
	records int  // as in Zone
	limits  Limits
	expires time.Duration // as Result.Expires
	kept    net.Conn      // to the primary over TLS, for the next request; nil: none
	idle    *kept         // where there may be one of another check, and where it goes; nil: nowhere
}

// open sends a request and returns the first message of the response. It goes on a
// connection that there was, if one was kept. The primary may have closed that at
// any time: then it goes on a new one.
func (f *fetcher) open(ctx context.Context, msg []byte) (*stream, []byte, error) {
	conn := f.kept
	if f.kept = nil; conn == nil {
		conn = f.idle.take(f.primary)
	}
	if conn != nil {
		if s, err := f.primary.begin(ctx, conn, msg); err == nil {
			first, err := s.next()
			if err == nil {
				return s, first, nil
			}
			s.close()
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
	s, err := f.primary.open(ctx, msg)
	if err != nil {
		return nil, nil, err
	}
	first, err := s.next()
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return s, first, nil
}

// done takes the connection of a response that has come to its end.
func (f *fetcher) done(s *stream) {
	if !s.stop() || f.primary.TLS == nil || f.kept != nil {
		s.conn.Close()
		return
	}
	f.kept = s.conn
}

// soa asks for the primary's SOA record. RFC 9103 §6.2: over TLS the transfer then
// comes on the same connection.
func (f *fetcher) soa(ctx context.Context, edns dnswire.EDNS) (*dnswire.Message, error) {
	msg := withEDNS(query(f.name, rdata.TypeSOA, nil), edns)
	if f.primary.TLS == nil {
		return f.primary.ask(ctx, msg, udpTries)
	}
	s, plain, err := f.open(ctx, msg)
	if err != nil {
		return nil, err
	}
	f.done(s)
	return dnswire.ParseMessage(plain)
}

func (f *fetcher) close() {
	if f.kept != nil {
		f.idle.put(f.primary, f.kept)
	}
}

// serial asks for the primary's SOA record (RFC 1034 §4.3.5).
func (f *fetcher) serial(ctx context.Context) (rdata.Serial, error) {
	m, err := f.soa(ctx, expireWanted)
	if err == nil && !m.EDNS.Present && (m.Rcode == dnswire.RcodeFormErr || m.Rcode == dnswire.RcodeNotImp) {
		m, err = f.soa(ctx, dnswire.EDNS{}) // RFC 6891 §7: it knows nothing of EDNS
	}
	if err != nil {
		return 0, err
	}
	f.expires = expireIn(m)
	if m.Rcode != dnswire.RcodeNoError {
		return 0, &transfer.Refused{Rcode: m.Rcode, EDE: m.EDE}
	}
	for _, r := range m.Answer {
		if r.Type == rdata.TypeSOA && r.Name == f.name && m.AA && rdata.Validate(r.Type, r.Data) == nil {
			return transfer.SerialOf(r), nil
		}
	}
	return 0, errors.New("is not authoritative for the zone: it gives no SOA record with AA; has it loaded the zone?")
}

// differences gets the new version by IXFR.
func (f *fetcher) differences(ctx context.Context) (Result, error) {
	soa := transfer.SOA(f.old)
	build := zone.NewBuilder(f.name)
	r := &transfer.Receiver{Asked: rdata.TypeIXFR, Have: f.old.Serial(), Record: build.Add}
	if err := f.receive(ctx, r, &soa); err != nil {
		return Result{}, err
	}
	switch r.Form() {
	case transfer.UpToDate:
		return Result{}, transfer.ErrNoDifferences // its SOA record just said otherwise
	case transfer.Incremental:
		edit, err := transfer.Apply(f.old, r.Changes())
		if err != nil {
			return Result{}, err
		}
		result, err := f.finish(edit, r)
		result.changes = r.Changes()
		return result, err
	}
	return f.finish(build, r)
}

// whole gets the zone by AXFR.
func (f *fetcher) whole(ctx context.Context) (Result, error) {
	build := zone.NewBuilder(f.name)
	r := &transfer.Receiver{Asked: rdata.TypeAXFR, Record: build.Add}
	if err := f.receive(ctx, r, nil); err != nil {
		return Result{}, err
	}
	return f.finish(build, r)
}

// receive runs one transfer to its end.
func (f *fetcher) receive(ctx context.Context, r *transfer.Receiver, have *rdata.Record) error {
	r.Zone, r.Limits = f.name, transfer.Limits{Records: f.limits.Records, Zone: f.records, Octets: f.limits.Octets}
	if f.limits.Time > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, f.limits.Time, fmt.Errorf("not at its end after %v; raise transfers.maxTime if that is right", f.limits.Time))
		defer cancel()
		ctx = limited
	}
	why := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	s, msg, err := f.open(ctx, query(f.name, r.Asked, have))
	if err != nil {
		return why(err)
	}
	for {
		done, err := r.Take(msg)
		if err == nil && done {
			err = s.complete()
		}
		if err != nil {
			s.close()
			return err
		}
		if done {
			f.done(s)
			return nil
		}
		if msg, err = s.next(); err != nil {
			s.close()
			return why(err)
		}
	}
}

// finish makes the zone of what was received, if it can be served.
func (f *fetcher) finish(build interface {
	Finish() (*zone.Zone, []zone.Problem)
}, r *transfer.Receiver) (Result, error) {
	var z *zone.Zone
	var problems []zone.Problem
	finish := func() { z, problems = build.Finish() }
	if records, _ := r.Received(); records < longBuild {
		finish()
	} else {
		spare.Run(finish)
	}
	if z == nil {
		for _, p := range problems {
			if p.Severity == zone.Fatal {
				return Result{}, fmt.Errorf("the version with serial %d cannot be served: %s", transfer.SerialOf(r.SOA()), p)
			}
		}
		return Result{}, errors.New("the version cannot be served")
	}
	if !f.force && !f.old.Serial().Less(z.Serial()) {
		return Result{}, fmt.Errorf("sent serial %d, and %d is served here: serials must go forward (RFC 1982)", z.Serial(), f.old.Serial())
	}
	records, octets := r.Received()
	return Result{Zone: z, Form: r.Form(), Records: records, Octets: octets}, nil
}

// longBuild is from how many records on a version is made on a thread of its own that gives
// way to answers: it takes some 20 ms.
const longBuild = 20_000

// Serial asks a server for the serial of the version that it has of a zone.
func Serial(ctx context.Context, p Peer, name dnsname.Name) (rdata.Serial, error) {
	f := &fetcher{name: name, primary: p, expires: -1}
	defer f.close()
	return f.serial(ctx)
}
