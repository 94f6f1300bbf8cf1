package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// webServer is an origin server that is a process of its own, to be killed: webserver
// ADDRESS NAME. /behave?takes=D&status=N makes it slower, or answer with another status;
// /health is always well, /asked tells how many other requests have come, and /pid whom to
// kill; after /deaf it takes no connections any more, and keeps those that there are.
func webServer() {
	address, name := os.Args[1], os.Args[2]
	var takes, status, asked atomic.Int64
	status.Store(http.StatusOK)
	mux := http.NewServeMux()
	mux.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") })
	mux.HandleFunc("/asked", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, asked.Load()) })
	mux.HandleFunc("/behave", func(_ http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.FormValue("takes")); err == nil {
			takes.Store(int64(d))
		}
		if s := int64(0); r.FormValue("status") != "" {
			fmt.Sscan(r.FormValue("status"), &s)
			status.Store(s)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		wait := time.NewTimer(time.Duration(takes.Load()))
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
		if strings.HasPrefix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		} else {
			w.WriteHeader(int(status.Load()))
		}
		fmt.Fprintln(w, name)
	})
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	mux.HandleFunc("/deaf", func(w http.ResponseWriter, _ *http.Request) { l.Close(); fmt.Fprint(w, 0) })
	fmt.Fprintln(os.Stderr, http.Serve(l, mux))
	select {} // until it is killed: it may have connections still
}

// number asks a webserver for a number, or whoever serves host there.
func number(ts *testscript.TestScript, address, path string, host ...string) (n int) {
	req, err := http.NewRequest("GET", "http://"+address+path, nil)
	ts.Check(err)
	req.Host = strings.Join(host, "")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = fmt.Fscan(resp.Body, &n)
	ts.Check(err)
	return n
}

// behave makes a webserver behave otherwise: behave ADDRESS takes=D status=N; the first
// time it waits until it listens.
func behave(ts *testscript.TestScript, _ bool, args []string) {
	values := url.Values{}
	for _, a := range args[1:] {
		key, value, _ := strings.Cut(a, "=")
		values.Set(key, value)
	}
	deadline, tick := time.After(2*time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + args[0] + "/behave?" + values.Encode())
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%s: %v", args[0], err)
		case <-tick.C:
		}
	}
}

// visit sends one request on a connection of its own and returns its status.
func visit(ts *testscript.TestScript, method, where, host, content string) int {
	req, err := http.NewRequest(method, where, strings.NewReader(content))
	ts.Check(err)
	req.Host, req.Close = host, true
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// visits sends requests, each on a connection of its own, and prints how many had which
// status, the lowest first: visits N METHOD URL HOST.
func visits(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	counts := map[int]int{}
	for range n {
		counts[visit(ts, args[1], args[2], args[3], "")]++
	}
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(ts.Stdout(), "%d %d\n", counts[status], status)
	}
}

// carryUntil sends requests until the node shows a member in a state: carryuntil
// POOL/MEMBER STATE URL HOST.
func carryUntil(ts *testscript.TestScript, _ bool, args []string) {
	member, state, where, host := args[0], args[1], args[2], args[3]
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	defer stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				ask(client, []string{where, host}, "1")
			}
		})
	}
	defer wg.Wait()
	defer stop()
	last := ""
	for ctx.Err() == nil {
		for _, p := range poolsOf(ts) {
			for _, m := range p.Members {
				if p.Name+"/"+m.Name == member {
					if last = fmt.Sprintf("%+v", m); m.State == state {
						return
					}
				}
			}
		}
	}
	ts.Fatalf("%s is not %s: %s", member, state, last)
}

