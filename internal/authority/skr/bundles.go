package skr

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// This file is the form in which Knot (keymgr generate-ksr, sign-ksr, import-skr) and
// BIND (dnssec-ksr) have both files: bundles, each a comment with a time, and the records
// for that time. A request has the ZSKs only, for who signs adds its KSKs and what the
// parent is asked for:
//
//	;; KeySigningRequest 1.0 1795360880 (2026-11-22T15:21:20Z) =========
//	example.com. 3600 IN DNSKEY 256 3 13 IR8Jn...
//	;; KeySigningRequest 1.0 generated at 2026-11-22T15:21:20Z by Pharos
//
// Such a request means that at that time the zone has these keys. Nobody knows that here
// in advance, so each set of keys is asked for at each moment of the row: both programs
// sign every bundle at its own time, whatever the others are.

// Form is how files of other programs write a time.
type Form string

// The forms.
const (
	Knot Form = "knot" // seconds since 1970
	BIND Form = "bind" // YYYYMMDDHHMMSS, as in RRSIG records
)

const (
	requestMark  = "KeySigningRequest 1.0"
	responseMark = "SignedKeyResponse 1.0"
)

// time returns how a form writes a moment in the header of a bundle.
func (f Form) time(at time.Time) string {
	at = at.UTC()
	if f == BIND {
		return at.Format("20060102150405") + " (" + at.Format("Mon Jan 02 15:04:05 2006") + ")"
	}
	return strconv.FormatInt(at.Unix(), 10) + " (" + at.Format(time.RFC3339) + ") ========="
}

// EncodeAs returns the file of a request in the form of another program. That the parent
// shall have no DS (RFC 8078 §4) cannot be asked for in it.
func (r *Request) EncodeAs(form Form) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	var sets []string
	for _, s := range r.Sets {
		if text := r.zskText(s); s.Type == rdata.TypeDNSKEY && !slices.Contains(sets, text) {
			sets = append(sets, text)
		}
	}
	var b bytes.Buffer
	for at := r.Row.From; at.Before(r.Row.Until); at = at.Add(r.Row.Every) {
		for _, records := range sets {
			fmt.Fprintf(&b, ";; %s %s\n%s", requestMark, form.time(at), records)
		}
	}
	fmt.Fprintf(&b, ";; %s generated at %s by Pharos\n", requestMark, r.Made.UTC().Format(time.RFC3339))
	return b.Bytes(), nil
}

// zskText returns the records of those keys of a set that do not sign elsewhere: that have
// no flag SEP (RFC 4034 §2.1.1).
func (r *Request) zskText(s Set) string {
	var lines []string
	for _, i := range s.Keys {
		if data := r.Keys[i]; data[1]&1 == 0 {
			lines = append(lines, fmt.Sprintf("%s %d IN DNSKEY %s\n", r.Zone, r.TTL, rdata.AppendText(nil, rdata.TypeDNSKEY, data)))
		}
	}
	return strings.Join(lines, "")
}

// isBundles reports whether a file is in the form of another program.
func isBundles(file []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(file), []byte(";;"))
}

// parseBundles reads a response in the form of another program.
func parseBundles(file []byte) (*Response, error) {
	if len(file) > MaxSize {
		return nil, fmt.Errorf("it is larger than %d octets", MaxSize)
	}
	r := &Response{}
	var bundle strings.Builder
	began := false
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, 1<<16)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		mark, isHeader := strings.CutPrefix(text, ";; ")
		switch {
		case isHeader && strings.HasPrefix(mark, requestMark):
			return nil, errors.New("it is a request: have it signed where the KSK is")
		case isHeader && strings.HasPrefix(mark, responseMark):
			if err := r.addBundle(bundle.String()); err != nil {
				return nil, fmt.Errorf("the bundle above line %d: %w", n, err)
			}
			bundle.Reset()
			began = true
		case !began && text != "":
			return nil, fmt.Errorf("line %d: want a header %q first", n, ";; "+responseMark)
		default:
			bundle.WriteString(lines.Text() + "\n")
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if err := r.addBundle(bundle.String()); err != nil {
		return nil, fmt.Errorf("the last bundle: %w", err)
	}
	if len(r.Sets) == 0 {
		return nil, errors.New("it has no signatures")
	}
	return r, nil
}

// addBundle takes in the RRsets of one bundle with their signatures.
func (r *Response) addBundle(text string) error {
	sets := map[rdata.Type]*Signed{}
	for record, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: r.Zone, Class: rdata.ClassIN, MaxErrors: 1}) {
		if err != nil {
			return err
		}
		if r.Zone.IsZero() {
			r.Zone = record.Name
		}
		if record.Name != r.Zone {
			return fmt.Errorf("a record of %s among those of %s", record.Name, r.Zone)
		}
		covered := record.Type
		if record.Type == rdata.TypeRRSIG {
			sig, ok := dnssec.ParseSignature(record.Data)
			if !ok {
				return errors.New("a signature that is none")
			}
			covered = sig.Covered
		}
		if _, ok := keyTypes[covered.String()]; !ok {
			return fmt.Errorf("RRsets of type %q are not signed by a KSK", covered)
		}
		s := sets[covered]
		if s == nil {
			s = &Signed{RRset: rdata.RRset{Name: r.Zone, Type: covered, Class: rdata.ClassIN}}
			sets[covered] = s
		}
		if record.Type == rdata.TypeRRSIG {
			s.Signatures = append(s.Signatures, record.Data)
		} else {
			s.Data, s.TTL = append(s.Data, record.Data), record.TTL
		}
	}
	for _, t := range []rdata.Type{rdata.TypeDNSKEY, rdata.TypeCDS, rdata.TypeCDNSKEY} {
		if s := sets[t]; s != nil {
			s.Data = dnssec.Canonical(t, s.Data)
			if err := r.merge(*s); err != nil {
				return err
			}
		}
	}
	return nil
}

// merge adds signatures to the RRset that they are of. Of those by one key for the same
// time one is enough: what the parent is asked for is signed again in each bundle.
func (r *Response) merge(s Signed) error {
	i := slices.IndexFunc(r.Sets, func(have Signed) bool { return same(have.RRset, s.RRset) })
	if i < 0 {
		if len(r.Sets) == maxSets {
			return fmt.Errorf("more than %d different RRsets", maxSets)
		}
		i = len(r.Sets)
		r.Sets = append(r.Sets, Signed{RRset: s.RRset})
	}
	for _, data := range s.Signatures {
		if !slices.ContainsFunc(r.Sets[i].Signatures, func(have []byte) bool { return isAgain(have, data) }) {
			r.Sets[i].Signatures = append(r.Sets[i].Signatures, data)
		}
	}
	return nil
}

// isAgain reports whether two signatures of an RRset say the same.
func isAgain(a, b []byte) bool {
	x, _ := dnssec.ParseSignature(a)
	y, ok := dnssec.ParseSignature(b)
	return ok && x.Tag == y.Tag && x.Algorithm == y.Algorithm && x.Inception == y.Inception && x.Expiration == y.Expiration
}
