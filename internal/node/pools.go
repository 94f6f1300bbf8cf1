package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/l4proxy"
	"pharos/internal/proxy/vouch"
	"pharos/internal/traffic/passive"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/probe"
)

// carrying is the gateway of a node, and its streams.
type carrying struct {
	gateway    *httpproxy.Server // nil without an address
	gatewayOn  []gatewayEntry
	streams    *l4proxy.Proxy // never nil once it is built
	forStreams settings.Streams
	secret     []byte // that signs its cookies
	vouch      *vouch.Desk
	passive    *passive.Driver
}

// newPassive returns what judges members by the traffic of the gateway.
func (n *Node) newPassive() *passive.Driver {
	return passive.New(passive.Config{
		Pools: func() []*pool.Pool { return n.current.Load().pools.Pools() },
		Grade: n.prober.Grade, Eject: n.prober.Eject,
	})
}

// probeTargets has all targets of a registry probed, and no others.
func (n *Node) probeTargets(r *pool.Registry) {
	n.prober.Set(r.Targets())
	var on []probe.Dependency
	for _, d := range r.Dependencies() {
		on = append(on, probe.Dependency{Name: d.Pool, Through: d.Through, Behind: d.Behind})
	}
	n.prober.Depend(on)
}

// openSecret reads the secret that signs cookies of the gateway, if there is one.
func (n *Node) openSecret(cfg *config.Config) (err error) {
	if cfg.Listen.HasGateway() {
		if n.secret, err = diskfile.ReadSecret(cfg.Gateway.AffinitySecret, filepath.Join(cfg.Data, "affinity.secret")); err != nil {
			return fmt.Errorf("gateway.affinitySecret: %w", err)
		}
	}
	return err
}

// warmEach is how often members in slow start are looked after: a fifth of the shortest
// step of a slow start that anybody asks for in seconds.
const warmEach = 100 * time.Millisecond

// warm gives members in slow start their growing shares, until ctx ends.
func (n *Node) warm(ctx context.Context) {
	t := time.NewTicker(warmEach)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			n.current.Load().pools.Warm(clock.Now())
		}
	}
}
