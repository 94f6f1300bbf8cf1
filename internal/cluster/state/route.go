package state

import (
	"cmp"
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/route"
)

// Route says what becomes of an HTTP request at the gateway: it is carried to a pool, or to
// one of several, led elsewhere, or answered.
type Route struct {
	// Name is what commands and logs call the route. Routes that differ in nothing but
	// their conditions each need one; others are called by their host and path.
	Name string `json:"name,omitzero" format:"identifier" default:"" example:"beta"`
	// Host is the host that requests are for: a name, "*.example.com" for every
	// name below one, "~" and a regular expression (RE2) that has to match the whole
	// name, or "*" for all. Lower case, without a port. A name goes before the longest
	// "*", that before regular expressions, these before "*" alone; the paths of the
	// others are not looked at then.
	Host string `json:"host" format:"routeHost" default:"*" example:"www.example.com"`
	// Path is the path that requests are for. "/api" is the beginning of one, by whole
	// segments: it matches /api and /api/x, not /apis. "=/api" is only this path.
	// "/users/{id}/files/{name...}" is a template, where {id} stands for one segment
	// and {name...} for all that follows. "~/v[0-9]+/.*" is a regular expression (RE2)
	// that has to match the whole path. "=" goes before templates, these before regular
	// expressions, and those before the longest beginning.
	Path string `json:"path" format:"routePath" default:"/" example:"/api"`
	// When is what requests have to be beside that. Where it does not hold, the next
	// route for the path is looked at, and then those for less of it.
	When RouteWhen `json:"when,omitzero"`
	// Rank goes before everything else among routes with the same host and path, and
	// among paths that are regular expressions: the highest first, then those with more
	// conditions, then in the order in which they stand.
	Rank int `json:"rank,omitzero" default:"0" min:"-1000" max:"1000" example:"10"`
	// Pool is the pool that requests are carried to. A route has one, or split, redirect
	// or respond.
	Pool string `json:"pool,omitzero" format:"identifier" default:"" example:"web"`
	// Split carries each request to one of several pools, by chance in proportion to
	// their weights.
	Split []RouteShare `json:"split,omitempty" max:"32" example:"[{pool: web, weight: 95}, {pool: canary, weight: 5}]"`
	// SplitBy has every request of a split drawn anew (request, as without it), or all of a client go to the same
	// pool, as long as the weights are the same.
	SplitBy string `json:"splitBy,omitzero" enum:",request,client" default:"" example:"client"`
	// Fallback is a pool for the requests while nobody of the other one is healthy.
	Fallback string `json:"fallback,omitzero" format:"identifier" default:"" example:"sorry"`
	// Rewrite is the path that requests go on to the pool with. {path} stands for that of
	// the request, {rest} for what of it is behind the path of the route, and the
	// variables of a template or the named groups of a regular expression for theirs.
	Rewrite string `json:"rewrite,omitzero" default:"" example:"/v2{rest}"`
	// Mirror sends copies of requests to another pool.
	Mirror RouteMirror `json:"mirror,omitzero"`
	// Timeouts bound how long requests of the route take.
	Timeouts RouteTimeouts `json:"timeouts,omitzero"`
	// Retry says when a request is sent to another member.
	Retry RouteRetry `json:"retry,omitzero"`
	// Filters are lists of filters that requests go through, in this order, behind those
	// for every route (filters[].everyRoute).
	Filters []string `json:"filters,omitempty" format:"identifier" max:"16" example:"[api]"`
	// OwnFilters leaves those for every route out.
	OwnFilters bool `json:"ownFilters,omitzero" default:"false" example:"true"`
	// Uncompressed has responses go as they are, whatever gateway.compression says: for
	// those whose content has both secrets and what others may have a part in.
	Uncompressed bool `json:"uncompressed,omitzero" default:"false" example:"true"`
	// Redirect leads clients elsewhere.
	Redirect RouteRedirect `json:"redirect,omitzero"`
	// Respond is a response that is always the same.
	Respond RouteRespond `json:"respond,omitzero"`
}

