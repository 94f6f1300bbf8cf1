package routedesk

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/clock"
	"pharos/internal/proxy/bygone"
	"pharos/internal/proxy/l4proxy"
)

// Stream tells where a stream would carry a client, as far as the pool, by the code that does
// it, and returns what the member is picked by; nil: it is carried nowhere.
func Stream(e *explain.Explanation, proxy *l4proxy.Proxy, r api.ExplainRequest) (*explain.Request, error) {
	name := strings.ToLower(strings.TrimSuffix(r.ServerName, "."))
	w, ok := proxy.Way(r.Stream, r.From.Unmap(), name)
	if !ok {
		var known []string
		for _, s := range proxy.Stats() {
			known = append(known, s.Stream.Name)
		}
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("there is no stream %q; there are: %s", r.Stream, strings.Join(known, ", "))}
	}
	e.Question = "stream " + r.Stream
	if name != "" {
		e.Question += " for " + name
	}
	if !w.Allowed {
		e.Add(explain.Admission, fmt.Sprintf("%s is not let in (clients)", r.From))
		e.Outcome = "refused: the connection is reset"
		return nil, nil
	}
	e.Add(explain.Admission, fmt.Sprintf("%s is let in", r.From))
	_, steps := w.Stream.Routes.Trace(r.From.Unmap(), []byte(name))
	for _, s := range steps {
		switch {
		case s.Rule < 0 && s.Found:
			e.Add(explain.Route, "pool "+w.Target.Pool.Name()+" is for all others")
		case s.Rule < 0:
			e.Add(explain.Route, "there is no pool for the others")
		case s.Found:
			e.Add(explain.Route, fmt.Sprintf("routes[%d] leads to pool %s", s.Rule, w.Target.Pool.Name()))
		default:
			e.Add(explain.Route, fmt.Sprintf("routes[%d]: no, %s", s.Rule, s.Why))
		}
	}
	if w.Target == nil {
		e.Outcome = "refused: the connection is reset"
		return nil, nil
	}
	refusal := "the connection is reset"
	if room := w.Target.Room; room != nil {
		refusal = fmt.Sprintf("it waits for the first member, up to %v (scale.hold), and is reset then", room.Time())
	}
	return &explain.Request{
		Pool: w.Target.Pool, Ask: w.Ask, Keyed: w.Keyed, Affinity: w.Affinity, Named: w.Named, Usable: w.Usable, Refusal: refusal,
	}, nil
}

// PastConnection tells what became of a connection of a stream, or of a client's datagrams, by
// its id.
func PastConnection(proxy *l4proxy.Proxy, id string, revision uint64) (*explain.Explanation, error) {
	c, kept := proxy.PastConnection(id, clock.Now())
	if c == nil {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf(
			"no connection %s is known here: %s; those that went well are sampled (gateway.past.every), and each is kept for %v at most; log.connections has a line of each", id, kept, bygone.Age)}
	}
	e := &explain.Explanation{Question: "stream " + c.Stream, Client: c.Client, At: c.Began, Revision: revision}
	if c.ServerName != "" {
		e.Question += " for " + c.ServerName
	}
	e.Add(explain.Admission, fmt.Sprintf("%s at %s, %d octets from the client", c.Protocol, c.Local, c.Received), "connection "+c.ID)
	if c.Peer != "" {
		e.Add(explain.Admission, fmt.Sprintf("told of by %s, with a PROXY header", c.Peer))
	}
	addChosen(e, c)
	for i := range c.Failed {
		f := &c.Failed[i]
		e.Steps = append(e.Steps, explain.Step{Stage: explain.Pick, Text: fmt.Sprintf("member %s (%s) was not reached: %s", f.Member, f.Address, f.Cause), Took: f.Took, Bad: true})
	}
	if c.Member == "" {
		e.Outcome = c.End
		return e, nil
	}
	s := explain.Step{Stage: explain.Pick, Text: fmt.Sprintf("member %s (%s) took it", c.Member, c.Address), Took: c.Connect}
	if c.First > 0 {
		s.Detail = append(s.Detail, fmt.Sprintf("its first octet came %v after the client", c.First.Round(time.Microsecond)))
	}
	e.Steps = append(e.Steps, s)
	e.Outcome = "carried to pool " + c.Pool + "; " + c.End
	e.Result = []string{fmt.Sprintf("%s %s: %d octets in, %d out, in %v", c.Member, c.Address, c.Received, c.Sent, c.Took.Round(time.Microsecond))}
	return e, nil
}

// addChosen tells how the member was chosen, as it was then.
func addChosen(e *explain.Explanation, c *l4proxy.Carried) {
	if c.Pool == "" {
		return
	}
	e.Add(explain.Route, "pool "+c.Pool)
	if c.Waited > 0 {
		e.Steps = append(e.Steps, explain.Step{Stage: explain.Pool, Text: "waited for the first member", Took: c.Waited})
	}
	if c.Chosen == nil {
		e.Add(explain.Pool, "how its members were then was not kept: nothing unusual was seen before it ended, and it is not of the sample (gateway.past.every)")
		return
	}
	e.Add(explain.Pool, fmt.Sprintf("its members, as they were then (policy %s)", c.Chosen.Policy), c.Chosen.Candidates...)
	switch {
	case c.Chosen.Back != "":
		e.Add(explain.Pick, fmt.Sprintf("the client came back for %s (affinity)", c.Chosen.Back))
	case c.Chosen.Keyed != "":
		e.Add(explain.Pick, "by the key "+c.Chosen.Keyed)
	}
}
