package discover

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// names is a DNS that a test writes.
type names struct {
	mu      sync.Mutex
	records map[string][]rdata.Record // by name and type
	err     error
	asked   int
}

func (n *names) set(ttl uint32, key string, texts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, kindText, _ := strings.Cut(key, " ")
	kind, _ := rdata.ParseType(kindText)
	var all []rdata.Record
	for _, text := range texts {
		data, err := rdata.ParseText(kind, dnsname.Root, text)
		if err != nil {
			panic(err)
		}
		all = append(all, rdata.Record{Type: kind, TTL: rdata.TTL(ttl), Data: data})
	}
	n.records[key] = all
}

func (n *names) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *names) lookup(_ context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.records[name.String()+" "+t.String()], n.err
}

// count returns how often anything was asked for.
func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// start returns a Driver that follows one source.
func start(n *names, s Source, keep string) *Driver {
	d := New(Config{Lookup: n.lookup, OnChange: func(Source) {}, Keep: keep, Log: slog.New(slog.DiscardHandler)})
	d.Set([]Source{s})
	return d
}

// addresses writes the members of a state: address*weight/tier.
func addresses(s State) string {
	var all []string
	for _, m := range s.Members {
		text := m.Address.String()
		if m.Weight > 0 || m.Tier > 0 {
			text += fmt.Sprintf("*%d/%d", m.Weight, m.Tier)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// A name is asked again when its TTL is over, but not more often than the interval; who
// fails keeps what it had, and says why.
func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{records: map[string][]rdata.Record{}}
		n.set(60, "web.example. A", "192.0.2.1", "192.0.2.2", "127.0.0.1")
		n.set(60, "web.example. AAAA", "2001:db8::1")
		s := Source{Pool: "web", Kind: DNS, Name: "web.example", Port: 80, Interval: 5 * time.Second, Most: 10}
		d := start(n, s, "")
		defer d.Close()
		want := func(members, problem string) {
			t.Helper()
			synctest.Wait()
			got := d.State(s)
			if addresses(got) != members || (got.Problem == "") != (problem == "") || !strings.Contains(got.Problem, problem) {
				t.Errorf("got %q, problem %q; want %q, %q", addresses(got), got.Problem, members, problem)
			}
		}
		const all = "192.0.2.1:80 192.0.2.2:80 [2001:db8::1]:80"
		time.Sleep(time.Millisecond)
		want(all, "127.0.0.1:80 is not taken")
		asked := n.count()
		time.Sleep(50 * time.Second)
		if n.count() != asked {
			t.Error("asked again before the TTL is over")
		}
		n.set(1, "web.example. A", "192.0.2.3")
		time.Sleep(11 * time.Second)
		want("192.0.2.3:80 [2001:db8::1]:80", "")
		asked = n.count()
		time.Sleep(time.Minute)
		if got := (n.count() - asked) / 2; got < 12 || got > 14 {
			t.Errorf("asked %d times in a minute, want every 5 s", got)
		}
		n.fail(errors.New("nobody answers"))
		time.Sleep(6 * time.Second)
		want("192.0.2.3:80 [2001:db8::1]:80", "dns web.example: nobody answers; the 2 servers known before stay")
		n.fail(nil)
		n.set(1, "web.example. A")
		n.set(1, "web.example. AAAA")
		time.Sleep(6 * time.Second)
		want("192.0.2.3:80 [2001:db8::1]:80", "dns web.example: the list is empty; the 2 servers known before stay")
		n.set(1, "web.example. A", "192.0.2.4")
		time.Sleep(6 * time.Second)
		want("192.0.2.4:80", "")
	})
}

// A list may become empty if that is said, and who is no longer listed lingers.
func TestEmptyAndLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{records: map[string][]rdata.Record{}}
		n.set(1, "web.example. A", "192.0.2.1")
		s := Source{Pool: "web", Kind: DNS, Name: "web.example", Families: "ipv4", Port: 80, Interval: 5 * time.Second, Most: 10, Empty: true, Linger: 7 * time.Second}
		d := start(n, s, "")
		defer d.Close()
		time.Sleep(time.Millisecond)
		n.set(1, "web.example. A")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := d.State(s); addresses(got) != "192.0.2.1:80" || got.Problem != "" {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(2 * time.Second) // forgotten when its time is over, not with the next reading
		synctest.Wait()
		if got := d.State(s); addresses(got) != "" || got.Problem != "" {
			t.Errorf("later: %+v", got)
		}
	})
}

