package config

import (
	"fmt"
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

// checker records what does not agree within a file.
type checker struct {
	file     string
	root     *document.Node
	problems *document.Problems
}

// fail records a problem with the value at path.
func (c *checker) fail(path, text, remedy string) {
	p := document.Problem{File: c.file, Path: path, Text: text, Remedy: remedy}
	if c.root != nil {
		at := c.root.At(path)
		p.Line, p.Column = at.Line, at.Column
	}
	c.problems.Add(p)
}

// check reports what is wrong between the keys of a file, each of which is well
// formed by itself.
func (c *Config) check(to *checker) {
	c.checkListen(to)
	c.checkZones(to)
	c.Resources.Check(to.fail)
	if len(c.Routes) > 0 && len(c.Listen.HTTP) == 0 {
		to.fail("routes", "there are routes but no address to take requests at", `add listen: {http: ["0.0.0.0:80"]}`)
	}
}

// checkListen finds addresses that two listeners want. DNS over TCP, the
// gateway and the admin listener all need a TCP port.
func (c *Config) checkListen(to *checker) {
	taken := map[netip.AddrPort]string{}
	claim := func(path string, a netip.AddrPort) {
		if other, ok := taken[a]; ok && a.Port() != 0 {
			to.fail(path, fmt.Sprintf("%s is already used by %s", a, other), "choose another address or port")
			return
		}
		taken[a] = path
	}
	for i, a := range c.Listen.DNS {
		claim(fmt.Sprintf("listen.dns[%d]", i), a)
	}
	for i, a := range c.Listen.HTTP {
		claim(fmt.Sprintf("listen.http[%d]", i), a)
	}
	if c.Listen.Admin.IsValid() {
		claim("listen.admin", c.Listen.Admin)
	}
}

func (c *Config) checkZones(to *checker) {
	first := map[dnsname.Name]int{}
	for i, z := range c.Zones {
		if z.Name.IsZero() {
			continue // reported as missing
		}
		if j, twice := first[z.Name]; twice {
			to.fail(fmt.Sprintf("zones[%d].name", i), fmt.Sprintf("zone %s is already zones[%d]", z.Name, j), "remove one of them")
			continue
		}
		first[z.Name] = i
	}
}
