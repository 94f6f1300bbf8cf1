package node

import (
	"fmt"
	"net/http"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/clock"
	"pharos/internal/resolver/failures"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/serve/dnsserver"
)

// This file keeps why SERVFAIL was said, for "pharos explain ID".

// keepFailure remembers the story of a failure that is about to be told to d.
func (n *Node) keepFailure(d *dnsserver.Deferred, a iterate.Answer) {
	if a.Failure == 0 || len(a.Errors) == 0 {
		return
	}
	q := d.Query()
	n.failures.Put(failures.Record{
		ID: a.Failure, At: clock.Now(), Client: d.Client().Addr(), Name: q.Name.Clone(), Type: q.Type,
		Error: a.Errors[0], Spent: a.Spent, Elapsed: a.Elapsed, Steps: a.Trace,
	})
}

// emptyCache is what a resolver may keep that is made for one explanation, in octets.
const emptyCache = 8 << 20

// emptyResolver returns a resolver that does what the one for s does, and has learnt
// nothing yet.
func (n *Node) emptyResolver(s *Snapshot) *outbound.Driver {
	r := s.Config.Resolver
	r.CacheSize = emptyCache
	driver := n.newResolver(r, newCache(r, n.started), "")
	return driver
}

// explainFailure tells why something failed in the past.
func (n *Node) explainFailure(id string) (*explain.Explanation, error) {
	number, err := iterate.ParseFailureID(id)
	if err != nil {
		return nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	r, ok := n.failures.Get(clock.Now(), number)
	if !ok {
		kept, _ := n.failures.Stats()
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf(
			"%s is not known here any more: %d failures are kept, of this process (since %s) and of at most %v; ask with pharos explain --resolve NAME what happens now",
			number, kept, n.started.UTC().Format(time.DateTime), failures.DefaultLimits.Age)}
	}
	e := &explain.Explanation{
		Question: fmt.Sprintf("%s %s", r.Name, r.Type), Client: r.Client.String(), At: r.At, Revision: n.current.Load().Revision,
		Outcome: fmt.Sprintf("SERVFAIL (%s)", number), Warnings: []string{fmt.Sprintf("%s: %s", r.Error.Code, r.Error.Text)},
	}
	e.AddTrace(r.Steps)
	e.Add(explain.Resolve, fmt.Sprintf("%s, in %v", r.Spent, r.Elapsed.Round(time.Microsecond)))
	if r.Told > 1 {
		e.Add(explain.Cache, fmt.Sprintf("the failure was remembered and told %d times, last at %s, besides finished answers of the cache", r.Told, r.Last.UTC().Format(time.DateTime)))
	}
	return e, nil
}
