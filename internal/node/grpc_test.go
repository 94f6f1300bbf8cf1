package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	health_v1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"pharos/lab/testca"
)

// TestGRPC: a client and a server of gRPC with the gateway between them, over TLS on one side
// and in the clear on the other: calls, their errors, a stream whose messages come as they
// are sent, a deadline; and a refusal of the gateway, which has a code of gRPC.
func TestGRPC(t *testing.T) {
	ca := testca.New(t, "ca")
	www := ca.Issue("www.test")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, says := grpc.NewServer(), health.NewServer()
	health_v1.RegisterHealthServer(server, says)
	says.SetServingStatus("a", health_v1.HealthCheckResponse_SERVING)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	f := newFolder(t)
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: [], https: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {certificates: [{certificate: %q, key: %q}]}
pools:
- {name: web, check: {type: none}, origin: {protocol: http2}, members: [{name: a, address: %q}]}
- {name: dead, check: {type: none}, origin: {protocol: http2}, members: [{name: a, address: "127.0.0.1:1"}]}
routes: [{path: /grpc.health.v1.Health, pool: web}, {path: /grpc.health.v1.Health/List, pool: dead}]
`, www.Certificate, www.Key, l.Addr())))
	cc, err := grpc.NewClient(n.HTTPS()[0], grpc.WithAuthority("www.test"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{ServerName: "www.test", RootCAs: ca.Pool()})))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, of := health_v1.NewHealthClient(cc), &health_v1.HealthCheckRequest{Service: "a"}
	if m, err := client.Check(ctx, of); err != nil || m.Status != health_v1.HealthCheckResponse_SERVING {
		t.Errorf("a call: got %v, %v", m, err)
	}
	if _, err := client.Check(ctx, &health_v1.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error of the server: got %v", err)
	}
	stream, err := client.Watch(ctx, of)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []health_v1.HealthCheckResponse_ServingStatus{health_v1.HealthCheckResponse_SERVING, health_v1.HealthCheckResponse_NOT_SERVING} {
		says.SetServingStatus("a", want)
		if m, err := stream.Recv(); err != nil || m.Status != want {
			t.Fatalf("a stream: got %v, %v, want %v", m, err, want)
		}
	}
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if stream, err = client.Watch(short, of); err == nil {
		for err == nil {
			_, err = stream.Recv()
		}
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a deadline: got %v", err)
	}
	if _, err := client.List(ctx, &health_v1.HealthListRequest{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the origin server refused the connection") {
		t.Errorf("a refusal of the gateway: got %v", err)
	}
}
