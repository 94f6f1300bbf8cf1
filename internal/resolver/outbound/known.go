package outbound

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync/atomic"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// inLoop has f run on the loop, where the machine is, and waits for it. It reports
// false, and f is not run, when the Driver is closed.
func (d *Driver) inLoop(f func()) bool {
	done := make(chan struct{})
	d.post(event{run: func() { f(); close(done) }})
	select {
	case <-done:
		return true
	case <-d.over:
	}
	select { // it may have been the last
	case <-done:
		return true
	default:
		return false
	}
}

// Servers returns what is known of servers; nothing when the Driver is closed.
func (d *Driver) Servers() (all []iterate.KnownServer) {
	d.inLoop(func() { all = d.resolver.KnownServers() })
	return all
}

// RestoreServers takes back what an earlier Driver knew of servers that this one has
// not heard of, and returns how many.
func (d *Driver) RestoreServers(all []iterate.KnownServer) (count int) {
	d.inLoop(func() { count = d.resolver.RestoreServers(clock.Now(), all) })
	return count
}

// trusted is whom a Driver believes.
type trusted struct {
	cfg     Config // constant: what follows counts of what is there, too
	hints   atomic.Pointer[[]string]
	routes  atomic.Pointer[[sha256.Size]byte]
	anchors atomic.Pointer[[sha256.Size]byte]
}

func newTrusted(cfg Config) *trusted {
	t := &trusted{cfg: cfg}
	t.setHints(cfg.Hints)
	t.setRoutes(cfg.Routes, cfg.Peers, cfg.Private)
	if len(cfg.Anchors) == 0 {
		cfg.Anchors = iterate.RootAnchors()
	}
	t.set(cfg.Anchors, cfg.Negative)
	return t
}

func (t *trusted) setRoutes(routes []iterate.Route, peers []Peer, private []dnsname.Name) {
	cfg, h := t.cfg, sha256.New()
	fmt.Fprintln(h, cfg.Validate, cfg.Aggressive, cfg.Port, sortedText(private))
	for _, r := range routes {
		fmt.Fprintln(h, r.Zone, r.Servers, r.Encrypted, r.Forward, r.First)
	}
	for _, p := range peers {
		fmt.Fprintln(h, p.ID, p.Name, p.Path)
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	t.routes.Store(&sum)
}

func (t *trusted) setHints(hints []rdata.Record) {
	text := sortedText(hints)
	t.hints.Store(&text)
}

func (t *trusted) set(anchors []rdata.Record, negative []dnsname.Name) {
	sum := sha256.Sum256(fmt.Appendln(nil, sortedText(anchors), sortedText(negative)))
	t.anchors.Store(&sum)
}

func sortedText[T fmt.Stringer](list []T) []string {
	out := make([]string, 0, len(list))
	for _, x := range list {
		out = append(out, x.String())
	}
	slices.Sort(out)
	return out
}

// TrustSum returns a sum of everything that says whom the Driver believes: the trust
// anchors that are in force, the negative ones, the routes, the root's servers. What a
// Driver with another one has cached is not to be used.
func (d *Driver) TrustSum() [sha256.Size]byte {
	hints := fmt.Append(nil, *d.trusted.hints.Load())
	return sha256.Sum256(slices.Concat(d.trusted.routes.Load()[:], d.trusted.anchors.Load()[:], hints))
}
