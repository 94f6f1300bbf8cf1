package state

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

// Discovery is a list of servers that others keep: those on it are members of the pool,
// beside those that are named here. A list that cannot be read, or is suddenly empty,
// changes nothing but raises a problem: the last good one stays, also over a restart.
type Discovery struct {
	// Type is where the list is. dns: the A and AAAA records of name, for as long as
	// their TTL. srv: the SRV records of name; priorities become tiers in their order,
	// weights weights. file: a file in the form of Prometheus' file_sd, JSON or YAML,
	// read when it changes. http: the same by HTTP (http_sd).
	// Targets are addresses; of their labels weight, tier, capacity, drain ("true"),
	// continent, country, region and zone mean what they mean of a member.
	Type string `json:"type" enum:"dns,srv,file,http" required:"true" example:"dns"`
	// Name is the name whose records are the list.
	Name string `json:"name,omitzero" default:"" example:"web.internal.example.com"`
	// Family is which addresses of names are taken.
	Family string `json:"family,omitzero" enum:"both,ipv4,ipv6" default:"both" example:"ipv4"`
	// Port is the port of addresses that have none: all of dns, and targets of file and http without one.
	Port uint16 `json:"port,omitzero" default:"0" min:"0" max:"65535" example:"8080"`
	// File is the file with the list. Put a new one in its place by renaming.
	File string `json:"file,omitzero" format:"file" default:"" example:"/etc/pharos/targets.json"`
	// URL is where the list is fetched. Redirects are not followed.
	URL string `json:"url,omitzero" default:"" example:"https://inventory.example.com/targets"`
	// CA is a file of authorities that prove the server of url, PEM. Empty: those of the system.
	CA string `json:"ca,omitzero" format:"file" default:"" example:"/etc/pharos/inventory-ca.pem"`
	// Interval is the time from one reading to the next. Names are asked for again when
	// their TTL is over, but not sooner. Default: 5s for dns and srv, 30s for http. A file
	// is looked at each second.
	Interval document.Duration `json:"interval,omitzero" min:"100ms" max:"24h" example:"10s"`
	// Linger is how long a server stays that the list has no more, in case it comes back
	// in the next moment. Its check goes on meanwhile.
	Linger document.Duration `json:"linger,omitzero" default:"10s" min:"0s" max:"24h" example:"1m"`
	// AllowEmpty lets the list become empty.
	AllowEmpty bool `json:"allowEmpty,omitzero" default:"false" example:"true"`
	// MaxMembers is how many servers of the list are taken, in the order of their addresses.
	MaxMembers int `json:"maxMembers,omitzero" default:"1000" min:"1" max:"4096" example:"50"`
	// Networks are where servers may be. Empty: everywhere but on this machine (loopback),
	// on its link (link-local), and at multicast addresses.
	Networks []netip.Prefix `json:"networks,omitzero" max:"64" example:"[10.0.0.0/8]"`
}

// Complete fills in what follows from other fields.
func (d *Discovery) Complete() {
	if d.Interval != 0 {
		return
	}
	switch d.Type {
	case "dns", "srv":
		d.Interval = document.Duration(5 * time.Second)
	case "http":
		d.Interval = document.Duration(30 * time.Second)
	default:
		d.Interval = document.Duration(time.Second)
	}
}

// check reports what is wrong within a list; paths begin with at.
func (d *Discovery) check(at string, report Report) {
	isName := d.Type == "dns" || d.Type == "srv"
	for _, key := range []struct {
		name, value string
		used        bool
		remedy      string
	}{
		{"name", d.Name, isName, "name: web.internal.example.com"},
		{"file", d.File, d.Type == "file", "file: /etc/pharos/targets.json"},
		{"url", d.URL, d.Type == "http", "url: https://inventory.example.com/targets"},
	} {
		switch {
		case key.used && key.value == "":
			report(at+key.name, fmt.Sprintf("a list of type %s needs %s", d.Type, key.name), "add it, for example "+key.remedy)
		case !key.used && key.value != "":
			report(at+key.name, fmt.Sprintf("a list of type %s does not use %s", d.Type, key.name), "remove it")
		}
	}
	if _, err := dnsname.Parse(d.Name); err != nil && d.Name != "" {
		report(at+"name", err.Error(), `write it as "web.internal.example.com"`)
	}
	if d.Type == "dns" && d.Port == 0 {
		report(at+"port", "addresses of names have no port", "say which port the servers listen on; only srv knows it")
	}
	if d.CA != "" && d.Type != "http" {
		report(at+"ca", fmt.Sprintf("a list of type %s does not use ca", d.Type), "remove it")
	}
	if u, err := url.Parse(d.URL); d.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "") {
		report(at+"url", "it is no URL that a list can be fetched from", `write it as "https://inventory.example.com/targets"`)
	}
}

// checkApplied reports what only the configuration file may say: a list that is applied
// at run time cannot have the node read its files.
func (d *Discovery) checkApplied(at string, report Report) {
	for _, key := range []struct{ name, value string }{{"file", d.File}, {"ca", d.CA}} {
		if key.value != "" {
			report(at+key.name, "a pool that is applied at run time cannot have files read", "put the pool into the configuration file")
		}
	}
}
