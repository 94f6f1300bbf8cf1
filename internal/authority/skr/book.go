package skr

import (
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Book is all that was signed elsewhere for a zone, of every response that was taken in.
type Book struct {
	Zone dnsname.Name
	Sets []Signed
}

// Key is who signs.
type Key struct {
	Tag       uint16
	Algorithm uint8
}

// Add takes a response in, beside what is there. What has ended is forgotten.
func (b *Book) Add(r *Response, now time.Time) {
	for _, s := range r.Sets {
		i := slices.IndexFunc(b.Sets, func(have Signed) bool { return same(have.RRset, s.RRset) })
		if i < 0 {
			b.Sets = append(b.Sets, Signed{RRset: s.RRset})
			i = len(b.Sets) - 1
		}
		for _, data := range s.Signatures {
			if !slices.ContainsFunc(b.Sets[i].Signatures, func(have []byte) bool { return string(have) == string(data) }) {
				b.Sets[i].Signatures = append(b.Sets[i].Signatures, data)
			}
		}
	}
	when := rdata.Serial(now.Unix())
	for i := range b.Sets {
		b.Sets[i].Signatures = slices.DeleteFunc(b.Sets[i].Signatures, func(data []byte) bool {
			sig, ok := dnssec.ParseSignature(data)
			return !ok || sig.Expiration.Less(when)
		})
	}
	b.Sets = slices.DeleteFunc(b.Sets, func(s Signed) bool { return len(s.Signatures) == 0 })
}

// Response returns the book as a response, to be written.
func (b *Book) Response() *Response { return &Response{Zone: b.Zone, Sets: b.Sets} }

func same(a, b rdata.RRset) bool {
	return a.Type == b.Type && a.TTL == b.TTL && a.Name == b.Name &&
		slices.EqualFunc(a.Data, b.Data, func(x, y []byte) bool { return string(x) == string(y) })
}

// find returns the signatures of a set, whose data are in canonical order. CDS and CDNSKEY
// may have been signed with another TTL, such as Knot's 0: the newest of them count, if
// there are none with that of the set.
func (b *Book) find(set rdata.RRset) [][]byte {
	fits := func(s Signed) bool { return same(s.RRset, set) }
	if set.Type != rdata.TypeDNSKEY && !slices.ContainsFunc(b.Sets, fits) {
		fits = func(s Signed) bool { set.TTL = s.TTL; return same(s.RRset, set) }
	}
	for _, s := range slices.Backward(b.Sets) {
		if fits(s) {
			return s.Signatures
		}
	}
	return nil
}

// Now returns the signatures of a set that are good now: of each key the one that ends
// last, and when the next one begins; zero: there is none to come.
func (b *Book) Now(set rdata.RRset, now time.Time) (good [][]byte, next time.Time) {
	when := rdata.Serial(now.Unix())
	best := map[Key]dnssec.Signature{}
	octets := map[Key][]byte{}
	for _, data := range b.find(set) {
		sig, ok := dnssec.ParseSignature(data)
		if !ok {
			continue
		}
		id := Key{sig.Tag, sig.Algorithm}
		have, is := best[id]
		switch {
		case when.Less(sig.Inception):
			if begin := now.Add(time.Duration(int32(sig.Inception-when)) * time.Second); next.IsZero() || begin.Before(next) {
				next = begin
			}
		case when.Less(sig.Expiration) && (!is || have.Expiration.Less(sig.Expiration)):
			best[id], octets[id] = sig, data
		}
	}
	for _, data := range octets {
		good = append(good, data)
	}
	slices.SortFunc(good, func(a, b []byte) int { return slices.Compare(a, b) })
	return good, next
}

// Covers reports whether each key has a signature of a set that is good now.
func (b *Book) Covers(set rdata.RRset, keys []Key, now time.Time) bool {
	good, _ := b.Now(set, now)
	return !slices.ContainsFunc(keys, func(k Key) bool {
		return !slices.ContainsFunc(good, func(data []byte) bool {
			sig, _ := dnssec.ParseSignature(data)
			return Key{sig.Tag, sig.Algorithm} == k
		})
	})
}

// Until returns when the last signature of a set ends that a key has, seen from now; zero:
// it has none.
func (b *Book) Until(set rdata.RRset, k Key, now time.Time) time.Time {
	when := rdata.Serial(now.Unix())
	var last time.Time
	for _, data := range b.find(set) {
		sig, ok := dnssec.ParseSignature(data)
		if !ok || (Key{sig.Tag, sig.Algorithm}) != k {
			continue
		}
		if end := now.Add(time.Duration(int32(sig.Expiration-when)) * time.Second); end.After(last) {
			last = end
		}
	}
	return last
}
