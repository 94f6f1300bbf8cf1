// Package api is the admin listener: the state of a node as JSON, its metrics,
// one page for people, and the few calls that change something.
//
//	GET    /                     a page with pools, zones and problems
//	GET    /healthz              200 while the process serves
//	GET    /readyz               200 when clients may be sent here; 503 and the reason otherwise
//	GET    /metrics              Prometheus
//	GET    /api/status           Status
//	GET    /api/pools            []Pool
//	GET    /api/pools/NAME       Pool
//	GET    /api/overrides        []Override: what operators say of members at run time
//	POST   /api/overrides        an OverrideRequest: Overridden
//	GET    /api/pools/NAME/scale  ?limit=: Scale, its last decisions first
//	GET    /api/health/history   ?about=&limit=: []HealthEvent, the newest first
//	GET    /api/zones            []Zone
//	GET    /api/zones/NAME/check      ZoneCheck: which serials other servers have
//	POST   /api/zones/NAME/notify     tell the secondaries: Applied
//	POST   /api/zones/NAME/accept     serve the version ?serial= that the gate refused: Applied
//	POST   /api/zones/NAME/refresh    ask the primaries, ?force=true: transfer whatever the serial: Applied
//	...    /api/zones/NAME/...        its versions and records: versions.go
//	GET    /api/zones/NAME/keys       ZoneKeys: those it is signed with
//	POST   /api/zones/NAME/keys       take in a KeyImport: Applied
//	POST   /api/zones/NAME/withdraw   ?tag=: no longer publish a key of another signer: Applied
//	POST   /api/zones/NAME/rollover   ?role=, ?compromised=true: replace its keys: Applied
//	GET    /api/zones/NAME/children   ZoneChildren: whose DS records follow them
//	POST   /api/zones/NAME/children   ask them now, or child=NAME: ZoneChildren
//	GET    /api/zones/NAME/ds         ZoneDS: what the parent should have, and has
//	POST   /api/zones/NAME/ds         the parent has it, an operator says: Applied
//	GET    /api/cache                 CacheEntry a line: ?name=&tree=true&type=&view=
//	GET    /api/cache/stats           []CacheStats; /api/cache/servers?view=: []CacheServer
//	POST   /api/cache/flush           ?name=&tree=true&type=&view=: CacheFlushed
//	GET    /api/resolver/anchors      TrustAnchors: what chains of trust begin with
//	GET    /api/resolver/upstreams    []Upstream: servers that are asked how they can be asked encrypted
//	POST   /api/resolver/negative     a NegativeChange: Applied
//	DELETE /api/resolver/negative/NAME  Applied
//	GET    /api/explain          ?name=&type= or ?url=&method=&field=&route= or ?stream=&serverName=, and &from=, &subnet=; or ?id=: Explanation
//	GET    /api/objects          ?kind=: []Object, what is changed at run time
//	POST   /api/objects          a YAML document of pools, steer and routes: Applied
//	DELETE /api/objects/KIND/NAME  Applied
//	POST   /api/reload           read the configuration again: Applied
//
// Every error is {"error": "what is wrong; what to do"}.
//
// It owns the routes, the encoding and who may call; what the calls do is the
// node's, given as functions. The listener is on the loopback by default and has
// no log-in: whoever can connect may change things. Against web pages that make
// a browser connect, it answers only to its own names (DNS rebinding) and refuses
// changes that a form could send (cross-site requests).
//
// Concurrency: the handler may be called by many goroutines; so must Calls.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"pharos/internal/admin/explain"
)

// MaxDocument is the largest document that may be applied, in octets: some ten
// thousand routes.
const MaxDocument = 4 << 20

// Calls are what the listener can ask of a node.
type Calls struct {
	Status  func() Status
	Ready   func() error // nil when ready
	Pools   func() []Pool
	Zones   func() []Zone
	Zone    ZoneCalls
	DNSSEC  DNSSECCalls
	Trust   TrustCalls
	Cache   CacheCalls
	Health  HealthCalls
	Scale   ScaleCalls
	Members MemberCalls
	Explain func(context.Context, ExplainRequest) (*explain.Explanation, error)
	Objects func(ctx context.Context, kind string) ([]Object, error)
	Apply   func(ctx context.Context, document []byte) (Applied, error)
	Delete  func(ctx context.Context, kind, name string) (Applied, error)
	Reload  func(context.Context) (Applied, error)
	Metrics http.Handler

	Versions VersionCalls
}

// Status is the state of a node at a glance.
type Status struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Revision  uint64    `json:"revision"` // of the snapshot that answers
	Store     string    `json:"store"`    // "ready", "starting", "off", or what is wrong
	Config    string    `json:"config"`   // file
	Listeners []string  `json:"listeners"`
	Zones     int       `json:"zones"`
	Pools     int       `json:"pools"`
	Routes    int       `json:"routes"`
	Problems  []Problem `json:"problems"`

	Certificates []Certificate `json:"certificates,omitempty"`
	Updates      *Updates      `json:"updates,omitempty"` // nil: none has come
}

