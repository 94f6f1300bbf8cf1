package demo

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// origin is one of the lab's origin servers: it can be stopped and started again
// at its address.
type origin struct {
	name   string
	addr   string
	server *http.Server
}

// newOrigin starts an origin server at addr, whose port may be 0.
func newOrigin(name, addr string) (*origin, error) {
	o := &origin{name: name, addr: addr}
	return o, o.start()
}

func (o *origin) start() error {
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("origin %s: %w", o.name, err)
	}
	o.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "well") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Origin", o.name)
		fmt.Fprintf(w, "<h1>Welcome to the shop</h1>\n<p>%s, served by origin %s.</p>\n", r.URL.Path, o.name)
	})
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go o.server.Serve(l) // ended by stop
	return nil
}

// stop kills the server: its connections are cut, and its port refuses new ones.
func (o *origin) stop() {
	if o.server != nil {
		o.server.Close()
		o.server = nil
	}
}
