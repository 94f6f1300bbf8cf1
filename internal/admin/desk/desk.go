// Package desk is what operators ask about one zone and have done to it, over the
// admin listener: its versions and records, its keys, and the servers it comes from
// and goes to.
//
//	servers.go   which serials they have; tell them, ask them
//	versions.go  history, differences, records, export; edits, import, rollback
//	keys.go      keys, DS records, rollovers, keys of other signers
//	offline.go   KSKs that sign elsewhere
//	children.go  DS records that follow the children
//
// It says in the words of package api what the drivers of the zone know, and turns
// their refusals into ones that say what to do. What a zone is at the moment is the
// node's (Config).
//
// Entry points: New; Desk.Zones, Versions, DNSSEC: the calls for package api.
//
// Concurrency: a Desk keeps nothing and may be used by many goroutines.
package desk

import (
	"fmt"
	"net/http"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/authority/children"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/parentnotify"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Config is what a Desk is made from.
type Config struct {
	// Zone returns the zone that an operator means, by its name or as zone@view. The
	// error is an *api.Refused.
	Zone func(name string) (Zone, error)
	// Revision returns that of what is served.
	Revision func() uint64
}

// Zone is a zone at the moment that it is asked about.
type Zone struct {
	ID      string // for people
	Name    dnsname.Name
	Kind    string
	Version *zone.Zone       // that is served; nil: none
	Journal *journal.Journal // that led to it; may be nil
	Loaded  time.Time        // when that was

	Ledger   *ledger.Ledger       // that keeps its versions, if it is of kind store; nil: none
	Children *children.Driver     // that has its DS records follow its children, if it is of kind store; nil: none
	Signers  *signer.Signers      // that may sign it; nil: none
	Parents  *parentnotify.Driver // that tells its parent; nil where Signers is
	Policy   string               // that it is signed by
	KeyTTL   rdata.TTL

	Primaries   []xfr.Peer
	Secondaries []xfr.Peer                 // that are told of changes
	Announce    func()                     // tells them of the version
	Refresh     func(force bool) (ok bool) // asks the primaries, if it is a secondary zone
}

// Desk answers the calls.
type Desk struct{ config Config }

// New returns a Desk.
func New(c Config) *Desk { return &Desk{c} }

// Zones returns the calls about servers. Accept is not among them: what is accepted is
// not a zone, but a version that is none yet.
func (d *Desk) Zones() api.ZoneCalls {
	return api.ZoneCalls{Check: d.Check, Notify: d.Notify, Refresh: d.Refresh, Children: d.Children, AskChildren: d.AskChildren}
}

// Versions returns the calls about versions and records.
func (d *Desk) Versions() api.VersionCalls {
	return api.VersionCalls{
		History: d.History, Diff: d.Diff, Records: d.Records, Export: d.Export, Edit: d.Edit, Import: d.Import, Rollback: d.Rollback,
	}
}

// DNSSEC returns the calls about keys.
func (d *Desk) DNSSEC() api.DNSSECCalls {
	return api.DNSSECCalls{
		Keys: d.Keys, Import: d.ImportKey, Withdraw: d.WithdrawKey, Rollover: d.Rollover, DS: d.DS, Submitted: d.Submitted,
		OfflineCalls: api.OfflineCalls{Request: d.KeyRequest, Take: d.TakeSigned},
	}
}

// applied is what has changed, in sentences.
func (d *Desk) applied(changed ...string) api.Applied {
	return api.Applied{Revision: d.config.Revision(), Changed: changed}
}

// refuse returns the error for what cannot be done to a zone as it is.
func refuse(format string, args ...any) error {
	return &api.Refused{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf(format, args...)}
}

// misunderstood returns the error for what nobody can make sense of.
func misunderstood(format string, args ...any) error {
	return &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}
