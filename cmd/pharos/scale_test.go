package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pharos/internal/admin/api"
	"pharos/internal/traffic/fleet"
	"pharos/lab/peers"
)

// which sets a variable to where a program is.
func which(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: which NAME PROGRAM")
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	ts.Setenv(args[0], path)
}

// freeRange sets each NAME to a range of ports that were free a moment ago: "9000-9009".
func freeRange(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: freerange NAME... COUNT")
	}
	names := args[:len(args)-1]
	count, err := strconv.Atoi(args[len(names)])
	ts.Check(err)
	at, err := peers.FreePorts(count * len(names))
	ts.Check(err)
	first := int(at.Port())
	for i, name := range names {
		ts.Setenv(name, fmt.Sprintf("%d-%d", first+i*count, first+(i+1)*count-1))
	}
}

// pressure is a load on a gateway that goes on until it is ended.
type pressure struct {
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	served   atomic.Int64
	origins  sync.Map // by name
	mu       sync.Mutex
	failures []string
}

// pressures are those of scripts, by their folders and names.
var pressures sync.Map

// pressureCommand starts a load, or ends it.
func pressureCommand(ts *testscript.TestScript, _ bool, args []string) {
	switch {
	case len(args) == 5 && args[0] == "on": // NAME CLIENTS URL HOST
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		p := new(pressure)
		var ctx context.Context
		ctx, p.cancel = context.WithCancel(context.Background())
		pressures.Store(ts.MkAbs(args[1]), p)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
		ts.Defer(func() { p.cancel(); p.clients.Wait(); client.CloseIdleConnections() })
		for range n {
			p.clients.Go(func() { p.run(ctx, client, args[3], args[4]) })
		}
	case len(args) == 2 && args[0] == "off": // NAME: prints what became of it
		value, _ := pressures.Load(ts.MkAbs(args[1]))
		p := value.(*pressure)
		p.cancel()
		p.clients.Wait()
		fmt.Fprintf(ts.Stdout(), "%d failed; served by %d members; enough: %v\n", len(p.failures), p.members(), p.served.Load() > 20)
		if len(p.failures) > 0 {
			fmt.Fprintf(ts.Stdout(), "the first: %s\n", p.failures[0])
		}
	case len(args) == 3 && args[0] == "by": // NAME MEMBERS: waits until so many have served
		value, _ := pressures.Load(ts.MkAbs(args[1]))
		p := value.(*pressure)
		want, err := strconv.Atoi(args[2])
		ts.Check(err)
		deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for p.members() < want || p.served.Load() <= 20 {
			select {
			case <-deadline:
				ts.Fatalf("%d requests were served, by %d members", p.served.Load(), p.members())
			case <-tick.C:
			}
		}
	default:
		ts.Fatalf("usage: pressure on NAME CLIENTS URL HOST, pressure by NAME MEMBERS, or pressure off NAME")
	}
}

func (p *pressure) run(ctx context.Context, client *http.Client, url, host string) {
	for ctx.Err() == nil {
		// A request that has begun is waited for: one that is cut off proves nothing.
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			panic(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			p.fail(err.Error())
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			p.fail(fmt.Sprintf("%s: %s, %v", resp.Status, body, err))
			continue
		}
		p.served.Add(1)
		p.origins.Store(resp.Header.Get("X-Origin"), true)
	}
}

// members returns how many members have served.
func (p *pressure) members() (n int) {
	p.origins.Range(func(any, any) bool { n++; return true })
	return n
}

func (p *pressure) fail(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = append(p.failures, text)
}

// scaleOf returns how a pool scales.
func scaleOf(ts *testscript.TestScript, pool string) (s api.Scale) {
	resp, err := http.Get("http://" + ts.Getenv("PHAROS_ADMIN") + "/api/pools/" + pool + "/scale?limit=50")
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	ts.Check(json.NewDecoder(resp.Body).Decode(&s))
	return s
}

// waitScale waits until as many members are in a phase: POOL PHASE COUNT [PROCESSES]. COUNT
// may be "2+" for two or more. "waitscale POOL trouble TEXT" waits until there is a trouble, and
// "waitscale POOL ended COUNT", or failed, until so many members were ended, or ended by themselves.
func waitScale(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: waitscale POOL PHASE COUNT, or waitscale POOL trouble TEXT")
	}
	deadline, tick := time.After(3*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		s := scaleOf(ts, args[0])
		if args[1] == "trouble" && s.Pool != "" && (strings.Contains(s.Trouble, args[2]) && args[2] != "" || s.Trouble == args[2]) {
			return
		}
		n := 0
		for _, m := range s.Members {
			if m.Phase == args[1] || args[1] == "any" {
				n++
			}
		}
		switch args[1] {
		case "ended":
			n = int(s.Ended)
		case "failed":
			n = int(s.Failed)
		}
		least, orMore := strings.CutSuffix(args[2], "+")
		if want, err := strconv.Atoi(least); err == nil && s.Pool != "" && (n == want || orMore && n > want) {
			return
		}
		select {
		case <-deadline:
			text, _ := json.MarshalIndent(s, "", " ")
			ts.Fatalf("%v did not come about: %s", args, text)
		case <-tick.C:
		}
	}
}

// processes prints how many processes the members of a folder are, or sets NAME to
// their numbers, or sends them a signal.
func processes(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: processes count|kill|save:NAME FOLDER")
	}
	pids := fleet.Running(ts.MkAbs(args[1]))
	switch {
	case args[0] == "count":
		fmt.Fprintf(ts.Stdout(), "%d\n", len(pids))
	case args[0] == "kill":
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	case strings.HasPrefix(args[0], "save:"):
		slices.Sort(pids)
		ts.Setenv(strings.TrimPrefix(args[0], "save:"), strings.Trim(fmt.Sprint(pids), "[]"))
	}
}

// orchestrator is a server that a webhook can tell: it says how many members it was told
// to have, and names members of a list.
func orchestrator(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: orchestrator NAME [ADDRESS...]")
	}
	var mu sync.Mutex
	fail := 0
	var keys []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.URL.Path {
		case "/fail": // the next messages
			fail, _ = strconv.Atoi(r.FormValue("n"))
			return
		case "/keys":
			fmt.Fprintf(w, "%v\n", len(keys) >= 2 && keys[len(keys)-1] == keys[len(keys)-2])
			return
		}
		var m fleet.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Pharos-Signature") == "" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if fail > 0 {
			fail--
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"members": [`)
			return
		}
		named := args[1:]
		json.NewEncoder(w).Encode(map[string]any{"members": []map[string]any{{"targets": named[:min(m.Desired, len(named))]}}})
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}
