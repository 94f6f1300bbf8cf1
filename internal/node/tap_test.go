package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// TestQueryLog: a line for each query, or for some; a file that is moved away is made
// again.
func TestQueryLog(t *testing.T) {
	f := newFolderWith(t, exampleZone)
	f.write("other.zone", exampleZone)
	n, stop := start(t, f.config(`zones: [{name: example.com, file: example.zone}, {name: other.test, file: other.zone}]
views: [{name: inside, clients: [127.0.0.2/32], zones: [{name: other.test, file: other.zone}]}]
log: {queries: {file: queries.log, every: 0, clients: [127.0.0.2/32], zones: [example.com]}}
`))
	for _, q := range []struct{ from, name string }{
		{"127.0.0.1", "www.example.com"}, {"127.0.0.1", "www.other.test"}, {"127.0.0.2", "www.other.test"}, {"127.0.0.2", "www.nowhere.test"},
		{"127.0.0.1", "nothing.example.com"},
	} {
		askFrom(t, q.from, n, question(q.name, dns.TypeA, nil))
	}
	stop()
	text, err := os.ReadFile(filepath.Join(f.path, "queries.log"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var r struct{ Client, Transport, Name, Type, Rcode, View, Zone string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, fmt.Sprintln(netip.MustParseAddrPort(r.Client).Addr(), r.Transport, r.Name, r.Type, r.Rcode, r.View, r.Zone))
	}
	want := []string{
		"127.0.0.1 tcp www.example.com. A NOERROR  example.com.\n", "127.0.0.2 tcp www.other.test. A NOERROR inside other.test.\n",
		"127.0.0.2 tcp www.nowhere.test. A REFUSED inside \n", "127.0.0.1 tcp nothing.example.com. A NXDOMAIN  example.com.\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
}

// TestDnstap: what a client sends and gets comes back from the file as it was, over UDP
// and TCP, refused or not, and also what is malformed.
func TestDnstap(t *testing.T) {
	f := newFolderWith(t, exampleZone)
	n, stop := start(t, f.config(`zones: [{name: example.com, file: example.zone}]
dns: {nsid: ns1.test, udpWorkers: 1}
log: {dnstap: {file: queries.dnstap}}
`))
	var want []string
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"www.example.com", "www.nowhere.test"} {
			m := question(name, dns.TypeA, nil)
			got := exchange(t, network, n.DNS()[0], m)
			want = append(want, fmt.Sprint("AUTH_QUERY ", network, " ", m.Id, " NOERROR"), fmt.Sprint("AUTH_RESPONSE ", network, " ", m.Id, " ", dns.RcodeToString[got.Rcode]))
		}
	}
	bad := question("www.example.com", dns.TypeA, func(m *dns.Msg) { option(10, 1)(m) })
	exchange(t, "udp", n.DNS()[0], bad)
	want = append(want, fmt.Sprint("AUTH_QUERY udp ", bad.Id, " NOERROR"), fmt.Sprint("AUTH_RESPONSE udp ", bad.Id, " FORMERR"))
	stop()
	text, err := os.ReadFile(filepath.Join(f.path, "queries.dnstap"))
	if err != nil {
		t.Fatal(err)
	}
	frames, err := framestream.NewReader(bytes.NewReader(text), &framestream.ReaderOptions{ContentTypes: [][]byte{dnstap.FSContentType}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	buf := make([]byte, 1<<17)
	for {
		size, err := frames.ReadFrame(buf)
		if err != nil {
			break
		}
		var tap dnstap.Dnstap
		var m dns.Msg
		if err := proto.Unmarshal(buf[:size], &tap); err != nil {
			t.Fatal(err)
		}
		if err := m.Unpack(append(tap.Message.QueryMessage, tap.Message.ResponseMessage...)); err != nil {
			t.Fatal(err)
		}
		if string(tap.Identity) != "ns1.test" {
			t.Errorf("identity %q", tap.Identity)
		}
		got = append(got, fmt.Sprint(tap.Message.GetType(), " ", strings.ToLower(tap.Message.GetSocketProtocol().String()), " ", m.Id, " ", dns.RcodeToString[m.Rcode]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