// Updates is what became of the dynamic updates since the start.
type Updates struct {
	Changed      uint64 `json:"changed"`      // a zone
	Unchanged    uint64 `json:"unchanged"`    // asked for what was so already
	Prerequisite uint64 `json:"prerequisite"` // one did not hold
	Refused      uint64 `json:"refused"`      // the client may not
	Malformed    uint64 `json:"malformed"`
	Failed       uint64 `json:"failed"` // here, or too many at a time
	Forwarded    uint64 `json:"forwarded"`
}

// Certificate is a certificate that encrypted listeners show.
type Certificate struct {
	File        string    `json:"file"`
	Names       []string  `json:"names"`
	Until       time.Time `json:"until"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate, hexadecimal
	Pin         string    `json:"pin"`         // SHA-256 of its public key, base64
}

// Problem is something an operator should know.
type Problem struct {
	Code     string    `json:"code"`            // stable, for alerts: "pool-all-down"
	About    string    `json:"about,omitempty"` // the zone, pool or object; empty: the node
	Severity string    `json:"severity"`        // "warning", "error"
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

// Pool is a pool as it is now.
type Pool struct {
	Name     string   `json:"name"`
	Policy   string   `json:"policy"`
	Check    string   `json:"check"`
	AllDown  bool     `json:"all_down"`
	Revision uint64   `json:"revision"`
	Members  []Member `json:"members"`
	Lists    []List   `json:"lists,omitempty"` // that members are discovered by
}

// List is a list of servers that others keep.
type List struct {
	From    string    `json:"from"` // "srv _http._tcp.example.com"
	Members int       `json:"members"`
	Read    time.Time `json:"read,omitzero"` // when it was read last, with success
	Problem string    `json:"problem,omitempty"`
}

// Member is a member of a pool as it is now.
type Member struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	Weight   int       `json:"weight"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Cause    string    `json:"cause,omitempty"`
	Eligible bool      `json:"eligible"`

	Tier      int   `json:"tier,omitempty"`      // those of tier 1 are for when nobody of tier 0 serves
	Capacity  int   `json:"capacity,omitempty"`  // requests at once, as it is now; 0: no bound
	Bandwidth int64 `json:"bandwidth,omitempty"` // bits per second; 0: no bound
	Active    int64 `json:"active,omitempty"`    // requests and connections that are there

	// What an operator says at run time, over what is configured: see Override.
	Configured *Configured `json:"configured,omitempty"` // nil: nothing was said
	Override   *Override   `json:"override,omitempty"`

	From        string        `json:"from,omitempty"` // the list it was discovered by; empty: the configuration
	LastProbe   time.Time     `json:"last_probe,omitzero"`
	LastLatency time.Duration `json:"last_latency_nanos,omitempty"`
	LastCause   string        `json:"last_cause,omitempty"`
	Agent       string        `json:"agent,omitempty"`      // what its agent has said
	Certificate time.Time     `json:"certificate,omitzero"` // when the certificate it shows ends
	Warning     string        `json:"warning,omitempty"`    // what somebody should look at although it is well

	Share     int               `json:"share_permille"`             // of its weight that it has now
	Traffic   map[string]uint32 `json:"traffic,omitempty"`          // what became of the requests to it, by outcome
	Beside    string            `json:"beside_peers,omitempty"`     // what the last comparison with its peers has shown
	InARow    int               `json:"failed_in_a_row,omitempty"`  // requests
	Held      string            `json:"held,omitempty"`             // ejected or damped: it is down although probes may be good
	HeldUntil time.Time         `json:"held_until,omitzero"`        // at least
	Ejections int               `json:"ejections,omitempty"`        // that are not forgotten
	Penalty   int               `json:"penalty,omitempty"`          // for coming and going, what is left of it
	AgentAt   string            `json:"agent_last_cause,omitempty"` // of an agent that is asked beside the check: its last answer
}

// ZoneCalls are what can be asked about one zone.
type ZoneCalls struct {
	Check   func(ctx context.Context, name string) (ZoneCheck, error)
	Notify  func(ctx context.Context, name string) (Applied, error)
	Refresh func(ctx context.Context, name string, force bool) (Applied, error)
	Accept  func(ctx context.Context, name string, serial uint32) (Applied, error)

	Children    func(ctx context.Context, name string) (ZoneChildren, error)
	AskChildren func(ctx context.Context, name, child string) (ZoneChildren, error) // child: one of them; empty: all
}

// ZoneChildren are the children of a zone whose DS records follow them, as far as they were
// asked.
type ZoneChildren struct {
	Name     string      `json:"name"`
	Children []ZoneChild `json:"children"`
}

