package node

import (
	"context"
	"fmt"
	"net"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/clock"
	"pharos/internal/proxy/httpproxy"
)

// carrying is the gateway of a node.
type carrying struct {
	gateway   *httpproxy.Server // nil without an address
	gatewayOn []net.Listener
	secret    []byte // that signs its cookies
}

// openSecret reads the secret that signs cookies of the gateway, if there is one.
func (n *Node) openSecret(cfg *config.Config) (err error) {
	if len(cfg.Listen.HTTP) > 0 {
		if n.secret, err = httpproxy.ReadSecret(cfg.Gateway.AffinitySecret, cfg.Data); err != nil {
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
