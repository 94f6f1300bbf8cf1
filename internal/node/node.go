// Package node is a running node: it builds the parts of the house from one
// configuration file, joins them, publishes what they read, and ends them.
//
// It is the only package that may import everything, and nothing imports it but
// cmd and lab. It decides nothing that a pure package could decide.
//
//	query.go     the way of a query      socket -> zone, pool, cache, resolver -> socket
//	change.go    the way of a change     file, store -> compile -> fsync -> swap
//	transfer.go  the way of a zone to secondaries; secondary.go: from primaries
//	snapshot.go  what both meet in: everything that answers, immutable
//	explain.go   the same decisions, told
//
// The way of a request is in package httpproxy, request.go: the node gives it the
// table of routes and pools and takes what traffic shows of members.
//
// Entry points: Serve, Check; New and Node.Run for the lab and for tests.
//
// Concurrency: queries, requests and calls of the admin listener load the current
// Snapshot once and share nothing else that changes. Changes are made one at a
// time, under Node.mu.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/admin/certdesk"
	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/aliases"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/xfr"
	"pharos/internal/clock"
	"pharos/internal/cluster/snapshot"
	"pharos/internal/cluster/store"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/proxy/vouch"
	"pharos/internal/resolver/failures"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/upgrade"
	"pharos/internal/serve/entrances"
	"pharos/internal/serve/outgoing"
	"pharos/internal/serve/updates"
	"pharos/internal/traffic/discover"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/overrides"
	"pharos/internal/traffic/probe"
)

// Times of a node's life.
const (
	watchInterval = time.Second     // how often files are looked at for changes
	stopTimeout   = 5 * time.Second // for DNS answers under way; the gateway has its own in the configuration
)

// Options are what a Node is made from.
type Options struct {
	Config string // configuration file
	// Load makes the configuration of the file; nil: config.Load. It is called again when
	// the file has changed.
	Load   func(file string) (*config.Config, error)
	Log    *slog.Logger // nil: as the configuration says, on standard error
	Stdout io.Writer    // for an access log on stdout; nil: os.Stdout
	Reader []string     // program that reads large zones again, see masterfile.ReadAside; none: the node does
}

// watching is what follows members and lists of them.
type watching struct {
	prober    *probe.Prober
	discovery *discover.Driver
	fleet     *fleet.Driver
	overrides *overrides.Driver
	past      past
}

// Node is one running node.
type Node struct {
	// Constant after New.
	path    string // of the configuration file
	load    func(string) (*config.Config, error)
	log     *slog.Logger
	started time.Time
	watching
	dns     *entrances.Listeners // nil without an address
	reports reportLog            // of resolvers, about zones of ours
	edns    edns
	carrying
	admin     *http.Server
	adminOn   net.Listener
	logs      logs
	snapshots *snapshot.Folder
	builders  sync.Pool // of *lateBuilder

	images      *masterfile.Images
	secondaries *xfr.Secondaries
	turns       *xfr.Turns // of all secondaries, in views too
	notifier    *xfr.Notifier
	outgoing    *outgoing.Transfers
	badKeys     atomic.Uint64 // requests of other servers whose signature was refused
	aliases     *aliases.Driver
	views       map[string]*viewParts // guarded by mu
	changeZone  changer               // for tests, another
	updates     *updates.Updates
	catalogued
	resolving
	*keeping // of the zones outside of views

	certificates tlscert.Store
	guide        *guide
	journaled    *journal.Budget // of what leads to versions, of all zones

	current  atomic.Pointer[Snapshot]
	store    atomic.Pointer[store.Store] // nil until it is open
	problems problems.List
	applied  revisions

	verdicts *probe.Keeper
	stopping atomic.Bool

	// mu makes changes follow each other: load, compile, save, swap. Nothing on the
	// way of a query or a request takes it.
	mu sync.Mutex
	watch
	saved int64 // revision of the last snapshot on disk
	live  bool  // Run has begun: other servers are asked and told
}

