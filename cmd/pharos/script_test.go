package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pharos/internal/admin/cli"
	"pharos/lab/peers"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"webserver": webServer,
		"greeterd":  greeterProcess,
		"pharos": func() {
			os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr, programs))
		},
	})
}

// TestScripts plays the dialogues of testdata/script with the program. Commands
// of their own are:
//
//	freeports NAME...     sets variables to ports that nobody else gets
//	waitready ADDRESS     waits until the admin listener there says it serves
//	waitready ADDRESS PATH TEXT  waits until it has TEXT at PATH
//	until REGEXP PROGRAM [ARGUMENT...]  runs a program until it succeeds and prints that
//	waitfile FILE TEXT    waits until a file has TEXT: lines of logs are written a moment later
//	origin NAME TEXT      starts an origin server; NAME becomes its address
//	readme FILE LANGUAGE  writes the README's first block of a language to FILE
//	keyfiles FOLDER NAME  copies the files of the key in FOLDER to NAME.key and NAME.private
//	fetch URL HOST        prints the response to GET URL with the field Host
//	edit FILE OLD NEW     replaces OLD by NEW in FILE
//	touch FILE            makes FILE newer than it was
//	needpeers PROGRAM...  fails without programs of others where they are required
//	guide FILE OLD=NEW... writes the shell commands of docs/FILE, block by block, to
//	                      the files step1, step2 ..., with OLD replaced by NEW
//	server [-takes D] [-length N] [-session COOKIE] NAME TEXT  starts an origin server
//	spread [-at N] [-jar NAME] [-from ADDRESS] N URL HOST [FIELD:VALUE...]  sends N requests,
//	                      some at once, some from other addresses of this machine, with
//	                      %n replaced by the number of the request, and prints how many
//	                      had which answer
//	answers [-until REGEXP] N SERVER NAME TYPE [SUBNET]  asks a name N times, for a client's
//	                      network with %n replaced by the number of the question, and prints
//	                      how many answers had which data; with -until, when a line is so
//	waitsigned ZONE       reloads until the node signs a zone
//	member KIND NAME      starts a server that a check can be made of; NAME becomes its address
//	serve NAME FILE       serves a file by HTTP; NAME becomes the address
//	shopserver NAME ADDRESS FILE  starts a server there that is well while there is FILE
//	splitport NAME ADDRESS  sets a variable to the port of an address
//	say NAME TEXT         has the member NAME of kind agent say something else
//	which NAME PROGRAM    sets a variable to where a program is
//	freerange NAME... COUNT  sets variables to ranges of ports that nobody else gets
//	pressure on NAME CLIENTS URL HOST  sends requests, so many at a time, until
//	pressure by NAME MEMBERS  waits until so many members have served, and there were enough requests
//	pressure off NAME     prints how many failed, and how many members served
//	waitscale POOL PHASE COUNT  waits until so many members that were made are in a phase,
//	                      or "any", or "ended" or "failed" so far; COUNT may be "2+"; waitscale POOL trouble TEXT
//	processes count|kill|save:NAME FOLDER  counts or kills the processes of members
//	orchestrator NAME ADDRESS...  starts a server for webhooks, with members to name
//	waitmember MEMBER STATE [TEXT]  waits until the node shows POOL/MEMBER so
//	exec webserver ADDRESS NAME     is an origin server in a process of its own
//	behave ADDRESS [takes=D] [status=N]  makes a webserver behave otherwise
//	visits N METHOD URL HOST        sends requests and prints how many had which status
//	carryuntil MEMBER STATE URL HOST  sends requests until the node shows POOL/MEMBER so
//	thirdfailure DNS NAME WEBSERVER URL  sees the third failed request change the answers
//	probeddeath DNS NAME WEBSERVER  kills a webserver and sees probes change the answers
//	logdaemon NAME        starts a log daemon for datagrams; NAME becomes its address
//	hears ADDRESS PATTERN waits until that daemon hears a message that PATTERN matches
//	collector NAME        starts a collector of traces; NAME becomes its address
//	spans ADDRESS N       waits until it has spans of N requests, and prints them
//	fetch3 [-method M] [-data CONTENT] [-field NAME:VALUE] [-show NAME,NAME] ADDRESS URL
//	                      sends a request by HTTP/3 and prints the response
//	noudp ADDRESS         succeeds when nobody listens there by UDP
//	killunderload N URL HOST WEBSERVER  kills a webserver under load, and prints what failed
//	greeter [-proxy] VAR NAME  starts a server that says its name, with -proxy also whom a PROXY
//	                      header names, and repeats what it is told; VAR becomes its address
//	exec greeterd ADDRESS NAME  is one in a process of its own, whose id is in NAME.pid
//	connect [-from ADDRESS] [-say TEXT] [-as ADDRESS] [-tls NAME] N ADDRESS  makes connections, and prints how
//	                      many had which greeting, or were reset
//	hold [-from ADDRESS] NAME ADDRESS  makes a connection and keeps it; held NAME speaks on it
//	killgreeter N ADDRESS NAME  kills a greeter while connections are made, and prints what failed
//	echoer VAR NAME       starts a server that answers datagrams with its name and them
//	datagrams [-from ADDRESS] N ADDRESS TEXT  sends datagrams and prints who answered what
//	loss deaf|stopped DNS NAME WEBSERVER STREAM URL  sees a member that serves no more change DNS
//	                      answers, the gateway, a stream and what that carries
//	wander [-save VAR] [-same VAR] [-only VAR=GREETING] N ADDRESS  makes a connection from each of N
//	                      addresses, and keeps or compares who greets each
//	waitforgotten STREAM CLIENT  waits until affinity does not know a client any more
//	waitline FILE REGEXP VAR  waits until a line matches; VAR becomes the id in the last such line
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Condition:           condition,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"freeports": freePorts, "waitready": waitReady, "waitfile": waitFile, "until": until, "origin": origin, "readme": readme, "fetch": fetch, "edit": edit, "touch": touch,
			"needpeers": needPeers, "guide": guide, "waitsigned": waitSigned, "keyfiles": keyFiles, "spread": spread, "server": server,
			"member": member, "shopserver": shopServer, "say": say, "serve": serve, "splitport": splitPort, "waitmember": waitMember,
			"answers": answers, "streaming": streaming, "browse": browse,
			"behave": behave, "carryuntil": carryUntil, "thirdfailure": thirdFailure, "killunderload": killUnderLoad, "visits": visits, "probeddeath": probedDeath,
			"which": which, "freerange": freeRange, "pressure": pressureCommand, "waitscale": waitScale, "processes": processes, "orchestrator": orchestrator,
			"greeter": greeter, "connect": connect, "hold": hold, "held": held, "killgreeter": killGreeter, "echoer": echoer, "datagrams": datagrams, "waitline": waitLine, "loss": loss, "wander": wander, "waitforgotten": waitForgotten,
			"fetch3": fetch3, "noudp": noUDP,
			"logdaemon": logDaemon, "hears": hears, "collector": collector, "spans": spans,
		},
	})
}