// RouteWhen is what a request has to be. All of it has to hold; of methods and of clients
// any one.
type RouteWhen struct {
	// Methods are those of the request. HEAD is another one than GET.
	Methods []string `json:"methods,omitempty" format:"token" max:"16" example:"[GET, HEAD]"`
	// Fields are conditions on header fields; of several of one name the first counts.
	Fields []RouteCondition `json:"fields,omitempty" max:"16" example:"[{name: X-Beta, value: \"1\"}]"`
	// Query are conditions on parameters of the query, without percent-encoding.
	Query []RouteCondition `json:"query,omitempty" max:"16" example:"[{name: v, regexp: \"[2-9]\"}]"`
	// Cookies are conditions on cookies.
	Cookies []RouteCondition `json:"cookies,omitempty" max:"16" example:"[{name: beta}]"`
	// JSON are conditions on values in content that is JSON (application/json, or a type that ends
	// with +json), by their paths: names, and numbers in lists, with dots between. The content is looked at as far as
	// gateway.limits.inspect, and then goes on whole; behind that, compressed, or with a name
	// that is there twice, a value is not there. It is read after all other conditions hold, and before filters.
	JSON []RouteCondition `json:"json,omitempty" max:"16" example:"[{name: order.region, value: eu}]"`
	// Form are conditions on values in content that is a form (application/x-www-form-urlencoded), likewise.
	Form []RouteCondition `json:"form,omitempty" max:"16" example:"[{name: plan, value: gold}]"`
	// Clients are the networks of clients. What gateway.trustedProxies say of the client
	// is believed.
	Clients []netip.Prefix `json:"clients,omitempty" max:"64" example:"[192.0.2.0/24]"`
	// Scheme is that of the connection: https over TLS, http in the clear. Both, if it is empty.
	Scheme string `json:"scheme,omitzero" enum:",http,https" default:"" example:"http"`
}

// RouteCondition is about one value: that it is there, or what it is.
type RouteCondition struct {
	// Name is that of the field, the parameter, the cookie or the value in a form, or the path
	// of a value in JSON.
	Name string `json:"name" required:"true" example:"X-Beta"`
	// Value is the whole value.
	Value string `json:"value,omitzero" default:"" example:"on"`
	// Prefix is the beginning of the value.
	Prefix string `json:"prefix,omitzero" default:"" example:"bot/"`
	// Regexp is a regular expression (RE2) that has to match the whole value.
	Regexp string `json:"regexp,omitzero" default:"" example:"[2-9]"`
	// Not turns it round: requests that are so, or have it, are not meant.
	Not bool `json:"not,omitzero" default:"false" example:"true"`
}

// RouteShare is a pool and its part of the requests.
type RouteShare struct {
	// Pool is the pool.
	Pool string `json:"pool" format:"identifier" required:"true" example:"canary"`
	// Weight is its part, in proportion to those of the others. 0: none for now.
	Weight int `json:"weight" default:"1" min:"0" max:"65536" example:"5"`
}

// RouteRedirect is where clients are led.
type RouteRedirect struct {
	// To is the URL, or a path on the same host. {host}, {path} and {query} stand for
	// those of the request, {query} with its "?"; and for the others see rewrite. What a
	// request says, but for its host, cannot say which host is led to.
	To string `json:"to,omitzero" default:"" example:"https://{host}{path}{query}"`
	// Status is 307 (as with 0) or, if clients may remember it for good, 308; with 302 and 301 they
	// may turn POST into GET, with 303 they do.
	Status int `json:"status,omitzero" default:"0" min:"0" max:"308" example:"308"`
}