// New reads the configuration, compiles the first snapshot and binds every
// address. Nothing is answered before Run. The error says what is wrong, where,
// and what to do.
func New(o Options) (*Node, error) {
	file := diskfile.StampOf(o.Config)
	load := o.Load
	if load == nil {
		load = config.Load
	}
	cfg, err := load(o.Config)
	if err != nil {
		return nil, err
	}
	n := &Node{
		path: o.Config, load: load, log: o.Log, started: clock.Now(), watch: watch{file: file, lists: cfg.Lists, asRead: o.Load == nil, rereads: o.Load == nil, begun: cfg.AtStart()},
		snapshots: snapshot.At(filepath.Join(cfg.Data, "snapshots")),
		builders:  sync.Pool{New: func() any { return new(lateBuilder) }},
		resolving: resolving{failures: failures.New(failures.DefaultLimits)},
		applied:   revisions{turn: make(chan struct{}, 1)},
	}
	n.keeping = &keeping{n: n}
	if n.log == nil {
		n.log = newLog(cfg.Log)
	}
	if err := n.build(cfg, o); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

// build makes the parts, in the order in which they need each other.
func (n *Node) build(cfg *config.Config, o Options) error {
	n.guide, n.journaled = n.newGuide(cfg), journal.NewBudget()
	n.prober = probe.New(probe.Config{OnChange: n.onHealth})
	n.passive, n.vouch = n.newPassive(), vouch.New(n.log)
	n.discovery = n.newDiscovery(filepath.Join(cfg.Data, "discovered.json"))
	n.fleet = n.newFleet(filepath.Join(cfg.Data, "members"))
	n.overrides = n.newOverrides(cfg.Data)
	n.upgrades = upgrade.New(upgrade.Config{OnChange: n.onUpgrade, Log: n.log})
	var err error
	if n.past, err = newPast(cfg.Steering.Decisions); err != nil {
		return err
	}
	n.verdicts = probe.NewKeeper(n.prober, filepath.Join(cfg.Data, "health.json"), n.log)
	n.images = masterfile.NewImages(filepath.Join(cfg.Data, "images"), n.log)
	n.images.ReadWith(o.Reader...)
	n.buildTransfers(cfg)
	n.aliases = n.openAliases("", cfg.Data, cfg.Alias)
	n.keeping.open(cfg)
	if err := n.openTrust(cfg); err != nil {
		return err
	}
	n.openRoot(cfg)
	n.changeZone, n.updates = n.changeInLedger, n.newUpdates()
	if err := n.openSecret(cfg); err != nil {
		return err
	}
	if err := n.buildStreams(cfg, o.Stdout); err != nil {
		return err
	}
	n.cache = newCache(cfg.Resolver, n.started) // which rules look into
	if err := n.publishFirst(cfg); err != nil {
		return err
	}
	n.lookAtCatalogs()
	n.images.Prune()
	n.buildResolver(cfg.Resolver)
	if n.edns, err = newEDNS(cfg.DNS, n.started); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	if err := n.buildTap(cfg, o.Stdout); err != nil {
		return err
	}
	if err := certdesk.Load(cfg, &n.certificates, clock.Now()); err != nil {
		return err
	}
	if err := n.listenDNS(cfg); err != nil {
		return err
	}
	if err := n.buildGateway(cfg, o.Stdout); err != nil {
		return err
	}
	n.guide.ready.Store(true)
	return n.buildAdmin(cfg.Listen.Admin)
}

// publishFirst publishes the snapshot that there is to begin with. Whatever its zones have
// begun to change of themselves meanwhile waits for it, so that it comes after it.
func (n *Node) publishFirst(cfg *config.Config) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.publish(cfg, n.loadState(cfg))
}

func (n *Node) buildResolver(r config.Resolver) {
	n.resolver = n.newResolver(r, n.cache, "")
	n.knowOwn(n.cache, "")
	n.keeper = n.newKeeper(r, filepath.Join(n.data(), "cache"), n.cache, n.resolver)
}

func newCache(r config.Resolver, started time.Time) *rrcache.Cache {
	return rrcache.New(started, settings.Cache(r))
}

// newResolver makes the resolver of a cache.
func (n *Node) newResolver(r config.Resolver, cache *rrcache.Cache, view string) *outbound.Driver {
	anchors, negative := n.trust.Anchors()
	r.Routes = settings.Upgraded(r.Routes, n.upgrades.Known)
	return newResolver(r, cache, beliefs{anchors, negative, n.hints.Now(), n.rootCopy(r), n.ownAnswers(view)}, n.observeServer)
}

func newResolver(r config.Resolver, cache *rrcache.Cache, b beliefs, observe func(netip.AddrPort) func(outbound.Ended)) *outbound.Driver {
	c := settings.Resolver(r, cache)
	b.addTo(&c)
	c.Observe = observe
	return outbound.New(c)
}

// Run serves until ctx ends, then lets what is under way finish and ends every
// part. reload, which may be nil, asks for the files to be read again.
func (n *Node) Run(ctx context.Context, reload <-chan struct{}) error {
	var parts sync.WaitGroup
	if n.dns != nil {
		parts.Go(n.dns.Serve)
	}
	for _, e := range n.gatewayOn {
		parts.Go(func() { n.serveGateway(e) })
	}
	parts.Go(n.streams.Serve)
	parts.Go(func() { n.serveAdmin() })
	background, stop := context.WithCancel(context.Background())
	parts.Go(func() { n.watchFiles(background, reload) })
	parts.Go(func() { n.followCatalogs(background) })
	parts.Go(func() { n.warm(background) })
	parts.Go(func() { n.overrides.Run(background) })
	parts.Go(func() { n.passive.Run(background) })
	parts.Go(func() { n.children.Run(background) })
	n.goLive()
	parts.Go(func() { n.followStore(background) }) // beside the data plane, never before it
	n.log.Info("serving", "config", n.path, "listeners", n.listeners())
	<-ctx.Done()
	n.log.Info("stopping")
	n.stopping.Store(true)
	stop()
	err := n.end(&parts)
	n.log.Info("stopped")
	return err
}

