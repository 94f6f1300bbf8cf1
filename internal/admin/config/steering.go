package config

import (
	"fmt"
	"net/netip"
	"slices"

	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
)

// Steering is what the answers from pools go by.
type Steering struct {
	// Database is a database in the format of MaxMind (.mmdb), of countries or cities: it
	// says where clients are, for the filters near and latency. It is read again when it
	// changes; one that is damaged leaves the one before in force. Empty: none.
	Database string `json:"database,omitzero" format:"file" default:"" example:"GeoLite2-City.mmdb"`
	// Networks are a map of your own, which goes before the database. The longest prefix
	// that holds an address decides.
	Networks []Network `json:"networks" max:"100000" example:"[{prefix: 10.1.0.0/16, place: {zone: ams-1}}]"`
	// Measure has the gateway note how long round trips to the networks of its clients
	// take, for the filter latency.
	Measure bool `json:"measure" default:"true" example:"false"`
	// ExportInterval is how far apart the versions are that other servers of a zone get
	// because the answers from pools have changed. The first change after a while is not
	// held up.
	ExportInterval Duration `json:"exportInterval" default:"5s" min:"100ms" max:"1h" example:"30s"`
	// Decisions is what is kept of past answers of steered names, for "pharos explain ID".
	Decisions Decisions `json:"decisions"`
}

// Decisions is what is kept of past answers of steered names, for a day at most.
type Decisions struct {
	// Memory is for how much is kept: one answer takes 64 octets, and a quarter of Memory
	// is for the states of members that they were made from. The oldest go first. 0: nothing
	// is kept.
	Memory Size `json:"memory" default:"32MiB" min:"0" max:"4GiB" example:"256MiB"`
	// Sample is of how many answers one is kept that say what they always say: with all
	// members up, whoever asks. Others are kept, each of them.
	Sample int `json:"sample" default:"100" min:"1" max:"1000000" example:"1"`
	// Tell are the networks of clients that are told the id of an answer when they ask for
	// it, by the EDNS option 65313.
	Tell []netip.Prefix `json:"tell" default:"127.0.0.0/8,::1/128" max:"100" example:"[192.0.2.0/24]"`
}

// Network says where the clients of a network are.
type Network struct {
	// Prefix is the network.
	Prefix netip.Prefix `json:"prefix" required:"true" example:"10.1.0.0/16"`
	// Place is where it is.
	Place state.Place `json:"place" required:"true" example:"{country: NL, zone: ams-1}"`
}

// checkSteering finds networks that stand twice, or say nothing.
func (c *Config) checkSteering(to *checker) {
	seen := map[netip.Prefix]int{}
	for i, n := range c.Steering.Networks {
		at := fmt.Sprintf("steering.networks[%d]", i)
		switch j, twice := seen[n.Prefix]; {
		case !n.Prefix.IsValid(): // reported as missing or malformed
		case twice:
			to.fail(at+".prefix", fmt.Sprintf("%s is already networks[%d]", n.Prefix, j), "remove one of them")
		default:
			seen[n.Prefix] = i
		}
	}
	apexes := make(map[dnsname.Name]bool, len(c.Zones))
	for _, z := range c.Zones {
		apexes[z.Name] = true
	}
	for i, s := range c.Steer {
		if s.IsOfGateway() && len(c.Listen.HTTPS) == 0 {
			to.fail(fmt.Sprintf("steer[%d].service", i), "the gateway speaks HTTPS nowhere", `add listen: {https: ["0.0.0.0:443"]}, or write the data, as "1 . alpn=h2"`)
		}
		if s.IsOfGateway() && slices.ContainsFunc(c.Listen.HTTPS, func(a netip.AddrPort) bool { return a.Port() != c.Listen.HTTPS[0].Port() }) {
			to.fail(fmt.Sprintf("steer[%d].service", i), "listen.https has several ports, and a record names one", `write the data, as "1 . alpn=h2 port=8443"`)
		}
		if s.Answer == "cname" && apexes[s.Name] && !s.Name.IsZero() {
			to.fail(fmt.Sprintf("steer[%d].answer", i), fmt.Sprintf("%s is the apex of a zone, where no CNAME can be", s.Name), "write answer: address, or steer another name")
		}
	}
}
