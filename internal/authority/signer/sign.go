package signer

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/spare"
)

// sign makes the next signed version.
func (s *Signers) sign(e *entry, o order) (signed, error) {
	serial := e.nextSerial(o.source.Zone.Serial())
	o.params.Serial = &serial
	if len(o.plan.Signers) == 0 {
		z, err := unsigned(o.source.Zone, serial)
		if err != nil {
			return signed{}, err
		}
		return signed{zone: z, journal: s.journalOf(e, z), dataTTL: longestTTL(o.source.Zone)}, nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ctx.Done():
		return signed{}, s.ctx.Err()
	}
	if e.signed.setup == o.setup {
		if next, ok, err := s.update(e, o); ok || err != nil {
			return next, err
		}
	}
	work, err := sign.NewPlan(o.source.Zone, e.signed.zone, o.params, o.now)
	if err != nil {
		return signed{}, err
	}
	s.work(e, work)
	z, _, err := work.Finish()
	if err != nil {
		return signed{}, err
	}
	made, kept := work.Signatures()
	s.count(made, kept)
	return signed{zone: z, journal: s.journalOf(e, z), dataTTL: longestTTL(o.source.Zone)}, nil
}

func (s *Signers) count(made, kept int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Made += uint64(made)
	s.counts.Kept += uint64(kept)
	s.counts.Versions++
}

// work signs on all cores.
func (s *Signers) work(e *entry, work *sign.Plan) {
	s.mu.Lock()
	e.state.Progress = work.Progress
	s.mu.Unlock()
	var cores sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		cores.Go(func() { spare.Run(work.Work) }) // so that a zone may be signed while others are asked for
	}
	stop := make(chan struct{})
	go func() { // ends with the work
		select {
		case <-s.ctx.Done():
			work.Stop()
		case <-stop:
		}
	}()
	cores.Wait()
	close(stop)
	s.mu.Lock()
	e.state.Progress = nil
	s.mu.Unlock()
}

// update makes the next version out of the one before, where little has changed. ok is
// false if that cannot be.
func (s *Signers) update(e *entry, o order) (signed, bool, error) {
	old := e.signed
	if old.zone == nil || old.from == nil {
		return signed{}, false, nil
	}
	touched, ok := touchedNames(old.from, o.source)
	if !ok || !slices.Equal(old.steered, o.steered) {
		return signed{}, false, nil
	}
	stripped, _ := sign.Strip(o.source.Zone)
	if stripped == nil {
		return signed{}, false, nil
	}
	change, err := sign.Update(sign.Revision{Old: old.zone, New: stripped, Touched: touched, Due: o.due}, o.params, o.now)
	if err != nil {
		return signed{}, false, nil // more has to change: the whole zone then
	}
	edit := old.zone.Edit()
	dataTTL := old.dataTTL
	made := 0
	for _, r := range change.Deleted {
		edit.Delete(r)
	}
	for _, r := range change.Added {
		edit.Add(r)
		dataTTL = max(dataTTL, time.Duration(r.TTL)*time.Second)
		if r.Type == rdata.TypeRRSIG {
			made++
		}
	}
	z, problems := edit.Finish()
	if z == nil {
		return signed{}, false, fmt.Errorf("the signed version cannot be served: %v", problems)
	}
	s.count(made, 0)
	difference := journal.Of(old.zone, z, change.Deleted, change.Added)
	z = s.compact(e, z, difference)
	return signed{zone: z, journal: old.journal.With(difference, journalLimit), dataTTL: dataTTL}, true, nil
}

// compact returns z, which d leads to from the version before, or a compact zone that is
// equal, if one has been built beside the versions since: so no change of a large zone
// waits until all of it is built anew.
func (s *Signers) compact(e *entry, z *zone.Zone, d *journal.Difference) *zone.Zone {
	next, job := e.twin.Follow(e.signed.zone, z, []*journal.Difference{d})
	if next != z {
		s.mu.Lock()
		s.counts.Compacted++
		s.mu.Unlock()
	}
	if job != nil {
		s.wait.Go(func() { // ends by itself, some seconds later; Close waits for it
			s.compacts <- struct{}{} // one at a time: each takes a processor and some memory
			spare.Run(job)
			<-s.compacts
		})
	}
	return next
}

// touchedNames returns the names at which a source has changed since from.
func touchedNames(from *zone.Zone, source journal.Version) ([]dnsname.Name, bool) {
	if from == source.Zone {
		return nil, true
	}
	var names []dnsname.Name
	if list, ok := source.Journal.Since(from.Serial()); ok {
		for _, d := range list {
			for r := range d.Deleted() {
				names = append(names, r.Name)
			}
			for r := range d.Added() {
				names = append(names, r.Name)
			}
		}
		return names, true
	}
	journal.Compare(from, source.Zone, func(r rdata.Record, _ bool) bool {
		names = append(names, r.Name.Clone())
		return true
	})
	return names, true
}

// journalOf returns what led to z, for IXFR, where the whole zone was signed.
func (s *Signers) journalOf(e *entry, z *zone.Zone) *journal.Journal {
	if e.signed.zone == nil {
		return nil
	}
	_, _, size := z.Stats()
	d, _ := journal.Between(e.signed.zone, z, min(journalLimit, size))
	return e.signed.journal.With(d, journalLimit)
}

// unsigned returns z under another serial.
func unsigned(z *zone.Zone, serial rdata.Serial) (*zone.Zone, error) {
	z, problems := sign.Strip(z)
	if z == nil {
		return nil, fmt.Errorf("without signatures: %v", problems)
	}
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	soa := rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
	edit := z.Edit()
	edit.Delete(soa)
	soa.Data = withSerial(data, serial)
	edit.Add(soa)
	next, problems := edit.Finish()
	if next == nil {
		return nil, fmt.Errorf("under serial %d: %v", serial, problems)
	}
	return next, nil
}

func withSerial(soa []byte, serial rdata.Serial) []byte {
	out := slices.Clone(soa)
	at := len(out) - 20
	out[at], out[at+1], out[at+2], out[at+3] = byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial)
	return out
}

// nextSerial returns the serial of the next signed version; see the package comment.
func (e *entry) nextSerial(source rdata.Serial) rdata.Serial {
	last := e.record.Serial
	if e.signed.zone != nil {
		last = e.signed.zone.Serial()
	}
	if e.stale {
		last = e.record.Reserved
	}
	if e.signed.zone == nil && e.record.Firsts == nil {
		last = source // served as it is until now
	}
	if last.Less(source) {
		return source
	}
	return last + 1
}