// end ends everything. The store comes last: followStore may open it when stop has done its work.
func (n *Node) end(parts *sync.WaitGroup) error {
	err := n.stop()
	parts.Wait()
	if s := n.store.Load(); s != nil {
		if err := s.Close(); err != nil {
			n.log.Warn("closing the store", "error", err)
		}
	}
	return err
}

func (n *Node) serveAdmin() {
	if err := n.admin.Serve(n.adminOn); !errors.Is(err, http.ErrServerClosed) {
		n.log.Error("admin listener failed", "address", n.adminOn.Addr().String(), "error", err)
	}
}

// stop ends the parts: the listeners first, so that what they have taken on can
// still use the rest.
func (n *Node) stop() error {
	var errs []error
	var listeners sync.WaitGroup
	var mu sync.Mutex
	shut := func(name string, timeout time.Duration, shutdown func(context.Context) error) {
		listeners.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			if err := shutdown(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: cut off after %v: %w", name, timeout, err))
			}
		})
	}
	if n.dns != nil {
		shut("dns", stopTimeout, n.dns.Shutdown)
	}
	if n.gateway != nil {
		shut("gateway", time.Duration(n.current.Load().Config.Gateway.Timeouts.Drain), n.gateway.Shutdown)
	}
	shut("streams", time.Duration(n.current.Load().Config.Gateway.Timeouts.Drain), n.stopStreams)
	shut("admin", stopTimeout, n.admin.Shutdown)
	n.notifier.Close()
	n.secondaries.Close()
	n.signers.Close()
	n.aliases.Close()
	n.closeViews((*viewParts).closeTransfers) // their resolvers end after the listeners, in release
	listeners.Wait()
	n.keeping.close()
	n.verdicts.Save()
	n.release() // with the caches, which are saved now that nobody asks any more
	return errors.Join(errs...)
}

// release ends what was built, also of a node that was never run.
func (n *Node) release() {
	if n.images != nil {
		n.images.Close()
	}
	if n.guide != nil {
		n.guide.kept.Close()
	}
	if n.fleet != nil {
		n.fleet.Close()
	}
	if n.discovery != nil {
		n.discovery.Close()
	}
	if n.upgrades != nil {
		n.upgrades.Close()
	}
	if n.prober != nil {
		n.prober.Close()
	}
	if n.secondaries != nil {
		n.notifier.Close()
		n.secondaries.Close()
	}
	n.keeping.close()
	if n.aliases != nil {
		n.aliases.Close()
	}
	n.closeViews((*viewParts).close)
	if n.keeper != nil {
		n.keeper.Close()
	}
	if n.trust != nil {
		n.trust.Close()
	}
	if n.root != nil {
		n.root.Close()
	}
	if n.resolver != nil {
		n.resolver.Close()
	}
	if n.dns != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.dns.Shutdown(ctx)
	}
	for _, e := range n.gatewayOn {
		e.Close()
	}
	n.closeStreams()
	if n.adminOn != nil {
		n.adminOn.Close()
	}
	n.logs.observer.Close()
	n.logs.traces.Close()
	for _, log := range []*logfile.File{n.logs.access, n.logs.queries, n.logs.connections} {
		if log != nil {
			log.Close()
		}
	}
}

// data returns the folder for what the node keeps.
func (n *Node) data() string { return n.current.Load().Config.Data }

// DNS returns the addresses of the DNS listeners.
func (n *Node) DNS() []netip.AddrPort {
	if n.dns == nil {
		return nil
	}
	return n.dns.Addrs()
}

// Admin returns the address of the admin listener.
func (n *Node) Admin() string { return n.adminOn.Addr().String() }

// listeners returns every address as status shows it.
func (n *Node) listeners() []string {
	var all []string
	for _, a := range n.DNS() {
		all = append(all, "dns "+a.String())
	}
	for _, r := range n.dns.Encrypted() {
		for _, a := range r.Addrs {
			all = append(all, r.Form+" "+a.String())
		}
	}
	for _, e := range n.gatewayOn {
		all = append(all, e.form+" "+e.Addr().String())
	}
	for _, s := range n.streams.Stats() {
		for _, a := range s.Addrs {
			all = append(all, "stream "+s.Stream.Name+" "+a)
		}
	}
	return append(all, "admin "+n.Admin())
}

func newLog(c config.Log) *slog.Logger {
	options := new(slog.HandlerOptions)
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(c.Level)); err == nil {
		options.Level = level
	}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// Close ends a node that was never run.
func (n *Node) Close() { n.release() }

// Resolve resolves a name with the node's resolver, with a trace of its steps.
func (n *Node) Resolve(ctx context.Context, name dnsname.Name, t rdata.Type) (iterate.Answer, error) {
	return n.resolver.Resolve(ctx, name, t, outbound.Options{Trace: true})
}
