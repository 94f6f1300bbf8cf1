package httpproxy

import (
	"testing"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/requestid"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// BenchmarkLine is what one line of the access log costs, in the form that it has by default.
func BenchmarkLine(b *testing.B) {
	x := exchanges.New().(*exchange)
	x.req.ResetRequest(http1.Limits{})
	head := "GET /path?query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n"
	if _, ev, v := x.req.Feed([]byte(head)); ev != http1.HeadDone || v != nil {
		b.Fatal(ev, v)
	}
	x.began, x.status, x.sent, x.tries = time.Now(), 200, 100, 1
	x.member, x.counters, x.id = &pool.Member{Name: "m0"}, &served.PoolCounters{Name: "web"}, requestid.Append(nil, time.Now())
	table := tableOf(b, "127.0.0.1:1")
	x.route, _ = table.Routes().Match([]byte("h"), slash, nil)
	c := &client{x: x, peerAs: peerText{address: []byte("192.0.2.7")}}
	c.wire = (*plain)(c)
	format, line := new(Config).lines(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		line = format.Append(line[:0], (*logged)(c))
	}
	b.SetBytes(int64(len(line)))
}
