package rrcache

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// An operator may want a name forgotten, or one type of it, or everything below.
func TestFlushSelection(t *testing.T) {
	for _, test := range []struct {
		selection Selection
		left      string
	}{
		{Selection{Name: name("a.test.")}, "a.test.-mx:false b.a.test.:true to.test.:false cut:false"},
		{Selection{Name: name("a.test."), Tree: true}, "a.test.-mx:false b.a.test.:false to.test.:false cut:false"},
		{Selection{Name: name("a.test."), Type: rdata.TypeMX}, "a.test.-mx:false b.a.test.:true to.test.:true cut:true"},
		{Selection{Name: name("other.")}, "a.test.-mx:true b.a.test.:true to.test.:true cut:true"},
	} {
		c := New(begin, Limits{})
		c.PutNegative(begin, name("a.test."), rdata.TypeMX, NoData, soa("test.", 100, 100), TrustAnswer)
		c.Put(begin, addressSet("b.a.test.", 60, "192.0.2.1"), TrustAnswer)
		c.PutDelegation(begin, name("a.test."), nil, 60, time.Time{})
		c.PutAnswer(begin, Ready{Name: name("to.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60,
			Answer: append([]rdata.Record{cname("to.test.", 60, "a.test.")}, addressRecords("a.test.", 60, "192.0.2.1")...)})
		var told []Selection
		c.OnFlush(func(s Selection) { told = append(told, s) })
		c.Flush(test.selection)
		got := fmt.Sprintf("a.test.-mx:%v b.a.test.:%v to.test.:%v cut:%v", c.Get(begin, name("a.test."), rdata.TypeMX) != nil,
			c.Get(begin, name("b.a.test."), rdata.TypeA) != nil, newClient(t, "to.test.", rdata.TypeA, false).ask(c, begin, 512, 0) != nil,
			c.Delegation(begin, name("a.test.")) != nil)
		if got != test.left {
			t.Errorf("%+v left %s, want %s", test.selection, got, test.left)
		}
		if len(told) != 1 || told[0] != test.selection {
			t.Errorf("told of %v", told)
		}
		c.check()
	}
}

// When a zone of ours changes, what the cache has of it goes, with what aliases lead
// there, and below a delegation only if that has changed.
func TestZoneChanged(t *testing.T) {
	for _, moved := range []bool{false, true} {
		c := New(begin, Limits{})
		c.Own(func(n dnsname.Name) (dnsname.Name, bool) {
			if n != name("sub.ours.") && n.IsSubdomainOf(name("sub.ours.")) {
				return dnsname.Name{}, false // below a delegation
			}
			return name("ours."), n.IsSubdomainOf(name("ours."))
		})
		c.Put(begin, addressSet("www.ours.", 60, "192.0.2.1"), TrustAnswer)
		c.Put(begin, addressSet("www.sub.ours.", 60, "192.0.2.1"), TrustAnswer)
		c.Put(begin, addressSet("www.theirs.", 60, "192.0.2.1"), TrustAnswer)
		c.PutFailure(begin, name("bad.ours."), rdata.TypeA, Failure{})
		c.PutLocalDelegation(begin, name("sub.ours."), []Server{{Name: name("ns.sub.ours.")}}, 60, time.Time{})
		for owner, target := range map[string]string{"to.theirs.": "www.ours.", "sub.theirs.": "www.sub.ours.", "else.theirs.": "www.theirs."} {
			c.PutAnswer(begin, Ready{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60,
				Answer: append([]rdata.Record{cname(owner, 60, target)}, addressRecords(target, 60, "192.0.2.1")...)})
		}
		asked := 0
		c.ZoneChanged(name("ours."), func(d *Delegation) bool {
			asked++
			return !moved && d.Servers[0].Name == name("ns.sub.ours.")
		})
		has := func(owner string) bool { return c.Get(begin, name(owner), rdata.TypeA) != nil }
		answers := func(owner string) bool {
			return newClient(t, owner, rdata.TypeA, false).ask(c, begin, 512, 0) != nil
		}
		got := []bool{has("www.ours."), has("www.sub.ours."), has("www.theirs."), answers("to.theirs."), answers("sub.theirs."), answers("else.theirs."),
			c.Failure(begin, name("bad.ours."), rdata.TypeA) != nil, c.Delegation(begin, name("sub.ours.")) != nil}
		if want := []bool{false, !moved, true, false, !moved, true, false, false}; fmt.Sprint(got) != fmt.Sprint(want) || asked != 1 {
			t.Errorf("moved %v: left %v, want %v; asked about %d delegations", moved, got, want, asked)
		}
		c.check()
	}
}

// With more entries of our zones than are noted, a change takes a look at everything,
// and misses nothing.
func TestZoneChangedSpilled(t *testing.T) {
	c := New(begin, Limits{})
	c.Own(func(n dnsname.Name) (dnsname.Name, bool) { return name("ours."), n.IsSubdomainOf(name("ours.")) })
	for i := range ownMost + 10 {
		c.Put(begin, addressSet(fmt.Sprintf("n%d.ours.", i), 60, "192.0.2.1"), TrustAnswer)
	}
	c.Put(begin, addressSet("www.theirs.", 60, "192.0.2.1"), TrustAnswer)
	c.ZoneChanged(name("ours."), nil)
	if st := c.Stats(); st.Records != 1 || c.own.count != 0 {
		t.Errorf("left %d records, %d notes", st.Records, c.own.count)
	}
}
