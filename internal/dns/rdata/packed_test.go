package rdata

import (
	"bufio"
	"bytes"
	"errors"
	"testing"

	"pharos/internal/dns/dnsname"
)

func packedSamples() []Record {
	return []Record{
		{Name: dnsname.Root, Type: TypeNS, Class: ClassIN, TTL: 518400, Data: []byte("\x01a\x00")},
		{Name: dnsname.MustParse("www.example."), Type: TypeA, Class: ClassIN, TTL: 0, Data: []byte{192, 0, 2, 1}},
		{Name: dnsname.MustParse("www.example."), Type: 65280, Class: ClassIN, TTL: 1<<31 - 1, Data: bytes.Repeat([]byte{7}, 65535)},
		{Name: dnsname.MustParse("e.example."), Type: 65280, Class: ClassIN, TTL: 1, Data: []byte{}},
	}
}

func packAll(records []Record) (b []byte) {
	for _, r := range records {
		b = AppendPacked(b, r)
	}
	return b
}

func isRecord(a, b Record) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
}

func TestPacked(t *testing.T) {
	want := packedSamples()
	octets := packAll(want)
	i := 0
	for r := range Packed(octets) {
		if !isRecord(r, want[i]) {
			t.Errorf("record %d: got %s, want %s", i, r, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("got %d records, want %d", i, len(want))
	}
	i = 0
	err := ReadPacked(bufio.NewReader(bytes.NewReader(octets)), uint64(len(want)), func(r Record) {
		if !isRecord(r, want[i]) {
			t.Errorf("record %d read: got %s, want %s", i, r, want[i])
		}
		i++
	})
	if err != nil || i != len(want) {
		t.Errorf("read %d records, error %v; want %d", i, err, len(want))
	}
}

// TestReadPackedDamaged: cut off anywhere, too long, or with another count, it is said.
func TestReadPackedDamaged(t *testing.T) {
	octets := packAll(packedSamples()[:2])
	read := func(b []byte, count uint64) error {
		return ReadPacked(bufio.NewReader(bytes.NewReader(b)), count, func(Record) {})
	}
	for cut := range len(octets) {
		if err := read(octets[:cut], 2); !errors.Is(err, ErrPacked) {
			t.Errorf("cut off at %d: got %v, want %v", cut, err, ErrPacked)
		}
	}
	for _, count := range []uint64{0, 1, 3} {
		if err := read(octets, count); !errors.Is(err, ErrPacked) {
			t.Errorf("2 records read as %d: got %v, want %v", count, err, ErrPacked)
		}
	}
	if err := read([]byte("\x02\x3fa\x00\x01\x00\x00\x00\x00\x00\x00"), 1); !errors.Is(err, ErrPacked) {
		t.Errorf("bad owner: got %v, want %v", err, ErrPacked)
	}
}

// FuzzReadPacked: what is read is packed to what was read.
func FuzzReadPacked(f *testing.F) {
	f.Add(packAll(packedSamples()[:2]), uint64(2))
	f.Add([]byte("\x02\x3fa\x00\x01"), uint64(1))
	f.Fuzz(func(t *testing.T, octets []byte, count uint64) {
		var again []byte
		err := ReadPacked(bufio.NewReader(bytes.NewReader(octets)), count, func(r Record) { again = AppendPacked(again, r) })
		if err == nil && !bytes.EqualFold(again, octets) { // names become lower case
			t.Errorf("got %x, want %x", again, octets)
		}
	})
}
