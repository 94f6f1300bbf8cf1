package transfer

import (
	"fmt"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// identity is what makes two records one (RFC 2136 §1.1.1: the TTL does not
// count, nor the case of names within RDATA).
type identity struct {
	name   dnsname.Name
	rrtype rdata.Type
	data   string
}

func identityOf(r rdata.Record) identity {
	return identity{r.Name, r.Type, string(foldNames(r.Type, r.Data))}
}

// foldNames returns data with its domain names in lower case: a primary may
// compress a name onto one in another case.
func foldNames(t rdata.Type, data []byte) []byte {
	l := rdata.LayoutOf(t)
	if l.Names == 0 || l.Prefix < 0 || l.Prefix >= len(data) {
		return data
	}
	folded := append([]byte(nil), data...)
	at := l.Prefix
	for range l.Names {
		begin := at
		for at < len(folded) && folded[at] != 0 {
			at += 1 + int(folded[at])
		}
		at = min(at+1, len(folded))
		dnsname.Lower(folded[begin:at])
	}
	return folded
}

// fate is what becomes of a record in a series of changes.
type fate struct {
	gone  bool // the record of the old version does not stay
	added bool
	as    rdata.Record // if added
}

// Apply returns an edit of old that ends in the version that changes make of it. It
// fails if they do not fit it: then the two servers have different versions with
// one serial, and only AXFR helps.
func Apply(old *zone.Zone, changes []Change) (*zone.Editor, error) {
	fates := map[identity]fate{}
	var order []rdata.Record // the first mention of each identity
	for _, c := range changes {
		for _, r := range c.Deleted {
			id := identityOf(r)
			f, known := fates[id]
			switch {
			case !known:
				order = append(order, r)
			case !f.added:
				return nil, misfit(r, c, "deletes the record %s %s twice")
			}
			fates[id] = fate{gone: !known || f.gone}
		}
		for _, r := range c.Added {
			id := identityOf(r)
			f, known := fates[id]
			if f.added {
				return nil, misfit(r, c, "adds the record %s %s twice")
			}
			if !known {
				order = append(order, r)
			}
			fates[id] = fate{gone: f.gone, added: true, as: r}
		}
	}
	edit, missing := old.Edit(), 0
	edit.Delete(SOA(old))
	for _, r := range order {
		if there := edit.Delete(r); !there && fates[identityOf(r)].gone {
			missing++
		}
	}
	if missing != 0 {
		return nil, fmt.Errorf("differences from serial %d delete %d records that are not there", changes[0].From, missing)
	}
	edit.Add(changes[len(changes)-1].SOA)
	for _, r := range order {
		if f := fates[identityOf(r)]; f.added {
			edit.Add(f.as)
		}
	}
	return edit, nil
}

func misfit(r rdata.Record, c Change, text string) error {
	return fmt.Errorf("the difference from serial %d to %d "+text, c.From, c.To, r.Name, r.Type)
}
