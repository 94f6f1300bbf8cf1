package node

import (
	"crypto/rand"
	"fmt"
	"net/http"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/explain"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/traffic/decisions"
)

// This file keeps past answers of steered names, for "pharos explain ID".

// past is what is kept. It is constant after New.
type past struct {
	decided *decisions.Ring // nil: nothing
	tells   *admission.ACL  // who may know the id of an answer
}

func newPast(c config.Decisions) (p past, err error) {
	var secret [16]byte
	rand.Read(secret[:]) // which never fails
	p.decided = decisions.New(decisions.Limits{Octets: int(c.Memory), Age: decisions.DefaultLimits.Age, Sample: uint64(c.Sample)}, secret)
	if p.tells, err = admission.AllowOnly(c.Tell); err != nil {
		return p, fmt.Errorf("steering.decisions.tell: %w", err)
	}
	return p, nil
}

// keep has the answer to q kept, and its id told to a client that asks for it: as extended
// error 0, whose text is for people (RFC 8914 §4.1).
func (p *past) keep(q *steered.Question, r *dnsserver.Request) {
	q.Past = p.decided
	if r.Query.EDNS.ID && p.tells.Allows(r.Client.Addr()) {
		q.Told = func(id decisions.ID) { r.Out.SetEDE(dnswire.EDEOther, id.String()) }
	}
}

// explainPast tells how a past answer came about, by deciding it again.
func (n *Node) explainPast(id decisions.ID) (*explain.Explanation, error) {
	now := clock.Now()
	found, ok := n.past.decided.Find(id, now)
	if !ok {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf(
			"%s is not known here any more: %s, of this process and for at most %v (steering.decisions); ask with pharos explain NAME what is answered now",
			id, n.past.decided.Stats(), decisions.DefaultLimits.Age)}
	}
	e := &explain.Explanation{Client: explain.ClientText(found.Client), At: found.At, Revision: n.current.Load().Revision}
	if found.Input == nil {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf(
			"%s was given to %s at %s, turn %d; what it was made from (the states of members then) has made room for newer decisions; give steering.decisions.memory more",
			id, e.Client, found.At.Format("2006-01-02 15:04:05.000 UTC"), found.Turn)}
	}
	e.AddPast(found)
	return e, nil
}
