package node

import (
	"errors"
	"path/filepath"
	"sync/atomic"

	"pharos/internal/admin/config"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/children"
	"pharos/internal/authority/exports"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/live"
	"pharos/internal/authority/serials"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// keeping is what keeps and signs the zones of one view, or those outside of views:
// zones are known to drivers by name alone, so there is one of each for every view.
type keeping struct {
	n    *Node  // constant
	view string // constant; empty outside of views

	ledger     atomic.Pointer[ledger.Ledger] // of zones of kind store; nil until one is configured
	journals   *ledger.Journals              // of the others; constant after open
	signers    signers                       // constant after open
	serials    *serials.Memory               // that were served; constant after open
	exports    *exports.Driver               // of answers from pools; constant after open
	children   *children.Driver              // outside of views only; constant after open
	signatures *live.Cache                   // of answers that are signed as they are asked for; constant after open

	accepted map[dnsname.Name]rdata.Serial // versions that the gate lets pass, while AcceptZone runs; guarded by Node.mu
	zones    *config.Zone                  // the first of those that the ledger was last told of; guarded by Node.mu
}

// folderOf returns where a view keeps its files; of none, where those outside are.
func folderOf(data, view string) string {
	if view == "" {
		return data
	}
	return filepath.Join(data, "views", view)
}

// open makes the drivers, but the ledger, which opens with the first zone that needs it.
func (k *keeping) open(cfg *config.Config) {
	folder := folderOf(cfg.Data, k.view)
	k.journals = ledger.OpenJournals(filepath.Join(folder, "journals"), int(cfg.Transfers.Journal), k.n.log)
	k.serials = serials.Open(filepath.Join(folder, "serials"), k.n.log)
	k.signatures = live.NewCache()
	k.exports = exports.Open(exports.Config{File: filepath.Join(folder, "exports.json"), Changed: k.changed, Log: k.n.log})
	k.exports.SetInterval(cfg.Steering.ExportInterval.Std())
	k.openSigners(cfg, filepath.Join(folder, "keys"))
	if k.view == "" {
		k.children = k.n.openChildren(cfg)
	}
}

// close ends all of it; twice does no harm.
func (k *keeping) close() {
	if k.exports != nil {
		k.exports.Close()
	}
	if k.signers.Signers != nil {
		k.signers.Close()
	}
	if l := k.ledger.Load(); l != nil {
		if err := l.Close(); err != nil {
			k.n.log.Warn("closing the ledger of zones; the next start reads the commit log", "view", k.view, "error", err)
		}
	}
	if k.journals != nil {
		k.journals.Close()
		k.serials.Close()
	}
}

// snapshot returns that of the view, or of the node; nil if there is none (any more).
func (k *keeping) snapshot() *Snapshot {
	s := k.n.current.Load()
	if k.view != "" {
		return s.viewOf(k.view)
	}
	return s
}

// apex returns a zone as it is served; nil if it is not.
func (k *keeping) apex(name dnsname.Name) (*Snapshot, *apex) {
	s := k.snapshot()
	if s == nil {
		return nil, nil
	}
	return s, s.apexes.Get(name)
}

// changed publishes the version of a zone that there is now.
func (k *keeping) changed(name dnsname.Name) {
	if k.view == "" {
		k.n.zoneChanged(name)
	} else {
		k.n.viewZoneChanged(k.view, name)
	}
}

// stages are those of zones that are changed and signed here.
func (k *keeping) stages(aliases versions.Stage) []versions.Stage {
	return []versions.Stage{aliases, k.signalStage, k.signStage}
}

// version is the keeper of the zones of kind store.
func (k *keeping) version(name dnsname.Name) journal.Version {
	if l := k.ledger.Load(); l != nil {
		return l.Version(name)
	}
	return journal.Version{}
}

// keepingOf returns what keeps the zones of s.
func (n *Node) keepingOf(s *Snapshot) *keeping {
	if s.view != nil && s.view.own != nil {
		return s.view.own.keeping
	}
	return n.keeping
}

// everyKeeping calls do for what keeps the zones outside of views, and in each.
func (n *Node) everyKeeping(do func(*keeping)) {
	do(n.keeping)
	for _, v := range n.current.Load().views {
		if v.view.own != nil {
			do(v.view.own.keeping)
		}
	}
}

var errNotServed = errors.New("serves nothing")

// changerOf returns what changes the zones of a view, or those outside.
func (n *Node) changerOf(view string) changer {
	if view == "" {
		return n.changeZone
	}
	if v := n.current.Load().viewOf(view); v != nil && v.view.own != nil {
		return v.view.own.changeInLedger
	}
	return (&keeping{}).changeInLedger // the view has just been taken out of the configuration
}
