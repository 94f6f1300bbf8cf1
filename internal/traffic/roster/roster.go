// Package roster reads lists of servers as others keep them, and makes members of pools
// of them. It owns the forms: Prometheus' file_sd and http_sd, and the records of DNS.
// It fetches nothing (package discover) and knows no states (package health).
//
//	document --ParseGroups--> groups --OfGroups--+
//	A, AAAA  --------------- OfAddresses --------+--> members --Filter--> --Linger--> pool
//	SRV, A, AAAA ----------- OfServices ---------+
//
// Whoever writes such a list is trusted to name servers, and with nothing else: all is
// bounded, and addresses that no list has reason to name are left out (Filter).
//
// Entry points: ParseGroups; OfGroups, OfAddresses, OfServices; Filter, Linger.
//
// Concurrency: all are functions of their arguments.
package roster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// Limits of a list.
const (
	MaxDocument = 4 << 20 // octets: some 40,000 targets
	maxGroups   = 10_000
	maxTargets  = 100_000 // of all groups; the bound of a pool comes after it
	maxFaults   = 3       // that are told; nobody reads more
)

// Group is one group of targets, as Prometheus writes them.
type Group struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// ParseGroups reads a list of groups in JSON or, unless it begins with a bracket, YAML.
// An empty document is refused: it is a file that is being written. An empty list is [].
func ParseGroups(text []byte) ([]Group, error) {
	if len(text) > MaxDocument {
		return nil, fmt.Errorf("the list is longer than %d octets", MaxDocument)
	}
	var groups []Group
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return nil, errors.New("the list is empty text; an empty list is written []")
	case trimmed[0] == '[' && json.Valid(trimmed):
		if err := json.Unmarshal(trimmed, &groups); err != nil {
			return nil, errors.New("the list is not one of groups with targets and labels, all of them text")
		}
	default:
		if err := yaml.Unmarshal(trimmed, &groups); err != nil {
			return nil, errors.New("the list is neither JSON nor YAML, or not one of groups with targets and labels, all of them text")
		}
	}
	count := 0
	for _, g := range groups {
		count += len(g.Targets)
	}
	if len(groups) > maxGroups || count > maxTargets {
		return nil, fmt.Errorf("%d groups with %d targets; at most %d and %d are read", len(groups), count, maxGroups, maxTargets)
	}
	return groups, nil
}

// Faults are what was left out of a list, and why.
type Faults struct {
	Count int
	First []string // some
}

func (f *Faults) add(format string, args ...any) {
	if f.Count++; len(f.First) < maxFaults {
		f.First = append(f.First, fmt.Sprintf(format, args...))
	}
}

