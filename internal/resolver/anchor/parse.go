package anchor

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// MaxFile is the size of a file of anchors that is read: 1 MiB, a thousand times that of
// IANA's.
const MaxFile = 1 << 20

// ErrNone is a file without anchors.
var ErrNone = errors.New("no trust anchor that is in force now; want DS or DNSKEY records, or the XML file of IANA")

// Parse reads configured anchors: DS and DNSKEY records in master file form, such as
// Debian's root.key; the same with the states that unbound-anchor and Unbound write behind
// them; or IANA's root-anchors.xml. Of the XML file those count that are in force at now.
func Parse(now time.Time, name string, text []byte) ([]rdata.Record, error) {
	records, err := parseAny(now, name, text)
	switch {
	case err != nil:
		return nil, err
	case len(records) == 0:
		return nil, fmt.Errorf("%s: %w", name, ErrNone)
	}
	return records, nil
}

func parseAny(now time.Time, name string, text []byte) ([]rdata.Record, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: larger than %d octets, which no file of trust anchors is", name, MaxFile)
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return parseXML(now, name, text)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if isInForce(line) {
			kept = append(kept, line)
		}
	}
	var records []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader(strings.Join(kept, "")), zonefile.Options{Origin: dnsname.Root, File: name, TTL: 172800}) {
		switch {
		case err != nil:
			return nil, err
		case r.Type != rdata.TypeDS && r.Type != rdata.TypeDNSKEY:
			return nil, fmt.Errorf("%s: %v %v is no trust anchor; want DS or DNSKEY records", name, r.Name, r.Type)
		case r.Class != rdata.ClassIN:
			return nil, fmt.Errorf("%s: %v is of class %v, want IN", name, r.Name, r.Class)
		}
		if !isAnchor(r) {
			continue
		}
		records = append(records, r)
	}
	return records, nil
}

// isInForce reports whether a line of Unbound's file of anchors has a key that is
// trusted. Lines of other files have no state.
func isInForce(line string) bool {
	_, state, found := strings.Cut(line, ";;state=")
	return !found || strings.HasPrefix(state, "2") || strings.HasPrefix(state, "3") // VALID, MISSING
}

// isAnchor reports whether a record can be one: keys without the flag ZONE, and
// revoked ones, can not.
func isAnchor(r rdata.Record) bool {
	if r.Type == rdata.TypeDS {
		_, ok := dnssec.ParseDS(r.Data)
		return ok
	}
	k, ok := dnssec.ParseKey(r.Data)
	return ok && k.Flags&flagZone != 0 && k.Flags&flagRevoke == 0 && k.Protocol == 3
}

// trustAnchors is root-anchors.xml (RFC 7958 §2.1.1).
type trustAnchors struct {
	XMLName xml.Name    `xml:"TrustAnchor"`
	Zone    string      `xml:"Zone"`
	Digests []keyDigest `xml:"KeyDigest"`
}

type keyDigest struct {
	From       string `xml:"validFrom,attr"`
	Until      string `xml:"validUntil,attr"`
	Tag        uint16 `xml:"KeyTag"`
	Algorithm  uint8  `xml:"Algorithm"`
	DigestType uint8  `xml:"DigestType"`
	Digest     string `xml:"Digest"`
}

func parseXML(now time.Time, name string, text []byte) ([]rdata.Record, error) {
	var doc trustAnchors
	if err := xml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	zone, err := dnsname.Parse(strings.TrimSpace(doc.Zone))
	if err != nil {
		return nil, fmt.Errorf("%s: zone: %w", name, err)
	}
	var records []rdata.Record
	for _, d := range doc.Digests {
		digest, err := hex.DecodeString(strings.Join(strings.Fields(d.Digest), ""))
		if err != nil || len(digest) == 0 {
			return nil, fmt.Errorf("%s: the digest of key %d is not hexadecimal", name, d.Tag)
		}
		from, errFrom := moment(d.From, time.Time{})
		until, errUntil := moment(d.Until, now.Add(1))
		if err := errors.Join(errFrom, errUntil); err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", name, d.Tag, err)
		}
		// RFC 7958 §2.1.2: "outside of that period it must not be used".
		if now.Before(from) || !now.Before(until) {
			continue
		}
		ds := dnssec.DS{Tag: d.Tag, Algorithm: d.Algorithm, DigestType: d.DigestType, Digest: digest}
		records = append(records, rdata.Record{Name: zone, Type: rdata.TypeDS, Class: rdata.ClassIN, Data: ds.AppendRDATA(nil)})
	}
	return records, nil
}

func moment(text string, absent time.Time) (time.Time, error) {
	if text == "" {
		return absent, nil
	}
	return time.Parse(time.RFC3339, text)
}
