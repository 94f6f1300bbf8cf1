package state

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/token"
)

// FilterSet is a list of filters that requests go through, in their order, between a route
// and its pool. Many routes can share one.
type FilterSet struct {
	// Name is what routes call the list.
	Name string `json:"name" format:"identifier" required:"true" example:"api"`
	// EveryRoute has the requests of all routes go through it, before the filters of their
	// own, but for those with ownFilters.
	EveryRoute bool `json:"everyRoute,omitzero" default:"false" example:"true"`
	// Steps are the filters, in their order. The first that refuses ends the request; what
	// is said of response fields holds for refusals, too.
	Steps []FilterStep `json:"steps" max:"32" example:"[{clients: {allow: [10.0.0.0/8]}}]"`
}

// FilterStep is one filter: it does one of these things.
type FilterStep struct {
	// Clients says whose requests pass; others are refused with 403.
	Clients FilterClients `json:"clients,omitzero"`
	// Limits bounds the size of requests.
	Limits FilterLimits `json:"limits,omitzero"`
	// RequestFields changes the fields that go on to the pool.
	RequestFields FilterFields `json:"requestFields,omitzero"`
	// ResponseFields changes the fields that clients get.
	ResponseFields FilterFields `json:"responseFields,omitzero"`
	// Security has browsers be careful with what they get.
	Security FilterSecurity `json:"security,omitzero"`
	// CORS lets pages of other origins read responses.
	CORS FilterCORS `json:"cors,omitzero"`
	// RateLimit bounds how many requests pass in a time.
	RateLimit FilterRate `json:"rateLimit,omitzero"`
	// Concurrency bounds how many requests are under way at once.
	Concurrency FilterConcurrency `json:"concurrency,omitzero"`
	// BasicAuth asks for a name and a password.
	BasicAuth FilterBasic `json:"basicAuth,omitzero"`
	// JWT asks for a token that an issuer has signed.
	JWT FilterJWT `json:"jwt,omitzero"`
	// ForwardAuth has another server decide.
	ForwardAuth FilterAsk `json:"forwardAuth,omitzero"`
	// ErrorPages are what clients get to see of errors.
	ErrorPages FilterPages `json:"errorPages,omitzero"`
}

// FilterClients are networks of clients. The longest prefix that holds the client decides.
// What gateway.trustedProxies say of the client is believed, and what others say is not.
type FilterClients struct {
	// Allow are those whose requests pass. Without any, those pass that are not denied.
	Allow []netip.Prefix `json:"allow,omitempty" max:"10000" example:"10.0.0.0/8"`
	// Deny are those whose requests do not.
	Deny []netip.Prefix `json:"deny,omitempty" max:"10000" example:"10.9.0.0/16"`
}

// FilterLimits bounds requests, beside what gateway.limits says of all. 0: no further limit.
type FilterLimits struct {
	// Content is the largest content; 413 beyond it, also if no length was declared.
	Content document.Size `json:"content,omitzero" default:"0" min:"0" example:"1MiB"`
	// Fields is the largest request line with all fields; 431 beyond it.
	Fields document.Size `json:"fields,omitzero" default:"0" min:"0" max:"1MiB" example:"8KiB"`
	// Query is the longest query; 414 beyond it.
	Query document.Size `json:"query,omitzero" default:"0" min:"0" max:"64KiB" example:"1KiB"`
}

// FilterFields are changes of fields, in this order: remove, set, add, default. Values may
// have variables: {host}, {path}, {query}, {rest}, {client}, {scheme}, {method}, {id} (of the
// request) and {route}, and those of the path of the route. "{{" stands for "{". A route that
// lacks a variable is refused.
type FilterFields struct {
	// Remove are fields that do not go on.
	Remove []string `json:"remove,omitempty" format:"token" max:"64" example:"[Server]"`
	// Set are fields in place of those of the same name. A client cannot send them then, as
	// trailer fields neither. Host is what the pool is told as the host.
	Set []FilterField `json:"set,omitempty" max:"64" example:"[{name: X-Client, value: \"{client}\"}]"`
	// Add are fields beside those of the same name.
	Add []FilterField `json:"add,omitempty" max:"64" example:"[{name: Link, value: \"</style.css>; rel=preload\"}]"`
	// Default are fields that are written unless there is one of the name.
	Default []FilterField `json:"default,omitempty" max:"64" example:"[{name: Cache-Control, value: no-store}]"`
}

