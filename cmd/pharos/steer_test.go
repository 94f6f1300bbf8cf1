package main

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// answers asks a name so many times and prints how many answers had which data, the most
// first; NODATA stands for none. %n in the client's network is the number of the question.
// With -until it asks again until a line of what it would print matches, and then prints it.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("answers", flag.ContinueOnError)
	until := flags.String("until", "", "regular expression")
	ts.Check(flags.Parse(args))
	args = flags.Args()
	if neg || len(args) < 4 {
		ts.Fatalf("usage: answers [-until REGEXP] N SERVER NAME TYPE [SUBNET]")
	}
	matches, err := regexp.Compile("(?m)" + *until)
	ts.Check(err)
	deadline, tick := time.After(2*time.Minute), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		text := countAnswers(ts, args)
		if matches.MatchString(text) {
			fmt.Fprint(ts.Stdout(), text)
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("no line like %s; the last answers:\n%s", *until, text)
		case <-tick.C:
		}
	}
}

func countAnswers(ts *testscript.TestScript, args []string) string {
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	counts := map[string]int{}
	for i := range n {
		subnet := ""
		if len(args) > 4 {
			subnet = strings.ReplaceAll(args[4], "%n", fmt.Sprint(i))
		}
		counts[dataOf(ts, args[1], args[2], args[3], subnet)]++
	}
	lines := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(lines, func(a, b string) int { return counts[b] - counts[a] })
	var text strings.Builder
	for _, data := range lines {
		fmt.Fprintf(&text, "%d %s\n", counts[data], data)
	}
	return text.String()
}

// dataOf returns the data of one answer, sorted.
func dataOf(ts *testscript.TestScript, server, name, rrtype, subnet string) string {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[rrtype])
	m.SetEdns0(1232, false)
	if subnet != "" {
		p, err := netip.ParsePrefix(subnet)
		ts.Check(err)
		option := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		if p.Addr().Is6() {
			option.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, option)
	}
	answer, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, server)
	ts.Check(err)
	if answer.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[answer.Rcode]
	}
	var data []string
	for _, r := range answer.Answer {
		data = append(data, strings.TrimPrefix(r.String(), r.Header().String()))
	}
	if slices.Sort(data); len(data) == 0 {
		return "NODATA"
	}
	return strings.Join(data, " ")
}
