// Package corpus makes the zones that are served and the questions that are asked,
// each with the answer that is right.
//
// Everything follows from a Shape: the same shape gives the same zone and, with
// the same seed, the same questions. It owns no file and no socket.
//
// Entry points: Zone.WriteTo (a master file), Zone.Questions, Zone.Every; Many.
//
// Concurrency: a Zone is a value and never changes.
package corpus

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"

	"pharos/bench/dnsload"
)

// Shape says how many names of each kind a zone has.
type Shape struct {
	Hosts       int // an A and an AAAA record each; every third below an empty non-terminal
	Mail        int // hosts that have an MX record
	Texts       int // hosts that have a TXT record
	Aliases     int // CNAME records to hosts
	Delegations int // zone cuts with two NS records
	Glue        int // delegations that have an address for one of them
	Secure      int // delegations of ten that have a DS record
}

// Zone is one zone of a shape.
type Zone struct {
	Origin string // with the final dot
	Shape
}

const ttl = 86400 // longer than any run

// Records returns how many records the master file has.
func (z Zone) Records() int {
	return apexRecords + 2*z.Hosts + z.Mail + z.Texts + z.Aliases + 2*z.Delegations + z.Glue + z.secured()
}

// secured returns how many delegations have a DS record.
func (z Zone) secured() int { return z.Delegations/10*z.Secure + min(z.Delegations%10, z.Secure) }

// ds returns the DS record of a delegation, "" if it has none.
func (z Zone) ds(i int) string {
	if i%10 >= z.Secure {
		return ""
	}
	return fmt.Sprintf("DS %d 13 2 %064X", i&0xFFFF, i)
}

// apexRecords are SOA, two NS and their two addresses.
const apexRecords = 5

// regions is how many empty non-terminals the hosts are spread over.
const regions = 200

func host(i int) string {
	if i%3 == 0 {
		return fmt.Sprintf("h%d.region%d", i, i/3%regions)
	}
	return fmt.Sprintf("w%d", i)
}

func a(i int) string    { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }
func aaaa(i int) string { return fmt.Sprintf("2001:db8::%x:%x", i>>16+1, i&0xFFFF) }
func alias(i int) string {
	return fmt.Sprintf("alias%d", i)
}

// aliased returns the host that an alias stands for.
func (z Zone) aliased(i int) int { return i * 7 % z.Hosts }

// servers returns the name servers of a delegation.
func (z Zone) servers(i int) [2]string {
	first := fmt.Sprintf("ns1.provider%d.example.", i%1000)
	if i < z.Glue {
		first = fmt.Sprintf("ns1.d%d.%s", i, z.Origin)
	}
	return [2]string{first, fmt.Sprintf("ns2.provider%d.example.", i%1000)}
}

// WriteTo writes the zone as a master file.
func (z Zone) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriterSize(w, 1<<20)
	var n int64
	line := func(format string, args ...any) {
		c, _ := fmt.Fprintf(b, format, args...) // errors stay in b
		n += int64(c)
	}
	line("$ORIGIN %s\n$TTL %d\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n", z.Origin, ttl)
	for i := range z.Hosts {
		line("%s A %s\n%s AAAA %s\n", host(i), a(i), host(i), aaaa(i))
		if i < z.Mail {
			line("%s MX 10 w1\n", host(i))
		}
		if i < z.Texts {
			line("%s TXT \"v=spf1 ip4:%s -all\"\n", host(i), a(i))
		}
	}
	for i := range z.Aliases {
		line("%s CNAME %s\n", alias(i), host(z.aliased(i)))
	}
	for i := range z.Delegations {
		ns := z.servers(i)
		line("d%d NS %s\nd%d NS %s\n", i, ns[0], i, ns[1])
		if i < z.Glue {
			line("%s A %s\n", ns[0], a(i))
		}
		if ds := z.ds(i); ds != "" {
			line("d%d %s\n", i, ds)
		}
	}
	return n, b.Flush()
}

// Root returns the master file of a root zone that delegates z to the address of a
// server that has both.
func (z Zone) Root(address string) string {
	return fmt.Sprintf(". 86400 SOA ns.root-bench. hostmaster.root-bench. 1 7200 3600 1209600 300\n"+
		". 86400 NS ns.root-bench.\nns.root-bench. 86400 A %s\n%s 86400 NS ns1.%s\nns1.%s 86400 A %s\n",
		address, z.Origin, z.Origin, z.Origin, address)
}

// full is how a name of the zone stands in a question.
func (z Zone) full(name string) string { return strings.TrimSuffix(name+"."+z.Origin, ".") + "." }

// Mix says what is asked: of ten questions, how many are for names that do not
// exist and how many for names below a zone cut; the others are for the addresses of
// hosts.
type Mix struct {
	Missing, Referrals int
	Signed             bool // the zone is signed, and signatures are asked for
}

// Usual is what an ordinary zone is asked.
var Usual = Mix{Missing: 1, Referrals: 1}

