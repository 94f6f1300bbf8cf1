package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"pharos/internal/admin/api"
	"pharos/internal/authority/edits"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// refusedBecause gives an error of the ledger the status that fits it.
func refusedBecause(err error) error {
	status := http.StatusUnprocessableEntity
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ledger.ErrNoHistory):
		status = http.StatusNotFound
	case errors.Is(err, ledger.ErrNotKept), errors.Is(err, ledger.ErrClosed):
		status = http.StatusServiceUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &api.Refused{Status: status, Err: err}
}

// findStore returns a zone that can be changed, and where it is kept.
func (d *Desk) findStore(name string) (dnsname.Name, *ledger.Ledger, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return dnsname.Name{}, nil, err
	}
	remedy := "edit its file"
	if z.Kind == "secondary" {
		remedy = "change it at its primary"
	}
	if z.Ledger != nil {
		return z.Name, z.Ledger, nil
	}
	return dnsname.Name{}, nil, refuse("zone %s is of kind %s and cannot be changed by commands; %s, or make it kind: store", z.Name, z.Kind, remedy)
}

// History returns the versions of a zone: of kind store those on disk, of others
// those in the journal for IXFR.
func (d *Desk) History(_ context.Context, name string, most int) (api.ZoneHistory, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return api.ZoneHistory{}, err
	}
	out := api.ZoneHistory{Name: z.Name.String(), Kind: z.Kind, Versions: []api.Past{}}
	if z.Ledger != nil {
		list, err := z.Ledger.History(z.Name, most)
		if err != nil {
			return api.ZoneHistory{}, refusedBecause(err)
		}
		for _, p := range list {
			out.Versions = append(out.Versions, api.Past{Serial: uint32(p.Serial), Time: p.Time, By: p.By, Deleted: p.Deleted, Added: p.Added})
		}
		return out, nil
	}
	if z.Version == nil {
		return out, nil
	}
	list := z.Journal.All()
	for _, d := range slices.Backward(list) {
		p := api.Past{Serial: uint32(d.To)}
		p.Deleted, p.Added = d.Len()
		out.Versions = append(out.Versions, p)
	}
	oldest := api.Past{Serial: uint32(z.Version.Serial())}
	if len(list) > 0 {
		oldest.Serial = uint32(list[0].From)
	} else {
		oldest.Time = z.Loaded
	}
	out.Versions = append(out.Versions, oldest)
	if most > 0 && len(out.Versions) > most {
		out.Versions = out.Versions[:most]
	}
	return out, nil
}

// at returns the version of a zone with a serial, written down; "" is the one that is
// served.
func (z Zone) at(serial string) (*zone.Zone, error) {
	if serial == "" {
		if z.Version == nil {
			return nil, refuse("zone %s has no version to serve; \"pharos status\" shows why", z.Name)
		}
		return z.Version, nil
	}
	number, err := parseSerial(z.Name, serial)
	if err != nil {
		return nil, err
	}
	switch {
	case z.Ledger != nil:
		old, err := z.Ledger.At(z.Name, number)
		return old, refusedBecause(err)
	case z.Version != nil && z.Version.Serial() == number:
		return z.Version, nil
	case z.Version == nil:
		return nil, refusedBecause(fmt.Errorf("zone %s: %w", z.Name, ledger.ErrNoVersion))
	}
	list, ok := z.Journal.Since(number)
	if !ok {
		return nil, refusedBecause(fmt.Errorf("zone %s, serial %d: %w; see the others with: pharos zone history %s", z.Name, number, ledger.ErrNoHistory, z.Name))
	}
	edit := z.Version.Edit()
	for _, d := range slices.Backward(list) {
		if err := d.Revert(edit); err != nil {
			return nil, err
		}
	}
	old, problems := edit.Finish()
	if old == nil {
		return nil, fmt.Errorf("zone %s, serial %d: %v", z.Name, number, problems)
	}
	return old, nil
}

func parseSerial(zone dnsname.Name, text string) (rdata.Serial, error) {
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, misunderstood("%q is no serial; \"pharos zone history %s\" shows those there are", text, zone)
	}
	return rdata.Serial(number), nil
}

