// Package skr is what travels between a name server and the machine, without a
// network, on which the KSK of a zone is: a key signing request (KSR) with all the
// DNSKEY, CDS and CDNSKEY RRsets that may be needed for some time, and the signed key
// response (SKR) with signatures of each.
//
// It owns the two files, how they are signed, and which signature is the one to use. It
// does not own which RRsets will be needed (package kasp), nor where the files are kept
// (package signer).
//
//	node                                  machine with the KSK
//	NewRequest ─> Request.Encode ─ file ─> ParseRequest ─> Sign
//	Book.Add <─ Response.Check <─ ParseResponse <─ file ─ Response.Encode
//
// Each RRset is signed again and again for the whole time, for a signature's usual life
// each time, so that at any moment some are good, and none is for years: a row. Who
// steals the file gets no more than what the zone would publish anyway.
//
// Both files are JSON with records as a master file has them, for people to read at a
// ceremony. Requests can be written in the forms of Knot and BIND, too, and responses read
// (bundles.go). The fingerprint of a request is the SHA-256 of its octets: it is shown where
// it is made and where it is signed, and the response carries it.
//
// Concurrency: values that never change after they are made, but Book, which belongs to
// one goroutine at a time.
//
// Sources: RFC 4034 §3, RFC 7344 §4.1, RFC 8078 §4; Knot's keymgr (generate-ksr, sign-ksr,
// import-skr), RFC 6781 §3.2.2.
package skr

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Limits of the files.
const (
	// MaxSize bounds a file, in octets: maxSignatures of ECDSA take some 10 MiB.
	MaxSize = 32 << 20
	// maxSets bounds the RRsets of a request: ten years of ZSKs that roll each month,
	// with two KSKs.
	maxSets = 1000
	// maxSignatures bounds what is signed: a minute of work for a slow token with RSA.
	maxSignatures = 50_000
	format        = 1
)

// backdate is how long ago a signature begins, for validators whose clocks are late.
const backdate = time.Hour

// Row is when signatures of an RRset are to be made: each is good for Life from its begin
// on, the first begins at From, the others Every later, the last before Until.
type Row struct {
	From, Until time.Time
	Life, Every time.Duration
}

// Signatures returns how many each key makes.
func (r *Request) Signatures() int { return r.Row.count() * len(r.Sets) }

func (r Row) count() int { return int((r.Until.Sub(r.From) + r.Every - 1) / r.Every) }

// Request is a key signing request.
type Request struct {
	Zone dnsname.Name
	Made time.Time
	TTL  rdata.TTL
	Row  Row
	Keys [][]byte // DNSKEY RDATA of all keys that are spoken of
	Sets []Set
}

// Set is an RRset to be signed: of the keys at some places of Request.Keys.
type Set struct {
	Type rdata.Type // DNSKEY, CDS, CDNSKEY
	Keys []int      // none, of CDS and CDNSKEY: the parent is asked to have no DS (RFC 8078 §4)
}

// RRset returns a set of the request.
func (r *Request) RRset(s Set) rdata.RRset {
	set := rdata.RRset{Name: r.Zone, Type: s.Type, Class: rdata.ClassIN, TTL: r.TTL}
	for _, i := range s.Keys {
		data := r.Keys[i]
		if s.Type == rdata.TypeCDS {
			ds, _ := dnssec.MakeDS(r.Zone, data, dnssec.DigestSHA256)
			data = ds.AppendRDATA(nil)
		}
		set.Data = append(set.Data, data)
	}
	switch {
	case len(s.Keys) == 0 && s.Type == rdata.TypeCDS:
		set.Data = [][]byte{{0, 0, 0, 0, 0}}
	case len(s.Keys) == 0:
		set.Data = [][]byte{{0, 0, 3, 0, 0}}
	}
	set.Data = dnssec.Canonical(set.Type, set.Data)
	return set
}

