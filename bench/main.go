//go:build linux

// Command bench measures Pharos beside the programs it is held against: one after
// the other on one processor, under the same load from another, answers checked.
//
//	main.go     flags, order of the works, results
//	arena.go    rounds: start, warm up, measure, end; medians over rounds
//	auth.go     authoritative answers over UDP; loading a large zone
//	shapes.go   the same with signed zones, a TLD, many zones; starting again
//	million.go   the same with a million small zones; starting with them
//	cache.go    answers from a resolver's cache over UDP
//	resolve.go  resolving what nobody has asked for; beside a flood; with every server cut
//	streams.go  answers over TCP, TLS, HTTPS and QUIC
//	gateway.go  HTTP/1.1 requests carried over connections kept alive, of several sizes and at half load
//	http2.go, http3.go   the same over HTTP/2, over TLS, and over HTTP/3
//	routes.go   many routes and members, and changing one of them
//	layer4.go  connections carried as they are: short ones, exchanges, transfers
//	assault.go  what honest clients have of a gateway that is attacked
//	change.go   updates until they are answered by
//	calm.go     answers during reloads, transfers, updates and collections
//	sign.go     signing a zone from file to file
//	probes.go   probing many members
//	verdicts.go  from when a member fails until nobody is led to it
//	picks.go    choosing a member of a pool
//	policies.go  what clients see of each way to choose
//	quick.go    what a quick run does otherwise
//	losses.go   rounds that the host, or other programs, have taken too much of
//	perf.go     where Pharos spends its time
//	report.go   docs/PERFORMANCE.md and bench/results.json, work by work
//
// It owns what is measured and how it is told. Servers are run by package peer,
// load is made by dnsload, httpload and members, zones by corpus.
//
// Concurrency: one work after the other. The load runs on a locked thread and
// everything of this process on the same processor, which no server is on.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pharos/bench/assault"
	"pharos/bench/peer"
	"pharos/bench/table"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == assaultCommand {
		if err := assault.Main(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench assault:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == drainCommand {
		fmt.Fprintln(os.Stderr, "bench drain:", assault.Drain(os.Args[2:]))
		os.Exit(1)
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	work    string
	part    string
	rounds  int
	seconds float64
	peers   string
	pharos  string
	output  string
	quick   bool
	profile bool
	flows   int
	window  int
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.work, "work", "all", "what to measure: `auth|shapes|million|cache|rrsets|cold|bulk|flood|cut|http|http2|routes|layer4|assault|streams|change|sign|picks|policies|probes|verdicts|all`")
	f.StringVar(&o.part, "part", "all", "which part of the works shapes, change, streams, http and assault: `tld|signed|many|restart|steered|seen|updates|calm|tcp|dot|doh|doq|cached|100|1k|64k|half|tls|h3|slowloris|endless|garbage|smuggling|reset|continuation|bombs|all`")
	f.IntVar(&o.rounds, "rounds", 11, "how often each server is measured; the median counts")
	f.Float64Var(&o.seconds, "seconds", 0.8, "length of one measurement")
	f.StringVar(&o.peers, "peers", "all", "`names` of the peers, separated by commas; all or none")
	f.StringVar(&o.pharos, "pharos", "pharos", "the program under test, a `path` from the repository's root")
	f.StringVar(&o.output, "o", "table", "what is printed: `table|json`")
	f.BoolVar(&o.quick, "quick", false, "one short round over small zones; results are shown, not written to files")
	f.BoolVar(&o.profile, "profile", false, "after Pharos was measured in the first round, record where it spends its time (needs perf)")
	f.IntVar(&o.flows, "flows", 16, "sockets of the DNS load")
	f.IntVar(&o.window, "window", 8, "questions under way on each of them")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.rounds, o.seconds = 1, min(o.seconds, 1)
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag", f.Arg(0))
	case o.work != "all" && !slices.ContainsFunc(works, func(w work) bool { return w.name == o.work }):
		return o, fmt.Errorf("-work %s: want auth, shapes, million, cache, cold, bulk, flood, cut, http, http2, routes, layer4, assault, streams, change, sign, picks, policies, probes, verdicts or all", o.work)
	case o.part != "all" && !slices.ContainsFunc(assault.Kinds, func(k assault.Kind) bool { return k.Part == o.part }) && !slices.ContainsFunc(slices.Concat(shapes, changes, streamWorks, httpWorks()), func(p part) bool { return p.name == o.part }):
		return o, fmt.Errorf("-part %s: want tld, signed, many, restart, steered, seen, updates, calm, tcp, dot, doh, doq, cached, 100, 1k, 64k, half, tls, h3, slowloris, endless, garbage, smuggling, reset, continuation, bombs or all", o.part)
	case o.rounds < 1 || o.seconds <= 0:
		return o, fmt.Errorf("-rounds and -seconds have to be above 0")
	case o.output != "table" && o.output != "json":
		return o, fmt.Errorf("-o %s: want table or json", o.output)
	}
	return o, nil
}