// Diff shows what differs between two versions. Without serials they are the
// newest and the one before it; to is the newest if it is left out.
func (d *Desk) Diff(ctx context.Context, name, from, to string) (api.ZoneDiff, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return api.ZoneDiff{}, err
	}
	history, err := d.History(ctx, name, 2)
	if err != nil {
		return api.ZoneDiff{}, err
	}
	if len(history.Versions) == 0 || from == "" && len(history.Versions) < 2 {
		return api.ZoneDiff{}, refuse("zone %s has no version before the one that is served", z.Name)
	}
	if from == "" {
		from = fmt.Sprint(history.Versions[1].Serial)
	}
	if to == "" {
		to = fmt.Sprint(history.Versions[0].Serial)
	}
	old, err := z.at(from)
	if err != nil {
		return api.ZoneDiff{}, err
	}
	now, err := z.at(to)
	if err != nil {
		return api.ZoneDiff{}, err
	}
	return diffOf(old, now), nil
}

// diffOf describes what differs between two versions; old may be nil.
func diffOf(old, now *zone.Zone) api.ZoneDiff {
	out := api.ZoneDiff{Name: now.Origin().String(), To: uint32(now.Serial()), Changes: []api.RecordChange{}}
	changes := func(yield func(rdata.Record, bool) bool) {
		for r := range now.Records() {
			if !yield(r, true) {
				return
			}
		}
	}
	if old != nil {
		out.From = uint32(old.Serial())
		changes = journal.Changes(old, now)
	}
	for r, isAdded := range changes {
		change := "deleted"
		if isAdded {
			change = "added"
		}
		switch {
		case r.Type == rdata.TypeSOA:
		case isAdded:
			out.Added++
		default:
			out.Deleted++
		}
		if len(out.Changes) < api.MaxChanges {
			out.Changes = append(out.Changes, api.RecordChange{Change: change, Record: r.String()})
		}
	}
	return out
}

