package transfer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

var origin = dnsname.MustParse("example.")

func records(t testing.TB, text string) []rdata.Record {
	t.Helper()
	var all []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader("$ORIGIN example.\n$TTL 60\n"+text), zonefile.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

const apex = "@ SOA ns hostmaster %d 3600 600 86400 300\n@ NS ns\nns A 192.0.2.53\n"

func parse(t testing.TB, serial uint32, lines ...string) *zone.Zone {
	t.Helper()
	z, problems := zone.Build(origin, slices.Values(records(t, fmt.Sprintf(apex, serial)+strings.Join(lines, "\n")+"\n")))
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

func query(t testing.TB, qtype rdata.Type, edns bool) *dnswire.Query {
	t.Helper()
	q := new(dnswire.Query)
	if v := q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 7, Name: origin, Type: qtype, Class: rdata.ClassIN, EDNS: edns})); v != dnswire.Accept {
		t.Fatal(v)
	}
	return q
}

// sent returns the messages that carry seq.
func sent(t testing.TB, q *dnswire.Query, seq func(func(rdata.Record) bool), limit int) [][]byte {
	t.Helper()
	var all [][]byte
	ended := false
	for msg, last := range Messages(q, seq, limit, nil) {
		if len(msg) > limit || ended {
			t.Fatalf("%d octets of %d, after the last: %v", len(msg), limit, ended)
		}
		all = append(all, bytes.Clone(msg))
		ended = last
	}
	if !ended {
		t.Fatal("no last message")
	}
	return all
}

// received feeds msgs to a Receiver and returns the zone that comes of it.
func received(r *Receiver, old *zone.Zone, msgs [][]byte) (*zone.Zone, error) {
	b := zone.NewBuilder(origin)
	r.Zone, r.Record = origin, b.Add
	for i, msg := range msgs {
		done, err := r.Take(msg)
		if err != nil {
			return nil, err
		}
		if done != (i == len(msgs)-1) {
			return nil, fmt.Errorf("message %d of %d: done %v", i+1, len(msgs), done)
		}
	}
	switch r.Form() {
	case UpToDate:
		return old, nil
	case Incremental:
		edit, err := Apply(old, r.Changes())
		if err != nil {
			return nil, err
		}
		return finished(edit.Finish())
	}
	return finished(b.Finish())
}

func finished(z *zone.Zone, problems []zone.Problem) (*zone.Zone, error) {
	if z == nil || len(problems) > 0 {
		return nil, fmt.Errorf("problems: %v", problems)
	}
	return z, nil
}

func text(z *zone.Zone) string {
	var b strings.Builder
	for r := range z.Records() {
		b.WriteString(strings.ToLower(r.String()) + "\n")
	}
	return b.String()
}

// TestRandomTransfers: zones evolve at random; each version comes over whole and
// as differences from any version the journal knows, in messages of any size, and
// is the same. Letters of names in RDATA may change case: they are compressed.
func TestRandomTransfers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	lines := map[string]bool{}
	var versions []*zone.Zone
	var j *journal.Journal
	for serial := range uint32(60) {
		for range rnd.IntN(8) {
			owner := fmt.Sprintf("%c%d", 'a'+rnd.IntN(3), rnd.IntN(6))
			lines[[]string{
				fmt.Sprintf("%s A 192.0.2.%d", owner, rnd.IntN(5)),
				fmt.Sprintf("%s MX %d Mail.%s", owner, rnd.IntN(2), []string{"Example.", "example."}[rnd.IntN(2)]),
				fmt.Sprintf("%s TXT \"%s\"", owner, strings.Repeat("t", rnd.IntN(200))),
			}[rnd.IntN(3)]] = true
		}
		for line := range lines {
			if rnd.IntN(8) == 0 {
				delete(lines, line)
			}
		}
		var all []string
		for line := range lines {
			all = append(all, line)
		}
		versions = append(versions, parse(t, serial+1, all...))
		if serial > 0 {
			d, ok := journal.Between(versions[serial-1], versions[serial], 1<<20)
			if !ok {
				t.Fatal("no difference")
			}
			j = j.With(d, 1<<20)
		}
	}
	newest := versions[len(versions)-1]
	for from, old := range versions {
		limit := 600 + rnd.IntN(3000)
		list, ok := j.Since(old.Serial())
		if !ok {
			list = nil // the newest itself
		}
		seq, form := Differences(newest, list), Incremental
		if from == len(versions)-1 {
			seq, form = Current(newest), UpToDate
		}
		r := &Receiver{Asked: rdata.TypeIXFR, Have: old.Serial()}
		got, err := received(r, old, sent(t, query(t, rdata.TypeIXFR, from%2 == 0), seq, limit))
		if err != nil || r.Form() != form || text(got) != text(newest) {
			t.Fatalf("IXFR from %d: %v, %v", old.Serial(), r.Form(), err)
		}
		r = &Receiver{Asked: rdata.TypeAXFR}
		got, err = received(r, nil, sent(t, query(t, rdata.TypeAXFR, false), Whole(old), limit))
		if err != nil || r.Form() != WholeZone || text(got) != text(old) {
			t.Fatalf("AXFR of %d: %v, %v", old.Serial(), r.Form(), err)
		}
		// RFC 1995 §4: the whole may be the answer to IXFR.
		r = &Receiver{Asked: rdata.TypeIXFR, Have: old.Serial() - 1}
		if got, err = received(r, nil, sent(t, query(t, rdata.TypeIXFR, false), Whole(old), limit)); err != nil || text(got) != text(old) {
			t.Fatalf("AXFR-style IXFR of %d: %v", old.Serial(), err)
		}
	}
}

// TestMessages: each message is well formed to another library, authoritative and
// with the id; a record too large for a piece gets a larger one; one too large for any
// ends the sequence without a last message.
func TestMessages(t *testing.T) {
	var long []string
	for i := range 200 {
		long = append(long, fmt.Sprintf("big TXT \"%03d%s\"", i, strings.Repeat("x", 200)))
	}
	huge := rdata.Record{Name: dnsname.MustParse("huge.example."), Type: 65280, Class: rdata.ClassIN, TTL: 1, Data: make([]byte, 40000)}
	z, _ := zone.Build(origin, slices.Values(append(records(t, fmt.Sprintf(apex, 1)+strings.Join(long, "\n")+"\n"), huge)))
	sizes := 0
	for _, wire := range sent(t, query(t, rdata.TypeAXFR, true), Whole(z), dnswire.MaxMessage) {
		var m dns.Msg
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		if !m.Authoritative || m.Id != 7 || len(m.Question) != 1 || m.IsEdns0() == nil {
			t.Errorf("header %+v", m.MsgHdr)
		}
		if len(wire) > pieceOctets {
			sizes++
		}
	}
	if sizes != 1 {
		t.Errorf("%d messages over the size of a piece, want 1", sizes)
	}
	for _, last := range Messages(query(t, rdata.TypeAXFR, true), Whole(z), 30000, nil) {
		if last {
			t.Error("a last message, though a record was left out")
		}
	}
}
