package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pharos/internal/serve/proxyheader"
)

// greet is the server of a greeter: it says its name, or, with a PROXY header, its name and
// whom that names, and then repeats what it is told.
func greet(l net.Listener, name string, headers bool) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with its connection
			defer conn.Close()
			said := name
			if headers {
				h, err := proxyheader.ReadAny(conn)
				if err != nil {
					return
				}
				said += fmt.Sprintf(" %s at %s", h.Client.Addr(), h.Local)
			}
			fmt.Fprintln(conn, said)
			io.Copy(conn, conn)
		}()
	}
}

// greeterProcess is a greeter in a process of its own, to be killed: greeterd ADDRESS NAME.
func greeterProcess() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.WriteFile(os.Args[2]+".pid", []byte(fmt.Sprint(os.Getpid())), 0o644) != nil {
		os.Exit(1)
	}
	greet(l, os.Args[2], false)
}

// greeter starts a greeter: greeter [-proxy] VAR NAME.
func greeter(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("greeter", flag.ContinueOnError)
	headers := flags.Bool("proxy", false, "each connection begins with a PROXY header")
	ts.Check(flags.Parse(args))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	go greet(l, flags.Arg(1), *headers) // ends when l is closed
	ts.Setenv(flags.Arg(0), l.Addr().String())
}

// visitor makes connections.
type visitor struct {
	from string // address; %n is the number of the connection
	say  string // sent, and awaited back
	as   string // whom a PROXY header names
	tls  string // "-": TLS is spoken, without a name; a name: with that
}

// visit makes a connection and returns the greeting, or why there is none.
func (v *visitor) visit(address string, number int) (string, net.Conn) {
	d := net.Dialer{Timeout: 30 * time.Second}
	if v.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(strings.ReplaceAll(v.from, "%n", fmt.Sprint(number)))}
	}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		if errors.Is(err, syscall.ECONNRESET) {
			return "reset", nil
		}
		return "refused", nil
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if v.as != "" {
		h := proxyheader.Header{Client: netip.MustParseAddrPort(v.as), Local: netip.MustParseAddrPort("192.0.2.1:1")}
		conn.Write(proxyheader.Append(nil, h, true))
	}
	if v.tls != "" {
		c := &tls.Config{ServerName: strings.TrimPrefix(v.tls, "-"), InsecureSkipVerify: true} // of a certificate that the script has made
		conn = tls.Client(conn, c)
	}
	line, err := bufio.NewReaderSize(conn, 4096).ReadString('\n')
	if err != nil {
		conn.Close()
		if errors.Is(err, syscall.ECONNRESET) {
			return "reset", nil
		}
		return "closed", nil
	}
	if v.say != "" {
		io.WriteString(conn, v.say)
		back := make([]byte, len(v.say))
		if _, err := io.ReadFull(conn, back); err != nil || string(back) != v.say {
			conn.Close()
			return fmt.Sprintf("%q: %v", back, err), nil
		}
	}
	return strings.TrimSpace(line), conn
}

// connect makes connections one after the other, and prints how many had which greeting:
// connect [-from ADDRESS] [-say TEXT] [-as ADDRESS] [-tls NAME] N ADDRESS.
func connect(ts *testscript.TestScript, _ bool, args []string) {
	v := new(visitor)
	flags := v.flags("connect")
	ts.Check(flags.Parse(args))
	var n int
	_, err := fmt.Sscan(flags.Arg(0), &n)
	ts.Check(err)
	counts := map[string]int{}
	for i := range n {
		said, conn := v.visit(flags.Arg(1), i+1)
		counts[said]++
		if conn != nil {
			conn.Close()
		}
	}
	printCounts(ts.Stdout(), counts)
}

func (v *visitor) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&v.from, "from", "", "address of the client")
	flags.StringVar(&v.say, "say", "", "what is sent and awaited back")
	flags.StringVar(&v.tls, "tls", "", "the name that is asked for by TLS; - for none")
	flags.StringVar(&v.as, "as", "", "whom a PROXY header names")
	return flags
}

func printCounts(w io.Writer, counts map[string]int) {
	lines := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(lines, func(a, b string) int { return counts[b] - counts[a] })
	for _, a := range lines {
		fmt.Fprintf(w, "%d %s\n", counts[a], a)
	}
}

// opened are the connections that scripts keep, by folder and name.
var opened sync.Map

