package outbound

import (
	"fmt"
	"os"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// ReadHints reads a file with the names and addresses of the root servers, which
// is a master file: RFC 9609 §2 calls its content the configuration for priming.
func ReadHints(path string) ([]rdata.Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var records []rdata.Record
	for r, err := range zonefile.Read(f, zonefile.Options{Origin: dnsname.Root, File: path}) {
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s: no records; want NS records of the root and the addresses of their servers", path)
	}
	return records, nil
}
