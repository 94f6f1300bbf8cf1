package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// callee is a server of gRPC that answers each call with its name, or with an outcome.
type callee struct {
	name    string
	outcome atomic.Uint32
	asked   atomic.Int64
}

// callees are those of scripts, by script and variable.
var callees = map[string]*callee{}

// startCallee starts one: callee VAR NAME; VAR becomes its address.
func startCallee(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: callee VAR NAME")
	}
	c := &callee{name: args[1]}
	l := listen(ts)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var said wrapperspb.StringValue
		if err := stream.RecvMsg(&said); err != nil {
			return err
		}
		c.asked.Add(1)
		if code := codes.Code(c.outcome.Load()); code != codes.OK {
			return status.Error(code, c.name)
		}
		return stream.SendMsg(wrapperspb.String(c.name))
	}))
	go s.Serve(l) // ended by Stop
	ts.Defer(s.Stop)
	callees[ts.Getenv("WORK")+args[0]] = c
	ts.Setenv(args[0], l.Addr().String())
}

// outcome has a callee answer so from now on: outcome VAR CODE, as in 14.
func outcome(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	if _, err := fmt.Sscan(args[1], &code); err != nil || len(args) != 2 {
		ts.Fatalf("usage: outcome VAR CODE")
	}
	callees[ts.Getenv("WORK")+args[0]].outcome.Store(uint32(code))
}

// calls makes calls of gRPC, one after the other, and prints how many had which outcome, and
// which server answered: calls [-until POOL/MEMBER STATE] N ADDRESS METHOD. With -until it goes
// on, so many at a time, until the node shows the member so, and prints what it then makes.
func calls(ts *testscript.TestScript, _ bool, args []string) {
	member, state := "", ""
	if len(args) == 6 && args[0] == "-until" {
		member, state, args = args[1], args[2], args[3:]
	}
	n := 0
	if len(args) != 3 {
		ts.Fatalf("usage: calls [-until POOL/MEMBER STATE] N ADDRESS METHOD")
	} else if _, err := fmt.Sscan(args[0], &n); err != nil {
		ts.Fatalf("calls: %v", err)
	}
	conn, err := grpc.NewClient("passthrough:"+args[1], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	ts.Check(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for member != "" && !isShown(ts, member, state) {
		if ctx.Err() != nil {
			ts.Fatalf("%s is not %s", member, state)
		}
		makeCalls(ctx, conn, n, args[2])
	}
	fmt.Fprint(ts.Stdout(), makeCalls(ctx, conn, n, args[2]))
}

func isShown(ts *testscript.TestScript, member, state string) bool {
	for _, p := range poolsOf(ts) {
		for _, m := range p.Members {
			if p.Name+"/"+m.Name == member && m.State == state {
				return true
			}
		}
	}
	return false
}

func makeCalls(ctx context.Context, conn *grpc.ClientConn, n int, method string) string {
	count := map[string]int{}
	for range n {
		var said wrapperspb.StringValue
		what := ""
		if err := conn.Invoke(ctx, method, wrapperspb.String("order"), &said); err != nil {
			what = status.Code(err).String()
		} else {
			what = "OK " + said.Value
		}
		count[what]++
	}
	var lines []string
	for what, n := range count {
		lines = append(lines, fmt.Sprintf("%d %s\n", n, what))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
