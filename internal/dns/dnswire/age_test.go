package dnswire

import (
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// RFC 1034 §3.6: a TTL counts down while a record is held, to 0 and no further.
func TestLowerTTLs(t *testing.T) {
	var q Query
	if q.Parse(AppendQuery(nil, QuerySpec{Name: dnsname.MustParse("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN})) != Accept {
		t.Fatal("bad query")
	}
	var b Builder
	b.Reset(&q, make([]byte, 512+BufferSlack), 512)
	from := b.Len()
	ready := []byte{0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 2}
	b.AddReady(Answer, 2, ready)
	b.LowerTTLs(from, []byte{0, 6, 0, 22}, 7)
	m, err := ParseMessage(b.Finish())
	if err != nil || len(m.Answer) != 2 {
		t.Fatal(m, err)
	}
	if got := [2]rdata.TTL{m.Answer[0].TTL, m.Answer[1].TTL}; got != [2]rdata.TTL{293, 0} {
		t.Errorf("TTLs %v, want 293 and 0", got)
	}
	if ready[8] != 1 || ready[9] != 44 {
		t.Error("the ready records were written to")
	}
}