// FilterField is a field.
type FilterField struct {
	// Name is its name.
	Name string `json:"name" format:"token" required:"true" example:"X-Client"`
	// Value is its value.
	Value string `json:"value" default:"" example:"{client}"`
}

// FilterSecurity is fields for browsers. What the pool says itself counts over it, but for HSTS.
type FilterSecurity struct {
	// Preset is off, or usual: X-Content-Type-Options: nosniff, X-Frame-Options: SAMEORIGIN and
	// Referrer-Policy: strict-origin-when-cross-origin, and over TLS HSTS for a year; or strict: with
	// X-Frame-Options: DENY and Referrer-Policy: no-referrer.
	Preset string `json:"preset,omitzero" enum:",off,usual,strict" default:"" example:"usual"`
	// HSTS is how long browsers are to come by TLS only, said over TLS only, in place of the
	// preset's year. 1s or more; 0 takes the preset's.
	HSTS document.Duration `json:"hsts,omitzero" default:"0s" min:"0s" max:"17520h" example:"8760h"`
	// NoHSTS has nothing said of it.
	NoHSTS bool `json:"noHSTS,omitzero" default:"false" example:"true"`
	// Subdomains has HSTS hold for all names below the host, too.
	Subdomains bool `json:"subdomains,omitzero" default:"false" example:"true"`
	// Preload asks browsers to have the host in their lists.
	Preload bool `json:"preload,omitzero" default:"false" example:"true"`
	// Frame is X-Frame-Options, in place of the preset's.
	Frame string `json:"frame,omitzero" enum:",DENY,SAMEORIGIN" default:"" example:"DENY"`
	// Referrer is Referrer-Policy, in place of the preset's.
	Referrer string `json:"referrer,omitzero" enum:",no-referrer,no-referrer-when-downgrade,origin,origin-when-cross-origin,same-origin,strict-origin,strict-origin-when-cross-origin,unsafe-url" default:"" example:"same-origin"`
	// ContentPolicy is Content-Security-Policy.
	ContentPolicy string `json:"contentPolicy,omitzero" default:"" example:"default-src 'self'"`
}

// FilterCORS lets pages of other origins read responses (https://fetch.spec.whatwg.org). Preflight
// requests are answered by the gateway; what the pool says of CORS does not go on.
type FilterCORS struct {
	// Origins are those of the pages: "https://www.example.com", "https://*.example.com" for every
	// name below one, "~" and a regular expression (RE2) that has to match the whole
	// origin, or "*" for all, which excludes credentials.
	Origins []string `json:"origins,omitempty" max:"256" example:"[https://www.example.com]"`
	// Methods are those that pages may use beside GET, HEAD and POST.
	Methods []string `json:"methods,omitempty" format:"token" max:"32" example:"[PUT, DELETE]"`
	// Fields are those that pages may send.
	Fields []string `json:"fields,omitempty" format:"token" max:"64" example:"[Authorization, Content-Type]"`
	// Expose are fields of responses that pages may read.
	Expose []string `json:"expose,omitempty" format:"token" max:"64" example:"[X-Request-Id]"`
	// Credentials lets pages send cookies and read what comes back for them.
	Credentials bool `json:"credentials,omitzero" default:"false" example:"true"`
	// MaxAge is how long browsers may remember the answer to a preflight.
	MaxAge document.Duration `json:"maxAge,omitzero" default:"0s" min:"0s" max:"24h" example:"1h"`
}

// FilterRate bounds how many requests of one key pass in a time (a token bucket for each key);
// the others are refused with 429 and Retry-After. Responses say what is left (RateLimit,
// RateLimit-Policy). Each node counts for itself, over reloads too.
type FilterRate struct {
	// Key is whose requests are counted together, by up to four parts: client (an IPv4
	// address, or a /64 of IPv6), client/24/56 (networks of these lengths), route, pool, host, path, method,
	// field:NAME, cookie:NAME, query:NAME, claim:NAME (of the token that a filter jwt before
	// it has verified). A named part that a request does not have stands for its client.
	Key []string `json:"key,omitempty" default:"client" max:"4" example:"[client, \"field:X-Api-Key\"]"`
	// Requests is how many pass in the time per. 0: there is no limit.
	Requests int `json:"requests,omitzero" default:"0" min:"0" max:"1000000000" example:"100"`
	// Per is that time.
	Per document.Duration `json:"per,omitzero" default:"1s" min:"1ms" max:"24h" example:"1m"`
	// Burst is how many pass at once after a pause; 0: as many as requests.
	Burst int `json:"burst,omitzero" default:"0" min:"0" max:"1000000000" example:"20"`
	// Accounts is about how many keys are kept apart, at 8 octets each. With more, those whose
	// keys have done least lately are forgotten. 0: 65536.
	Accounts int `json:"accounts,omitzero" default:"0" min:"0" max:"16777216" example:"1000000"`
	// DryRun only counts what would be refused (pharos_http_filter_total, outcome spared).
	DryRun bool `json:"dryRun,omitzero" default:"false" example:"true"`
}