// hold makes a connection and keeps it: hold [-from ADDRESS] NAME ADDRESS; it prints the
// greeting.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	v := new(visitor)
	flags := v.flags("hold")
	ts.Check(flags.Parse(args))
	said, conn := v.visit(flags.Arg(1), 1)
	if conn == nil {
		ts.Fatalf("no connection: %s", said)
	}
	ts.Defer(func() { conn.Close() })
	opened.Store(ts.Getenv("WORK")+flags.Arg(0), conn)
	fmt.Fprintln(ts.Stdout(), said)
}

// held says something on a connection that is kept, and awaits it back; ! held: the
// connection ends before.
func held(ts *testscript.TestScript, neg bool, args []string) {
	kept, there := opened.Load(ts.Getenv("WORK") + args[0])
	if !there {
		ts.Fatalf("no connection %q is held", args[0])
	}
	conn := kept.(net.Conn)
	conn.SetDeadline(time.Now().Add(time.Minute))
	back := make([]byte, 5)
	var err error
	if neg { // it is not spoken on: that it ends is seen by itself
		_, err = conn.Read(back)
	} else if _, err = io.WriteString(conn, "hello"); err == nil {
		_, err = io.ReadFull(conn, back)
	}
	if (err != nil) != neg {
		ts.Fatalf("held %s: %q, %v", args[0], back, err)
	}
}

// killgreeter makes connections, 8 at a time, kills the process of a greeter after a third of
// them, and prints how many failed: killgreeter N ADDRESS NAME.
func killGreeter(ts *testscript.TestScript, _ bool, args []string) {
	var n, pid int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	_, err = fmt.Sscan(ts.ReadFile(args[2]+".pid"), &pid)
	ts.Check(err)
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	var kill sync.Once
	var alive sync.RWMutex // held by who connects: what is with the greeter when it dies is lost with it
	v := new(visitor)
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if i > int64(n/3) {
					kill.Do(func() {
						alive.Lock()
						defer alive.Unlock()
						syscall.Kill(pid, syscall.SIGKILL)
						awaitRefusal(ts.Getenv(strings.ToUpper(args[2])))
					})
				}
				alive.RLock()
				said, conn := v.visit(args[1], int(i))
				alive.RUnlock()
				if conn == nil {
					failed.Add(1)
					ts.Logf("connection %d: %s", i, said)
					continue
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(ts.Stdout(), "%d of %d failed\n", failed.Load(), n)
}

// awaitRefusal waits until nobody listens at an address, for a minute at most.
func awaitRefusal(address string) {
	deadline, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		select {
		case <-deadline:
			return
		case <-tick.C:
		}
	}
}

// echoer starts a server of datagrams, which answers each with its name and what it was sent:
// echoer VAR NAME.
func echoer(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	go func() { // ends when c is closed
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.WriteTo(append([]byte(args[1]+" "), b[:n]...), from)
			}
		}
	}()
	ts.Setenv(args[0], c.LocalAddr().String())
}

// datagrams sends datagrams, each from a port of its own, and prints how many had which
// answer: datagrams [-from ADDRESS] N ADDRESS TEXT.
func datagrams(ts *testscript.TestScript, _ bool, args []string) {
	v := new(visitor)
	flags := v.flags("datagrams")
	ts.Check(flags.Parse(args))
	var n int
	_, err := fmt.Sscan(flags.Arg(0), &n)
	ts.Check(err)
	counts := map[string]int{}
	for i := range n {
		counts[v.datagram(flags.Arg(1), flags.Arg(2), i+1)]++
	}
	printCounts(ts.Stdout(), counts)
}

// datagram sends one, again if no answer comes, as clients of datagrams do: late, since what is
// sent twice is counted twice.
func (v *visitor) datagram(address, text string, number int) string {
	d := net.Dialer{}
	if v.from != "" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(strings.ReplaceAll(v.from, "%n", fmt.Sprint(number)))}
	}
	conn, err := d.Dial("udp", address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	for range 3 {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write([]byte(text))
		b := make([]byte, 1<<16)
		if n, err := conn.Read(b); err == nil {
			return string(b[:n])
		}
	}
	return "no answer"
}

// waitLine waits until a line of a file matches, and sets a variable to the id of the last one
// that does: waitline FILE REGEXP VAR.
func waitLine(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: waitline FILE REGEXP VAR")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	deadline, tick := time.After(2*time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // which may not be there yet
		found := ""
		for line := range strings.Lines(string(text)) {
			if pattern.MatchString(line) {
				found = line
			}
		}
		if _, after, has := strings.Cut(found, `"id":"`); has {
			id, _, _ := strings.Cut(after, `"`)
			ts.Setenv(args[2], id)
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("no line of %s is like %s:\n%s", args[0], args[1], text)
		case <-tick.C:
		}
	}
}