// Questions returns n questions to the zone's own server, in random order.
func (z Zone) Questions(n int, seed uint64, mix Mix) []dnsload.Query {
	r := rand.New(rand.NewPCG(seed, 1))
	queries := make([]dnsload.Query, n)
	for i := range queries {
		queries[i] = z.question(r, mix)
		if mix.Signed {
			queries[i] = queries[i].WithSignatures()
		}
	}
	return queries
}

func (z Zone) question(r *rand.Rand, mix Mix) dnsload.Query {
	switch k := r.IntN(10); {
	case k < mix.Missing:
		return z.missing(r.IntN(1 << 30))
	case k < mix.Missing+mix.Referrals && z.Delegations > 0:
		i := r.IntN(z.Delegations)
		q := z.referral(i)
		if ds := z.ds(i); ds != "" && mix.Signed {
			q.Authority = append([]string{ds}, q.Authority...) // DS is before NS
		}
		return q
	default:
		return z.address(r.IntN(z.Hosts), k&1 == 0, false)
	}
}

// Many is a number of small zones that differ in nothing but their names.
type Many int

// Origin returns the name of the i-th zone.
func (m Many) Origin(i int) string { return fmt.Sprintf("zone%d.many.example.", i) }

// Text returns the master file of each of them, with names relative to its origin.
func (m Many) Text() string {
	return fmt.Sprintf("$TTL %d\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\n@ A 192.0.2.3\n@ MX 10 www\n"+
		"ns1 A 192.0.2.1\nns2 A 192.0.2.2\nwww A 192.0.2.3\n", ttl)
}

// Questions returns n questions for addresses in random zones, and one of ten for a
// name that does not exist.
func (m Many) Questions(n int, seed uint64) []dnsload.Query {
	r := rand.New(rand.NewPCG(seed, 3))
	queries := make([]dnsload.Query, n)
	for i := range queries {
		z := Zone{Origin: m.Origin(r.IntN(int(m)))}
		if r.IntN(10) == 0 {
			queries[i] = z.missing(3 * r.IntN(1<<28))
			continue
		}
		queries[i] = query("www."+z.Origin, dns.TypeA, false)
		queries[i].Answer = []string{"A 192.0.2.3"}
	}
	return queries
}

// First returns a question that a server answers once it has the zone.
func (z Zone) First() dnsload.Query { return z.address(0, false, false) }

// Apex returns a question for the address of the zone's apex.
func (z Zone) Apex(address string) dnsload.Query {
	q := query(z.Origin, dns.TypeA, false)
	q.Answer = []string{"A " + address}
	return q
}

// Every returns a question to a resolver for each address of each host and alias,
// in random order.
func (z Zone) Every(seed uint64) []dnsload.Query {
	var queries []dnsload.Query
	for i := range z.Hosts {
		queries = append(queries, z.address(i, false, true), z.address(i, true, true))
	}
	for i := range z.Aliases {
		q := query(z.full(alias(i)), dns.TypeA, true)
		target := z.aliased(i)
		q.Answer = []string{"A " + a(target), "CNAME " + z.full(host(target))}
		queries = append(queries, q)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	r.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
	return queries
}

func (z Zone) address(i int, six, recursive bool) dnsload.Query {
	if six {
		q := query(z.full(host(i)), dns.TypeAAAA, recursive)
		q.Answer = []string{"AAAA " + aaaa(i)}
		return q
	}
	q := query(z.full(host(i)), dns.TypeA, recursive)
	q.Answer = []string{"A " + a(i)}
	return q
}

// missing asks for a name that is not there: below the apex, below an empty
// non-terminal, below a host.
func (z Zone) missing(i int) dnsload.Query {
	name := fmt.Sprintf("no%d", i)
	switch i % 3 {
	case 1:
		name += fmt.Sprintf(".region%d", i%min(regions, max(1, z.Hosts/3)))
	case 2:
		name += "." + host(i%z.Hosts)
	}
	q := query(z.full(name), dns.TypeA, false)
	q.Rcode = dns.RcodeNameError
	q.Authority = []string{fmt.Sprintf("SOA ns1.%s hostmaster.%s 1 7200 3600 1209600 300", z.Origin, z.Origin)}
	return q
}

func (z Zone) referral(i int) dnsload.Query {
	q := query(z.full(fmt.Sprintf("www.d%d", i)), dns.TypeA, false)
	for _, ns := range z.servers(i) {
		q.Authority = append(q.Authority, "NS "+ns)
	}
	return q
}

// query returns a question with EDNS, which every resolver sends today; 1232 is
// what they say they take (RFC 9715).
func query(name string, t uint16, recursive bool) dnsload.Query {
	var m dns.Msg
	m.SetQuestion(name, t)
	m.Id, m.RecursionDesired = 0, recursive
	m.SetEdns0(1232, false)
	msg, err := m.Pack()
	if err != nil {
		panic("BUG: " + name + ": " + err.Error())
	}
	return dnsload.NewQuery(msg)
}