// FilterConcurrency bounds how many requests of one key are under way at once. Others wait in
// turn; those that find the queue full, or have waited too long, are refused with 503 and
// Retry-After. Once there has been a queue for longer than wait, the newest go first.
type FilterConcurrency struct {
	// Key is whose requests are counted together, as in rateLimit.
	Key []string `json:"key,omitempty" default:"route" max:"4" example:"[pool]"`
	// Most is how many are under way at once. 0: there is no limit.
	Most int `json:"most,omitzero" default:"0" min:"0" max:"1000000" example:"100"`
	// Queue is how many wait, for each key.
	Queue int `json:"queue,omitzero" default:"0" min:"0" max:"1000000" example:"200"`
	// Wait is how long one waits.
	Wait document.Duration `json:"wait,omitzero" default:"1s" min:"1ms" max:"5m" example:"500ms"`
}

// FilterBasic asks for a name and a password (RFC 7617). Passwords that were right are not worked
// out again for 15 minutes; a client may try 10 others a minute, and no more than two are worked out at a time.
type FilterBasic struct {
	// Users is a file with lines of name:hash, as htpasswd -B makes them: hashes of bcrypt or
	// Argon2id. It is read again when it changes.
	Users string `json:"users,omitzero" format:"file" default:"" example:"users.htpasswd"`
	// Realm is what browsers call what is asked for. Default: the name of the list.
	Realm string `json:"realm,omitzero" default:"" example:"office"`
	// Field is a field that the pool gets the name in. Clients cannot send it.
	Field string `json:"field,omitzero" format:"token" default:"" example:"X-User"`
	// Forward has the pool get the name and the password (Authorization), too.
	Forward bool `json:"forward,omitzero" default:"false" example:"true"`
}

// FilterJWT asks for a JSON Web Token (RFC 7519) in Authorization (RFC 6750) or in a cookie; 401
// without one that counts, 403 with one that does not allow it. A token has to have an end (exp).
type FilterJWT struct {
	// Keys is where the issuer's keys are (a JWK set, RFC 7517): a file, or an https URL. What
	// cannot be read anew counts on as it was.
	Keys string `json:"keys,omitzero" default:"" example:"https://id.example.com/.well-known/jwks.json"`
	// Refresh is how often a URL is asked again; besides, when a token names a key that is not known.
	Refresh document.Duration `json:"refresh,omitzero" default:"15m" min:"30s" max:"24h" example:"1h"`
	// Algorithms are those that tokens may be signed by: RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512, EdDSA; HS256, HS384, HS512 with keys from a file. Each is only
	// ever verified with a key of its kind.
	Algorithms []string `json:"algorithms,omitempty" default:"RS256,ES256" max:"13" example:"[ES256]"`
	// Issuer is who tokens have to be of (iss). Empty: anybody who has the keys.
	Issuer string `json:"issuer,omitzero" default:"" example:"https://id.example.com"`
	// Audience are names of which tokens have to be for one (aud). Without any, no one is asked for.
	Audience []string `json:"audience,omitempty" max:"16" example:"[shop]"`
	// Leeway is how much the clock of the issuer may differ.
	Leeway document.Duration `json:"leeway,omitzero" default:"10s" min:"0s" max:"10m" example:"1m"`
	// Cookie is the cookie that the token is in, in place of Authorization.
	Cookie string `json:"cookie,omitzero" format:"token" default:"" example:"session"`
	// Optional lets requests without a token pass, without what fields would say.
	Optional bool `json:"optional,omitzero" default:"false" example:"true"`
	// Forward has the pool get the token (Authorization), too.
	Forward bool `json:"forward,omitzero" default:"false" example:"true"`
	// Fields are fields that the pool gets claims in. Clients cannot send them.
	Fields []FilterClaimField `json:"fields,omitempty" max:"32" example:"[{claim: sub, field: X-User}]"`
	// Require are claims that have to be so; all of them.
	Require []FilterClaim `json:"require,omitempty" max:"32" example:"[{claim: scope, values: [orders]}]"`
}

