package transfer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// message returns a response of a primary with the records of text.
func message(t testing.TB, qtype rdata.Type, text string, change func(*dnswire.Message)) []byte {
	t.Helper()
	m := &dnswire.Message{
		ID: 7, QR: true, AA: true, HasQuestion: true, Answer: records(t, text),
		Question: dnswire.Question{Name: origin, Type: qtype, Class: rdata.ClassIN},
	}
	if change != nil {
		change(m)
	}
	return m.Append(nil)
}

func soa(serial int) string {
	return fmt.Sprintf("example. SOA ns.example. hostmaster.example. %d 3600 600 86400 300\n", serial)
}

// TestLies: what a lying, broken or confused primary sends is refused as a whole,
// with the reason.
func TestLies(t *testing.T) {
	const ns = "example. NS ns.example.\nns.example. A 192.0.2.53\n"
	for _, tt := range []struct {
		name  string
		asked rdata.Type
		have  rdata.Serial
		text  string
		want  string // "" for no error
	}{
		{"AXFR as it should be", rdata.TypeAXFR, 0, soa(5) + ns + soa(5), ""},
		{"first record is not the SOA", rdata.TypeAXFR, 0, ns + soa(5), "the first record is"},
		{"SOA mid-stream", rdata.TypeAXFR, 0, soa(5) + ns + soa(6) + ns + soa(5), "SOA record with serial 6 in a transfer of serial 5"},
		{"SOA of a name below", rdata.TypeAXFR, 0, soa(5) + "sub." + soa(5) + soa(5), "below the apex"},
		{"out of zone", rdata.TypeAXFR, 0, soa(5) + ns + "victim.test. A 192.0.2.66\n" + soa(5), "outside of the zone"},
		{"parent's name", rdata.TypeAXFR, 0, soa(5) + ns + ". NS ns.example.\n" + soa(5), "outside of the zone"},
		{"records after the end", rdata.TypeAXFR, 0, soa(5) + ns + soa(5) + ns, "after the SOA record that ends"},
		{"end with another serial", rdata.TypeAXFR, 0, soa(5) + ns + soa(4), "serial 4 in a transfer of serial 5"},
		{"SOA of another zone first", rdata.TypeAXFR, 0, "victim.test. SOA a. b. 1 2 3 4 5\n", "outside of the zone"},

		{"IXFR as it should be", rdata.TypeIXFR, 3, soa(5) + soa(3) + "a.example. A 192.0.2.1\n" + soa(5) + "b.example. A 192.0.2.1\n" + soa(5), ""},
		{"IXFR in two steps", rdata.TypeIXFR, 3, soa(5) + soa(3) + soa(4) + soa(4) + soa(5) + soa(5), ""},
		{"differences from another serial", rdata.TypeIXFR, 3, soa(5) + soa(2) + soa(5) + soa(5), "differences from serial 2 where those from 3 must follow"},
		{"differences with a gap", rdata.TypeIXFR, 3, soa(6) + soa(3) + soa(4) + soa(5) + soa(6) + soa(6), "differences from serial 5 where those from 4 must follow"},
		{"differences backwards", rdata.TypeIXFR, 3, soa(5) + soa(3) + soa(2) + soa(2) + soa(5) + soa(5), "differences from serial 3 to 2"},
		{"differences end wrong", rdata.TypeIXFR, 3, soa(5) + soa(3) + soa(5) + soa(4), "end with serial 4 instead of 5"},
		{"the same serial, whole", rdata.TypeIXFR, 5, soa(5) + ns + soa(5), "serials must go forward"},
		{"an older serial, whole", rdata.TypeIXFR, 6, soa(5) + ns + soa(5), "serials must go forward"},
		{"half of the number circle away", rdata.TypeIXFR, 0, soa(1<<31) + ns + soa(1<<31), "serials must go forward"},
		{"out of zone in differences", rdata.TypeIXFR, 3, soa(5) + soa(3) + soa(5) + "victim.test. A 192.0.2.66\n" + soa(5), "outside of the zone"},
		{"an older serial alone", rdata.TypeIXFR, 6, soa(5), ""},
	} {
		r := &Receiver{Zone: origin, Asked: tt.asked, Have: tt.have, Record: func(rdata.Record) {}}
		done, err := r.Take(message(t, tt.asked, tt.text, nil))
		if tt.want == "" && (err != nil || !done) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: done %v, %v; want %q", tt.name, done, err, tt.want)
		}
	}
}

