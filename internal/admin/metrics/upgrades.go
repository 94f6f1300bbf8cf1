package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/resolver/upgrade"
)

// Upgrades emits how servers are asked that are to be asked encrypted.
func Upgrades(states []upgrade.State, emit func(telemetry.Sample)) {
	encrypted, clear, refused := 0, 0, 0
	for _, s := range states {
		switch {
		case s.Found != (upgrade.Found{}):
			encrypted++
		case s.Source.Strict:
			refused++
		default:
			clear++
		}
	}
	const help = "Plain servers of routes with discover, by how they are asked now: encrypted, in the clear, or, of strict routes, not at all."
	emit(Gauge("resolver_discover_servers", help, float64(encrypted), "asked", "encrypted"))
	emit(Gauge("resolver_discover_servers", help, float64(clear), "asked", "clear"))
	emit(Gauge("resolver_discover_servers", help, float64(refused), "asked", "not"))
}
