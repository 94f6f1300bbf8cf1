package config

import (
	"net/netip"
	"path/filepath"

	"pharos/internal/dns/dnsname"
)

// Taps are where queries and answers are told of, one by one. Nothing waits for them:
// what cannot be written in time is dropped and counted.
type Taps struct {
	// Dnstap tells of queries as dnstap frames, for collectors.
	Dnstap Dnstap `json:"dnstap"`
	// Queries is a log of queries, a line of JSON each.
	Queries QueryLog `json:"queries"`
	// Connections is a file for the connections of streams, a line of JSON for each that has
	// ended; or stdout or off. It may be moved away: it is then made again.
	Connections string `json:"connections" format:"file" default:"off" example:"/var/log/pharos/connections.log"`
}

// Dnstap tells of queries with the whole messages: AUTH_QUERY and AUTH_RESPONSE, or
// CLIENT_QUERY and CLIENT_RESPONSE for clients that may use the resolver and ask for
// recursion.
type Dnstap struct {
	// Socket is the Unix socket that a collector listens at. It may come and go.
	Socket string `json:"socket" format:"file" default:"" example:"/run/dnstap.sock"`
	// File is a file for frames, in place of a socket. It is begun anew with each start,
	// and when it is moved away.
	File string `json:"file" format:"file" default:"" example:"/var/lib/pharos/queries.dnstap"`
	// Every has one of so many queries told of.
	Every int `json:"every" default:"1" min:"1" max:"1000000000" example:"100"`
	// Identity is the name of this server in frames; empty: dns.nsid.
	Identity string `json:"identity" default:"" example:"ns1.fra"`
}

// QueryLog is a log of queries: client, name, type, response code, view, zone,
// transport, and how long the answer took.
type QueryLog struct {
	// File is where the lines go: a file, stdout or off. It may be moved away: it is
	// then made again, as gateway.accessLog.
	File string `json:"file" format:"file" default:"off" example:"/var/log/pharos/queries.log"`
	// Every has one of so many queries logged; 0: none but those that Clients and Zones
	// name.
	Every int `json:"every" default:"1" min:"0" max:"1000000000" example:"1000"`
	// Clients are networks whose queries are all logged.
	Clients []netip.Prefix `json:"clients" default:"" max:"1000" example:"192.0.2.0/24"`
	// Zones are zones of this node about which all queries are logged.
	Zones []dnsname.Name `json:"zones" default:"" max:"1000" example:"example.com"`
}

func (c *Config) checkTaps(to *checker) {
	if c.Log.Dnstap.Socket != "" && c.Log.Dnstap.File != "" {
		to.fail("log.dnstap.file", "there is a socket already", "remove one of them")
	}
	c.checkPrefixes(to, "log.queries.clients", c.Log.Queries.Clients)
}

// paths returns the names of files.
func (t *Taps) paths(folder string) {
	for _, p := range []*string{&t.Dnstap.Socket, &t.Dnstap.File, &t.Queries.File, &t.Connections} {
		isWord := (p == &t.Queries.File || p == &t.Connections) && (*p == "off" || *p == "stdout")
		if *p != "" && !isWord && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
}
