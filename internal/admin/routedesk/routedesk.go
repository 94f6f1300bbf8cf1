// Package routedesk tells operators which way requests take through the gateway: through that
// of a node, or by a configuration that no node has yet.
//
// The way is found by the code that finds it for requests (package httpproxy); this package
// reads what is asked, and tells the steps.
//
// Entry points: Target and Explain, for a node; Test, for a configuration file; Remarks, for what
// of a configuration no request comes to.
//
// Concurrency: functions only.
package routedesk

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/explain"
	"pharos/internal/clock"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/routespec"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// Target returns the request that is meant, and the host of its URL.
func Target(r api.ExplainRequest) (t httpproxy.Target, host string, err error) {
	u, err := url.Parse(r.URL)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		err = errors.New("want http://HOST/PATH or https://HOST/PATH")
	}
	if err != nil {
		return t, "", fmt.Errorf("url %q: %w", r.URL, err)
	}
	t = httpproxy.Target{Client: r.From, Method: cmp.Or(r.Method, http.MethodGet), Host: u.Host, Path: cmp.Or(u.EscapedPath(), "/"), Fields: r.Fields, Content: r.Content, Secure: u.Scheme == "https"}
	if u.RawQuery != "" {
		t.Query = "?" + u.RawQuery
	}
	return t, u.Hostname(), nil
}

// Explain tells which route of a table a request takes, and returns it if it leads to a
// pool. The path of t is normalised.
func Explain(e *explain.Explanation, gateway *httpproxy.Server, table *served.Table, t *httpproxy.Target) (*route.Route, error) {
	scheme := "http"
	if t.Secure {
		scheme = "https"
	}
	e.Question = t.Method + " " + scheme + "://" + t.Host + t.Path + t.Query
	trace, err := gateway.ExplainRoute(table, *t, route.Policy{})
	if err != nil {
		return nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	for _, step := range trace.Steps {
		found := "no"
		if step.Found {
			found = "yes"
		}
		e.Add(explain.Route, fmt.Sprintf("%s %s: %s", step.What, step.Tried, found), step.Why)
	}
	if trace.Route == nil {
		e.Outcome, e.Result = "no route: 404", nil
		return nil, nil
	}
	t.Path = trace.Path
	e.Outcome, e.Result = trace.Route.String(), nil
	did, goesOn, err := gateway.ExplainFilters(table, trace.Route, *t)
	if err != nil {
		return nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	for _, d := range did {
		e.Add(explain.Route, "filter "+d.Step, d.What)
	}
	if !goesOn {
		last := did[len(did)-1]
		e.Result = []string{"filter " + last.Step + ": " + last.What}
		return nil, nil
	}
	if says := t.Leads(trace.Route); says != "" {
		e.Add(explain.Route, trace.Route.String(), says)
		e.Result = []string{says}
	}
	if m := table.Mirror(trace.Route); m != nil {
		e.Add(explain.Route, fmt.Sprintf("%d %% of the requests of the route are copied to pool %s", m.Percent, m.Pool), m.Text())
	}
	if trace.Route.Pool == "" {
		return nil, nil
	}
	return trace.Route, nil
}

// ExplainBreaker tells what the breaker of a pool does with requests, if it has one.
func ExplainBreaker(e *explain.Explanation, table *served.Table, pool string) {
	for _, r := range table.ReadBreakers(clock.Now()) {
		if r.Pool == pool {
			text, details := r.Text()
			e.Add(explain.Route, text, details...)
		}
	}
}

// Test tells which route of the configuration file at path a request would take.
func Test(path string, r api.ExplainRequest) (*explain.Explanation, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	t, _, err := Target(r)
	if err != nil {
		return nil, err
	}
	pools := make([]*pool.Pool, len(cfg.Resources.Pools))
	for i := range pools {
		pools[i] = pool.New(cfg.Resources.Pools[i].Name)
	}
	table, errs := routespec.Table(&cfg.Resources, pools, nil, filter.Means{}, nil)
	if len(errs) > 0 {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(errs...))
	}
	e := &explain.Explanation{Client: r.From.String(), At: clock.Now()}
	_, err = Explain(e, nil, table, &t)
	return e, err
}
