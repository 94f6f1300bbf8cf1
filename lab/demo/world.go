package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"pharos/internal/node"
)

// Every server has an address of its own, as on the Internet: servers that
// share one would look like one server that knows too much.
const (
	rootAddr     = "127.53.0.1"
	exampleAddr  = "127.53.0.2"
	testAddr     = "127.53.0.3"
	reverseAddr  = "127.53.0.4"
	edgeAddr     = "127.53.0.5"
	resolverAddr = "127.53.0.6"
)

// probeInterval is that of the pool's check. A failure changes answers within
// two of them.
const probeInterval = "200ms"

// plan is one node of the world.
type plan struct {
	name  string
	zones map[string]string // name -> text
	yaml  string            // of the configuration after its listeners and zones
	addr  string
	http  bool
}

// world is the running lab.
type world struct {
	folder  string
	port    uint16 // of DNS, at every address
	origins []*origin
	nodes   map[string]*node.Node
	order   []string // names of nodes in the order of their start
	logs    []*os.File
}

// portTries is how many DNS ports are tried: one has to be free at six addresses
// at once.
const portTries = 10

// newWorld makes the lab: origins first, then the nodes from the root down.
func newWorld() (*world, error) {
	folder, err := os.MkdirTemp("", "pharos-lab-")
	if err != nil {
		return nil, err
	}
	w := &world{folder: folder}
	for i, name := range []string{"a", "b", "c"} {
		o, err := newOrigin(name, fmt.Sprintf("127.53.0.%d:0", 11+i))
		if err != nil {
			w.close()
			return nil, err
		}
		w.origins = append(w.origins, o)
	}
	for range portTries {
		if err = w.startNodes(); err == nil {
			return w, nil
		}
		w.dropNodes()
	}
	w.close()
	return nil, err
}

// startNodes starts every node with one DNS port, which the first one finds.
func (w *world) startNodes() error {
	w.nodes, w.order, w.port = map[string]*node.Node{}, nil, 0
	for _, p := range w.plans() {
		n, err := w.start(p)
		if err != nil {
			return fmt.Errorf("lab node %s: %w", p.name, err)
		}
		w.nodes[p.name], w.order = n, append(w.order, p.name)
		if w.port == 0 {
			w.port = n.DNS()[0].Port()
		}
	}
	return nil
}

func (w *world) start(p plan) (*node.Node, error) {
	folder := filepath.Join(w.folder, p.name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data: data\nlisten:\n  dns: [\"%s:%d\"]\n  admin: \"127.0.0.1:0\"\n", p.addr, w.port)
	if p.http {
		fmt.Fprintf(&b, "  http: [\"%s:0\"]\n", p.addr)
	}
	b.WriteString("zones:\n")
	for name, text := range p.zones {
		file := strings.ReplaceAll(name+".zone", "..", "root.")
		fmt.Fprintf(&b, "  - {name: \"%s\", file: %s}\n", name, file)
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	b.WriteString(strings.ReplaceAll(p.yaml, "PORT", fmt.Sprint(w.port)))
	config := filepath.Join(folder, "pharos.yaml")
	if err := os.WriteFile(config, []byte(b.String()), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	w.logs = append(w.logs, log)
	return node.New(node.Options{Config: config, Log: slog.New(slog.NewTextHandler(log, nil))})
}

// plans returns the nodes. The first is the root, whose file the resolver's hints
// repeat.
func (w *world) plans() []plan {
	hints := filepath.Join(w.folder, "named.root")
	text := ". 3600000 NS a.root.\na.root. 3600000 A " + rootAddr + "\n"
	if err := os.WriteFile(hints, []byte(text), 0o644); err != nil {
		panic(err) // the folder was made a moment ago; nothing in the lab can go on
	}
	var members strings.Builder
	for _, o := range w.origins {
		fmt.Fprintf(&members, "      - {name: %s, address: \"%s\"}\n", o.name, o.addr)
	}
	return []plan{
		{name: "root", addr: rootAddr, yaml: authoritativeOnly, zones: map[string]string{".": rootZone}},
		{name: "example", addr: exampleAddr, yaml: authoritativeOnly, zones: map[string]string{"example": exampleZone}},
		{name: "test", addr: testAddr, yaml: authoritativeOnly, zones: map[string]string{"test": testZone}},
		{name: "reverse", addr: reverseAddr, yaml: authoritativeOnly, zones: map[string]string{
			"53.127.in-addr.arpa": reverseZone, "blog.test": blogZone}},
		{name: "edge", addr: edgeAddr, http: true, zones: map[string]string{"shop.example": shopZone},
			yaml: authoritativeOnly + fmt.Sprintf(edgeYAML, probeInterval, members.String())},
		{name: "resolver", addr: resolverAddr, yaml: fmt.Sprintf(resolverYAML, hints)},
	}
}

func (w *world) edge() *node.Node     { return w.nodes["edge"] }
func (w *world) resolver() *node.Node { return w.nodes["resolver"] }

func (w *world) resolverAddress() netip.AddrPort { return w.resolver().DNS()[0] }
func (w *world) edgeAddress() netip.AddrPort     { return w.edge().DNS()[0] }

// gatewayPort returns the port of the gateway, as a URL writes it.
func (w *world) gatewayPort() string {
	_, port, err := net.SplitHostPort(w.edge().HTTP()[0])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return port
}

// dropNodes ends nodes that were never run.
func (w *world) dropNodes() {
	for _, n := range w.nodes {
		n.Close()
	}
	w.nodes = nil
}

// close removes everything; nodes that run were ended by their context.
func (w *world) close() error {
	var errs []error
	for _, o := range w.origins {
		o.stop()
	}
	for _, l := range w.logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.folder))...)
}
