package main

import (
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// logDaemon starts a log daemon that takes datagrams; NAME becomes its address, for hears.
func logDaemon(ts *testscript.TestScript, _ bool, args []string) {
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { daemon.Close() })
	address := daemon.LocalAddr().String()
	ts.Setenv(args[0], address)
	daemons.Store(address, daemon)
}

// daemons are the log daemons that were started, by address.
var daemons sync.Map

// hears waits until the log daemon at ADDRESS hears a message that PATTERN matches.
func hears(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found, ok := daemons.Load(args[0])
	if !ok {
		ts.Fatalf("there is no log daemon at %s", args[0])
	}
	daemon := found.(net.PacketConn)
	daemon.SetReadDeadline(time.Now().Add(time.Minute))
	for b := make([]byte, 64<<10); ; {
		n, _, err := daemon.ReadFrom(b)
		if err != nil {
			ts.Fatalf("no message that %s matches: %v", pattern, err)
		}
		ts.Logf("heard %s", b[:n])
		if pattern.Match(b[:n]) {
			return
		}
	}
}
