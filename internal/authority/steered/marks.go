package steered

import (
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
)

// Mark is a name whose zone is to leave some of its records to a pool.
type Mark struct {
	Name dnsname.Name
	How  zone.Steering
}

// Marked is a version of a zone without and with its marks. The zero Marked is of none.
type Marked struct {
	marks    string
	from, to *zone.Zone
}

// Joined returns marks as one string, by which they are compared.
func Joined(marks []Mark) string {
	var b strings.Builder
	for _, m := range marks {
		b.WriteString(m.Name.Wire())
		b.WriteByte(byte(m.How))
	}
	return b.String()
}

// Apply returns z with the marks, whose Joined is given; that is z if there are none. The
// last result is kept for when it is asked for again.
func (s *Marked) Apply(z *zone.Zone, joined string, marks []Mark) *zone.Zone {
	switch {
	case z == nil || len(marks) == 0:
		*s = Marked{}
		return z
	case s.from == z && s.marks == joined:
		return s.to
	}
	edit := z.Edit()
	for _, m := range marks {
		edit.Steer(m.Name, m.How)
	}
	marked, _ := edit.Finish() // steering refuses nothing
	*s = Marked{joined, z, marked}
	return marked
}