// TestLyingMessages: the same for what is not in the records.
func TestLyingMessages(t *testing.T) {
	good := soa(5) + "example. NS ns.example.\n" + soa(5)
	oversized := rdata.Record{Name: origin, Type: rdata.TypeA, Class: rdata.ClassIN, Data: make([]byte, 60000)}
	for _, tt := range []struct {
		name   string
		change func(*dnswire.Message)
		want   string
	}{
		{"a query", func(m *dnswire.Message) { m.QR = false }, "no response"},
		{"NOTIFY", func(m *dnswire.Message) { m.Opcode = dnswire.OpcodeNotify }, "no response"},
		{"REFUSED", func(m *dnswire.Message) { m.Rcode = dnswire.RcodeRefused }, "answers REFUSED"},
		{"another question", func(m *dnswire.Message) { m.Question.Name = dnsname.MustParse("example.net.") }, "about example.net."},
		{"truncated", func(m *dnswire.Message) { m.TC = true }, "truncated"},
		{"no records", func(m *dnswire.Message) { m.Answer = nil }, "without records"},
		{"class CH", func(m *dnswire.Message) { m.Answer[1].Class = rdata.ClassCH }, "belongs in no zone"},
		{"a meta type", func(m *dnswire.Message) { m.Answer[1].Type, m.Answer[1].Data = rdata.TypeANY, nil }, "belongs in no zone"},
		{"an oversized A record", func(m *dnswire.Message) { m.Answer = slices.Insert(m.Answer, 1, oversized) }, "example. A"},
		{"a record cut short", func(m *dnswire.Message) { m.Answer[1].Type, m.Answer[1].Data = rdata.TypeSRV, []byte{0, 1} }, "malformed"},
	} {
		r := &Receiver{Zone: origin, Asked: rdata.TypeAXFR, Record: func(rdata.Record) {}}
		if _, err := r.Take(message(t, rdata.TypeAXFR, good, tt.change)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	r := &Receiver{Zone: origin, Asked: rdata.TypeIXFR, Have: 3}
	if _, err := r.Take(message(t, rdata.TypeIXFR, soa(5), nil)); !errors.Is(err, ErrNoDifferences) {
		t.Errorf("a newer SOA alone: %v", err)
	}
	whole := message(t, rdata.TypeAXFR, good, nil)
	for cut := range whole {
		r := &Receiver{Zone: origin, Asked: rdata.TypeAXFR, Record: func(rdata.Record) {}}
		if _, err := r.Take(whole[:cut]); err == nil {
			t.Errorf("a message cut after %d of %d octets is accepted", cut, len(whole))
		}
	}
}

// TestEndless: a transfer that does not end is cut by its limits.
func TestEndless(t *testing.T) {
	for _, limits := range []Limits{{Records: 1000}, {Octets: 100000}} {
		r := &Receiver{Zone: origin, Asked: rdata.TypeAXFR, Limits: limits, Record: func(rdata.Record) {}}
		_, err := r.Take(message(t, rdata.TypeAXFR, soa(5), nil))
		for i := 0; err == nil; i++ {
			_, err = r.Take(message(t, rdata.TypeAXFR, fmt.Sprintf("n%d.example. A 192.0.2.1\n", i), nil))
			if i > 5000 {
				t.Fatal("no end")
			}
		}
		if !strings.Contains(err.Error(), "more than") {
			t.Error(err)
		}
	}
}

// TestMisfit: differences that do not fit the version they are for.
func TestMisfit(t *testing.T) {
	old := parse(t, 1, "a A 192.0.2.1", "b MX 1 Mail.Example.")
	a, lost := records(t, "a A 192.0.2.1\n"), records(t, "c A 192.0.2.1\n")
	mx := records(t, "b MX 1 mail.example.\n")
	end := records(t, soa(2))[0]
	for _, tt := range []struct {
		name    string
		changes []Change
		want    string
	}{
		{"fits", []Change{{From: 1, To: 2, Deleted: a, SOA: end}}, ""},
		{"names in another case", []Change{{From: 1, To: 2, Deleted: mx, SOA: end}}, ""},
		{"comes and goes", []Change{{From: 1, To: 2, Added: lost, SOA: end}, {From: 2, To: 3, Deleted: lost, SOA: end}}, ""},
		{"deletes what is not there", []Change{{From: 1, To: 2, Deleted: lost, SOA: end}}, "that are not there"},
		{"deletes twice", []Change{{From: 1, To: 2, Deleted: append(a, a...), SOA: end}}, "twice"},
		{"adds twice", []Change{{From: 1, To: 2, Added: append(lost, lost...), SOA: end}}, "twice"},
	} {
		_, err := Apply(old, tt.changes)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// FuzzReceive: no stream of messages makes a Receiver panic; what it says is whole
// begins and ends with one SOA record and has nothing from outside of the zone.
func FuzzReceive(f *testing.F) {
	f.Add(message(f, rdata.TypeIXFR, soa(5)+soa(3)+"a.example. A 192.0.2.1\n"+soa(5)+soa(5), nil), uint32(3))
	f.Add(message(f, rdata.TypeIXFR, soa(5)+"example. NS ns.example.\n"+soa(5), nil), uint32(3))
	f.Add(message(f, rdata.TypeAXFR, soa(5)+"example. NS ns.example.\n"+soa(5), nil), uint32(0))
	old := parse(f, 3, "a A 192.0.2.1")
	f.Fuzz(func(t *testing.T, in []byte, have uint32) {
		for _, asked := range []rdata.Type{rdata.TypeAXFR, rdata.TypeIXFR} {
			r := &Receiver{Zone: origin, Asked: asked, Have: rdata.Serial(have), Limits: Limits{Records: 1000}}
			r.Record = func(record rdata.Record) {
				if !record.Name.IsSubdomainOf(origin) {
					t.Fatalf("took %v", record)
				}
			}
			// The input is several messages, each of the length its first octets say.
			for rest := in; len(rest) > 0; {
				size := min(len(rest), max(1, 2*int(rest[0])))
				done, err := r.Take(rest[:size])
				if rest = rest[size:]; err != nil || done {
					break
				}
			}
			r = &Receiver{Zone: origin, Asked: asked, Have: rdata.Serial(have), Record: r.Record}
			if done, err := r.Take(in); err != nil || !done {
				continue
			}
			if r.Form() == Incremental {
				if edit, err := Apply(old, r.Changes()); err == nil {
					edit.Finish()
				}
			}
		}
	})
}
