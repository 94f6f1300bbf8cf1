package outbound

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/iterate"
)

// ReadHints reads a file with the names and addresses of the root servers.
func ReadHints(path string) ([]rdata.Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseHints(path, text)
}

// ParseHints parses such a file, which is a master file: RFC 9609 §2 calls its content the
// configuration for priming.
func ParseHints(path string, text []byte) ([]rdata.Record, error) {
	var records []rdata.Record
	for r, err := range zonefile.Read(bytes.NewReader(text), zonefile.Options{Origin: dnsname.Root, File: path}) {
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	for _, want := range []struct {
		what string
		is   func(rdata.Record) bool
	}{
		{"NS records of the root", func(r rdata.Record) bool { return r.Type == rdata.TypeNS && r.Name.IsRoot() }},
		{"addresses of the root's servers", func(r rdata.Record) bool { return r.Type == rdata.TypeA || r.Type == rdata.TypeAAAA }},
	} {
		if !slices.ContainsFunc(records, want.is) {
			return nil, fmt.Errorf("%s: no %s; want NS records of the root and the addresses of their servers", path, want.what)
		}
	}
	return records, nil
}

// SetHints has other hints count: see iterate.Hints. They count when it returns.
func (d *Driver) SetHints(hints []rdata.Record) {
	d.trusted.setHints(hints)
	d.inLoop(func() { d.stepAll(iterate.Hints{Records: hints}) })
}
