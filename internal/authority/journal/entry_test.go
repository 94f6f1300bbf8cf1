package journal

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// exampleEntry is an entry with a record deleted and two added.
func exampleEntry(t testing.TB) *Entry {
	origin := dnsname.MustParse("example.com.")
	soa := func(serial byte) rdata.Record {
		data, err := rdata.ParseText(rdata.TypeSOA, origin, fmt.Sprintf("ns1 hostmaster %d 3600 900 604800 300", serial))
		if err != nil {
			t.Fatal(err)
		}
		return rdata.Record{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: 3600, Data: data}
	}
	d := &Difference{From: 1, To: 2, OldSOA: soa(1), NewSOA: soa(2), deletes: 1, adds: 2}
	a := rdata.Record{Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Data: []byte{192, 0, 2, 1}}
	d.octets = rdata.AppendPacked(nil, a)
	d.added = len(d.octets)
	a.TTL = 120
	d.octets = rdata.AppendPacked(rdata.AppendPacked(d.octets, a), rdata.Record{Name: origin, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 1, Data: []byte("\x03abc")})
	return &Entry{Zone: origin, Version: 7, Time: time.Unix(0, 1_800_000_000_000_000_001), By: "somebody", Sum: 0x1234567890, Difference: d}
}

// TestEntry: what is written is read, and nothing that is shorter or longer.
func TestEntry(t *testing.T) {
	want := exampleEntry(t)
	b := want.Append(nil)
	got, err := DecodeEntry(b)
	if err != nil || !bytes.Equal(got.Append(nil), b) || got.By != "somebody" || got.Version != 7 || !got.Time.Equal(want.Time) || got.Sum != want.Sum {
		t.Fatalf("got %+v, %v", got, err)
	}
	if deleted, added := got.Difference.Len(); deleted != 1 || added != 2 || got.Difference.From != 1 || got.Difference.To != 2 {
		t.Errorf("difference %+v", got.Difference)
	}
	name, version, err := PeekEntry(b)
	if err != nil || name != want.Zone || version != 7 || !PeekTime(b).Equal(want.Time) {
		t.Errorf("peek: %v %d %v", name, version, err)
	}
	for n := range b {
		if _, err := DecodeEntry(b[:n]); err == nil {
			t.Errorf("%d of %d octets are an entry", n, len(b))
		}
	}
	if _, err := DecodeEntry(append(b, 0)); err == nil {
		t.Error("with an octet more it is an entry")
	}
}

// TestFrames: whole frames are found before and behind damage, with what lies between.
func TestFrames(t *testing.T) {
	const salt = 99
	var b []byte
	var ends []int
	for i := range 5 {
		b = AppendFrame(b, salt, bytes.Repeat([]byte{byte(i)}, 10*i))
		ends = append(ends, len(b))
	}
	if f := ScanFrames(b, salt); len(f.Payloads) != 5 || len(f.Damage) > 0 || f.Tail != (Range{len(b), len(b)}) || f.Ends[4] != len(b) {
		t.Errorf("whole: %+v", f)
	}
	if f := ScanFrames(b[:len(b)-1], salt); len(f.Payloads) != 4 || len(f.Damage) > 0 || f.Tail != (Range{ends[3], len(b) - 1}) {
		t.Errorf("cut off: %+v", f)
	}
	b[ends[1]+FrameSize(3)] ^= 1
	if f := ScanFrames(b, salt); len(f.Payloads) != 4 || len(f.Damage) != 1 || f.Damage[0] != (Range{ends[1], ends[2]}) || f.Payloads[2][0] != 3 {
		t.Errorf("damaged: %+v", f)
	}
	if f := ScanFrames(nil, salt); len(f.Payloads) != 0 || f.Tail != (Range{}) {
		t.Errorf("nothing: %+v", f)
	}
}

// TestSalt: a frame within the payload of a damaged one is found only by who knows the
// salt.
func TestSalt(t *testing.T) {
	const salt = 0xDEADBEEF
	forged := AppendFrame(nil, 0, []byte("forged"))
	b := AppendFrame(nil, salt, append([]byte("x"), forged...))
	b = AppendFrame(b, salt, []byte("good"))
	b[frameHeader] ^= 1
	f := ScanFrames(b, salt)
	if len(f.Payloads) != 1 || string(f.Payloads[0]) != "good" {
		t.Errorf("found %q", f.Payloads)
	}
	if f := ScanFrames(b, 0); len(f.Payloads) != 1 || string(f.Payloads[0]) != "forged" {
		t.Errorf("without a salt: %q; the test proves nothing", f.Payloads)
	}
}

// FuzzEntry: whatever octets there are, they are an entry that is written as it was
// read, or an error.
func FuzzEntry(f *testing.F) {
	f.Add(exampleEntry(f).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		PeekEntry(b)
		e, err := DecodeEntry(b)
		if err != nil {
			return
		}
		if got := e.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("read\n%x\nwritten\n%x", b, got)
		}
		for r := range e.Difference.Deleted() {
			_ = r.String()
		}
		for r := range e.Difference.Added() {
			_ = r.String()
		}
		e.Difference.Shift(0)
	})
}

// FuzzFrames: whatever octets there are, the frames and what is between them are all of
// it.
func FuzzFrames(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, 7, []byte("one")), 7, []byte("two")))
	f.Add([]byte("PHFRPHFR"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := ScanFrames(b, 7)
		sum := frames.Tail.To - frames.Tail.From
		for _, p := range frames.Payloads {
			sum += FrameSize(len(p))
		}
		for _, d := range frames.Damage {
			sum += d.To - d.From
		}
		if sum != len(b) {
			t.Errorf("%d octets of %d", sum, len(b))
		}
	})
}