// RouteRespond is a response.
type RouteRespond struct {
	// Status is its status code. 0: there is no response.
	Status int `json:"status,omitzero" default:"0" min:"0" max:"599" example:"503"`
	// Type is the media type of the content. Empty: that of the name of the file, or of plain text in UTF-8.
	Type string `json:"type,omitzero" default:"" example:"application/json"`
	// File has the content, at most 1 MiB. It is read again when it has changed. Clients that have it already are
	// told so (ETag, 304). What lies beside it under the same name with .br, .zst or .gz, and holds the same, goes to
	// clients that take it; else it is compressed as gateway.compression says, once.
	File string `json:"file,omitzero" format:"file" default:"" example:"pages/closed.html"`
	// Content is what is sent.
	Content string `json:"content,omitzero" default:"" example:"back at noon"`
}

// Rule returns the route as package route compiles it.
func (r *Route) Rule() route.Rule {
	out := route.Rule{
		Name: r.Name, Host: r.Host, Path: r.Path, Rank: r.Rank, Sticky: r.SplitBy == "client", Fallback: r.Fallback, Rewrite: r.Rewrite, Uncompressed: r.Uncompressed,
		When: route.When{
			Methods: r.When.Methods, Clients: r.When.Clients, Scheme: r.When.Scheme,
			Fields: conditions(r.When.Fields), Query: conditions(r.When.Query), Cookies: conditions(r.When.Cookies), JSON: conditions(r.When.JSON), Form: conditions(r.When.Form),
		},
	}
	if r.Pool != "" {
		out.Pools = append(out.Pools, route.Share{Pool: r.Pool, Weight: 1})
	}
	for _, s := range r.Split {
		out.Pools = append(out.Pools, route.Share{Pool: s.Pool, Weight: s.Weight})
	}
	if r.Redirect.To != "" {
		out.Redirect = &route.Redirect{Status: cmp.Or(r.Redirect.Status, 307), To: r.Redirect.To}
	}
	if r.Respond.Status != 0 {
		kind := "text/plain; charset=utf-8"
		if r.Respond.File != "" {
			kind = pages.TypeOf(r.Respond.File)
		}
		out.Respond = &route.Respond{Status: r.Respond.Status, Type: cmp.Or(r.Respond.Type, kind), Content: r.Respond.Content, File: r.Respond.File}
	}
	return out
}

// Rules returns the routes as package route compiles them.
func (r *Resources) Rules() []route.Rule {
	rules := make([]route.Rule, r.CountRoutes())
	for i, t := range r.EveryRoute() {
		if rules[i] = t.Rule(); i >= len(r.Routes) {
			rules[i].Key = t.Key()
		}
	}
	return rules
}

func conditions(list []RouteCondition) (out []route.Condition) {
	for _, c := range list {
		out = append(out, route.Condition(c))
	}
	return out
}

// Paths returns the names of files that r has, to be made absolute.
func (r *Route) Paths() []*string { return []*string{&r.Respond.File} }

// checkApplied reports what only the configuration file may say.
func (r *Route) checkApplied(report Report) {
	if r.Respond.File != "" {
		report("respond.file", "a route that is applied at run time cannot have files read", "put the route into the configuration file, or the text into respond.content")
	}
}

// check reports what is wrong within one route; at is where it stands.
func (r *Route) check(at string, report Report) {
	if r.Pool != "" && len(r.Split) > 0 {
		report(at+".split", "the route has a pool, too", "list that under split as well, or take one of them out")
		return
	}
	rule := r.Rule()
	if !document.Fits("routeHost", r.Host) {
		rule.Host = ""
	}
	if !document.Fits("routePath", r.Path) {
		rule.Path = ""
	}
	r.checkTerms(at, report)
	r.Mirror.check(at, r.Pool != "" || len(r.Split) > 0, report)
	if err := route.Check(rule); err != nil {
		report(at, err.Error(), "the keys of a route are in docs/CONFIG.md under routes[]")
	}
}

// poolsOf are the pools that r leads to.
func (r *Route) poolsOf() (names []string) {
	for _, s := range r.Split {
		names = append(names, s.Pool)
	}
	for _, name := range []string{r.Pool, r.Fallback, r.Mirror.Pool} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
