// Package l4route decides where a connection goes of which nothing is known but its ends, and
// the name that it asks for in the first octets of TLS. It reads these; it owns neither
// sockets nor members.
//
//	first octets --ServerName--> name --\
//	client's address -------------------+--> Table.Find --> number of a pool
//
// Entry points: ServerName, NewTable, Table.Find; Table.Trace to explain.
//
// Concurrency: a Table is constant.
//
// Sources: RFC 8446 §4.1.2 (ClientHello), §5.1 (records); RFC 6066 §3 (server_name).
package l4route

import (
	"fmt"
	"net/netip"
	"strings"
)

// Rule leads clients to a pool. All that it says has to hold.
type Rule struct {
	Names   []string // in lower case; "*.example.com" is every name below; none: any or no name
	Clients []netip.Prefix
	Pool    int
}

// Nowhere is the pool of clients that no rule is about.
const Nowhere = -1

// Table is the rules of one stream.
type Table struct {
	rules     []rule
	otherwise int
	named     bool
}

type rule struct {
	Rule
	exact map[string]bool
	wild  map[string]bool // what is behind the "*": ".example.com"
}

// NewTable returns rules in their order. otherwise is the pool of clients that none of them is
// about.
func NewTable(rules []Rule, otherwise int) *Table {
	t := &Table{otherwise: otherwise}
	for _, r := range rules {
		c := rule{Rule: r, exact: map[string]bool{}, wild: map[string]bool{}}
		for _, name := range r.Names {
			if behind, is := strings.CutPrefix(name, "*"); is {
				c.wild[behind] = true
			} else {
				c.exact[name] = true
			}
			t.named = true
		}
		t.rules = append(t.rules, c)
	}
	return t
}

// NeedsName reports whether the way of a client depends on the name that it asks for.
func (t *Table) NeedsName() bool { return t.named }

// Find returns the pool of a client that asks for a name, "" if it asks for none. It allocates
// nothing.
func (t *Table) Find(client netip.Addr, name []byte) int {
	for i := range t.rules {
		if r := &t.rules[i]; r.isFor(client) && r.isNamed(name) {
			return r.Pool
		}
	}
	return t.otherwise
}

func (r *rule) isFor(client netip.Addr) bool {
	if len(r.Clients) == 0 {
		return true
	}
	for _, network := range r.Clients {
		if network.Contains(client) {
			return true
		}
	}
	return false
}

func (r *rule) isNamed(name []byte) bool {
	if len(r.Names) == 0 {
		return true
	}
	if len(name) == 0 {
		return false
	}
	if r.exact[string(name)] {
		return true
	}
	if len(r.wild) == 0 {
		return false
	}
	for i := 1; i < len(name); i++ { // there is a name before the dot
		if name[i] == '.' && r.wild[string(name[i:])] {
			return true
		}
	}
	return false
}

// Step is one rule that was looked at.
type Step struct {
	Rule  int // its number; -1: what is so for all others
	Found bool
	Why   string
}

// Trace is Find with what it has looked at: for explain.
func (t *Table) Trace(client netip.Addr, name []byte) (pool int, steps []Step) {
	for i := range t.rules {
		r := &t.rules[i]
		switch {
		case !r.isFor(client):
			steps = append(steps, Step{i, false, fmt.Sprintf("%s is in none of its networks", client)})
		case !r.isNamed(name) && len(name) == 0:
			steps = append(steps, Step{i, false, "the client asks for no name"})
		case !r.isNamed(name):
			steps = append(steps, Step{i, false, fmt.Sprintf("%s is none of its names", name)})
		default:
			return r.Pool, append(steps, Step{i, true, ""})
		}
	}
	return t.otherwise, append(steps, Step{-1, t.otherwise != Nowhere, ""})
}
