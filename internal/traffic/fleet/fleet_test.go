package fleet

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/scale"
)

// stage is a driver whose members are as a test says.
type stage struct {
	t       *testing.T
	d       *Driver
	folder  string
	changed chan struct{} // has room for one

	mu sync.Mutex
	up bool // what probes find of every member
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, folder: filepath.Join(t.TempDir(), "members"), changed: make(chan struct{}, 1)}
	s.d = New(Config{Look: s.look, OnChange: func(string) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}, Folder: s.folder, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.d.Close)
	return s
}

func (s *stage) look(pool string) (seen []Seen, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.d.Know(pool) {
		status := health.Status{State: health.Unknown}
		if s.up {
			status = health.Status{State: health.Up, LastOK: true, LastProbe: time.Now()}
		}
		seen = append(seen, Seen{Name: m.Name, Address: m.Address, Status: status})
	}
	return seen, 0
}

// until waits for something to be true of a pool's status.
func (s *stage) until(what string, is func(*Status) bool) *Status {
	s.t.Helper()
	deadline, tick := time.After(60*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		status := s.d.Status("web", 3)
		if status != nil && is(status) {
			return status
		}
		select {
		case <-deadline:
			s.t.Fatalf("%s did not come about: %+v", what, status)
		case <-s.changed:
		case <-tick.C:
		}
	}
}

// ports returns some ports that were free a moment ago.
func ports(t *testing.T) (first, last uint16) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	return port, min(port, 65000) + 20
}

func (s *stage) specOf(run ...string) Spec {
	first, last := ports(s.t)
	return Spec{Pool: "web", Rules: scale.Rules{Min: 1, Max: 2}, Measure: time.Second, Process: &Process{
		Run: run, Address: netip.MustParseAddr("127.0.0.1"), First: first, Last: last, Folder: "/",
		Start: time.Minute, Grace: 100 * time.Millisecond, LogSize: 1 << 20, LogFiles: 2,
	}}
}

func (s *stage) start(spec Spec) {
	s.d.Set([]Spec{spec})
	s.d.Start()
}