// FilterClaimField is a field with a claim.
type FilterClaimField struct {
	// Claim is its name. Dots lead into objects: realm.roles. Lists are written with commas.
	Claim string `json:"claim" required:"true" example:"sub"`
	// Field is the field.
	Field string `json:"field" format:"token" required:"true" example:"X-User"`
}

// FilterClaim is what a claim has to be.
type FilterClaim struct {
	// Claim is its name; dots lead into objects.
	Claim string `json:"claim" required:"true" example:"scope"`
	// Values are values of which it is one, has one as a list, or has one among its words.
	Values []string `json:"values" required:"true" max:"64" example:"[orders]"`
}

// FilterAsk has another server decide about each request: it gets GET with X-Forwarded-Method,
// -Proto, -Host, -Uri and -For. With a status from 200 to 299 the request goes on; other answers
// below 500 go to the client; if it does not answer, the request is refused with 503.
type FilterAsk struct {
	// URL is where it is asked.
	URL string `json:"url,omitzero" default:"" example:"http://127.0.0.1:9000/check"`
	// Timeout is how long it may take.
	Timeout document.Duration `json:"timeout,omitzero" default:"1s" min:"10ms" max:"1m" example:"500ms"`
	// Send are fields of the request that it gets.
	Send []string `json:"send,omitempty" format:"token" default:"Authorization,Cookie" max:"32" example:"[Cookie]"`
	// Copy are fields of its answer that the pool gets. Clients cannot send them.
	Copy []string `json:"copy,omitempty" format:"token" max:"32" example:"[X-User]"`
	// CA is a file with the authorities that its certificate may be of. Default: the system's.
	CA string `json:"ca,omitzero" format:"file" default:"" example:"ca.pem"`
}

// FilterPages are pages that clients get with errors in place of a line of text, of which the field Proxy-Status
// still says the kind, and nothing more. Those of a list for every route are also for requests
// that no route was found for. Pages of lists that come later go first. gRPC calls get a grpc-status.
type FilterPages struct {
	// Pages are the pages. One that names the status goes before one for its class; of several the client gets
	// the one that it likes best (Accept), and the first if it does not say.
	Pages []FilterPage `json:"pages,omitempty" max:"64" example:"[{statuses: [\"404\"], file: pages/404.html}]"`
	// Origins has errors of the pools replaced as well. Of their fields only WWW-Authenticate, Retry-After,
	// Allow, Set-Cookie and Location go on.
	Origins bool `json:"origins,omitzero" default:"false" example:"true"`
}

// FilterPage is a page. {status}, {reason} (of the status), {requestId}, {host}, {method} and {path} stand for what they
// are, escaped for HTML, XML or JSON by the media type; other braces are what they are.
type FilterPage struct {
	// Statuses are those that it is for: 400 to 599, 4xx or 5xx.
	Statuses []string `json:"statuses" required:"true" max:"64" example:"[\"404\", 5xx]"`
	// Type is its media type. Empty: that of the name of the file, or HTML in UTF-8.
	Type string `json:"type,omitzero" default:"" example:"application/json"`
	// File has its content, at most 64 KiB. It is read again when it has changed.
	File string `json:"file,omitzero" format:"file" default:"" example:"pages/404.html"`
	// Content is its content, in place of a file.
	Content string `json:"content,omitzero" default:"" example:"<h1>{status} {reason}</h1><p>{requestId}"`
}

// Paths returns the names of files that f has, to be made absolute.
func (f *FilterSet) Paths() (paths []*string) {
	for i := range f.Steps {
		s := &f.Steps[i]
		paths = append(paths, &s.BasicAuth.Users, &s.ForwardAuth.CA)
		if !strings.Contains(s.JWT.Keys, "://") {
			paths = append(paths, &s.JWT.Keys)
		}
		for j := range s.ErrorPages.Pages {
			paths = append(paths, &s.ErrorPages.Pages[j].File)
		}
	}
	return paths
}

