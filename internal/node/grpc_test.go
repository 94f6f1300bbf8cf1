package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"pharos/lab/testca"
	"pharos/lab/tools"
)

// interopCases are the cases of gRPC's interoperability tests (doc/interop-test-descriptions.md)
// that grpc-go's client has, but for those that need accounts of a cloud or several servers
// that a client chooses from itself. The soaks send hundreds of kilobytes each way.
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
	"cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service", "orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
}

// withReports has clients look at the reports of load that the orca cases are about.
const withReports = `{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`

// TestGRPCInterop has grpc-go's interop client speak with its interop server through the gateway,
// in clear text and over TLS, on either side.
func TestGRPCInterop(t *testing.T) {
	client, server := tools.Path(t, "grpc-interop-client"), tools.Path(t, "grpc-interop-server")
	if !tools.InOwnNetwork(t) { // the server listens on all addresses
		return
	}
	ca := testca.New(t, "ca")
	www, member := ca.Issue("clear.test", "secured.test"), ca.Issue("member.test")
	clear := startInteropServer(t, server, "-port", "10000")
	secured := startInteropServer(t, server, "-port", "10001", "-use_tls", "-tls_cert_file", member.Certificate, "-tls_key_file", member.Key)
	n, _ := start(t, newFolder(t).write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: [], http: ["127.0.0.1:0", "127.0.0.2:0"], https: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {certificates: [{certificate: %q, key: %q}]}
gateway: {timeouts: {drain: 1s}}
pools:
- {name: clear, check: {type: none}, origin: {protocol: http2}, members: [{name: a, address: %q}]}
- {name: secured, check: {type: none}, origin: {protocol: http2, tls: {name: member.test, ca: %q}}, members: [{name: a, address: %q}]}
routes:
- {name: secured, host: secured.test, path: "/", pool: secured}
- {name: secured-by-address, host: 127.0.0.2, path: "/", pool: secured}
- {name: clear, path: "/", pool: clear}
`, www.Certificate, www.Key, clear, ca.File, secured)))
	believe := []string{"-use_tls", "-use_test_ca", "-ca_file", ca.File, "-server_host_override"}
	for _, way := range []struct {
		name, address string
		args          []string
	}{
		{"clear/clear", n.HTTP()[0], nil}, {"clear/secured", n.HTTP()[1], nil},
		{"secured/clear", n.HTTPS()[0], append(believe, "clear.test")}, {"secured/secured", n.HTTPS()[0], append(believe, "secured.test")},
	} {
		host, port, _ := net.SplitHostPort(way.address)
		args := append([]string{"-server_host", host, "-server_port", port, "-soak_iterations", "5", "-soak_overall_timeout_seconds", "15",
			"-soak_per_iteration_max_acceptable_latency_ms", "10000", "-service_config_json", withReports}, way.args...)
		for _, c := range interopCases {
			t.Run(way.name+"/"+c, func(t *testing.T) {
				args := append(args[:len(args):len(args)], "-test_case", c)
				if got := run(t, client, args...); got != "" && !strings.HasSuffix(c, "_soak") || strings.Contains(got, "exit status") {
					t.Error(got)
				}
			})
		}
	}
}

// startInteropServer starts grpc-go's interop server on a port of the test's own network, and
// returns its address when it listens.
func startInteropServer(t *testing.T, server string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, server, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%v: %s", args, out.String())
		}
	})
	address := "127.0.0.1:" + args[1]
	eventually(t, func() string {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return "the interop server: " + err.Error()
		}
		conn.Close()
		return ""
	})
	return address
}