// SRV: priority becomes tier, weight weight, and the least TTL of all counts.
func TestSRV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{records: map[string][]rdata.Record{}}
		n.set(300, "_http._tcp.example. SRV", "10 60 8080 a.example.", "10 20 8081 b.example.", "20 0 80 b.example.", "30 0 80 lost.example.")
		n.set(300, "a.example. A", "192.0.2.1")
		n.set(20, "b.example. A", "192.0.2.2")
		n.set(300, "b.example. AAAA", "2001:db8::2")
		s := Source{Pool: "web", Kind: SRV, Name: "_http._tcp.example", Interval: 5 * time.Second, Most: 10}
		d := start(n, s, "")
		defer d.Close()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := d.State(s)
		if want := "192.0.2.1:8080*60/0 192.0.2.2:80*1/1 192.0.2.2:8081*20/0 [2001:db8::2]:80*1/1 [2001:db8::2]:8081*20/0"; addresses(got) != want || !strings.Contains(got.Problem, "lost.example.") {
			t.Errorf("got %s, %s", addresses(got), got.Problem)
		}
		n.set(300, "b.example. A", "192.0.2.9")
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if got := addresses(d.State(s)); !strings.Contains(got, "192.0.2.9:80") {
			t.Errorf("after the least TTL: %s", got)
		}
	})
}

// await waits until a source is as wanted.
func await(t *testing.T, d *Driver, s Source, members, problem string) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		got := d.State(s)
		if addresses(got) == members && (got.Problem == "") == (problem == "") && strings.Contains(got.Problem, problem) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("got %q, problem %q; want %q, %q", addresses(got), got.Problem, members, problem)
		case <-tick.C:
		}
	}
}

// A file is read when it changes; half a file, and none, change nothing but the problem.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "targets.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	s := Source{Pool: "web", Kind: File, File: file, Port: 80, Interval: time.Second, Most: 2}
	d := start(new(names), s, "")
	defer d.Close()
	await(t, d, s, "", "no such file")
	write(`[{"targets": ["192.0.2.1:8080", "192.0.2.2"], "labels": {"weight": "3", "tier": "1"}}]`)
	await(t, d, s, "192.0.2.1:8080*3/1 192.0.2.2:80*3/1", "")
	write(`[{"targets": ["192.0.2.1:8080", "192.`)
	await(t, d, s, "192.0.2.1:8080*3/1 192.0.2.2:80*3/1", "neither JSON nor YAML")
}

// http_sd: the tag is sent back, redirects lead nowhere, a giant or broken list changes
// nothing, and who is trusted is proven.
func TestHTTP(t *testing.T) {
	var mu sync.Mutex
	answer := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	say := func(f func(http.ResponseWriter, *http.Request)) { mu.Lock(); answer = f; mu.Unlock() }
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		f := answer
		mu.Unlock()
		f(w, r)
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Source{Pool: "web", Kind: HTTP, URL: server.URL + "/targets", CA: ca, Interval: 20 * time.Millisecond, Most: 10}
	d := start(new(names), s, "")
	defer d.Close()
	await(t, d, s, "", "status 503, want 200")
	say(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.Header.Get("X-Prometheus-Refresh-Interval-Seconds") != "0.02" || r.URL.Path != "/targets" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("ETag", `"1"`)
		json.NewEncoder(w).Encode([]map[string]any{{"targets": []string{"192.0.2.1:80"}}})
	})
	await(t, d, s, "192.0.2.1:80", "")
	read := d.State(s).Read
	for d.State(s).Read.Equal(read) { // read again, and unchanged
		if t.Context().Err() != nil {
			t.Fatal("not read again")
		}
	}
	await(t, d, s, "192.0.2.1:80", "")
	for what, f := range map[string]func(http.ResponseWriter, *http.Request){
		"status 302": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"neither JSON": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") },
		"longer than":  func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[", strings.Repeat(" ", 5<<20), "]") },
		"is empty":     func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[]") },
	} {
		say(f)
		await(t, d, s, "192.0.2.1:80", what)
	}
	stranger := s
	stranger.CA = ""
	d.Set([]Source{stranger})
	await(t, d, stranger, "", "unknown authority")
}

// The last good lists outlive a restart, for sources that are the same.
func TestKeep(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "discovered.json")
	s := Source{Pool: "web", Kind: DNS, Name: "web.example", Families: "ipv4", Port: 80, Interval: time.Hour, Most: 10}
	n := &names{records: map[string][]rdata.Record{}}
	n.set(60, "web.example. A", "192.0.2.1")
	d := start(n, s, keep)
	await(t, d, s, "192.0.2.1:80", "")
	d.Close()
	n.fail(errors.New("nobody answers"))
	again := New(Config{Lookup: n.lookup, OnChange: func(Source) {}, Keep: keep, Log: slog.New(slog.DiscardHandler)})
	defer again.Close()
	if got := again.Know([]Source{s}); len(got) != 1 {
		t.Errorf("known before anything is followed: %v", got)
	}
	other := s
	other.Port = 81
	again.Set([]Source{s, other, s})
	await(t, again, s, "192.0.2.1:80", "nobody answers; the server known before stays")
	await(t, again, other, "", "nobody answers")
}