// Spec returns the list as package filter compiles it.
func (f *FilterSet) Spec() filter.Set {
	out := filter.Set{Name: f.Name, EveryRoute: f.EveryRoute}
	for i := range f.Steps {
		out.Steps = append(out.Steps, f.Steps[i].spec())
	}
	return out
}

func (f *FilterStep) spec() (out filter.Step) {
	if c := f.Clients; len(c.Allow)+len(c.Deny) > 0 {
		out.Clients = &filter.Clients{Allow: c.Allow, Deny: c.Deny}
	}
	if l := f.Limits; l != (FilterLimits{}) {
		out.Limits = &filter.Limits{Content: int64(l.Content), Head: int(l.Fields), Query: int(l.Query)}
	}
	out.Request, out.Response = f.RequestFields.spec(), f.ResponseFields.spec()
	out.Security = f.Security.spec()
	if c := f.CORS; len(c.Origins) > 0 {
		out.CORS = &filter.CORS{
			Origins: c.Origins, Methods: c.Methods, Fields: c.Fields, Expose: c.Expose, Credentials: c.Credentials, MaxAge: c.MaxAge.Std(),
		}
	}
	if r := f.RateLimit; r.Requests > 0 {
		out.Rate = &filter.Rate{Key: r.Key, Requests: r.Requests, Per: r.Per.Std(), Burst: r.Burst, Accounts: r.Accounts, DryRun: r.DryRun}
	}
	if c := f.Concurrency; c.Most > 0 {
		out.Crowd = &filter.Crowd{Key: c.Key, Most: c.Most, Queue: c.Queue, Wait: c.Wait.Std()}
	}
	if b := f.BasicAuth; b.Users != "" {
		out.Basic = &filter.Basic{Users: b.Users, Realm: b.Realm, Field: b.Field, Forward: b.Forward}
	}
	if f.JWT.Keys != "" {
		out.JWT = f.JWT.spec()
	}
	if a := f.ForwardAuth; a.URL != "" {
		out.Ask = &filter.Ask{URL: a.URL, Timeout: a.Timeout.Std(), Send: a.Send, Copy: a.Copy, CA: a.CA}
	}
	out.Pages = f.ErrorPages.spec()
	return out
}

func (j *FilterJWT) spec() *filter.JWT {
	out := &filter.JWT{
		Keys: j.Keys, Refresh: j.Refresh.Std(), Cookie: j.Cookie, Optional: j.Optional, Forward: j.Forward,
		Rule: token.Rule{Algorithms: j.Algorithms, Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway.Std()},
	}
	for _, f := range j.Fields {
		out.Fields = append(out.Fields, filter.ClaimField(f))
	}
	for _, c := range j.Require {
		out.Require = append(out.Require, filter.ClaimRule(c))
	}
	return out
}

func (p *FilterPages) spec() *filter.Pages {
	if len(p.Pages) == 0 {
		return nil
	}
	out := &filter.Pages{Origins: p.Origins}
	for _, page := range p.Pages {
		out.Pages = append(out.Pages, pages.Spec{Statuses: page.Statuses, Type: page.Type, File: page.File, Content: page.Content})
	}
	return out
}

func (f *FilterFields) spec() *filter.Changes {
	if len(f.Remove)+len(f.Set)+len(f.Add)+len(f.Default) == 0 {
		return nil
	}
	fields := func(list []FilterField) (out []filter.Field) {
		for _, f := range list {
			out = append(out, filter.Field(f))
		}
		return out
	}
	return &filter.Changes{Remove: f.Remove, Set: fields(f.Set), Add: fields(f.Add), Default: fields(f.Default)}
}

func (s *FilterSecurity) spec() *filter.Security {
	if *s == (FilterSecurity{}) || s.Preset == "off" {
		return nil
	}
	out := &filter.Security{
		HSTS: s.HSTS.Std(), Subdomains: s.Subdomains, Preload: s.Preload, Frame: s.Frame, Referrer: s.Referrer, Policy: s.ContentPolicy,
	}
	switch s.Preset {
	case "usual":
		out.Frame, out.Referrer = cmp.Or(out.Frame, "SAMEORIGIN"), cmp.Or(out.Referrer, "strict-origin-when-cross-origin")
	case "strict":
		out.Frame, out.Referrer = cmp.Or(out.Frame, "DENY"), cmp.Or(out.Referrer, "no-referrer")
	}
	if s.Preset != "" {
		out.HSTS = cmp.Or(out.HSTS, 365*24*time.Hour)
	}
	if s.NoHSTS {
		out.HSTS = 0
	}
	return out
}

