package answer

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// pretendSigned returns plain with records of the form of a signed zone: good
// chains of NSEC or NSEC3 (with opt-out if asked for), and signatures of the right
// length that nobody could verify. It signs a hundred thousand names in a moment.
func pretendSigned(t testing.TB, plain *zone.Zone, denial rdata.Type, optOut bool) *zone.Zone {
	t.Helper()
	s := pretender{plain: plain, b: zone.NewBuilder(plain.Origin()), types: map[dnsname.Name][]rdata.Type{}}
	for r := range plain.Records() {
		s.b.Add(r)
		s.note(r.Name.Clone(), r.Type)
	}
	if denial == rdata.TypeNSEC {
		s.chainNSEC(t)
	} else {
		s.chainNSEC3(t, optOut)
	}
	for _, n := range s.names {
		for _, rrtype := range s.types[n] {
			if s.isSigned(n, rrtype) {
				s.sign(n, rrtype)
			}
		}
	}
	z, problems := s.b.Finish()
	if z == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	return z
}

type pretender struct {
	plain *zone.Zone
	b     *zone.Builder
	names []dnsname.Name // not occluded, in canonical order; later those of NSEC3
	types map[dnsname.Name][]rdata.Type
}

// note remembers a record that is not occluded.
func (s *pretender) note(n dnsname.Name, t rdata.Type) {
	if f := s.plain.Lookup(n); f.Exact != 0 && s.plain.IsOccluded(f.Exact) {
		return
	}
	if s.types[n] == nil {
		s.names = append(s.names, n)
	}
	if !slices.Contains(s.types[n], t) {
		s.types[n] = append(s.types[n], t)
	}
}

func (s *pretender) add(n dnsname.Name, t rdata.Type, data []byte) {
	s.b.Add(rdata.Record{Name: n, Type: t, Class: rdata.ClassIN, TTL: 300, Data: data})
}

// isSigned: RFC 4035 §2.2: not NS at a cut.
func (s *pretender) isSigned(n dnsname.Name, t rdata.Type) bool {
	f := s.plain.Lookup(n)
	return f.Exact == 0 || !s.plain.IsCut(f.Exact) || t == rdata.TypeDS || t == rdata.TypeNSEC
}

// sign adds a signature of 64 octets, as algorithms 13 and 15 make.
func (s *pretender) sign(n dnsname.Name, t rdata.Type) {
	labels := n.Labels()
	if n.IsWildcard() {
		labels--
	}
	data := binary.BigEndian.AppendUint16(nil, uint16(t))
	data = append(data, 13, byte(labels), 0, 0, 1, 44, 0x70, 0, 0, 0, 0x60, 0, 0, 0, 0x12, 0x34)
	data = append(data, s.plain.Origin().Wire()...)
	s.add(n, rdata.TypeRRSIG, append(data, make([]byte, 64)...))
}

// bitmap writes the types of n as presentation has them.
func (s *pretender) bitmap(n dnsname.Name, more string) string {
	var b strings.Builder
	for _, t := range s.types[n] {
		b.WriteString(" " + t.String())
	}
	return b.String() + more
}

func (s *pretender) chainNSEC(t testing.TB) {
	for i, n := range s.names {
		next := s.names[(i+1)%len(s.names)]
		data, err := rdata.ParseText(rdata.TypeNSEC, dnsname.Root, next.String()+s.bitmap(n, " RRSIG NSEC"))
		if err != nil {
			t.Fatal(err)
		}
		s.add(n, rdata.TypeNSEC, data)
	}
	for _, n := range s.names {
		s.types[n] = append(s.types[n], rdata.TypeNSEC)
	}
}

func (s *pretender) chainNSEC3(t testing.TB, optOut bool) {
	origin, flags := s.plain.Origin(), 0
	s.add(origin, rdata.TypeNSEC3PARAM, []byte{1, 0, 0, 0, 0})
	s.types[origin] = append(s.types[origin], rdata.TypeNSEC3PARAM)
	if optOut {
		flags = 1
	}
	bitmaps := map[string]string{}
	for _, n := range s.names {
		if f := s.plain.Lookup(n); optOut && s.plain.IsCut(f.Exact) && !slices.Contains(s.types[n], rdata.TypeDS) {
			continue
		}
		bitmaps[hashOf(n)] = s.bitmap(n, " RRSIG")
		for a := n.Parent(); a.Len() > origin.Len(); a = a.Parent() {
			if h := hashOf(a); s.types[a] == nil && bitmaps[h] == "" {
				bitmaps[h] = " "
			}
		}
	}
	hashes := make([]string, 0, len(bitmaps))
	for h := range bitmaps {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	for i, h := range hashes {
		owner, err := origin.Child(strings.ToLower(h))
		if err != nil {
			t.Fatal(err)
		}
		data, err := rdata.ParseText(rdata.TypeNSEC3, dnsname.Root, fmt.Sprintf("1 %d 0 - %s%s", flags, hashes[(i+1)%len(hashes)], bitmaps[h]))
		if err != nil {
			t.Fatal(err)
		}
		s.add(owner, rdata.TypeNSEC3, data)
		s.names = append(s.names, owner)
		s.types[owner] = []rdata.Type{rdata.TypeNSEC3}
	}
}

// hashOf returns the NSEC3 hash of n without salt, by another library.
func hashOf(n dnsname.Name) string { return dns.HashName(n.String(), dns.SHA1, 0, "") }

// TestHashLabels: the other library's hashes are in the alphabet assumed here.
func TestHashLabels(t *testing.T) {
	if h := hashOf(dnsname.MustParse("example.")); len(h) != 32 {
		t.Fatal(h)
	} else if _, err := base32.HexEncoding.DecodeString(h); err != nil {
		t.Fatal(err)
	}
}
