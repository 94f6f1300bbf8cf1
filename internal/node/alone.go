package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/upgrade"
)

// Alone is the resolver of a node without the node: for commands that resolve as it would.
type Alone struct {
	*outbound.Driver
	upgrades *upgrade.Driver
}

// discoverFor is how long Resolver waits for what servers of routes designate: 10 s, twice
// the time that one of them has for an answer.
const discoverFor = 10 * time.Second

// Resolver returns a resolver as a node has it whose configuration file is at path, but
// with trust as configured, and once it is known how servers of routes can be asked
// encrypted. The caller closes it.
func Resolver(path string) (*Alone, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	b, err := firstBeliefs(cfg.Resolver)
	if err != nil {
		return nil, err
	}
	a := &Alone{upgrades: upgrade.New(upgrade.Config{Log: slog.New(slog.DiscardHandler), OnChange: func(upgrade.State) {}})}
	a.upgrades.Set(settings.Discover(cfg.Resolver.Routes))
	ctx, cancel := context.WithTimeout(context.Background(), discoverFor)
	defer cancel()
	a.upgrades.Wait(ctx)
	for _, s := range a.upgrades.States() {
		if s.Source.Strict && s.Found == (upgrade.Found{}) {
			err = errors.Join(err, fmt.Errorf("resolver.routes: %s; the route is strict, so nobody is asked", s.Problem))
		}
	}
	if err != nil {
		a.upgrades.Close()
		return nil, err
	}
	r := cfg.Resolver
	r.Routes = settings.Upgraded(r.Routes, a.upgrades.Known)
	a.Driver = newResolver(r, newCache(r, clock.Now()), b, nil)
	return a, nil
}

// Close ends all work.
func (a *Alone) Close() {
	a.upgrades.Close()
	a.Driver.Close()
}

// firstBeliefs returns what a resolver begins with that is not a node's. Where that cannot
// be read it is refused: by anything else it would answer otherwise than the node.
func firstBeliefs(r config.Resolver) (b beliefs, err error) {
	hints, anchors := newHints(""), newAnchors()
	hints.Copy = ""
	hints.Follow(r.RootHints)
	given, err := anchorsGiven(r)
	if err != nil {
		return b, err
	}
	b.anchors, _, err = anchors.Begin(r.Trust.File, given)
	b.hints, b.negative = hints.Now(), r.NegativeTrustAnchors
	return b, errors.Join(err, hints.Unread())
}