// check reports what is wrong within one list; at is where it stands.
func (f *FilterSet) check(at string, report Report) {
	set := f.Spec()
	for _, err := range filter.Check(&set) {
		where := at
		if step := (*filter.StepError)(nil); errors.As(err, &step) {
			where, err = join(at, fmt.Sprintf("steps[%d]", step.Step)), step.Err
		}
		report(where, err.Error(), "the keys of a filter are in docs/CONFIG.md under filters[].steps[]")
	}
	if len(f.Steps) == 0 {
		report(join(at, "steps"), "the list has no filters", "add one, as in steps: [{security: {preset: usual}}]")
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// What is said of filters that have what only the configuration file may say.
const (
	appliedFilter = "filters that are applied at run time cannot have files read or servers asked"
	appliedRemedy = "put the filters into the configuration file; routes that are applied can refer to them"
)

// checkApplied reports what only the configuration file may say: filters that are applied at
// run time cannot have the node read its files, nor ask servers.
func (f *FilterSet) checkApplied(at string, report Report) {
	for i, s := range f.Steps {
		for _, key := range []struct{ name, value string }{{"basicAuth.users", s.BasicAuth.Users}, {"jwt.keys", s.JWT.Keys}, {"forwardAuth.url", s.ForwardAuth.URL}} {
			if key.value != "" {
				report(join(at, fmt.Sprintf("steps[%d].%s", i, key.name)), appliedFilter, appliedRemedy)
			}
		}
		for j, page := range s.ErrorPages.Pages {
			if page.File != "" {
				report(join(at, fmt.Sprintf("steps[%d].errorPages.pages[%d].file", i, j)), appliedFilter, appliedRemedy)
			}
		}
	}
}

func (r *Resources) checkFilters(report Report) {
	named := map[string]int{}
	for i := range r.Filters {
		f, at := &r.Filters[i], fmt.Sprintf("filters[%d]", i)
		if j, twice := named[f.Name]; twice && f.Name != "" {
			report(at+".name", fmt.Sprintf("filters %q are already filters[%d]", f.Name, j), "give each list its own name")
		}
		named[f.Name] = i
		f.check(at, report)
	}
}

// checkFiltersOf checks that a route has the filters that it names, and their variables.
func (r *Resources) checkFiltersOf(t *Route, at string, report Report) {
	for i, name := range t.Filters {
		if filterNamed(r.Filters, name) != nil {
			continue
		}
		var names []string
		for j := range r.Filters {
			names = append(names, r.Filters[j].Name)
		}
		remedy := "add the list under filters"
		if near := document.Nearest(name, names); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		report(fmt.Sprintf("%sfilters[%d]", at, i), fmt.Sprintf("unknown filters %q", name), remedy)
		return
	}
	if text := t.lacks(r.Filters); text != "" {
		report(at+"filters", text, "give the variable to the path, or take it out of the filters")
	}
}

func filterNamed(sets []FilterSet, name string) *FilterSet {
	if i := slices.IndexFunc(sets, func(f FilterSet) bool { return f.Name == name }); i >= 0 {
		return &sets[i]
	}
	return nil
}

// lacks says which variable of its filters a route does not have; "" if it has all. What is
// wrong by itself has been reported.
func (r *Route) lacks(sets []FilterSet) string {
	var names []string
	for i := range sets {
		if sets[i].EveryRoute && !r.OwnFilters {
			names = append(names, sets[i].Name)
		}
	}
	names = append(names, r.Filters...)
	if len(names) == 0 {
		return ""
	}
	made, err := route.Lone(r.Rule())
	if err != nil {
		return ""
	}
	for _, name := range names {
		f := filterNamed(sets, name)
		if f == nil {
			return ""
		}
		for i := range f.Steps {
			for _, fields := range []FilterFields{f.Steps[i].RequestFields, f.Steps[i].ResponseFields} {
				for _, field := range slices.Concat(fields.Set, fields.Add, fields.Default) {
					if !strings.Contains(field.Value, "{") {
						continue
					}
					if text, err := route.CompileText(field.Value); err == nil && made.Lacks(text) != "" {
						return fmt.Sprintf("filters %q write {%s}, which is no variable of the path %s", name, made.Lacks(text), r.Path)
					}
				}
			}
		}
	}
	return ""
}
