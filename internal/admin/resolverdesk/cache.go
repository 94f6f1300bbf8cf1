// Package resolverdesk is what operators ask about the resolvers of a node and have done
// to them, over the admin listener: what their caches hold, what is known of other
// servers, and what is trusted.
//
// It says in the words of package api what packages rrcache, iterate and custody know, and turns
// what cannot be done into a refusal that says why. Which resolvers there are is the
// node's (Config).
//
// Entry points: New; Desk.Cache, Desk.Trust: the calls for package api.
//
// Concurrency: a Desk keeps nothing and may be used by many goroutines.
package resolverdesk

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/custody"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// Config is what a Desk is made from.
type Config struct {
	// Resolvers gives each resolver to each.
	Resolvers func(each func(Resolver))
	Trust     *custody.Custody
	Beliefs   func() Beliefs
	Log       *slog.Logger
}

// Resolver is a resolver of a node.
type Resolver struct {
	View    string // empty outside of views
	Cache   *rrcache.Cache
	Servers func() []iterate.KnownServer
	Kept    func() any // how its cache is kept on disk, as JSON; nil: it is not
}

// Desk answers the calls.
type Desk struct{ config Config }

// New returns a Desk.
func New(c Config) *Desk { return &Desk{c} }

// Cache returns the calls about caches.
func (d *Desk) Cache() api.CacheCalls {
	return api.CacheCalls{Stats: d.Stats, Servers: d.Servers, Flush: d.Flush, Dump: d.Dump}
}

// find returns the resolver of a view, or outside of views.
func (d *Desk) find(view string) (found Resolver, err error) {
	d.config.Resolvers(func(r Resolver) {
		if r.View == view {
			found = r
		}
	})
	if found.Cache == nil {
		return found, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("no view %q with a resolver of its own", view)}
	}
	return found, nil
}

// Stats returns how full the caches are.
func (d *Desk) Stats() (all []api.CacheStats) {
	d.config.Resolvers(func(r Resolver) {
		st := r.Cache.Stats()
		out := api.CacheStats{
			View: r.View, Records: st.Records, RecordOctets: st.RecordOctets, RecordLimit: st.RecordLimit, RecordsEvicted: st.RecordEvicted,
			Answers: st.Answers, AnswerOctets: st.AnswerOctets, AnswerLimit: st.AnswerLimit, AnswersEvicted: st.AnswerEvicted,
			Servers: len(r.Servers()),
		}
		if r.Kept != nil {
			if kept, err := json.Marshal(r.Kept()); err == nil {
				out.Kept = kept
			}
		}
		all = append(all, out)
	})
	return all
}

// Servers returns what is known of servers.
func (d *Desk) Servers(view string) ([]api.CacheServer, error) {
	r, err := d.find(view)
	if err != nil {
		return nil, err
	}
	now := clock.Now()
	all := []api.CacheServer{}
	for _, s := range r.Servers() {
		all = append(all, api.CacheServer{
			Address: s.Addr.String(), Transport: s.Over, RTT: s.RTT, Deviation: s.Deviation, Timeouts: s.Timeouts,
			Dead: future(s.Dead, now), NoEDNS: future(s.NoEDNS, now), NoCase: future(s.NoCase, now),
			Lame: zonesUntil(s.Lame, now), Suspect: zonesUntil(s.Suspect, now),
		})
	}
	return all, nil
}

// future returns t, if it is to come.
func future(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func zonesUntil(list []iterate.KnownZone, now time.Time) (out []string) {
	for _, k := range list {
		if k.Until.After(now) {
			out = append(out, k.Zone.String())
		}
	}
	return out
}

// selection reads what a caller wants.
func selection(q api.CacheQuery) (s rrcache.Selection, err error) {
	if s.Name, err = dnsname.Parse(q.Name); err != nil {
		return s, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	s.Tree = q.Tree
	if q.Type != "" {
		var ok bool
		if s.Type, ok = rdata.ParseType(q.Type); !ok {
			return s, &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf("type: %q is no type of records", q.Type)}
		}
	}
	return s, nil
}

// Flush forgets what is selected, also on disk.
func (d *Desk) Flush(q api.CacheQuery) (api.CacheFlushed, error) {
	r, err := d.find(q.View)
	if err != nil {
		return api.CacheFlushed{}, err
	}
	s, err := selection(q)
	if err != nil {
		return api.CacheFlushed{}, err
	}
	out := api.CacheFlushed{Flushed: r.Cache.Flush(s)}
	d.config.Log.Info("cache flushed", "view", q.View, "name", s.Name.String(), "tree", s.Tree, "type", q.Type, "entries", out.Flushed)
	return out, nil
}

// Dump gives what is selected to each.
func (d *Desk) Dump(q api.CacheQuery, each func(api.CacheEntry) error) error {
	r, err := d.find(q.View)
	if err != nil {
		return err
	}
	if q.Name == "" {
		q.Name, q.Tree = ".", true
	}
	s, err := selection(q)
	if err != nil {
		return err
	}
	for item := range r.Cache.All(clock.Now()) {
		if !s.Has(item) {
			continue
		}
		if err := each(entryText(item)); err != nil {
			return err
		}
	}
	return nil
}

// entryText tells an item in words.
func entryText(i rrcache.Item) api.CacheEntry {
	out := api.CacheEntry{Level: "record", Name: i.Name.String(), TTL: uint32(i.TTL), Popular: i.Main}
	if i.Type != 0 {
		out.Type = i.Type.String()
	}
	line := func(r rdata.Record) { out.Records = append(out.Records, r.String()) }
	set := func(s rdata.RRset, sigs [][]byte) {
		for _, data := range s.Data {
			line(rdata.Record{Name: s.Name, Type: s.Type, Class: rdata.ClassIN, TTL: i.TTL, Data: data})
		}
		for _, data := range sigs {
			line(rdata.Record{Name: s.Name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: i.TTL, Data: data})
		}
	}
	switch {
	case i.Entry != nil:
		e := i.Entry
		out.Kind, out.Trust, out.State = e.Kind.String(), e.Trust.String(), e.State.String()
		if e.Kind == rrcache.Positive {
			set(e.Set, e.Sigs)
		} else if !e.SOA.Name.IsZero() {
			set(rdata.RRset{Name: e.SOA.Name, Type: rdata.TypeSOA, Data: [][]byte{e.SOA.Data}}, e.Sigs)
		}
		for _, d := range e.Denial {
			set(d.RRset, d.Sigs)
		}
	case i.Delegation != nil:
		out.Kind, out.Type = "delegation", rdata.TypeNS.String()
		for _, s := range i.Delegation.Servers {
			line(rdata.Record{Name: i.Name, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: i.TTL, Data: s.Name.AppendWire(nil)})
			for _, a := range s.Addrs {
				t := rdata.TypeAAAA
				if a.Is4() {
					t = rdata.TypeA
				}
				line(rdata.Record{Name: s.Name, Type: t, Class: rdata.ClassIN, TTL: i.TTL, Data: a.AsSlice()})
			}
		}
	case i.Failure != nil:
		out.Kind, out.Error = "failure", fmt.Sprintf("%v: %s", i.Failure.EDE.Code, i.Failure.EDE.Text)
	case i.Message != nil:
		out.Level, out.Kind, out.DO, out.CD = "answer", i.Message.Rcode.String(), i.DO, i.CD
		if out.State = "not secure"; i.Secure {
			out.State = "secure"
		}
		for _, r := range slices.Concat(i.Message.Answer, i.Message.Authority) {
			line(r)
		}
	}
	return out
}
