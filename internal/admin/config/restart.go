package config

import "fmt"

// NeedsRestart says which changed keys are not in force before a restart.
func NeedsRestart(old, now *Config) string {
	var keys []string
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
		{"steering.decisions", old.Steering.Decisions, now.Steering.Decisions}, {"alias", old.Alias, now.Alias}, {"gateway", old.Gateway, now.Gateway}, {"store", old.Store, now.Store}, {"log", old.Log, now.Log},
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
	return fmt.Sprintf("changes of %v take effect with the next start; the rest of the file is in force", keys)
}
