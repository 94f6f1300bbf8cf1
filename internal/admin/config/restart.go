package config

import (
	"fmt"
	"reflect"
	"strings"

	"pharos/internal/cluster/state"
)

// AtStart returns what of c takes effect at a start only, for NeedsRestart: not what a
// configuration is large by.
func (c *Config) AtStart() *Config {
	kept := *c
	kept.Resources, kept.Zones, kept.Lists = state.Resources{}, nil, nil
	return &kept
}

// NeedsRestart says which keys of now are not in force before a restart; old is what the node
// has been started with.
func NeedsRestart(old, now *Config) string {
	keys := changedKeys("gateway", old.Gateway, now.Gateway)
	for _, part := range []struct {
		key      string
		old, now any
	}{
		{"listen", old.Listen, now.Listen}, {"data", old.Data, now.Data}, {"dns", old.DNS, now.DNS},
		{"tls.minVersion", old.TLS.MinVersion, now.TLS.MinVersion},
		{"transfers.incoming", old.Transfers.Incoming, now.Transfers.Incoming},
		{"transfers.incomingPerPrimary", old.Transfers.IncomingPerPrimary, now.Transfers.IncomingPerPrimary},
		{"transfers.maxRecords", old.Transfers.MaxRecords, now.Transfers.MaxRecords},
		{"transfers.maxSize", old.Transfers.MaxSize, now.Transfers.MaxSize},
		{"transfers.maxTime", old.Transfers.MaxTime, now.Transfers.MaxTime},
		{"steering.decisions", old.Steering.Decisions, now.Steering.Decisions}, {"alias", old.Alias, now.Alias}, {"store", old.Store, now.Store}, {"log", old.Log, now.Log},
		{"resolver.port", old.Resolver.Port, now.Resolver.Port},
		{"resolver.cacheSize", old.Resolver.CacheSize, now.Resolver.CacheSize},
		{"resolver.timeout", old.Resolver.Timeout, now.Resolver.Timeout},
		{"resolver.minTTL", old.Resolver.MinTTL, now.Resolver.MinTTL},
		{"resolver.maxTTL", old.Resolver.MaxTTL, now.Resolver.MaxTTL},
		{"resolver.maxNegativeTTL", old.Resolver.MaxNegativeTTL, now.Resolver.MaxNegativeTTL},
		{"resolver.saveCache", old.Resolver.SaveCache, now.Resolver.SaveCache},
		{"resolver.serveStale", old.Resolver.ServeStale, now.Resolver.ServeStale},
		{"resolver.prefetch", old.Resolver.Prefetch, now.Resolver.Prefetch},
		{"resolver.prefetchAsks", old.Resolver.PrefetchAsks, now.Resolver.PrefetchAsks},
		{"resolver.aggressive", old.Resolver.Aggressive, now.Resolver.Aggressive},
		{"resolver.minimise", old.Resolver.Minimise, now.Resolver.Minimise},
		{"resolver.mixCase", old.Resolver.MixCase, now.Resolver.MixCase},
		{"resolver.validate", old.Resolver.Validate, now.Resolver.Validate},
		{"resolver.localRoot", old.Resolver.LocalRoot, now.Resolver.LocalRoot},
		{"resolver.trust.update", old.Resolver.Trust.Update, now.Resolver.Trust.Update},
	} {
		if fmt.Sprint(part.old) != fmt.Sprint(part.now) {
			keys = append(keys, part.key)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf("changes of %s take effect with the next start; the rest of the file is in force", strings.Join(keys, ", "))
}

// changedKeys returns the keys of a map that are different.
func changedKeys(at string, old, now any) (keys []string) {
	o, n := reflect.ValueOf(old), reflect.ValueOf(now)
	for i := range o.NumField() {
		if !reflect.DeepEqual(o.Field(i).Interface(), n.Field(i).Interface()) {
			name, _, _ := strings.Cut(o.Type().Field(i).Tag.Get("json"), ",")
			keys = append(keys, at+"."+name)
		}
	}
	return keys
}