// A program that is not there, ends at once, hangs, or leaves: each is said with what to
// look at, nothing stays behind, and it is tried again less and less often.
func TestBadPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		run   []string
		start time.Duration
		want  string
	}{
		"missing":   {[]string{"/nonexistent/shop"}, time.Minute, "scale.process.run: fork/exec /nonexistent/shop: no such file or directory"},
		"forbidden": {[]string{"/etc/passwd"}, time.Minute, "permission denied"},
		"ends":      {[]string{"/bin/sh", "-c", "echo cannot bind; exit 3"}, time.Minute, "ended before it was up (exit status 3); it printed: cannot bind"},
		"hangs":     {[]string{"/bin/sh", "-c", "trap '' TERM; echo waiting; while :; do sleep 1; done"}, 2 * time.Second, "was not up within 2s; it printed: waiting"},
		"leaves":    {[]string{"/bin/sh", "-c", "setsid sleep 1000 & echo gone; exit 0"}, time.Minute, "ended before it was up (exit status 0)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			spec := s.specOf(c.run...)
			spec.Process.Start = c.start
			s.start(spec)
			status := s.until("trouble", func(st *Status) bool { return strings.Contains(st.Trouble, c.want) })
			if status.Failed == 0 || !strings.Contains(status.Trouble, "tried again after") {
				t.Errorf("%+v", status)
			}
			s.d.Close()
			if left := Running(s.folder); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// What a program finds is what is said here, and nothing of the node's.
func TestEnvironment(t *testing.T) {
	t.Setenv("PHAROS_SECRET", "of the node")
	s := newStage(t)
	file := filepath.Join(t.TempDir(), "said")
	spec := s.specOf("/bin/sh", "-c", `{ env; echo "args $0 $1 $2"; } > `+file+`.new; mv `+file+`.new `+file+`; exec sleep 1000`, "{port}", "{pool}/{member}", "{host}|{address}")
	spec.Process.Environment = []string{"SHOP=EUR"}
	s.mu.Lock()
	s.up = true
	s.mu.Unlock()
	s.start(spec)
	status := s.until("a member serves", func(st *Status) bool { return len(st.Members) == 1 && st.Members[0].Phase == "serving" })
	var text []byte
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for text == nil {
		text, _ = os.ReadFile(file)
		select {
		case <-deadline:
			t.Fatal("the program has said nothing")
		case <-tick.C:
		}
	}
	m := status.Members[0]
	for _, want := range []string{
		"SHOP=EUR\n", "PHAROS_POOL=web\n", "PHAROS_ADDRESS=" + m.Name + "\n", "PHAROS_HOST=127.0.0.1\n", "PATH=/usr/local/sbin",
		fmt.Sprintf("args %d web/%s 127.0.0.1|%s\n", m.Address.Port(), m.Name, m.Name),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "PHAROS_SECRET") {
		t.Errorf("a variable of the node got through:\n%s", text)
	}
	if pids := Running(s.folder); !slices.Contains(pids, m.PID) {
		t.Errorf("member %d is not among %v", m.PID, pids)
	}
	s.d.Close()
	if left := Running(s.folder); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// A process that looks like a member of this node, and is in no record of it, is not taken
// for one: it is ended.
func TestMarkIsNoMember(t *testing.T) {
	s := newStage(t)
	impostor := exec.Command("/bin/sleep", "1000")
	impostor.Env = []string{mark + s.folder, memberMark + "127.0.0.1:9", "PHAROS_POOL=web"}
	impostor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := impostor.Start(); err != nil {
		t.Fatal(err)
	}
	s.start(s.specOf("/bin/sh", "-c", "exec sleep 1000"))
	if err := impostor.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the impostor ended with %v", err)
	}
	for _, m := range s.d.Know("web") {
		if m.Address.Port() == 9 {
			t.Errorf("the impostor is a member: %+v", m)
		}
	}
}

// Two nodes with one folder: the second makes nothing, and ends nothing of the first.
func TestOneNodeOnly(t *testing.T) {
	s := newStage(t)
	s.start(s.specOf("/bin/sh", "-c", "exec sleep 1000"))
	s.until("a member runs", func(st *Status) bool { return len(st.Members) == 1 && st.Members[0].PID != 0 })
	other := newStage(t)
	other.folder, other.d.c.Folder = s.folder, s.folder
	other.start(other.specOf("/bin/sh", "-c", "exec sleep 1000"))
	other.until("it says so", func(st *Status) bool {
		return strings.Contains(st.Trouble, "another node uses the folder") && len(st.Decisions) > 0
	})
	if pids := Running(s.folder); len(pids) != 1 {
		t.Errorf("%d processes, want the one of the first node", len(pids))
	}
}

// A log is turned over, and never grows beyond what is configured.
func TestLogs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	for i := range 5 {
		if err := os.WriteFile(name, []byte(strings.Repeat(fmt.Sprint(i), 3000)+"\nlast \x1b[2J\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(name); got != "; it printed: last ?[2J" {
			t.Errorf("%q", got)
		}
		turnLog(name, 1000, 3)
	}
	all, err := filepath.Glob(name + "*")
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for i, want := range []int64{0, 1000, 1000} {
		if info, err := os.Stat(all[i]); err != nil || info.Size() != want {
			t.Errorf("%s: %v, %v, want %d octets", all[i], info.Size(), err, want)
		}
	}
}

// What a server of a webhook says, and what is made of it. Half an answer, garbage and
// silence are failures; what is understood and refused is not said again.
func TestHookAnswers(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of sixteen octets\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		serve func(try int, w http.ResponseWriter, r *http.Request)
		want  string // of the error, or of the members
		tries int
	}{
		"members": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"members": [{"targets": ["10.0.0.2:80", "10.0.0.1"], "labels": {"weight": "3"}}], "more": 1}`)
		}, "[10.0.0.1:8080 10.0.0.2:80]", 1},
		"nothing": {func(int, http.ResponseWriter, *http.Request) {}, "[]", 1},
		"nobody":  {func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"members": []}`) }, "[]", 1},
		"garbage": {func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "the answer is not JSON", 1},
		"wrong": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"members": [{"targets": ["a:b"]}]}`)
		}, `target "a:b"`, 1},
		"loopback": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"members": [{"targets": ["127.0.0.1:1"]}]}`)
		}, "[]", 1},
		"refused": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "status 403", 1},
		"moved": {func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "status 302", 1},
		"broken": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500, want 2xx (tried 3 times)", 3},
		"half": {func(try int, w http.ResponseWriter, _ *http.Request) {
			if try < 2 {
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, `{"members": [`)
				return
			}
			io.WriteString(w, `{"members": [{"targets": ["10.0.0.9:80"]}]}`)
		}, "[10.0.0.9:80]", 2},
		"silent": {func(_ int, _ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "Client.Timeout", 3},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var keys []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				content, _ := io.ReadAll(r.Body)
				at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Pharos-Signature"), "t="), ",v1=")
				mac := hmac.New(sha256.New, []byte("a secret of sixteen octets"))
				mac.Write(append([]byte(at+"."), content...))
				if sum != hex.EncodeToString(mac.Sum(nil)) || !json.Valid(content) {
					t.Errorf("signature %q of %s", r.Header.Get("Pharos-Signature"), content)
				}
				mu.Lock()
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				try := len(keys)
				mu.Unlock()
				c.serve(try, w, r)
			}))
			defer server.Close()
			timeout := time.Minute // a server that answers may take its time
			if name == "silent" {
				timeout = time.Second
			}
			w := &Webhook{URL: server.URL, SecretFile: secret, Timeout: timeout, Tries: 3, Port: 8080, Most: 10}
			a, err := w.send(context.Background(), Message{Pool: "web", Desired: 2})
			var got []string
			for _, m := range a.members {
				got = append(got, m.Name)
			}
			if text := fmt.Sprint(got); err == nil && text != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v, want %s", text, err, c.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(keys) != c.tries || len(slices.Compact(keys)) != 1 || keys[0] == "" {
				t.Errorf("tried with the keys %v, want %d times with one", keys, c.tries)
			}
		})
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Webhook{URL: "http://127.0.0.1:1/", SecretFile: short}).sign(nil, time.Now()); err == nil || !strings.Contains(err.Error(), "want at least 16") {
		t.Errorf("a short secret: %v", err)
	}
}

// FuzzAnswer: whatever a server says, no member is taken that lists could not name.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"members": [{"targets": ["10.0.0.2:80", "127.0.0.1:1", "10.0.0.1"], "labels": {"weight": "3"}}]}`))
	f.Add([]byte(`{"members": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &Webhook{Port: 80, Most: 3}
		a, err := w.read(text)
		if len(a.members) > 3 || err != nil && len(a.members) > 0 {
			t.Errorf("%d members, %v", len(a.members), err)
		}
		for _, m := range a.members {
			if addr := m.Address.Addr(); addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || m.Address.Port() == 0 {
				t.Errorf("member %v", m.Address)
			}
		}
	})
}
