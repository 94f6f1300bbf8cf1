package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/diskfile"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/checkspec"
	"pharos/internal/traffic/pool"
)

// carrying is the gateway of a node.
type carrying struct {
	gateway   *httpproxy.Server // nil without an address
	gatewayOn []net.Listener
	secret    []byte // that signs its cookies
}

// poolSpecs returns pools as the registry takes them, for a node that stands here.
func poolSpecs(pools []state.Pool, here state.Place) []pool.Spec {
	specs := make([]pool.Spec, len(pools))
	for i, p := range pools {
		spec := pool.Spec{
			Name: p.Name, Check: checkspec.Of(p.Check), SlowStart: time.Duration(p.SlowStart), Here: placeOf(here),
			Hash: pool.HashSpec{Bound: p.Hash.Bound, Key: pool.Key{Name: p.Hash.Name, Bits4: p.Hash.Bits4, Bits6: p.Hash.Bits6}},
		}
		err := errors.Join(spec.Policy.UnmarshalText([]byte(p.Policy)), spec.Local.UnmarshalText([]byte(p.LocalFirst)),
			spec.Hash.By.UnmarshalText([]byte(p.Hash.By)), spec.Hash.Key.Of.UnmarshalText([]byte(p.Hash.Key)))
		if err != nil {
			panic("BUG: " + err.Error()) // the configuration has checked it
		}
		for _, m := range p.Members {
			spec.Members = append(spec.Members, pool.MemberSpec{
				Name: m.Name, Address: m.Address, Weight: m.Weight, Drain: m.Drain,
				Tier: m.Tier, Capacity: m.Capacity, Bandwidth: int64(m.Bandwidth), Place: placeOf(m.Place), Host: hostOf(m.Host),
			})
		}
		specs[i] = spec
	}
	return specs
}

func placeOf(p state.Place) pool.Place {
	return pool.Place{
		Continent: p.Continent, Country: p.Country, Region: p.Region, Zone: p.Zone,
		Latitude: p.Location.Latitude, Longitude: p.Location.Longitude,
	}
}

// affinityKinds are what clients are known by, and the part of the request for it.
var affinityKinds = map[string]struct {
	kind affinity.Kind
	of   pool.KeyKind
}{
	"cookie":        {affinity.Cookie, 0},
	"clientAddress": {affinity.Key, pool.ClientAddress},
	"clientPrefix":  {affinity.Key, pool.ClientPrefix},
	"field":         {affinity.Key, pool.Field},
	"clientCookie":  {affinity.Key, pool.Cookie},
	"query":         {affinity.Key, pool.Query},
	"session":       {affinity.Session, pool.Cookie},
}

// affinitySpecs returns the affinities of pools that have one, by their names. secret
// signs cookies.
func affinitySpecs(pools []state.Pool, secret []byte) map[string]affinity.Spec {
	specs := map[string]affinity.Spec{}
	for _, p := range pools {
		a := p.Affinity
		kind, has := affinityKinds[a.By]
		if !has {
			continue
		}
		spec := affinity.Spec{
			Kind: kind.kind, Key: pool.Key{Of: kind.of, Name: a.Name, Bits4: a.Bits4, Bits6: a.Bits6},
			TTL: time.Duration(a.TTL), Drain: time.Duration(a.Drain), Most: a.Most,
			Name: a.Name, Path: a.Path, Secure: a.Secure, HTTPOnly: a.HTTPOnly, SameSite: a.SameSite, Secret: secret,
		}
		if spec.Name == "" {
			spec.Name = "pharos-" + p.Name
		}
		specs[p.Name] = spec
	}
	return specs
}

// secretOctets: as many as the MAC that it is for has.
const secretOctets = 32

// openSecret reads the secret that signs cookies of the gateway, from the file that
// the configuration names, or else from one in the data folder that is made when it is
// not there. Without a gateway there is none.
func (n *Node) openSecret(cfg *config.Config) (err error) {
	if len(cfg.Listen.HTTP) > 0 {
		n.secret, err = readSecret(cfg)
	}
	return err
}

func readSecret(cfg *config.Config) ([]byte, error) {
	path := cfg.Gateway.AffinitySecret
	text, err := os.ReadFile(path)
	if path == "" {
		path = filepath.Join(cfg.Data, "affinity.secret")
		if text, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
			secret := make([]byte, secretOctets)
			rand.Read(secret) // it never fails
			text = []byte(hex.EncodeToString(secret) + "\n")
			if err = os.MkdirAll(cfg.Data, 0o700); err == nil {
				err = diskfile.Replace(path, text)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("gateway.affinitySecret: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) < secretOctets {
		return nil, fmt.Errorf("gateway.affinitySecret: %s: want %d octets or more in hexadecimal; make some with \"openssl rand -hex 32\"", path, secretOctets)
	}
	return secret, nil
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