// work is one kind of load.
type work struct {
	name string
	run  func(*arena) ([]table.Row, error)
}

// part is one of several measurements that make a work.
type part struct {
	name string
	run  func(*arena, []peer.Program) ([]table.Row, error)
}

// parts runs the parts that are asked for.
func (a *arena) parts(all []part, programs []peer.Program) ([]table.Row, error) {
	var rows []table.Row
	for _, p := range all {
		if a.o.part != "all" && a.o.part != p.name {
			continue
		}
		more, err := p.run(a, programs)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

var works = []work{{"auth", (*arena).auth}, {"shapes", (*arena).shapes}, {"million", (*arena).million}, {"cache", (*arena).cache}, {"rrsets", (*arena).rrsets}, {"http", (*arena).http}, {"http2", (*arena).http2}, {"routes", (*arena).routes}, {"layer4", (*arena).layer4}, {"assault", (*arena).assaults}, {"cold", (*arena).cold}, {"bulk", (*arena).bulk}, {"flood", (*arena).flood}, {"cut", (*arena).cut}, {"streams", (*arena).streams}, {"change", (*arena).change}, {"sign", (*arena).signing}, {"picks", (*arena).picks}, {"policies", (*arena).policies}, {"probes", (*arena).probes}, {"verdicts", (*arena).verdicts}}

// run measures what the arguments ask for and prints it on stdout. It ends every server it started, also
// when it is interrupted.
func run(args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err == flag.ErrHelp {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := repository()
	if err != nil {
		return err
	}
	a, err := newArena(ctx, o, root)
	if err != nil {
		return err
	}
	defer a.close()
	records := []table.Record{}
	for _, w := range works {
		if o.work != "all" && o.work != w.name {
			continue
		}
		rows, err := w.run(a)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		measured := a.records(w.name, rows)
		records = append(records, measured...)
		if err := a.keepIfSound(measured); err != nil {
			return err
		}
	}
	return a.report(records, stdout)
}

// repository returns the folder with go.mod above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", fmt.Errorf("no go.mod above the working directory: run bench inside the repository")
	}
}

// keepIfSound keeps what was measured, unless it is a glance or lacks a peer.
func (a *arena) keepIfSound(measured []table.Record) error {
	if a.o.quick || a.o.peers != "all" || len(a.missing) > 0 || len(measured) == 0 {
		fmt.Fprintln(os.Stderr, "bench: docs/PERFORMANCE.md and bench/results.json stay as they are: only a work with all its peers, and not -quick, is written")
		return nil
	}
	return a.keep(measured)
}

// report prints the results.
func (a *arena) report(records []table.Record, stdout io.Writer) error {
	if a.o.output != "json" {
		fmt.Fprint(stdout, a.section(records))
		return nil
	}
	text, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, string(text))
	return nil
}

// required reports whether a missing peer is an error.
func required() bool { return os.Getenv("CI") != "" || os.Getenv("PHAROS_REQUIRE_PEERS") != "" }

// choose returns own and those of the peers that are asked for and installed.
func (a *arena) choose(own peer.Program, peers ...peer.Program) ([]peer.Program, error) {
	chosen := []peer.Program{own}
	if _, ok := own.Find(); !ok {
		return nil, fmt.Errorf("%s is not there: make build", own.Binary)
	}
	a.versions[own.Name] = own.FindVersion()
	for _, p := range peers {
		wanted := a.o.peers == "all" || slices.ContainsFunc(strings.Split(a.o.peers, ","), func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), p.Name) })
		if !wanted {
			continue
		}
		if _, ok := p.Find(); !ok {
			if required() {
				return nil, fmt.Errorf("%s (%s) is not installed, and CI or PHAROS_REQUIRE_PEERS asks for it: make peers", p.Name, p.Binary)
			}
			a.missing = append(a.missing, p.Name)
			continue
		}
		a.versions[p.Name] = p.FindVersion()
		chosen = append(chosen, p)
	}
	return chosen, nil
}
