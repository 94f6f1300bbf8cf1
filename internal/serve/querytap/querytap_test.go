package querytap

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"google.golang.org/protobuf/proto"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var quiet = slog.New(slog.DiscardHandler)

func event() *Event {
	at := time.Unix(1_800_000_000, 123_000)
	return &Event{
		Query: []byte("a query of twelve and more octets"), Answer: []byte("an answer"), Octets: 9,
		Client: netip.MustParseAddrPort("192.0.2.1:5000"), Local: netip.MustParseAddrPort("198.51.100.1:53"), Transport: "tcp",
		Received: at, Sent: at.Add(250 * time.Microsecond),
		Name: dnsname.MustParse("www.example."), Type: rdata.TypeAAAA, View: "inside", Zone: "example.", Frame: true, Line: true,
	}
}

// read returns the messages in a stream of frames.
func read(t *testing.T, r io.Reader, bidirectional bool) []*dnstap.Dnstap {
	t.Helper()
	frames, err := framestream.NewReader(r, &framestream.ReaderOptions{ContentTypes: [][]byte{dnstap.FSContentType}, Bidirectional: bidirectional})
	if err != nil {
		t.Fatal(err)
	}
	var all []*dnstap.Dnstap
	buf := make([]byte, 1<<17)
	for {
		size, err := frames.ReadFrame(buf)
		if err != nil {
			return all
		}
		m := new(dnstap.Dnstap)
		if err := proto.Unmarshal(buf[:size], m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// checkFrames holds the two frames of event to what it says.
func checkFrames(t *testing.T, all []*dnstap.Dnstap, query, response dnstap.Message_Type) {
	t.Helper()
	if len(all) != 2 {
		t.Fatalf("%d frames, want a query and a response", len(all))
	}
	q, r := all[0].Message, all[1].Message
	if q.GetType() != query || r.GetType() != response || string(q.QueryMessage) != string(event().Query) || string(r.ResponseMessage) != "an answer" {
		t.Errorf("frames %v and %v", q, r)
	}
	if q.GetSocketProtocol() != dnstap.SocketProtocol_TCP || q.GetSocketFamily() != dnstap.SocketFamily_INET || q.GetQueryPort() != 5000 || r.GetResponsePort() != 53 ||
		!bytes.Equal(q.QueryAddress, []byte{192, 0, 2, 1}) || !bytes.Equal(q.ResponseAddress, []byte{198, 51, 100, 1}) ||
		q.GetQueryTimeSec() != 1_800_000_000 || q.GetQueryTimeNsec() != 123_000 || r.GetResponseTimeNsec() != 373_000 {
		t.Errorf("who and when: %v and %v", q, r)
	}
	if string(all[0].Identity) != "ns1" || string(all[0].Version) != "v" {
		t.Errorf("identity %q, version %q", all[0].Identity, all[0].Version)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queries.dnstap")
	tap := New(Config{File: path, Identity: "ns1", Version: "v", Log: quiet})
	tap.Put(event())
	tap.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	checkFrames(t, read(t, bytes.NewReader(text), false), dnstap.Message_AUTH_QUERY, dnstap.Message_AUTH_RESPONSE)
	if c := tap.Counts(); c != (Counts{Frames: 2}) {
		t.Errorf("counts %+v", c)
	}
}

// TestSocket: a collector gets the frames; before it is there they are lost and
// counted, and nothing waits.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	tap := New(Config{Socket: path, Identity: "ns1", Version: "v", Log: quiet})
	defer tap.Close()
	tap.Put(event())
	for tap.Counts().Failed == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("not counted")
		case <-time.After(time.Millisecond):
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []*dnstap.Dnstap, 1)
	go func() { // ends with the connection, which Close ends
		conn, err := l.Accept()
		if err != nil {
			return
		}
		got <- read(t, conn, true)
	}()
	e := event()
	e.Recursive = true
	for tap.Counts().Frames == 0 { // from the first attempt after the pause on
		tap.Put(e)
		select {
		case <-t.Context().Done():
			t.Fatal("no frame was written")
		case <-time.After(10 * time.Millisecond):
		}
	}
	tap.Close()
	checkFrames(t, (<-got)[:2], dnstap.Message_CLIENT_QUERY, dnstap.Message_CLIENT_RESPONSE)
}

// TestNothingWaits: a writer that stands still costs events, not time.
func TestNothingWaits(t *testing.T) {
	r, w := io.Pipe()
	tap := New(Config{Lines: w, Log: quiet})
	for range Events + 100 {
		tap.Put(event())
	}
	if c := tap.Counts(); c.Dropped < 99 || c.Lines != 0 {
		t.Errorf("counts %+v, want about 100 dropped", c)
	}
	r.Close()
	tap.Close()
	if c := tap.Counts(); c.Failed == 0 {
		t.Errorf("counts %+v: lines that could not be written are not counted", c)
	}
}

func TestLine(t *testing.T) {
	var b strings.Builder
	tap := New(Config{Lines: &b, Log: quiet})
	tap.Put(event())
	silent := event()
	silent.Octets, silent.Answer, silent.View, silent.Zone = 0, nil, "", ""
	tap.Put(silent)
	tap.Close()
	want := `{"time":"2027-01-15T08:00:00.000123Z","client":"192.0.2.1:5000","transport":"tcp","name":"www.example.","type":"AAAA","rcode":"NOERROR","view":"inside","zone":"example.","octets":9,"took_us":250}
{"time":"2027-01-15T08:00:00.000123Z","client":"192.0.2.1:5000","transport":"tcp","name":"www.example.","type":"AAAA","rcode":"","octets":0,"took_us":250}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for line := range strings.Lines(b.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestNoAllocs: to put an event allocates nothing once the events have grown.
func TestNoAllocs(t *testing.T) {
	tap := New(Config{Log: quiet})
	defer tap.Close()
	e := event()
	e.Frame, e.Line = false, false
	for range 2 * Events {
		tap.Put(e)
		for len(tap.free) == 0 {
			runtime.Gosched()
		}
	}
	if got := testing.AllocsPerRun(1000, func() { tap.Put(e) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
