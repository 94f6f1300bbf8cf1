package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/admin/api"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/dns/dnsname"
	"pharos/lab/zonetest"
)

const content = "@ 60 SOA ns1 hostmaster 1 3600 900 604800 300\n@ 60 NS ns1\nns1 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n"

// office is a desk and the zones it is asked about.
type office struct {
	*Desk
	zones  map[string]Zone
	ledger *ledger.Ledger
	told   []string
}

// newOffice has the zones store. and empty., of kind store; file., of which two
// versions are known; and copy., a secondary zone that has not come yet.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{zones: map[string]Zone{}}
	signers := signer.New(signer.Config{Folder: t.TempDir(), Log: slog.New(slog.DiscardHandler), Publish: func(dnsname.Name) {}, Trouble: func(dnsname.Name) {}})
	t.Cleanup(signers.Close)
	o.Desk = New(Config{Revision: func() uint64 { return 7 }, Zone: func(name string) (Zone, error) {
		z, ok := o.zones[name]
		if !ok {
			return Zone{}, &api.Refused{Status: http.StatusNotFound, Err: errors.New("no zone " + name)}
		}
		z.ID, z.Name, z.Signers = name, dnsname.MustParse(name), signers
		if z.Ledger != nil {
			z.Version = z.Ledger.Version(z.Name).Zone
		}
		return z, nil
	}})
	var err error
	o.ledger, err = ledger.Open(ledger.Config{Folder: t.TempDir(), Journal: 1 << 20, Log: slog.New(slog.DiscardHandler), Publish: func(dnsname.Name) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.ledger.Close() })
	keep := ledger.Keep{Versions: 3, Size: 1 << 20}
	o.ledger.Set([]ledger.Zone{{Name: dnsname.MustParse("store."), Keep: keep}, {Name: dnsname.MustParse("empty."), Keep: keep}})
	o.zones["store."] = Zone{Kind: "store", Ledger: o.ledger}
	o.zones["empty."] = Zone{Kind: "store", Ledger: o.ledger}

	old := zonetest.Zone(t, "file.", content)
	now := zonetest.Zone(t, "file.", strings.Replace(content, " 1 3600", " 2 3600", 1)+"new 60 A 192.0.2.3\n")
	d, _ := journal.Between(old, now, 1<<20)
	o.zones["file."] = Zone{Kind: "file", Version: now, Journal: (*journal.Journal)(nil).With(d, 1<<20),
		Secondaries: []xfr.Peer{{Address: netip.MustParseAddrPort("127.0.0.1:1")}},
		Announce:    func() { o.told = append(o.told, "announce") }, Refresh: func(bool) bool { return false },
	}
	o.zones["copy."] = Zone{Kind: "secondary",
		Secondaries: []xfr.Peer{{Address: netip.MustParseAddrPort("127.0.0.1:1")}},
		Refresh:     func(force bool) bool { o.told = append(o.told, fmt.Sprint("refresh ", force)); return true },
	}
	return o
}

// fails checks that a call is refused with a status, and a text that has want.
func fails(t *testing.T, what string, err error, status int, want string) {
	t.Helper()
	var refused *api.Refused
	if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want status %d and %q", what, err, status, want)
	}
}

// changes returns what a change was, a line each.
func changes(c api.ZoneChange) string {
	lines := []string{fmt.Sprintf("%d to %d", c.From, c.To)}
	for _, r := range c.Changes {
		lines = append(lines, r.Change+" "+strings.Join(strings.Fields(r.Record), " "))
	}
	return strings.Join(lines, "; ")
}

// TestVersions: what is imported, edited and rolled back is a version each, that can
// be shown, compared and written out.
func TestVersions(t *testing.T) {
	o, ctx, by := newOffice(t), t.Context(), api.How{By: "me"}
	if _, err := o.Import(ctx, "store.", strings.NewReader(content), by); err != nil {
		t.Fatal(err)
	}
	add := []api.RecordEdit{{Do: "add", Owner: "new", TTL: 60, Type: "A", Data: "192.0.2.3"}}
	const wantAdded = "1 to 2; deleted store. 60 IN SOA ns1.store. hostmaster.store. 1 3600 900 604800 300; added store. 60 IN SOA ns1.store. hostmaster.store. 2 3600 900 604800 300; added new.store. 60 IN A 192.0.2.3"
	for _, dry := range []bool{true, false} {
		c, err := o.Edit(ctx, "store.", add, api.How{By: "me", DryRun: dry})
		if got := changes(c); err != nil || c.DryRun != dry || !c.Changed || got != wantAdded {
			t.Errorf("edit: %s, %v, want %s", got, err, wantAdded)
		}
	}
	c, err := o.Rollback(ctx, "store.", "1", by)
	if err != nil || c.From != 2 || c.To != 3 || c.Deleted != 1 {
		t.Errorf("rollback: %s, %v", changes(c), err)
	}
	h, err := o.History(ctx, "store.", 2)
	if err != nil || len(h.Versions) != 2 || h.Versions[0].By != "me: rollback to 1" || h.Versions[1].By != "me: set" {
		t.Errorf("history: %+v, %v", h, err)
	}
	d, err := o.Diff(ctx, "store.", "", "")
	if err != nil || d.From != 2 || d.To != 3 || d.Deleted != 1 || d.Added != 0 {
		t.Errorf("diff: %+v, %v", d, err)
	}
	r, err := o.Records(ctx, "store.", api.RecordsOf{Owner: "new", Type: "A", Serial: "2"})
	if err != nil || r.Serial != 2 || len(r.Records) != 1 || r.Records[0] != (api.Record{Name: "new.store.", TTL: 60, Type: "A", Data: "192.0.2.3"}) {
		t.Errorf("records: %+v, %v", r, err)
	}
	var text bytes.Buffer
	if err := o.Export(ctx, "store.", "", &text); err != nil {
		t.Fatal(err)
	}
	again, err := o.Import(ctx, "empty.", strings.NewReader(strings.ReplaceAll(text.String(), "store.", "empty.")), by)
	if err != nil || again.To != 3 || again.Added != 3 {
		t.Errorf("what was exported is imported: %s, %v", changes(again), err)
	}
}

