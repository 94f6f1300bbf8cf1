package localdata

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// hostsTTL is the time to live of what hosts files say, in seconds: 60. The file may
// change at any time, and is read again then.
const hostsTTL = 60

// maxMistakes is how many lines that cannot be read are told of: 10, a handful to begin
// mending with.
const maxMistakes = 10

// ReadHosts reads a file of lines "address name...", with "#" before comments, as
// hosts(5): A and AAAA records, and a PTR record from each address to the first name
// that it stands beside. Lines that cannot be read are passed over and told of.
func ReadHosts(r io.Reader) (records []rdata.Record, mistakes []string, err error) {
	lines := bufio.NewScanner(r)
	pointed := map[netip.Addr]bool{}
	number := 0
	for lines.Scan() {
		number++
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		addr, names, err := parseHost(words)
		if err != nil && len(mistakes) < maxMistakes {
			mistakes = append(mistakes, fmt.Sprintf("line %d: %v", number, err))
		}
		for _, n := range names {
			records = append(records, addressOf(n, addr))
		}
		// An address that stands for "nowhere" has no name.
		if len(names) > 0 && !addr.IsUnspecified() && !pointed[addr] {
			pointed[addr] = true
			records = append(records, rdata.Record{
				Name: dnsname.Reverse(addr), Type: rdata.TypePTR, Class: rdata.ClassIN, TTL: hostsTTL, Data: names[0].AppendWire(nil)})
		}
	}
	return records, mistakes, lines.Err()
}

// parseHost reads one line. The names before a mistake count.
func parseHost(words []string) (addr netip.Addr, names []dnsname.Name, err error) {
	if addr, err = netip.ParseAddr(words[0]); err != nil {
		return addr, nil, fmt.Errorf("%q is no address; want \"address name...\"", words[0])
	}
	if addr.Zone() != "" {
		return addr, nil, nil // of one link: no record can say so
	}
	for _, word := range words[1:] {
		n, err := dnsname.Parse(word)
		if err != nil || n.IsRoot() {
			return addr.Unmap(), names, fmt.Errorf("%q is no name of a host", word)
		}
		names = append(names, n)
	}
	return addr.Unmap(), names, nil
}

func addressOf(n dnsname.Name, addr netip.Addr) rdata.Record {
	r := rdata.Record{Name: n, Type: rdata.TypeAAAA, Class: rdata.ClassIN, TTL: hostsTTL, Data: addr.AsSlice()}
	if addr.Is4() {
		r.Type = rdata.TypeA
	}
	return r
}
