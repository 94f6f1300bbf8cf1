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
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/tracecontext"
)

// Past tells what became of a request, by its id.
func Past(gateway *httpproxy.Server, id string, revision uint64) (*explain.Explanation, error) {
	r, kept := gateway.PastRequest(id, clock.Now())
	if r == nil {
		return nil, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf(
			"no request %q is known here: %s; those that went well are sampled (gateway.past.every), and each is kept for %v at most; the access log has them all", id, kept, bygone.Age)}
	}
	e := &explain.Explanation{
		Question: fmt.Sprintf("%s %s://%s%s%s", r.Method, r.Scheme, r.Host, r.Path, r.Query), Client: explain.ClientText(r.Client), At: r.Began, Revision: revision,
	}
	e.Add(explain.Admission, fmt.Sprintf("HTTP/%s, %d octets of content", r.Version, r.Received), "request id "+r.ID)
	if !r.Trace.IsZero() {
		e.Add(explain.Admission, fmt.Sprintf("trace %x, span %x", r.Trace, r.Span))
	}
	addWay(e, r)
	for i := range r.Tries {
		addTry(e, &r.Tries[i], i)
	}
	e.Outcome = fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	if r.Status == 0 {
		e.Outcome = "never answered"
	}
	e.Result = []string{fmt.Sprintf("%d octets of content in %v", r.Sent, r.Took.Round(time.Microsecond))}
	if r.Reason != "" {
		e.Warnings = append(e.Warnings, r.Reason)
	}
	return e, nil
}

// addWay tells of everything before a member was asked.
func addWay(e *explain.Explanation, r *tracecontext.Request) {
	if r.Route == "" {
		e.Add(explain.Route, "no route was found")
		return
	}
	e.Add(explain.Route, "route "+r.Route)
	if len(r.Filters) > 0 {
		e.Add(explain.Route, "filters: "+strings.Join(r.Filters, ", "))
	}
	if r.Pool == "" {
		return
	}
	e.Add(explain.Pool, fmt.Sprintf("pool %s, by %s", r.Pool, r.Policy), r.Candidates...)
	if r.Mirrored != "" {
		e.Add(explain.Route, "a copy went to pool "+r.Mirrored)
	}
	if r.Queue > 0 {
		e.Steps = append(e.Steps, explain.Step{Stage: explain.Pool, Text: "waited for a member", Took: r.Queue})
	}
}

func addTry(e *explain.Explanation, t *tracecontext.Try, i int) {
	s := explain.Step{Stage: explain.Pick, Text: fmt.Sprintf("member %s (%s)", t.Member, t.Address), At: t.After, Took: t.Took, Bad: t.Reason != ""}
	if i > 0 {
		s.Text = "then " + s.Text
	}
	switch {
	case t.Status > 0:
		s.Text += fmt.Sprintf(" answered with %d", t.Status)
	case t.Reason == "":
		s.Text += " was asked"
	}
	if t.Reason != "" {
		s.Text += ": " + t.Reason
	}
	if t.Connect > 0 {
		s.Detail = append(s.Detail, fmt.Sprintf("connected in %v", t.Connect.Round(time.Microsecond)))
	} else {
		s.Detail = append(s.Detail, "on a connection that was kept")
	}
	if t.FirstByte > 0 {
		s.Detail = append(s.Detail, fmt.Sprintf("head of its response after %v", t.FirstByte.Round(time.Microsecond)))
	}
	e.Steps = append(e.Steps, s)
}
