package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// jars hold the cookies of spread -jar, by test and name.
var jars sync.Map

// spread sends requests and prints how many had which answer, the most first.
func spread(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("spread", flag.ContinueOnError)
	at := flags.Int("at", 1, "requests at once")
	jar := flags.String("jar", "", "keeps cookies")
	from := flags.String("from", "", "address of the client, each time on a connection of its own")
	ts.Check(flags.Parse(args))
	args = flags.Args()
	if neg || len(args) < 3 {
		ts.Fatalf("usage: spread [-at N] [-jar NAME] [-from ADDRESS] N URL HOST [FIELD:VALUE...]")
	}
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *at}}
	defer client.CloseIdleConnections()
	if *jar != "" {
		empty, _ := cookiejar.New(nil)
		kept, _ := jars.LoadOrStore(ts.Getenv("WORK")+*jar, empty)
		client.Jar = kept.(http.CookieJar)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	answers := make(chan string, n)
	for range *at {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if *from != "" {
					answers <- askFrom(strings.ReplaceAll(*from, "%n", fmt.Sprint(i)), args[1:], fmt.Sprint(i))
				} else {
					answers <- ask(client, args[1:], fmt.Sprint(i))
				}
			}
		})
	}
	wg.Wait()
	close(answers)
	counts := map[string]int{}
	for a := range answers {
		counts[a]++
	}
	lines := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(lines, func(a, b string) int { return counts[b] - counts[a] })
	for _, a := range lines {
		fmt.Fprintf(ts.Stdout(), "%d %s\n", counts[a], a)
	}
}

// ask sends one request: URL, Host, fields; %n in them is its number. It returns the
// first line of the answer.
func ask(client *http.Client, args []string, number string) string {
	req, err := http.NewRequest("GET", strings.ReplaceAll(args[0], "%n", number), nil)
	if err != nil {
		return err.Error()
	}
	req.Host = args[1]
	for _, f := range args[2:] {
		name, value, _ := strings.Cut(f, ":")
		req.Header.Set(name, strings.ReplaceAll(value, "%n", number))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(body), "\n")
	return first
}

// askFrom is ask from an address of this machine.
func askFrom(address string, args []string, number string) string {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()
	return ask(client, args, number)
}

// server starts an origin server that takes its time, answers at length, or sets a
// cookie.
func server(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	takes := flags.Duration("takes", 0, "how long each answer takes")
	length := flags.Int("length", 0, "octets of an answer")
	session := flags.String("session", "", "cookie that is set when there is none")
	ts.Check(flags.Parse(args))
	args = flags.Args()
	var sessions atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait := time.NewTimer(*takes)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
		if _, err := r.Cookie(*session); *session != "" && err != nil {
			http.SetCookie(w, &http.Cookie{Name: *session, Value: fmt.Sprint(args[1], "-", sessions.Add(1)), Path: "/"})
		}
		fmt.Fprintln(w, args[1])
		io.WriteString(w, strings.Repeat("x", *length))
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}
