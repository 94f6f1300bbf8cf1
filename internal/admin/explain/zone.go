package explain

import (
	"fmt"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Finish puts what a message says, one that we have made, into e.
func (e *Explanation) Finish(msg []byte) {
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		panic("BUG: an answer of ours that cannot be read: " + err.Error())
	}
	e.Outcome, e.Result = m.Rcode.String(), nil
	if m.AA {
		e.Outcome += ", authoritative"
	}
	for _, section := range [][]rdata.Record{m.Answer, m.Authority} {
		for _, r := range section {
			e.Result = append(e.Result, r.String())
		}
		if len(e.Result) > 0 {
			break // authority tells of a negative answer or a referral
		}
	}
}

// Found says where a name fell in a zone.
func Found(z *zone.Zone, name dnsname.Name, o answer.Outcome) []string {
	var lines []string
	add := func(what string, n zone.Node) {
		if n != 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", what, z.Name(n)))
		}
	}
	f := z.Lookup(name)
	if f.Exact == 0 {
		add("closest encloser", f.Encloser)
	}
	add("zone cut", f.Cut)
	add("DNAME at", f.DNAME)
	if o.Wildcard {
		add("source of synthesis", f.Wildcard)
	}
	if o.Aliases > 0 {
		lines = append(lines, fmt.Sprintf("aliases followed: %d", o.Aliases))
	}
	return lines
}
