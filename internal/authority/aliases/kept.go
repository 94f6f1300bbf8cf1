package aliases

import (
	"net/netip"
	"slices"

	"pharos/internal/authority/alias"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// kept is what is kept across restarts: without it a zone would begin with a serial
// that goes backwards, and without addresses.
type kept struct {
	Zones   map[string]keptZone     `json:"zones"`
	Targets map[string][]netip.Addr `json:"targets"`
}

type keptZone struct {
	Source rdata.Serial `json:"source"` // the serial of the source
	Serial rdata.Serial `json:"serial"` // that was served for it
}

// holds reports whether all that z needs is as it was kept.
func (k *kept) holds(z *followed, book *alias.Book) bool {
	for _, r := range z.records {
		if _, known := book.Known(r.Target); !known {
			return false
		}
		if _, isKept := k.Targets[r.Target.String()]; !isKept {
			return false
		}
	}
	return true
}

// load reads what was kept. Without it targets are asked for anew.
func (d *Driver) load() {
	if err := diskfile.LoadJSON(d.config.File, &d.saved); err != nil {
		d.saved = kept{}
		d.config.Log.Warn("addresses of ALIAS targets cannot be read; they are asked for anew", "error", err)
		return
	}
	for name, z := range d.saved.Zones {
		if n, err := dnsname.Parse(name); err == nil {
			d.zones[n] = &followed{serial: z.Serial, from: z.Source, served: true}
		}
	}
	for name, addrs := range d.saved.Targets {
		if n, err := dnsname.Parse(name); err == nil {
			d.book.Restore(clock.Now(), n, alias.MakeAddresses(addrs, nil))
		}
	}
}

// save keeps what is known, whole or not at all.
func (d *Driver) save() {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	now := kept{Zones: map[string]keptZone{}, Targets: map[string][]netip.Addr{}}
	for name, z := range d.zones {
		if z.served {
			now.Zones[name.String()] = keptZone{z.from, z.serial}
		}
	}
	for name, addrs := range d.book.Targets() {
		now.Targets[name.String()] = slices.Concat(addrs.V4, addrs.V6)
	}
	d.mu.Unlock()
	if err := diskfile.SaveJSON(d.config.File, now); err != nil { // a serial that was served cannot be found out again
		d.config.Log.Warn("addresses of ALIAS targets not kept; after a restart they are asked for anew", "file", d.config.File, "error", err)
	}
}