// condition knows who may send echo requests: [root], and [pinggroup] whose group the
// system names.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "pinggroup":
		text, err := os.ReadFile("/proc/sys/net/ipv4/ping_group_range")
		if err != nil {
			return false, nil // no such thing here
		}
		var low, high int
		_, err = fmt.Sscan(string(text), &low, &high)
		return low <= os.Getegid() && os.Getegid() <= high, err
	}
	return false, fmt.Errorf("no condition %q", name)
}

func freePorts(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		at, err := peers.FreePort()
		ts.Check(err)
		ts.Setenv(name, fmt.Sprint(at.Port()))
	}
}

func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	path, want := "/api/status", `"store": "ready"`
	if len(args) == 3 {
		path, want = args[1], args[2]
	}
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + args[0] + path)
		if err == nil {
			var status strings.Builder
			fmt.Fprint(&status, resp.StatusCode)
			body := make([]byte, 4096)
			n, _ := resp.Body.Read(body)
			resp.Body.Close()
			if strings.Contains(string(body[:n]), want) {
				return
			}
		}
		select {
		case <-deadline:
			ts.Fatalf("no node is ready at %s", args[0])
		case <-tick.C:
		}
	}
}

func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%s does not have %q", args[0], args[1])
		case <-tick.C:
		}
	}
}

func origin(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, args[1]) }))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}

func readme(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	ts.Check(err)
	_, rest, found := strings.Cut(string(text), "```"+args[1]+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		ts.Fatalf("the README has no block of %s", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(block), 0o644))
}

// root is the module's folder; scripts run elsewhere.
var root = func() string {
	wd, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(wd, "..", "..")
}()

func fetch(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest("GET", args[0], nil)
	ts.Check(err)
	req.Host = args[1]
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s", resp.Status, body)
}

func edit(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text, err := os.ReadFile(file)
	ts.Check(err)
	changed := strings.ReplaceAll(string(text), args[1], args[2])
	if changed == string(text) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	st, err := os.Stat(file)
	ts.Check(err)
	// Whole at once: a node that watches the file may look at it between any two steps.
	whole, later := ts.MkAbs(".edit"), st.ModTime().Add(time.Second)
	ts.Check(os.WriteFile(whole, []byte(changed), st.Mode()))
	ts.Check(os.Chtimes(whole, later, later))
	ts.Check(os.Rename(whole, file))
}

// touched counts the calls of touch, so that each makes a file newer.
var touched atomic.Int64

func touch(ts *testscript.TestScript, _ bool, args []string) {
	later := time.Now().Add(time.Duration(touched.Add(1)) * time.Second)
	ts.Check(os.Chtimes(ts.MkAbs(args[0]), later, later))
}

func needPeers(ts *testscript.TestScript, _ bool, args []string) {
	if os.Getenv("PHAROS_REQUIRE_PEERS") == "1" && !peers.Installed(args...) {
		ts.Fatalf("%v are not all installed, and PHAROS_REQUIRE_PEERS is 1", args)
	}
}

// guide writes the blocks of shell commands of a document to files.
func guide(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(root, "docs", args[0]))
	ts.Check(err)
	var pairs []string
	for _, pair := range args[1:] {
		old, now, _ := strings.Cut(pair, "=")
		pairs = append(pairs, old, now)
	}
	number := 0
	for i, part := range strings.Split(string(text), "```") {
		if block, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			number++
			ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprint("step", number)), []byte(strings.NewReplacer(pairs...).Replace(block)), 0o644))
		}
	}
	if number == 0 {
		ts.Fatalf("docs/%s has no shell commands", args[0])
	}
}

func waitSigned(ts *testscript.TestScript, _ bool, args []string) {
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		ts.Check(ts.Exec("pharos", "reload"))
		if ts.Exec("pharos", "zone", "keys", args[0]) == nil {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("zone %s is not signed", args[0])
		case <-tick.C:
		}
	}
}

// keyFiles gives the files of a key, whose tag nobody knows in advance, a fixed name.
func keyFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keyfiles FOLDER NAME")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "K*"))
	ts.Check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]+filepath.Ext(file)), text, 0o600))
	}
}