// check says what is wrong with a request.
func (r *Request) check() error {
	switch row := r.Row; {
	case len(r.Sets) == 0 || len(r.Sets) > maxSets:
		return fmt.Errorf("it has %d RRsets; from 1 to %d can be signed", len(r.Sets), maxSets)
	case row.Every <= 0 || row.Life <= row.Every || !row.Until.After(row.From):
		return errors.New("it would leave gaps: signatures have to be good for longer than from one to the next, and the time to end after it begins")
	case row.Until.Sub(row.From)/row.Every > maxSignatures || row.count()*len(r.Sets) > maxSignatures:
		return fmt.Errorf("it asks for %d signatures of %d RRsets; choose a shorter time, or a longer signatureLifetime, so that it is %d at most", row.count()*len(r.Sets), len(r.Sets), maxSignatures)
	}
	for _, k := range r.Keys {
		if _, ok := dnssec.ParseKey(k); !ok {
			return errors.New("one of its keys is no DNSKEY record")
		}
	}
	for _, s := range r.Sets {
		isKeys := s.Type == rdata.TypeDNSKEY
		if !isKeys && s.Type != rdata.TypeCDS && s.Type != rdata.TypeCDNSKEY || isKeys && len(s.Keys) == 0 {
			return fmt.Errorf("it has an RRset of type %s and %d keys, which is nothing for a KSK to sign", s.Type, len(s.Keys))
		}
		if len(s.Keys) > len(r.Keys) || slices.ContainsFunc(s.Keys, func(i int) bool { return i < 0 || i >= len(r.Keys) }) {
			return errors.New("it has an RRset of keys that it does not list")
		}
	}
	return nil
}

// The files as JSON.
type requestFile struct {
	Format int       `json:"pharosKSR"`
	Zone   string    `json:"zone"`
	Made   time.Time `json:"made"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Life   int64     `json:"lifeSeconds"`
	Every  int64     `json:"everySeconds"`
	TTL    rdata.TTL `json:"ttl"`
	Keys   []keyLine `json:"keys"`
	Sets   []setLine `json:"sets"`
}

type keyLine struct {
	Tag    uint16 `json:"tag"` // for people
	DNSKEY string `json:"dnskey"`
}

type setLine struct {
	Type string `json:"type"`
	Keys []int  `json:"keys"` // places in the list of keys, from 0
}

// Encode returns the file of a request.
func (r *Request) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	f := requestFile{
		Format: format, Zone: r.Zone.String(), Made: r.Made.UTC(), From: r.Row.From.UTC(), Until: r.Row.Until.UTC(),
		Life: int64(r.Row.Life / time.Second), Every: int64(r.Row.Every / time.Second), TTL: r.TTL,
	}
	for _, k := range r.Keys {
		f.Keys = append(f.Keys, keyLine{dnssec.KeyTag(k), string(rdata.AppendText(nil, rdata.TypeDNSKEY, k))})
	}
	for _, s := range r.Sets {
		f.Sets = append(f.Sets, setLine{s.Type.String(), s.Keys})
	}
	return encode(&f)
}

func encode(f any) ([]byte, error) {
	text, err := json.MarshalIndent(f, "", " ")
	return append(text, '\n'), err
}

// Fingerprint returns how people tell a file from another.
func Fingerprint(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// ParseRequest reads the file of a request.
func ParseRequest(file []byte) (*Request, error) {
	var f requestFile
	if err := decode(file, &f); err != nil || f.Format != format {
		return nil, fmt.Errorf("this is no key signing request that this version reads; make one with \"pharos zone keys ksr\": %w", orFormat(err, f.Format))
	}
	zone, err := dnsname.Parse(f.Zone)
	if err != nil {
		return nil, fmt.Errorf("the request: zone %q: %w", f.Zone, err)
	}
	const longest = 1 << 32 // seconds; more do not fit a Duration of nanoseconds by far
	if f.Life < 0 || f.Life > longest || f.Every < 0 || f.Every > longest {
		return nil, errors.New("the request: a life of signatures that cannot be")
	}
	r := &Request{Zone: zone, Made: f.Made, TTL: f.TTL, Row: Row{f.From, f.Until, time.Duration(f.Life) * time.Second, time.Duration(f.Every) * time.Second}}
	for _, k := range f.Keys {
		data, err := rdata.ParseText(rdata.TypeDNSKEY, zone, k.DNSKEY)
		if err != nil {
			return nil, fmt.Errorf("the request: key %d: %w", k.Tag, err)
		}
		r.Keys = append(r.Keys, data)
	}
	for _, s := range f.Sets {
		t, ok := keyTypes[s.Type]
		if !ok {
			return nil, fmt.Errorf("the request: RRsets of type %q are not signed by a KSK", s.Type)
		}
		r.Sets = append(r.Sets, Set{t, s.Keys})
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	return r, nil
}

var keyTypes = map[string]rdata.Type{"DNSKEY": rdata.TypeDNSKEY, "CDS": rdata.TypeCDS, "CDNSKEY": rdata.TypeCDNSKEY}

func decode(file []byte, to any) error {
	if len(file) > MaxSize {
		return fmt.Errorf("it is larger than %d octets", MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more behind it")
	}
	return nil
}

func orFormat(err error, got int) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("it has format %d, want %d", got, format)
}
