package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/logline"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/served"
)

// TestTimes: a line has how long each part of a request took; what did not happen is not in
// it. What is counted by route and by pool is the same.
func TestTimes(t *testing.T) {
	format, err := logline.Parse(logline.Form{Kind: "json", Fields: []string{"seconds", "queue", "connect", "firstByte", "tries", "status"}})
	if err != nil {
		t.Fatal(err)
	}
	const takes = 30 * time.Millisecond
	slow := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			<-time.After(takes)
			io.WriteString(conn, ok2)
		}
	})
	var lines bytes.Buffer
	connects := 0
	g := startGateway(t, Config{AccessLog: &lines, AccessLogFormat: format, Dial: func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
		connects++
		<-time.After(takes)
		return origins.DialTCP(ctx, address)
	}}, slow)
	g.ask(get("") + get("") + "GET /%2f HTTP/1.1\r\nHost: h\r\n\r\n")
	if err := g.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	var got [3]struct {
		Seconds          float64
		Queue, Connect   *float64
		FirstByte        *float64
		Status, Tries    int
		seconds, minimum float64
	}
	d := json.NewDecoder(&lines)
	for i := range got {
		if err := d.Decode(&got[i]); err != nil {
			t.Fatal(err)
		}
	}
	least := takes.Seconds()
	if l := got[0]; l.Queue != nil || l.Connect == nil || *l.Connect < least || l.FirstByte == nil || *l.FirstByte < *l.Connect+least || l.Seconds < *l.FirstByte || l.Tries != 1 {
		t.Errorf("on a new connection: %+v", l)
	}
	if l := got[1]; l.Queue != nil || l.Connect != nil || l.FirstByte == nil || *l.FirstByte < least || l.Seconds < *l.FirstByte || connects != 1 {
		t.Errorf("on a kept connection: %+v, %d connects", l, connects)
	}
	if l := got[2]; l.Queue != nil || l.Connect != nil || l.FirstByte != nil || l.Tries != 0 || l.Status != 400 {
		t.Errorf("refused: %+v", l)
	}

	all := g.table.RouteCounters()
	if r, ok := all[0].Total.Read(); !ok || len(all) != 1 || all[0].Name != "*/" || sum(r) != 2 || r.Classes[2] != 2 || r.Sum < 3*takes {
		t.Errorf("by route: %d, %q, %+v", len(all), all[0].Name, r)
	}
	g.table.Times(func(name string, times *served.Timings) {
		total, _ := times.Total.Read()
		connect, _ := times.Connect.Read()
		first, _ := times.FirstByte.Read()
		_, queued := times.Queue.Read()
		if name == "web" && (sum(total) != 2 || sum(connect) != 1 || connect.Sum < takes || sum(first) != 2 || first.Sum < 3*takes || queued) ||
			name == served.OtherTimed && sum(total) != 0 {
			t.Errorf("%s: total %+v, connect %+v, first byte %+v, queued %t", name, total, connect, first, queued)
		}
	})
}

func sum(r histogram.Reading) (n uint64) {
	for _, v := range r.Buckets {
		n += v
	}
	return n
}
