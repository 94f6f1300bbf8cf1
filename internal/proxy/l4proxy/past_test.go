package l4proxy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/pool"
)

// ids are those of the lines so far.
func (w *world) ids() (all []string) {
	for _, m := range regexp.MustCompile(`"id":"(conn-[0-9a-z]{8})"`).FindAllStringSubmatch(w.log(), -1) {
		all = append(all, m[1])
	}
	return all
}

// TestPast: what was refused or met a member that was not there is kept with how it was chosen; of
// what went well a sample.
func TestPast(t *testing.T) {
	w := newWorld(t)
	w.proxy.cfg.Past = NewPast(100*CarriedOctets, 0)
	p := poolOf("web", nobody(t), echo(t, "b"))
	at := w.follow(streamTo(nil, p))
	talk := func() {
		conn := dialTo(t, at)
		says(t, conn, "b")
		conn.Close()
	}
	talk()
	w.gone(1)
	c, kept := w.proxy.PastConnection(strings.ToUpper(w.ids()[0]), time.Now())
	if c == nil {
		t.Fatal("one that was tried again is not kept: ", kept)
	}
	if len(c.Failed) != 1 || c.Failed[0].Member != "a" || !strings.Contains(c.Failed[0].Cause, "refused") || c.Member != "b" || c.Tries != 2 || c.Pool != "web" || c.End != endDone {
		t.Errorf("kept %+v", c)
	}
	if c.Chosen == nil || c.Chosen.Policy != "first" || len(c.Chosen.Candidates) != 2 || !strings.HasPrefix(c.Chosen.Candidates[0], "a "+c.Failed[0].Address+" unknown") {
		t.Errorf("chosen %+v", c.Chosen)
	}
	p.Publish(pool.Compile(pool.Spec{Name: "web", Policy: pool.First, Members: p.View().Whole().Members[1:]}, nil, p.View()))
	talk()
	w.gone(2)
	if c, kept := w.proxy.PastConnection(w.ids()[1], time.Now()); c != nil || !strings.HasPrefix(kept, "1 connections are kept since ") {
		t.Errorf("kept, though it went well: %+v; %s", c, kept)
	}
	w.proxy.mu.Lock() // which each connection takes when it comes
	w.proxy.cfg.Past.Every = 1
	w.proxy.mu.Unlock()
	talk()
	w.gone(3)
	if c, _ := w.proxy.PastConnection(w.ids()[2], time.Now()); c == nil || c.Chosen == nil || len(c.Failed) != 0 {
		t.Errorf("of all: %+v", c)
	}
	p.Publish(pool.Compile(pool.Spec{Name: "web"}, nil, p.View()))
	visit(t, at)
	w.gone(4)
	if c, _ := w.proxy.PastConnection(w.ids()[3], time.Now()); c == nil || c.Member != "" || c.End != "refused: the pool has nobody to serve" {
		t.Errorf("refused: %+v", c)
	}
	if c, kept := (*Proxy)(nil).PastConnection("conn-00000000", time.Now()); c != nil || kept == "" {
		t.Errorf("of no proxy: %v %q", c, kept)
	}
}

// TestPastIsBounded: what is told of a choice among many members, and of why one was not reached,
// is cut.
func TestPastIsBounded(t *testing.T) {
	w := newWorld(t)
	addresses := make([]string, 20)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", i+1)
	}
	h := w.proxy.choose(&Target{Pool: poolOf("web", addresses...)}, netip.MustParseAddr("192.0.2.7"), "", 1)
	if got := h.tell().Candidates; len(got) != mostCandidates+1 || got[mostCandidates] != "and 8 more" {
		t.Errorf("%d: %v", len(got), got[len(got)-1])
	}
	if f := failedTo(&h.view.Members[0], 0, fmt.Errorf("%s", strings.Repeat("x", 1000))); len(f.Cause) != mostCause {
		t.Errorf("a cause of %d", len(f.Cause))
	}
	if NewPast(0, 1) != nil || NewPast(0, 1).isSampled() {
		t.Error("something is kept in no memory")
	}
}

// TestIDs: each connection has an id of its own, which is read as it was written.
func TestIDs(t *testing.T) {
	p := New(Config{})
	seen := map[string]bool{}
	for range 10_000 {
		id := p.nextID()
		if seen[id] || ParseID(id) != nil {
			t.Fatalf("%s: known %v, %v", id, seen[id], ParseID(id))
		}
		seen[id] = true
	}
	if ParseID("steer-00000000") == nil || ParseID("conn-0") == nil {
		t.Error("an id of something else is taken")
	}
}

// TestPastDatagrams: sessions of datagrams are kept as connections are.
func TestPastDatagrams(t *testing.T) {
	w := newWorld(t)
	w.proxy.cfg.Past = NewPast(100*CarriedOctets, 1)
	s := udpStream(poolOf("dns", answerer(t, "a")))
	s.Replies = 1
	client := udpClient(t, "127.0.0.1:0", w.follow(s))
	if got := asks(t, client, "hello"); got != "ahello" {
		t.Errorf("got %q", got)
	}
	w.gone(1)
	if c, kept := w.proxy.PastConnection(w.ids()[0], time.Now()); c == nil || c.Protocol != "udp" || c.End != endAnswered || c.Chosen == nil {
		t.Errorf("%+v, %s", c, kept)
	}
}