// Records returns records of a zone.
func (d *Desk) Records(_ context.Context, name string, of api.RecordsOf) (api.ZoneRecords, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return api.ZoneRecords{}, err
	}
	version, err := z.at(of.Serial)
	if err != nil {
		return api.ZoneRecords{}, err
	}
	owner, err := edits.Owner(z.Name, of.Owner)
	if err != nil {
		return api.ZoneRecords{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	var only rdata.Type
	if of.Type != "" && of.Type != "ANY" && of.Type != "any" {
		var ok bool
		if only, ok = rdata.ParseType(of.Type); !ok {
			return api.ZoneRecords{}, misunderstood("%q is no type of records; write for example A, TXT or TYPE65280", of.Type)
		}
	}
	out := api.ZoneRecords{Name: z.Name.String(), Serial: uint32(version.Serial()), Records: []api.Record{}}
	records := version.Records()
	if of.Owner != "" {
		records = slices.Values(journal.RecordsAt(version, owner))
	}
	for r := range records {
		if only == 0 || r.Type == only {
			out.Records = append(out.Records, api.Record{Name: r.Name.String(), TTL: uint32(r.TTL), Type: r.Type.String(), Data: string(rdata.AppendText(nil, r.Type, r.Data))})
		}
	}
	return out, nil
}

// Export writes a zone as a master file, the SOA record first.
func (d *Desk) Export(_ context.Context, name, serial string, w io.Writer) error {
	z, err := d.config.Zone(name)
	if err != nil {
		return err
	}
	version, err := z.at(serial)
	if err != nil {
		return err
	}
	isSOA := func(r rdata.Record) bool { return r.Type == rdata.TypeSOA && r.Name == z.Name }
	out := zonefile.NewWriter(w)
	for _, r := range journal.RecordsAt(version, z.Name) {
		if isSOA(r) {
			if err := out.Write(r); err != nil {
				return err
			}
		}
	}
	for r := range version.Records() {
		if !isSOA(r) {
			if err := out.Write(r); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// outcome describes what a change has made of a zone.
func outcome(l *ledger.Ledger, name dnsname.Name, receipt ledger.Receipt, before *zone.Zone) api.ZoneChange {
	out := api.ZoneChange{Changed: receipt.Changed}
	out.Name, out.From, out.To, out.Changes = name.String(), uint32(receipt.From), uint32(receipt.To), []api.RecordChange{}
	if !receipt.Changed {
		return out
	}
	now, err := l.At(name, receipt.To)
	if err != nil {
		return out // more was changed meanwhile than is kept
	}
	if before == nil && receipt.From != receipt.To || before != nil && before.Serial() != receipt.From {
		if before, err = l.At(name, receipt.From); err != nil {
			return out
		}
	}
	out.ZoneDiff = diffOf(before, now)
	return out
}

// preview describes what a change would make of a zone.
func preview(now, next *zone.Zone, err error) (api.ZoneChange, error) {
	if err != nil {
		return api.ZoneChange{}, refusedBecause(err)
	}
	return api.ZoneChange{ZoneDiff: diffOf(now, next), Changed: now != next, DryRun: true}, nil
}

// maxImportErrors is how many mistakes of a file are told: a screen.
const maxImportErrors = 20

// Import makes the records of a master file the newest version of a zone.
func (d *Desk) Import(ctx context.Context, name string, file io.Reader, how api.How) (api.ZoneChange, error) {
	apex, l, err := d.findStore(name)
	if err != nil {
		return api.ZoneChange{}, err
	}
	build := zone.NewBuilder(apex)
	var mistakes []error
	for r, err := range zonefile.Read(file, zonefile.Options{Origin: apex, File: "import"}) {
		if err != nil {
			if mistakes = append(mistakes, err); len(mistakes) >= maxImportErrors {
				break
			}
			continue
		}
		build.Add(r)
	}
	if len(mistakes) > 0 {
		return api.ZoneChange{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: errors.Join(mistakes...)}
	}
	content, problems := build.Finish()
	if content == nil {
		return api.ZoneChange{}, refuse("zone %s cannot be made of the file: %v", apex, problems)
	}
	return d.replace(ctx, l, apex, content, false, api.How{By: how.By + ": import", DryRun: how.DryRun})
}

// Rollback makes the records of an old version the newest.
func (d *Desk) Rollback(ctx context.Context, name, serial string, how api.How) (api.ZoneChange, error) {
	apex, l, err := d.findStore(name)
	if err != nil {
		return api.ZoneChange{}, err
	}
	number, err := parseSerial(apex, serial)
	if err != nil {
		return api.ZoneChange{}, err
	}
	old, err := l.At(apex, number)
	if err != nil {
		return api.ZoneChange{}, refusedBecause(err)
	}
	return d.replace(ctx, l, apex, old, true, api.How{By: how.By + ": rollback to " + serial, DryRun: how.DryRun})
}

func (d *Desk) replace(ctx context.Context, l *ledger.Ledger, apex dnsname.Name, content *zone.Zone, raise bool, how api.How) (api.ZoneChange, error) {
	if how.DryRun {
		return preview(l.TryReplace(apex, content, raise))
	}
	before := l.Version(apex).Zone
	receipt, err := l.Replace(ctx, apex, how.By, content, raise)
	if err != nil {
		return api.ZoneChange{}, refusedBecause(err)
	}
	return outcome(l, apex, receipt, before), nil
}

// Edit adds, replaces and deletes records.
func (d *Desk) Edit(ctx context.Context, name string, list []api.RecordEdit, how api.How) (api.ZoneChange, error) {
	apex, l, err := d.findStore(name)
	if err != nil {
		return api.ZoneChange{}, err
	}
	typed := make([]edits.Edit, len(list))
	for i, e := range list {
		typed[i] = edits.Edit(e)
	}
	parsed, err := edits.Parse(apex, typed)
	if err != nil {
		return api.ZoneChange{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	decide := func(now *zone.Zone) (update.Change, error) { return edits.Change(now, parsed) }
	if how.DryRun {
		return preview(l.Try(apex, decide))
	}
	before := l.Version(apex).Zone
	receipt, err := l.Change(ctx, apex, how.By+": set", decide)
	if err != nil {
		return api.ZoneChange{}, refusedBecause(err)
	}
	return outcome(l, apex, receipt, before), nil
}
