package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// loss sees a member that does not serve any more change DNS answers, the gateway, a stream and
// what that carries: loss deaf|stopped DNS NAME WEBSERVER STREAM URL. A connection through STREAM
// that has come to WEBSERVER is kept. Then that takes no connections any more, of which only the
// connections tell that are made then, or it stands still, of which only probes tell. The
// connection must be cut, the answer to NAME lose the address, and nothing come to WEBSERVER by
// STREAM or by the gateway at URL; and no connection or request fails meanwhile.
func loss(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 6 {
		ts.Fatalf("usage: loss deaf|stopped DNS NAME WEBSERVER STREAM URL")
	}
	how, server, name, stream, where := args[0], args[1], args[2], args[4], args[5]
	member := netip.MustParseAddrPort(args[3])
	pid := number(ts, args[3], "/pid")
	kept := keepConnection(ts, stream, name, pid)
	defer kept.Close()
	cut := make(chan time.Time, 1)
	go func() { // ends when kept is cut, or by its deadline
		_, err := kept.Read(make([]byte, 1))
		if err != nil && !os.IsTimeout(err) {
			cut <- time.Now()
		}
		close(cut)
	}()
	began, what := time.Now(), "the stop"
	if how == "deaf" {
		number(ts, args[3], "/deaf")
		awaitRefusal(args[3])
		began, what = visitUntilCut(ts, stream, name, pid, cut), "the third failed one"
	} else {
		ts.Check(syscall.Kill(pid, syscall.SIGSTOP))
		defer syscall.Kill(pid, syscall.SIGCONT) // or it could not be ended with the script
	}
	at, ok := <-cut
	if !ok {
		ts.Fatalf("the connection to %v is still carried", member)
	}
	for slices.Contains(addressesOf(ts, server, name), member.Addr()) {
		if time.Since(at) > 20*time.Second {
			ts.Fatalf("%v is still answered, long after the connections to it were cut", member)
		}
	}
	changed := time.Now()
	for range 12 {
		if by := askThrough(ts, stream, name); by == pid {
			ts.Fatalf("the stream leads to %v", member)
		}
		if by := number(ts, strings.TrimSuffix(strings.TrimPrefix(where, "http://"), "/"), "/pid", name); by == pid {
			ts.Fatalf("the gateway leads to %v", member)
		}
	}
	fmt.Fprintf(ts.Stdout(), "the connection was cut within %v of %s, the answer changed within %v\n",
		max(0, at.Sub(began)).Round(10*time.Microsecond), what, max(0, changed.Sub(began)).Round(10*time.Microsecond))
}

// keepConnection returns a connection through a stream that has come to a webserver of that pid.
func keepConnection(ts *testscript.TestScript, stream, host string, pid int) net.Conn {
	for range 100 {
		conn, by := dialThrough(ts, stream, host)
		if by == pid {
			conn.SetDeadline(time.Now().Add(time.Minute))
			return conn
		}
		conn.Close()
	}
	ts.Fatalf("none of 100 connections has come to the process %d", pid)
	return nil
}

// dialThrough makes a connection to a stream and returns it, and whose it is.
func dialThrough(ts *testscript.TestScript, stream, host string) (net.Conn, int) {
	conn, err := net.DialTimeout("tcp", stream, time.Minute)
	ts.Check(err)
	conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = fmt.Fprintf(conn, "GET /pid HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	ts.Check(err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	ts.Check(err)
	defer resp.Body.Close()
	var pid int
	_, err = fmt.Fscan(resp.Body, &pid)
	ts.Check(err)
	io.Copy(io.Discard, resp.Body)
	return conn, pid
}

func askThrough(ts *testscript.TestScript, stream, host string) int {
	conn, pid := dialThrough(ts, stream, host)
	conn.Close()
	return pid
}

// visitUntilCut makes connections, none of which fails or comes to pid, until cut has something; it
// returns when the last one was begun.
func visitUntilCut(ts *testscript.TestScript, stream, host string, pid int, cut <-chan time.Time) (began time.Time) {
	for range 100 {
		began = time.Now()
		if by := askThrough(ts, stream, host); by == pid {
			ts.Fatalf("process %d takes connections", pid)
		}
		if len(cut) > 0 {
			return began
		}
	}
	ts.Fatalf("100 connections were made, and that of process %d is still carried", pid)
	return began
}

// wander makes a connection from each of N addresses, and prints how many had which greeting:
// wander [-save VAR] [-same VAR] [-only VAR=GREETING] N ADDRESS. With -save the greetings become
// VAR; with -same they must be those of VAR, with -only of those alone who had GREETING in VAR.
func wander(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("wander", flag.ContinueOnError)
	save := flags.String("save", "", "variable")
	same := flags.String("same", "", "variable")
	only := flags.String("only", "", "variable and greeting")
	ts.Check(flags.Parse(args))
	var n int
	_, err := fmt.Sscan(flags.Arg(0), &n)
	ts.Check(err)
	ofVar, greeting, _ := strings.Cut(*only, "=")
	chosen := strings.Fields(ts.Getenv(ofVar))
	counts, all := map[string]int{}, make([]string, n)
	for i := range n {
		all[i] = "-"
		if *only != "" && chosen[i] != greeting {
			continue
		}
		v := &visitor{from: fmt.Sprintf("127.0.%d.1", i+1)}
		said, conn := v.visit(flags.Arg(1), i+1)
		if conn == nil {
			ts.Fatalf("%s: %s", v.from, said)
		}
		conn.Close()
		all[i] = said
		counts[said]++
		if *same != "" {
			if before := strings.Fields(ts.Getenv(*same))[i]; before != said {
				ts.Fatalf("%s is with %s, and was with %s", v.from, said, before)
			}
		}
	}
	if *save != "" {
		ts.Setenv(*save, strings.Join(all, " "))
	}
	printCounts(ts.Stdout(), counts)
}

// waitForgotten waits until a stream does not know a client any more: waitforgotten STREAM CLIENT.
func waitForgotten(ts *testscript.TestScript, _ bool, args []string) {
	deadline, tick := time.After(time.Minute), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + ts.Getenv("PHAROS_ADMIN") + "/api/explain?stream=" + args[0] + "&client=" + args[1])
		ts.Check(err)
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if resp.StatusCode == http.StatusOK && !strings.Contains(string(text), "comes back for") {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%s still knows %s: %s", args[0], args[1], text)
		case <-tick.C:
		}
	}
}