// ZoneChild is how a child was when it was last asked.
type ZoneChild struct {
	Name string `json:"name"`
	// State is "says nothing" (no CDS), "agrees", "change" or "remove" (that was done then),
	// "refused", "not seen" or "left to people"; the last three have a Why.
	State   string    `json:"state"`
	Why     string    `json:"why,omitempty"`
	DS      []string  `json:"ds"` // that the zone has now
	Asked   time.Time `json:"asked,omitzero"`
	Changed time.Time `json:"changed,omitzero"` // when its DS records last were, as it asked; since the start
}

// Zone is a zone as it is served.
type Zone struct {
	Name    string    `json:"name"`
	View    string    `json:"view,omitempty"`    // empty outside of views
	Kind    string    `json:"kind"`              // "file", "secondary", "store", "catalog"
	Catalog string    `json:"catalog,omitempty"` // that lists the zone, if it comes from one
	Serial  uint32    `json:"serial"`
	Names   int       `json:"names"`
	Records int       `json:"records"`
	File    string    `json:"file,omitempty"`
	Loaded  time.Time `json:"loaded"`
	Journal int       `json:"journal"` // differences that IXFR can be answered from
	Problem string    `json:"problem,omitempty"`

	Secondary *Secondary `json:"secondary,omitempty"`
	Told      []Told     `json:"told,omitempty"`
}