// String says what was left out; it is empty if nothing was.
func (f *Faults) String() string {
	if f.Count == 0 {
		return ""
	}
	text := strings.Join(f.First, "; ")
	if more := f.Count - len(f.First); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// OfGroups returns the members that groups name. A target is an address with a port, or
// an address if there is a port for those without. Labels are:
//
//	weight, tier, capacity   as of a member in the configuration
//	drain                    "true": takes nothing new
//	continent, country, region, zone   where it stands
//
// What cannot be understood of a target leaves out the target, not the list.
func OfGroups(groups []Group, port uint16) (members []pool.MemberSpec, faults Faults) {
	for _, g := range groups {
		like, err := ofLabels(g.Labels)
		if err != nil {
			faults.add("%v", err)
			continue
		}
		for _, target := range g.Targets {
			address, err := parseTarget(target, port)
			if err != nil {
				faults.add("%v", err)
				continue
			}
			m := like
			m.Address = address
			members = append(members, m)
		}
	}
	return members, faults
}

func parseTarget(text string, port uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(text); err == nil && a.Port() != 0 {
		return a, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && port != 0 {
		return netip.AddrPortFrom(a, port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("target %.60q is no address with a port; names are for discovery by DNS", text)
}

// ofLabels returns what labels say of a member.
func ofLabels(labels map[string]string) (m pool.MemberSpec, err error) {
	for _, l := range []struct {
		key         string
		value       *int
		least, most int
	}{
		{"weight", &m.Weight, 1, pool.MaxWeight}, {"tier", &m.Tier, 0, pool.MaxTier}, {"capacity", &m.Capacity, 0, maxCapacity},
	} {
		text, said := labels[l.key]
		if !said {
			continue
		}
		if *l.value, err = strconv.Atoi(text); err != nil || *l.value < l.least || *l.value > l.most {
			return m, fmt.Errorf("label %s is %.20q; want %d to %d", l.key, text, l.least, l.most)
		}
	}
	m.Drain = labels["drain"] == "true"
	for key, value := range map[string]*string{"continent": &m.Place.Continent, "country": &m.Place.Country, "region": &m.Place.Region, "zone": &m.Place.Zone} {
		if *value = labels[key]; len(*value) > maxLabel || strings.ContainsFunc(*value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return m, fmt.Errorf("label %s is %.20q; want at most %d visible characters", key, *value, maxLabel)
		}
	}
	return m, nil
}

const (
	maxCapacity = 1 << 24 // as of a member in the configuration
	maxLabel    = 63      // octets; as of an identifier in the configuration
)

// OfAddresses returns the members that A and AAAA records name, and the least TTL of
// them.
func OfAddresses(records []rdata.Record, port uint16) (members []pool.MemberSpec, ttl time.Duration) {
	for _, r := range records {
		if a, ok := addressOf(r); ok {
			members = append(members, pool.MemberSpec{Address: netip.AddrPortFrom(a, port)})
		}
	}
	return members, leastTTL(records)
}

func addressOf(r rdata.Record) (netip.Addr, bool) {
	if r.Type != rdata.TypeA && r.Type != rdata.TypeAAAA {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(r.Data)
	return a.Unmap(), ok
}

func leastTTL(records []rdata.Record) time.Duration {
	least := time.Duration(-1)
	for _, r := range records {
		if ttl := time.Duration(r.TTL) * time.Second; least < 0 || ttl < least {
			least = ttl
		}
	}
	return max(least, 0)
}

// SRV is an SRV record (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string // name, in presentation form
}

// OfServices returns the members that SRV records name, whose targets have these
// addresses. The lowest priority is tier 0, the next tier 1, and so on: priorities are
// an order, no numbers. A weight of 0 is the smallest there is, 1. A server that stands
// there twice is what its first record by priority says, however the records are mixed.
func OfServices(services []SRV, addresses map[string][]netip.Addr) (members []pool.MemberSpec, faults Faults) {
	var priorities []uint16
	for _, s := range services {
		priorities = append(priorities, s.Priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	services = slices.SortedFunc(slices.Values(services), func(a, b SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	for _, s := range services {
		tier, _ := slices.BinarySearch(priorities, s.Priority)
		if s.Target == "." { // RFC 2782: decidedly not available
			continue
		}
		if s.Port == 0 || len(addresses[s.Target]) == 0 {
			faults.add("%s, port %d, has no address or no port", s.Target, s.Port)
			continue
		}
		for _, a := range addresses[s.Target] {
			members = append(members, pool.MemberSpec{
				Address: netip.AddrPortFrom(a, s.Port), Weight: max(int(s.Weight), 1), Tier: min(tier, pool.MaxTier), Host: s.Target,
			})
		}
	}
	return members, faults
}

// Filter returns members in the order of their addresses, each address once, and at most
// so many. Addresses have to lie in one of networks; without any, all will do but those
// that mean this machine, this link or nobody: a list that somebody has written his own
// lines into must not turn this node against itself.
func Filter(members []pool.MemberSpec, networks []netip.Prefix, most int) (out []pool.MemberSpec, faults Faults) {
	for _, m := range members {
		m.Address = netip.AddrPortFrom(m.Address.Addr().Unmap(), m.Address.Port())
		if !isAllowed(m.Address.Addr(), networks) {
			faults.add("%s is not taken: no list may name it unless networks says so", m.Address)
			continue
		}
		m.Name = m.Address.String()
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b pool.MemberSpec) int { return a.Address.Compare(b.Address) })
	out = slices.CompactFunc(out, func(a, b pool.MemberSpec) bool { return a.Address == b.Address })
	if len(out) > most {
		faults.add("%d servers; only the first %d are taken (maxMembers)", len(out), most)
		out = out[:most]
	}
	return out, faults
}

func isAllowed(a netip.Addr, networks []netip.Prefix) bool {
	if len(networks) > 0 {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// Seen is a member and when a list had it last.
type Seen struct {
	Member pool.MemberSpec `json:"member"`
	At     time.Time       `json:"at"`
}

// Linger returns what is known when a list was read: its members, and those that it had
// until a short while ago. A list that forgets a server and names it again in the next
// moment then changes nothing.
func Linger(before []Seen, listed []pool.MemberSpec, now time.Time, while time.Duration) []Seen {
	after := make([]Seen, 0, len(listed))
	here := make(map[netip.AddrPort]bool, len(listed))
	for _, m := range listed {
		here[m.Address] = true
		after = append(after, Seen{m, now})
	}
	for _, s := range before {
		if gone := now.Sub(s.At); !here[s.Member.Address] && gone < while && gone >= 0 {
			after = append(after, s)
		}
	}
	slices.SortFunc(after, func(a, b Seen) int { return a.Member.Address.Compare(b.Member.Address) })
	return after
}

// Members returns the members of seen.
func Members(seen []Seen) []pool.MemberSpec {
	members := make([]pool.MemberSpec, len(seen))
	for i, s := range seen {
		members[i] = s.Member
	}
	return members
}

// Forgets returns when the first of seen that is not listed any more will be forgotten;
// zero: none.
func Forgets(seen []Seen, now time.Time, while time.Duration) (at time.Time) {
	for _, s := range seen {
		if end := s.At.Add(while); s.At.Before(now) && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}
