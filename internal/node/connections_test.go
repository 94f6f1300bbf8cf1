package node

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/health"
)

// greeter is a server that says its name and then repeats what it is told.
func greeter(t *testing.T, address, name string) net.Listener {
	l := target(t, address)
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				defer conn.Close()
				fmt.Fprintln(conn, name)
				io.Copy(conn, conn)
			}()
		}
	}()
	return l
}

// visit connects to a stream from an address of this machine and returns who greets, and the
// connection.
func visit(t *testing.T, n *Node, stream, from string) (string, net.Conn) {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", n.Stream(stream)[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	name := make([]byte, 2)
	conn.SetDeadline(clock.Now().Add(time.Minute))
	if _, err := io.ReadFull(conn, name); err != nil {
		return "", conn
	}
	return strings.TrimSpace(string(name)), conn
}

// TestConnectionsChooseAlike: streams choose from the same pools as names and requests do: their members as they are now, a pick by any policy, clients that come
// back known by their addresses, loads, and his word on who is well. What he finds out changes
// what DNS answers, and what an operator says of a member he obeys.
func TestConnectionsChooseAlike(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", steeredZone)
	servers := map[string]net.Listener{}
	members := ""
	for i, name := range []string{"a", "b", "c"} {
		servers[name] = greeter(t, fmt.Sprintf("127.0.0.%d:0", 21+i), name)
		members += fmt.Sprintf("  - {name: %s, address: \"%s\"}\n", name, servers[name].Addr())
	}
	config := "zones: [{name: example.com, file: example.com.zone}]\n" +
		"pools:\n- name: web\n  check: {type: tcp, interval: 1h}\n  passive: {ejection: 5m}\n  affinity: {by: clientAddress, ttl: 1h, drain: 1h, most: 1000}\n  members:\n" + members +
		"steer: [{name: www.example.com, pool: web}]\n" +
		"streams: [{name: web, listen: [\"127.0.0.1:0\"], pool: web}]\n"
	n, _ := start(t, f.config(config))
	eventually(t, func() string {
		for _, m := range n.current.Load().pools.Pool("web").View().Members {
			if m.State != health.Up {
				return fmt.Sprint(m.Name, " is ", m.State)
			}
		}
		return ""
	})

	// In turn for whom nobody knows, always the same for who comes back.
	had := map[string]string{}
	for i := range 12 {
		client := fmt.Sprintf("127.0.1.%d", i+1)
		had[client], _ = visit(t, n, "web", client)
	}
	count := map[string]int{}
	for client, name := range had {
		count[name]++
		if again, _ := visit(t, n, "web", client); again != name {
			t.Errorf("%s came to %s, and then to %s", client, name, again)
		}
	}
	if count["a"] != 4 || count["b"] != 4 || count["c"] != 4 {
		t.Errorf("12 clients are at %v", count)
	}
	// Loads: what is open, and what was carried.
	name, conn := visit(t, n, "web", "127.0.1.1")
	io.WriteString(conn, "hello")
	io.ReadFull(conn, make([]byte, 5))
	if m, _ := n.memberOf("web", name); m.Load.Active.Load() == 0 {
		t.Errorf("%s has nothing in flight", name)
	}

	// A member ends: clients that come back go to another one. The third of them changes the
	// verdict, and with it the answer, long before the next probe.
	servers["b"].Close()
	failed := 0
	for client, name := range had {
		if name != "b" {
			continue
		}
		now, _ := visit(t, n, "web", client)
		if failed++; now == "b" || now == "" {
			t.Errorf("%s is with %q", client, now)
		}
		had[client] = now
	}
	eventually(t, func() string {
		if m := ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false); strings.Contains(summary(m), "127.0.0.22") || len(m.Answer) != 2 {
			return fmt.Sprintf("after %d failures the answer is %s", failed, summary(m))
		}
		return ""
	})
	if m, _ := n.memberOf("web", "b"); m.State != health.Down || !strings.Contains(m.Cause, "3 failed") {
		t.Errorf("b is %s: %s", m.State, m.Cause)
	}
	for client, name := range had {
		if again, _ := visit(t, n, "web", client); again != name {
			t.Errorf("after the death %s came to %s, and then to %s", client, name, again)
		}
	}

	// One that an operator drains keeps who is with it, and gets nobody new.
	f.config(strings.Replace(config, "{name: a,", "{name: a, drain: true,", 1))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	for client, name := range had {
		if again, _ := visit(t, n, "web", client); again != name {
			t.Errorf("while a drains %s came to %s, and then to %s", client, name, again)
		}
	}
	for i := range 6 {
		if name, _ := visit(t, n, "web", fmt.Sprintf("127.0.2.%d", i+1)); name != "c" {
			t.Errorf("a new client came to %q", name)
		}
	}
}

// pickedFor returns whom a request of a client would be carried to.
func pickedFor(t *testing.T, n *Node, client netip.Addr) string {
	t.Helper()
	e, err := n.Explain(t.Context(), api.ExplainRequest{URL: "http://www.example.com/", From: client})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	e.WriteText(&text)
	_, rest, _ := strings.Cut(text.String(), "hash picks ")
	name, _, _ := strings.Cut(rest, " ")
	return name
}

// TestConnectionsHashAlike: a client's address leads connections and requests to one member.
func TestConnectionsHashAlike(t *testing.T) {
	f := newFolder(t)
	var members []string
	for i, name := range []string{"a", "b", "c"} {
		members = append(members, fmt.Sprintf("{name: %s, address: \"192.0.2.%d:80\"}", name, i+1))
	}
	n, _ := start(t, f.config(fmt.Sprintf("pools: [{name: web, policy: hash, hash: {key: clientPrefix}, check: {type: none}, members: [%s]}]\nroutes: [{pool: web}]\n", strings.Join(members, ", "))))
	p := n.current.Load().pools.Pool("web")
	v := p.View()
	var seen []string
	for i := range 40 {
		client := netip.AddrFrom4([4]byte{10, byte(i), 7, 9})
		key, ok := v.Spec().Hash.Key.OfClient(client)
		name := v.Members[balance.Pick(v, p.Load(), balance.Ask{Key: key})].Name
		if got := pickedFor(t, n, client); !ok || got != name {
			t.Errorf("%v: a connection comes to %s, a request to %s", client, name, got)
		}
		if !slices.Contains(seen, name) {
			seen = append(seen, name)
		}
	}
	if len(seen) != 3 {
		t.Errorf("40 networks are with %v", seen)
	}
}
