package httpproxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// idleClients are in a process of their own, so that what they occupy is not counted.
const (
	idleClients   = "PHAROS_TEST_IDLE" // an address, and what is spoken there
	idleClientsOf = 500
)

// TestIdleMemory: what a connection occupies that has asked once and waits, in the heap and in
// stacks. Over TLS most of it is package tls': keys, ciphers and the buffer of a record.
func TestIdleMemory(t *testing.T) {
	if to := os.Getenv(idleClients); to != "" {
		beIdle(t, to)
		return
	}
	if runtime.GOOS != "linux" || raceEnabled {
		t.Skip("connections rest on Linux only, and the race detector needs memory of its own")
	}
	for _, kind := range []struct {
		name string
		most int // octets
	}{{"HTTP/1.1", 4 << 10}, {"HTTP/2", 4 << 10}, {"HTTP/1.1 over TLS", 12 << 10}, {"HTTP/2 over TLS", 14 << 10}} {
		t.Run(kind.name, func(t *testing.T) {
			var g *gateway
			if origin := startOrigin(t, answering(ok2)); strings.HasSuffix(kind.name, "TLS") {
				g, _ = startSecured(t, Config{}, nil, origin)
			} else {
				g = startGateway(t, Config{}, origin)
			}
			before := occupied()
			clients := exec.Command(os.Args[0], "-test.run=^TestIdleMemory$")
			clients.Env = append(os.Environ(), idleClients+"="+g.address+" "+kind.name)
			leave, _ := clients.StdinPipe()
			says, _ := clients.StdoutPipe()
			if err := clients.Start(); err != nil {
				t.Fatal(err)
			}
			if word, err := bufio.NewReader(says).ReadString('\n'); word != "asked\n" {
				t.Fatalf("the clients say %q, %v", word, err)
			}
			g.awaitCounters(func(c Counters) bool { return c.Resting == idleClientsOf })
			each := (int(occupied()) - int(before)) / idleClientsOf
			t.Logf("%d octets for each connection", each)
			if each > kind.most {
				t.Errorf("got %d octets for each connection, want at most %d", each, kind.most)
			}
			leave.Close()
			if err := clients.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// occupied returns how much memory is in use, when what is not is given back.
func occupied() uint64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what was in pools has survived the first time
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// beIdle opens connections, asks once on each, and waits until standard input ends.
func beIdle(t *testing.T, to string) {
	address, kind, _ := strings.Cut(to, " ")
	for range idleClientsOf {
		conn := dial(t, address)
		if strings.HasSuffix(kind, "TLS") {
			c := &tls.Config{InsecureSkipVerify: true, ServerName: "www.test"}
			if strings.HasPrefix(kind, "HTTP/2") {
				c.NextProtos = []string{http2.NextProtoTLS}
			}
			conn = tls.Client(conn, c)
		}
		askIdle(t, conn, kind)
	}
	fmt.Println("asked")
	io.Copy(io.Discard, os.Stdin)
}

func askIdle(t *testing.T, conn net.Conn, kind string) {
	if strings.HasPrefix(kind, "HTTP/2") {
		c := &conn2{t: t, conn: conn}
		c.begin()
		askOn2(c)()
		return
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n")
	r := bufio.NewReader(conn)
	if readMessageHead(r) == "" {
		t.Fatal("no response")
	}
}