// Secondary is how a secondary zone follows its primaries.
type Secondary struct {
	Present   bool      `json:"present"`  // there is a version, and it has not expired
	Checking  bool      `json:"checking"` // a primary is being asked
	Form      string    `json:"form,omitempty"`
	From      string    `json:"from,omitempty"` // of the last transfer
	Received  time.Time `json:"received,omitzero"`
	Confirmed time.Time `json:"confirmed,omitzero"` // by a primary
	NextCheck time.Time `json:"next_check,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Failures  int       `json:"failures"` // in a row
}

// Told is what became of telling a server of a change (NOTIFY).
type Told struct {
	Server string    `json:"server"`
	Serial uint32    `json:"serial"`
	Since  time.Time `json:"since"`
	Tries  int       `json:"tries"`
	Done   bool      `json:"done"`
	Error  string    `json:"error,omitempty"`
}

// ZoneCheck is which serial each server of a zone has now.
type ZoneCheck struct {
	Name    string        `json:"name"`
	Serial  uint32        `json:"serial"` // served here
	Servers []ServerCheck `json:"servers"`
}

// ServerCheck is what one server said.
type ServerCheck struct {
	Role    string `json:"role"` // "primary", "secondary"
	Address string `json:"address"`
	Serial  uint32 `json:"serial"`
	Problem string `json:"problem,omitempty"`
}

// ExplainRequest is a question to be explained: Name and Type, or URL; or ID, the
// failure that was told to a client.
type ExplainRequest struct {
	ID          string
	Name, Type  string
	URL, Method string
	Stream      string // layer 4; then ServerName is what the client asks for by TLS
	ServerName  string
	From        netip.Addr   // the client; zero: the caller
	Subnet      netip.Prefix // for whom it asks (RFC 7871); zero: for itself
	Fields      []string     // of a request: lines, "name: value"
	Content     string       // of a request: its beginning
	RouteOnly   bool         // show which way a request takes, and no more
	Resolve     bool         // show how it is resolved with an empty cache
}

// Object is one object of the store.
type Object struct {
	Kind     string          `json:"kind"`
	Name     string          `json:"name"`
	Revision int64           `json:"revision"`
	Spec     json.RawMessage `json:"spec"`
}

// Applied is the outcome of a change.
type Applied struct {
	Changed  []string `json:"changed"`  // "pool web", ...; empty when all was so already
	Revision uint64   `json:"revision"` // of the snapshot that has the change
	Warnings []string `json:"warnings,omitempty"`
	Refused  []string `json:"refused,omitempty"` // what was asked for and is not in force, with the reason
}

// Refused is an error that is the caller's: the status is 4xx.
type Refused struct {
	Status int
	Err    error
}

// Error is part of error.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap is part of errors.Is and errors.As.
func (r *Refused) Unwrap() error { return r.Err }

// Handler serves calls.
func Handler(calls Calls) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", calls.ready)
	mux.Handle("GET /metrics", calls.Metrics)
	mux.HandleFunc("GET /{$}", calls.page)
	mux.HandleFunc("GET /api/status", reply(func(*http.Request) (any, error) { return calls.Status(), nil }))
	mux.HandleFunc("GET /api/pools", reply(func(*http.Request) (any, error) { return calls.Pools(), nil }))
	mux.HandleFunc("GET /api/zones", reply(func(*http.Request) (any, error) { return calls.Zones(), nil }))
	mux.HandleFunc("GET /api/zones/{name}/check", reply(func(r *http.Request) (any, error) {
		return calls.Zone.Check(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/zones/{name}/notify", reply(func(r *http.Request) (any, error) {
		return calls.Zone.Notify(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /api/zones/{name}/children", reply(func(r *http.Request) (any, error) {
		return calls.Zone.Children(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/zones/{name}/children", reply(func(r *http.Request) (any, error) {
		return calls.Zone.AskChildren(r.Context(), r.PathValue("name"), r.FormValue("child"))
	}))
	mux.HandleFunc("POST /api/zones/{name}/refresh", reply(func(r *http.Request) (any, error) {
		return calls.Zone.Refresh(r.Context(), r.PathValue("name"), r.FormValue("force") == "true")
	}))
	mux.HandleFunc("POST /api/zones/{name}/accept", reply(func(r *http.Request) (any, error) {
		serial, err := strconv.ParseUint(r.FormValue("serial"), 10, 32)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "serial: %q is no serial number", r.FormValue("serial"))
		}
		return calls.Zone.Accept(r.Context(), r.PathValue("name"), uint32(serial))
	}))
	calls.versionRoutes(mux)
	calls.DNSSEC.routes(mux)
	calls.Trust.routes(mux)
	calls.Cache.routes(mux)
	calls.Health.routes(mux)
	calls.Scale.routes(mux)
	calls.Members.routes(mux)
	mux.HandleFunc("GET /api/explain", reply(calls.explain))
	mux.HandleFunc("GET /api/objects", reply(func(r *http.Request) (any, error) {
		return calls.Objects(r.Context(), r.FormValue("kind"))
	}))
	mux.HandleFunc("POST /api/objects", reply(calls.apply))
	mux.HandleFunc("DELETE /api/objects/{kind}/{name...}", reply(func(r *http.Request) (any, error) {
		return calls.Delete(r.Context(), r.PathValue("kind"), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/reload", reply(func(r *http.Request) (any, error) { return calls.Reload(r.Context()) }))
	return guard(mux)
}

func (c Calls) ready(w http.ResponseWriter, _ *http.Request) {
	if err := c.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

func (c Calls) explain(r *http.Request) (any, error) {
	req := ExplainRequest{
		Name: r.FormValue("name"), Type: r.FormValue("type"),
		URL: r.FormValue("url"), Method: r.FormValue("method"),
		Stream: r.FormValue("stream"), ServerName: r.FormValue("serverName"),
		ID: r.FormValue("id"), Resolve: r.FormValue("resolve") != "", Fields: r.Form["field"], Content: r.FormValue("content"), RouteOnly: r.FormValue("route") == "only",
	}
	from := r.FormValue("from")
	if from == "" {
		from, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	var err error
	if req.From, err = netip.ParseAddr(from); err != nil {
		return nil, refuse(http.StatusBadRequest, "from: %q is no IP address", from)
	}
	if subnet := r.FormValue("subnet"); subnet != "" {
		if req.Subnet, err = netip.ParsePrefix(subnet); err != nil {
			return nil, refuse(http.StatusBadRequest, "subnet: %q is no network such as 198.51.100.0/24", subnet)
		}
		req.Subnet = req.Subnet.Masked()
	}
	given := 0
	for _, what := range []string{req.Name, req.URL, req.ID, req.Stream} {
		if what != "" {
			given++
		}
	}
	if given != 1 {
		return nil, refuse(http.StatusBadRequest, "give a name, a url or an id, and only one of them")
	}
	return c.Explain(r.Context(), req)
}

func (c Calls) apply(r *http.Request) (any, error) {
	document, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxDocument))
	if err != nil {
		return nil, refuse(http.StatusRequestEntityTooLarge, "reading the document: %w; split it, the limit is %d octets", err, MaxDocument)
	}
	return c.Apply(r.Context(), document)
}

func refuse(status int, format string, args ...any) error {
	return &Refused{status, fmt.Errorf(format, args...)}
}

// reply answers with what call returns, as JSON.
func reply(call func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		value, err := call(r)
		if err != nil {
			status := http.StatusInternalServerError
			if refused := (*Refused)(nil); errors.As(err, &refused) {
				status = refused.Status
			}
			w.WriteHeader(status)
			value = map[string]string{"error": err.Error()}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.Encode(value)
	}
}

// guard refuses what a web page could make a browser send to this listener. A
// page of an attacker's name that resolves to our address has that name in Host
// (DNS rebinding); a form or a simple cross-site request cannot set a content
// type of JSON or YAML, nor leave Origin out.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
			http.Error(w, "call the admin listener by its address or as localhost", http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
				http.Error(w, "changes are not taken from web pages", http.StatusForbidden)
				return
			}
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// Counted returns how many of something there are: "1 zone", "2 zones".
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
