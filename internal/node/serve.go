package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"pharos/internal/admin/api"
	"pharos/internal/admin/certdesk"
	"pharos/internal/admin/config"
	"pharos/internal/admin/routedesk"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/signer"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/resolver/outbound"
	"pharos/internal/traffic/geoip"
)

// Serve runs a node with the given configuration file until ctx ends.
func Serve(ctx context.Context, path string, reload <-chan struct{}) error {
	spareProcessor()
	n, err := New(Options{Config: path, Reader: reader()})
	if err != nil {
		return err
	}
	takeLines(n.log)
	return n.Run(ctx, reload)
}

// takeLines has what libraries write to Go's own logger be ours, where only who debugs wants
// it: an origin server that breaks HTTP/2 has the library write a line for each frame.
func takeLines(to *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(to.Handler(), slog.LevelDebug).Writer())
}

// reader is this program with the command that reads a zone for a node: what runs, also
// when a newer one lies in its place by now.
func reader() []string {
	if runtime.GOOS == "linux" {
		return []string{"/proc/self/exe", "read-zone"}
	}
	path, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{path, "read-zone"}
}

// ServeStub runs a node whose configuration is made by load, from the file at path, until
// ctx ends. It is made again when the file changes.
func ServeStub(ctx context.Context, path string, load func() (string, error), reload <-chan struct{}) error {
	n, err := New(Options{Config: path, Load: func(string) (*config.Config, error) {
		text, err := load()
		if err != nil {
			return nil, err
		}
		return config.Parse("stub", []byte(text))
	}})
	if err != nil {
		return err
	}
	return n.Run(ctx, reload)
}

// spareProcessor gives the scheduler one processor more than there are cores, if
// nobody has chosen their number. A UDP loop holds one while it works, and keeps
// it for a while when it waits in the kernel; with as many loops as processors,
// timers and connections would wait up to 10 ms for it. Measured: p99 of a TCP
// round trip beside a loaded loop 29 ms without, 0.1 ms with it, at the same CPU.
func spareProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	}
}

// Check reads a configuration file and its zones as New does, without listening,
// and writes what it found to report. The error has every mistake.
func Check(path string, report io.Writer) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	s, err := compile(cfg, state.New(&cfg.Resources), before{Way: versions.Way{Rules: new(versions.Rules), Remarks: new(versions.Remarks)}, reading: readZones(cfg, nil, nil, func(int, int) {})})
	if err != nil {
		return err
	}
	var errs []error
	if cfg.Resolver.RootHints != "" {
		if _, err := outbound.ReadHints(cfg.Resolver.RootHints); err != nil {
			errs = append(errs, fmt.Errorf("resolver.rootHints: %w", err))
		}
	}
	if cfg.Steering.Database != "" {
		d, err := geoip.Open(cfg.Steering.Database)
		if err != nil {
			errs = append(errs, fmt.Errorf("steering.database: %w", err))
		} else {
			fmt.Fprintf(report, "places: %s\n", d.Source())
		}
	}
	for _, r := range routedesk.Remarks(cfg, &cfg.Resources, s.gateway.Routes()) {
		fmt.Fprintf(report, "warning: %s\n", r.Text)
	}
	if err := certdesk.Check(cfg, clock.Now(), report); err != nil {
		errs = append(errs, err)
	}
	for z := range s.everyZone() {
		if z.Err != nil {
			errs = append(errs, z.Err)
			continue
		}
		if z.IsSecondary() {
			fmt.Fprintf(report, "zone %s: secondary, comes from its primaries when the node runs\n", z.ID())
			continue
		}
		if z.Kind == "catalog" {
			fmt.Fprintf(report, "zone %s: catalog, made of the zones that name it\n", z.Name)
			continue
		}
		if z.Kind == "store" {
			fmt.Fprintf(report, "zone %s: store, its versions are in the data folder\n", z.ID())
			continue
		}
		names, records, _ := z.Zone.Stats()
		fmt.Fprintf(report, "zone %s: serial %d, %d names, %d records\n", z.ID(), z.Zone.Serial(), names, records)
		for _, w := range z.Warnings {
			fmt.Fprintf(report, "zone %s: %s\n", z.ID(), w)
		}
	}
	for _, in := range append([]*Snapshot{s}, s.views...) {
		for _, text := range []string{in.rulebook.Problems().Local, in.rulebook.Problems().Skipped} {
			if text != "" {
				fmt.Fprintf(report, "warning: %s\n", text)
			}
		}
	}
	if text := s.homelessText(); text != "" {
		fmt.Fprintf(report, "warning: %s\n", text)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r := s.State.Resources()
	has := []string{api.Counted(s.zoneCount(), "zone"), api.Counted(len(r.Pools), "pool"), api.Counted(len(r.Steer), "steered name"), api.Counted(r.CountRoutes(), "route")}
	if n := len(s.Config.Streams); n > 0 {
		has = append(has, api.Counted(n, "stream"))
	}
	fmt.Fprintf(report, "%s is good: %s\n", path, strings.Join(has, ", "))
	return nil
}

// ExportKey returns a private key from the data folder of a configuration, which no
// node needs to use meanwhile.
func ExportKey(path, name string, tag uint16, form string) ([]byte, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	view, zone, err := versions.ParseID(name)
	if err != nil {
		return nil, err
	}
	sealer := func() (*signer.Sealer, error) {
		return signer.OpenSealer(cfg.DNSSEC.KeyEncryption, filepath.Join(cfg.Data, "keys"))
	}
	k, err := signer.ReadKey(filepath.Join(folderOf(cfg.Data, view), "keys"), sealer, zone, tag)
	if err != nil {
		return nil, err
	}
	if form == "bind" {
		return sign.Pair{Key: k, Owner: zone}.PrivateFile()
	}
	return k.PEM()
}
