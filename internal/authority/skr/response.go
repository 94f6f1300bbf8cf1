package skr

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Response is a signed key response.
type Response struct {
	Zone    dnsname.Name
	Request string // the fingerprint of what was asked for
	Sets    []Signed
}

// Signed is an RRset, its data in canonical order, with its signatures.
type Signed struct {
	rdata.RRset
	Signatures [][]byte // RRSIG RDATA
}

// Sign signs what a request asks for with KSKs: a DNSKEY RRset with those of them that
// stand in it, the others with all. fingerprint is that of the request.
func Sign(r *Request, fingerprint string, keys []*sign.Key) (*Response, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key to sign with")
	}
	if r.Row.count()*len(r.Sets)*len(keys) > maxSignatures {
		return nil, fmt.Errorf("more than %d signatures; ask for a shorter time", maxSignatures)
	}
	out := &Response{Zone: r.Zone, Request: fingerprint}
	used := map[*sign.Key]bool{}
	for _, s := range r.Sets {
		signed := Signed{RRset: r.RRset(s)}
		for _, k := range keys {
			stands := slices.ContainsFunc(s.Keys, func(i int) bool { return string(r.Keys[i]) == string(k.RDATA()) })
			if s.Type == rdata.TypeDNSKEY && !stands {
				continue
			}
			used[k] = used[k] || stands
			for at := r.Row.From; at.Before(r.Row.Until); at = at.Add(r.Row.Every) {
				data, err := k.SignRRset(signed.RRset, r.Zone, at.Add(-backdate), at.Add(r.Row.Life))
				if err != nil {
					return nil, fmt.Errorf("signing with key %d: %w", k.Tag(), err)
				}
				signed.Signatures = append(signed.Signatures, data)
			}
		}
		if len(signed.Signatures) > 0 {
			out.Sets = append(out.Sets, signed)
		}
	}
	for _, k := range keys {
		if !used[k] {
			return nil, fmt.Errorf("key %d stands in none of the RRsets of the request; import its public half where the request is made, and make another", k.Tag())
		}
	}
	return out, nil
}

type responseFile struct {
	Format  int          `json:"pharosSKR"`
	Zone    string       `json:"zone"`
	Request string       `json:"request"`
	Sets    []signedLine `json:"sets"`
}

type signedLine struct {
	Type       string    `json:"type"`
	TTL        rdata.TTL `json:"ttl"`
	Data       []string  `json:"data"`
	Signatures []string  `json:"signatures"`
}

// Encode returns the file of a response.
func (r *Response) Encode() ([]byte, error) {
	f := responseFile{Format: format, Zone: r.Zone.String(), Request: r.Request, Sets: []signedLine{}}
	for _, s := range r.Sets {
		line := signedLine{Type: s.Type.String(), TTL: s.TTL}
		for _, d := range s.Data {
			line.Data = append(line.Data, string(rdata.AppendText(nil, s.Type, d)))
		}
		for _, d := range s.Signatures {
			line.Signatures = append(line.Signatures, string(rdata.AppendText(nil, rdata.TypeRRSIG, d)))
		}
		f.Sets = append(f.Sets, line)
	}
	return encode(&f)
}

// ParseResponse reads the file of a response, also in the forms of other programs (see
// Form). Whether its signatures are good is not looked at: see Check.
func ParseResponse(file []byte) (*Response, error) {
	if isBundles(file) {
		r, err := parseBundles(file)
		if err != nil {
			return nil, fmt.Errorf("this is no signed key response of Knot or BIND: %w", err)
		}
		return r, nil
	}
	var f responseFile
	if err := decode(file, &f); err != nil || f.Format != format {
		return nil, fmt.Errorf("this is no signed key response that this version reads; make one with \"pharos zone keys sign-ksr\": %w", orFormat(err, f.Format))
	}
	zone, err := dnsname.Parse(f.Zone)
	if err != nil {
		return nil, fmt.Errorf("the response: zone %q: %w", f.Zone, err)
	}
	if len(f.Sets) > maxSets {
		return nil, fmt.Errorf("the response: it has %d RRsets, the limit is %d", len(f.Sets), maxSets)
	}
	r := &Response{Zone: zone, Request: f.Request}
	for _, line := range f.Sets {
		s, err := parseSigned(zone, line)
		if err != nil {
			return nil, fmt.Errorf("the response: %w", err)
		}
		r.Sets = append(r.Sets, s)
	}
	return r, nil
}

func parseSigned(zone dnsname.Name, line signedLine) (s Signed, err error) {
	t, ok := keyTypes[line.Type]
	if !ok {
		return s, fmt.Errorf("RRsets of type %q are not signed by a KSK", line.Type)
	}
	s.RRset = rdata.RRset{Name: zone, Type: t, Class: rdata.ClassIN, TTL: line.TTL}
	for _, text := range line.Data {
		data, err := rdata.ParseText(t, zone, text)
		if err != nil {
			return s, err
		}
		s.Data = append(s.Data, data)
	}
	s.Data = dnssec.Canonical(t, s.Data)
	for _, text := range line.Signatures {
		data, err := rdata.ParseText(rdata.TypeRRSIG, zone, text)
		if err != nil {
			return s, err
		}
		s.Signatures = append(s.Signatures, data)
	}
	return s, nil
}

// Check verifies every signature of a response with the keys of the zone; a file that
// was changed on its way, or made with another key, is refused whole.
func (r *Response) Check(keys [][]byte) error {
	count := 0
	for _, s := range r.Sets {
		for _, data := range s.Signatures {
			sig, ok := dnssec.ParseSignature(data)
			if !ok {
				return errors.New("the response has a signature that is none")
			}
			if count++; count > maxSignatures {
				return fmt.Errorf("the response has more than %d signatures", maxSignatures)
			}
			if !isGood(sig, s.RRset, keys) {
				return fmt.Errorf("a signature of the %s RRset by key %d, good from %s on, is not one of a key of the zone: the file was changed on its way, or another key has signed", s.Type, sig.Tag, at(sig.Inception).Format(time.DateTime))
			}
		}
	}
	if count == 0 {
		return errors.New("the response has no signature")
	}
	return nil
}

// isGood verifies a signature, but for its times.
func isGood(sig dnssec.Signature, set rdata.RRset, keys [][]byte) bool {
	if sig.Covered != set.Type || sig.OriginalTTL != set.TTL || sig.Labels != dnssec.LabelCount(set.Name) || sig.Signer != set.Name {
		return false
	}
	octets := dnssec.AppendSigned(nil, sig, set)
	return slices.ContainsFunc(keys, func(data []byte) bool {
		k, ok := dnssec.ParseKey(data)
		return ok && k.Algorithm == sig.Algorithm && k.Tag == sig.Tag && (dnssec.Policy{}).Check(k, octets, sig.Octets)
	})
}

// at returns the time of a field of an RRSIG record, which is of the era of now.
func at(t rdata.Serial) time.Time { return time.Unix(int64(uint32(t)), 0).UTC() }