// TestVersionsOfFile: of a zone that is not in the ledger there is what IXFR needs.
func TestVersionsOfFile(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	h, err := o.History(ctx, "file.", 0)
	if err != nil || len(h.Versions) != 2 || h.Versions[0].Serial != 2 || h.Versions[0].Added != 1 || h.Versions[1].Serial != 1 {
		t.Errorf("history: %+v, %v", h, err)
	}
	if d, err := o.Diff(ctx, "file.", "", ""); err != nil || d.From != 1 || d.To != 2 || d.Added != 1 || d.Deleted != 0 {
		t.Errorf("diff: %+v, %v", d, err)
	}
	if r, err := o.Records(ctx, "file.", api.RecordsOf{Owner: "new", Serial: "1"}); err != nil || r.Serial != 1 || len(r.Records) != 0 {
		t.Errorf("records of the old version: %+v, %v", r, err)
	}
}

// TestRefusals: what cannot be done is refused with what to do instead.
func TestRefusals(t *testing.T) {
	o, ctx, by := newOffice(t), t.Context(), api.How{By: "me"}
	if _, err := o.Import(ctx, "store.", strings.NewReader(content), by); err != nil {
		t.Fatal(err)
	}
	edit := func(zone string, e api.RecordEdit) error {
		_, err := o.Edit(ctx, zone, []api.RecordEdit{e}, by)
		return err
	}
	records := func(zone string, of api.RecordsOf) error { _, err := o.Records(ctx, zone, of); return err }
	imports := func(text string) error {
		_, err := o.Import(ctx, "store.", strings.NewReader(text), by)
		return err
	}
	rollback := func(serial string) error { _, err := o.Rollback(ctx, "store.", serial, by); return err }
	_, noZone := o.History(ctx, "other.", 0)
	_, noVersion := o.Diff(ctx, "copy.", "", "")
	_, notSigned := o.Keys(ctx, "file.")
	_, noneToTell := o.Notify(ctx, "store.")
	_, nothingToTell := o.Notify(ctx, "copy.")
	_, noPrimary := o.Refresh(ctx, "file.", false)
	for _, x := range []struct {
		what   string
		err    error
		status int
		want   string
	}{
		{"a zone that is not there", noZone, 404, "no zone other."},
		{"an edit of a file", edit("file.", api.RecordEdit{}), 422, "edit its file, or make it kind: store"},
		{"an edit of a copy", edit("copy.", api.RecordEdit{}), 422, "change it at its primary"},
		{"an edit that nobody understands", edit("store.", api.RecordEdit{Do: "move", Owner: "www"}), 400, "move"},
		{"an edit that takes away what a zone needs", edit("store.", api.RecordEdit{Do: "delete", Owner: "@", Type: "NS"}), 422, "NS"},
		{"records of no type", records("store.", api.RecordsOf{Type: "NONE"}), 400, "no type of records"},
		{"records of another zone", records("store.", api.RecordsOf{Owner: "www.other."}), 400, "www.other."},
		{"records of no version", records("copy.", api.RecordsOf{}), 422, "no version to serve"},
		{"records of a version long gone", records("file.", api.RecordsOf{Serial: "99"}), 404, "pharos zone history file."},
		{"a serial that is none", records("store.", api.RecordsOf{Serial: "x"}), 400, "no serial"},
		{"an import with mistakes", imports("www A\nww A 1\n"), 422, "import:2"},
		{"an import without SOA", imports("www 60 A 192.0.2.1\n"), 422, "cannot be made of the file"},
		{"a rollback to nothing", rollback("99"), 404, "99"},
		{"a rollback to no serial", rollback("-1"), 400, "no serial"},
		{"a difference with nothing", noVersion, 422, "no version before"},
		{"keys of a zone that is not signed", notSigned, 422, "not signed here"},
		{"nobody to tell", noneToTell, 422, "key notify"},
		{"nothing to tell", nothingToTell, 422, "no version to tell of"},
		{"a refresh of a file", noPrimary, 422, "pharos reload"},
	} {
		fails(t, x.what, x.err, x.status, x.want)
	}
	cut, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := o.Check(cut, "file."); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("a check whose caller has gone: %v", err)
	}
}

// TestServers: secondaries are told and primaries asked; a server that cannot be
// reached is said to be.
func TestServers(t *testing.T) {
	o, ctx := newOffice(t), t.Context()
	told, err := o.Notify(ctx, "file.")
	if err != nil || told.Revision != 7 || len(told.Changed) != 1 || told.Changed[0] != "127.0.0.1:1 is told of serial 2" {
		t.Errorf("notify: %+v, %v", told, err)
	}
	if _, err := o.Refresh(ctx, "copy.", true); err != nil {
		t.Error(err)
	}
	if got := strings.Join(o.told, "; "); got != "announce; refresh true" {
		t.Errorf("told: %s", got)
	}
	c, err := o.Check(ctx, "file.")
	if err != nil || c.Serial != 2 || len(c.Servers) != 1 || c.Servers[0].Role != "secondary" || c.Servers[0].Problem == "" {
		t.Errorf("check: %+v, %v", c, err)
	}
}