// thirdFailure sees what the third failed request brings: thirdfailure DNS NAME MEMBER URL.
// MEMBER answers with errors. It sends one request after the other through the gateway at
// URL; none of them fails, for another member is asked. When MEMBER has had three, the
// answer to NAME must lose its address without anything else happening, and no request
// comes to it any more. It prints how long the answer took to change.
func thirdFailure(ts *testscript.TestScript, _ bool, args []string) {
	server, name, where := args[0], args[1], args[3]
	member := netip.MustParseAddrPort(args[2])
	before := number(ts, args[2], "/asked")
	isAnswered := func() bool { return slices.Contains(addressesOf(ts, server, name), member.Addr()) }
	for sent := 0; number(ts, args[2], "/asked")-before < 3; sent++ {
		if !isAnswered() {
			ts.Fatalf("%v is gone from the answer after %d failed requests", member, number(ts, args[2], "/asked")-before)
		}
		if status := visit(ts, "GET", where, name, ""); status != http.StatusOK {
			ts.Fatalf("request %d: status %d, want 200 by another member", sent, status)
		}
		if sent > 100 {
			ts.Fatalf("%v had %d of 100 requests", member, number(ts, args[2], "/asked")-before)
		}
	}
	began := time.Now()
	for isAnswered() {
		if time.Since(began) > time.Minute {
			ts.Fatalf("%v is still answered", member)
		}
	}
	fmt.Fprintf(ts.Stdout(), "answer changed within %v\n", time.Since(began).Round(10*time.Microsecond))
	for range 20 {
		if status := visit(ts, "GET", where, name, ""); status != http.StatusOK {
			ts.Fatalf("status %d after the change", status)
		}
	}
	if n := number(ts, args[2], "/asked") - before; n != 3 {
		ts.Fatalf("%v had %d requests, want 3", member, n)
	}
}

// probedDeath kills a webserver that nobody sends requests to, and prints how long it took
// until the answer to NAME has lost its address: probeddeath DNS NAME WEBSERVER.
func probedDeath(ts *testscript.TestScript, _ bool, args []string) {
	member, pid := netip.MustParseAddrPort(args[2]), number(ts, args[2], "/pid")
	if !slices.Contains(addressesOf(ts, args[0], args[1]), member.Addr()) {
		ts.Fatalf("%v is not answered", member)
	}
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	began := time.Now()
	for slices.Contains(addressesOf(ts, args[0], args[1]), member.Addr()) {
		if time.Since(began) > time.Minute {
			ts.Fatalf("%v is still answered", member)
		}
	}
	fmt.Fprintf(ts.Stdout(), "answer changed within %v\n", time.Since(began).Round(100*time.Microsecond))
}

// addressesOf asks a server for the addresses of a name, as a stub resolver does.
func addressesOf(ts *testscript.TestScript, server, name string) []netip.Addr {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	addresses, err := r.LookupNetIP(context.Background(), "ip4", name+".")
	ts.Check(err)
	return addresses
}

// killUnderLoad sends requests that may be repeated, some with content, on kept
// connections, eight at once, and kills a webserver with SIGKILL when a third of them is
// done: killunderload N URL HOST WEBSERVER. It prints how many failed.
func killUnderLoad(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	where, host, pid := args[1], args[2], number(ts, args[3], "/pid")
	var next, failed, reused atomic.Int64
	var wg sync.WaitGroup
	var kill sync.Once
	methods := []string{"GET", "PUT", "DELETE", "HEAD", "OPTIONS"}
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if i > int64(n/3) {
					kill.Do(func() { syscall.Kill(pid, syscall.SIGKILL) })
				}
				if why := send(client, methods[i%int64(len(methods))], where, host, &reused); why != "" {
					failed.Add(1)
					ts.Logf("request %d: %s", i, why)
				}
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(ts.Stdout(), "%d of %d failed\n", failed.Load(), n)
	if reused.Load() == 0 {
		ts.Fatalf("no connection was used twice")
	}
}

// send sends one request and returns why it failed, or "".
func send(client *http.Client, method, where, host string, reused *atomic.Int64) string {
	content := ""
	if method == "PUT" {
		content = strings.Repeat("x", 2000)
	}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if info.Reused {
			reused.Add(1)
		}
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), method, where, strings.NewReader(content))
	if err != nil {
		return err.Error()
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK:
		return resp.Status + " " + string(body)
	case len(body) != 2 && method != "HEAD":
		return fmt.Sprintf("content %q", body)
	}
	return ""
}
