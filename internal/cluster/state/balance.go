package state

import (
	"fmt"
	"time"

	"pharos/internal/cluster/document"
)

// Hash is what the policy hash goes by.
type Hash struct {
	// Key is what of a request is hashed: the address of the client or its network, the
	// whole URL (host, path and query), the path, the field, cookie or query parameter
	// that is called Name, or the name that the client asked for by TLS (SNI): serverName.
	// A request without that goes by its client's address.
	Key string `json:"key" enum:"clientAddress,clientPrefix,url,path,field,cookie,query,serverName" default:"clientAddress" example:"url"`
	// Name is that of the field, cookie or query parameter.
	Name string `json:"name,omitzero" format:"token" default:"" example:"X-Tenant"`
	// By is how a key gets its member. maglev is the quickest, and right to a
	// hundredth; ring moves no key in vain when a member leaves, and costs nothing then,
	// but shares are right to a tenth; rendezvous moves no key in vain and is exact, and
	// is slower with many members.
	By string `json:"by" enum:"maglev,ring,rendezvous" default:"maglev" example:"ring"`
	// Bound is how much of its share of all requests in flight a member may have, in
	// percent; keys of one that has more go on to another. 0: no bound.
	Bound int `json:"bound,omitzero" default:"0" min:"0" max:"1000" example:"125"`
	// Bits4 is how long the network of an IPv4 client is, for clientPrefix.
	Bits4 int `json:"bits4" default:"24" min:"1" max:"32" example:"16"`
	// Bits6 is how long the network of an IPv6 client is.
	Bits6 int `json:"bits6" default:"56" min:"1" max:"128" example:"48"`
}

// IsZero reports whether h is what it is when nothing is said of it.
func (h Hash) IsZero() bool {
	return h == Hash{} || h == Hash{Key: "clientAddress", By: "maglev", Bits4: 24, Bits6: 56}
}

// Affinity brings a client of the gateway back to the member that served it before.
// It breaks when that member is down.
type Affinity struct {
	// By is what a client is known by. cookie: a cookie that the gateway sets, which
	// nobody else can make and which does not show the member's name. clientAddress,
	// clientPrefix, and the field, cookie of its own or query parameter called Name
	// (field, clientCookie, query) are remembered with the member. session is a cookie
	// called Name that members set; it is learnt from their responses.
	By string `json:"by" enum:"none,cookie,clientAddress,clientPrefix,field,clientCookie,query,session" default:"none" example:"cookie"`
	// Name is that of the cookie, field or query parameter. Default for cookie:
	// pharos- and the name of the pool.
	Name string `json:"name,omitzero" format:"token" default:"" example:"JSESSIONID"`
	// TTL is how long clients keep the cookie, 0: until their program ends; or how long
	// what is remembered is, after the last request.
	TTL document.Duration `json:"ttl" default:"1h" min:"0s" max:"30d" step:"1s" example:"30m"`
	// Most is how many clients are remembered; beyond it those that were seen the
	// longest ago are forgotten.
	Most int `json:"most" default:"100000" min:"16" max:"10000000" example:"1000000"`
	// Drain is how long clients go on to a member that drains. New ones do not go there.
	Drain document.Duration `json:"drain" default:"10m" min:"0s" max:"7d" example:"1h"`
	// Path is the part of the host that the cookie is sent for.
	Path string `json:"path" format:"urlPath" default:"/" example:"/shop"`
	// Secure has clients send the cookie over TLS only.
	Secure bool `json:"secure" default:"false" example:"true"`
	// HTTPOnly keeps the cookie from scripts.
	HTTPOnly bool `json:"httpOnly" default:"true" example:"false"`
	// SameSite is whether the cookie is sent with requests that come from other sites.
	SameSite string `json:"sameSite" enum:"Lax,Strict,None" default:"Lax" example:"Strict"`
	// Bits4 is how long the network of an IPv4 client is, for clientPrefix.
	Bits4 int `json:"bits4" default:"24" min:"1" max:"32" example:"16"`
	// Bits6 is how long the network of an IPv6 client is.
	Bits6 int `json:"bits6" default:"56" min:"1" max:"128" example:"48"`
}

// IsZero reports whether a is what it is when nothing is said of it.
func (a Affinity) IsZero() bool {
	return a == Affinity{} || a == Affinity{
		By: "none", TTL: document.Duration(time.Hour), Most: 100_000, Drain: document.Duration(10 * time.Minute),
		Path: "/", HTTPOnly: true, SameSite: "Lax", Bits4: 24, Bits6: 56,
	}
}

// leastBound of a hash, in percent: below it most keys go elsewhere.
const leastBound = 105

// checkPicking reports what is wrong between the keys that say who is picked.
func (p *Pool) checkPicking(at string, report Report) {
	h, a := &p.Hash, &p.Affinity
	switch h.Key {
	case "field", "cookie", "query":
		if h.Name == "" {
			report(at+"hash.name", fmt.Sprintf("the %s to hash has no name", h.Key), "add it, for example name: tenant")
		}
	default:
		if h.Name != "" {
			report(at+"hash.name", fmt.Sprintf("the key %s has no name", h.Key), "leave it out, or hash a field, cookie or query parameter")
		}
	}
	if h.Bound > 0 && h.Bound < leastBound {
		report(at+"hash.bound", fmt.Sprintf("the bound %d sends most keys elsewhere", h.Bound), fmt.Sprintf("want 0 for none, or %d or more; 125 is common", leastBound))
	}
	if p.Policy != "hash" && !h.IsZero() {
		report(at+"hash", fmt.Sprintf("policy %s does not hash", p.Policy), "write policy: hash, or leave it out")
	}
	switch a.By {
	case "field", "clientCookie", "query", "session":
		if a.Name == "" {
			report(at+"affinity.name", fmt.Sprintf("affinity by %s has no name", a.By), "add it, for example name: JSESSIONID")
		}
	case "none", "clientAddress", "clientPrefix":
		if a.Name != "" {
			report(at+"affinity.name", fmt.Sprintf("affinity by %s has no name", a.By), "leave it out, or use a cookie, field or query parameter")
		}
	}
	if a.By == "cookie" && a.SameSite == "None" && !a.Secure {
		report(at+"affinity.secure", "clients drop a cookie with sameSite None that is not secure", "add secure: true")
	}
	if a.By != "none" && a.By != "cookie" && a.By != "" && a.TTL == 0 {
		report(at+"affinity.ttl", "what is remembered has to end", "want 1s or more")
	}
}
