// Package problems keeps what is wrong with a node now, for people and their alerts.
//
// A problem has a code, which names its kind, and is about a zone, a pool or nothing.
// There is one at most for a code and a thing: it begins when its text is set, and ends
// when the text is empty. The codes are all in this file.
//
// Entry points: Code, List.
//
// Concurrency: a List may be used by several goroutines.
package problems

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pharos/internal/admin/api"
)

// Code names a kind of problem, for alerts; the registry of them is this list
// and nothing else. The texts are the same in API, UI, CLI and metrics.
type Code string

const (
	ConfigRefused      Code = "config-refused"      // the configuration file is not what is served
	ZoneRefused        Code = "zone-refused"        // a zone's file is not what is served
	ZoneWarning        Code = "zone-warning"        // a zone is served, but somebody should look
	ZoneAbsent         Code = "zone-absent"         // a secondary zone has no version to serve
	TransferFailed     Code = "transfer-failed"     // a secondary zone is served, but cannot be refreshed
	NotifyFailed       Code = "notify-failed"       // a secondary could not be told of a change
	ChangesFailed      Code = "changes-failed"      // changes of zones cannot be kept on disk, so none is made
	VersionsLost       Code = "versions-lost"       // what is on disk of a zone's versions cannot all be read
	PoolAllDown        Code = "pool-all-down"       // no member is healthy, so all are used
	PoolUnused         Code = "pool-unused"         // nothing leads to a pool
	RouteHidden        Code = "route-hidden"        // no request takes a route
	BreakerOpen        Code = "breaker-open"        // most requests to a pool fail, so it is not asked for a while
	RouteInClear       Code = "route-not-encrypted" // a server cannot be asked encrypted that should be
	DiscoveryFailed    Code = "discovery-failed"    // a list of members is not read, so the last good one stays
	ScaleFailed        Code = "scale-failed"        // a pool cannot get the members that it should have
	MemberWarning      Code = "member-warning"      // a member is well, or cannot be asked, but somebody should look
	StoreLost          Code = "store-lost"          // what is changed at run time cannot be read or written
	ObjectUnused       Code = "object-unused"       // an applied object clashes with the file
	SnapshotFailed     Code = "snapshot-failed"     // a change is served but would be lost in a crash
	CertificateRefused Code = "certificate-refused" // a certificate's files cannot be used
	CertificateEnding  Code = "certificate-ending"  // a certificate is near its end, or past it
	StreamFailed       Code = "stream-failed"       // a stream cannot listen at an address
	ListenerFailed     Code = "listener-changed"    // listen.* cannot change without a restart
	CatalogBroken      Code = "catalog-broken"      // a catalog says nothing, so its members stay as they are
	MemberRefused      Code = "member-refused"      // members of a catalog are not served
	AliasFailed        Code = "alias-failed"        // the target of an ALIAS record cannot be resolved
	ForwardFailed      Code = "forward-failed"      // dynamic updates do not reach a primary
	PolicyAbsent       Code = "policy-absent"       // a policy zone has no version, so its rules are not followed
	PolicyWarning      Code = "policy-warning"      // a policy zone has owner names that are no triggers
	LocalDataWarning   Code = "local-data-warning"  // lines of a hosts file, or all of it, cannot be read
	SteerHomeless      Code = "steer-homeless"      // steered names lie in no zone of ours
	DatabaseRefused    Code = "database-refused"    // the database of places cannot be used

	SigningFailed    Code = "dnssec-failed"         // a zone is not signed as its policy says
	SignaturesExpire Code = "dnssec-expiring"       // signatures end soon and are not renewed
	ParentLost       Code = "dnssec-parent-lost"    // the parent shows DS records that lead nowhere
	ParentWaits      Code = "dnssec-parent-waits"   // the parent does not show what it should, or cannot be seen
	ServersBehind    Code = "dnssec-servers-behind" // a rollover waits for a server of the zone
	HintsDamaged     Code = "root-hints-damaged"    // resolver.rootHints cannot be read
	TrustDamaged     Code = "trust-damaged"         // states of trust anchors cannot be read
	TrustFailing     Code = "trust-failing"         // the keys of a trust point cannot be verified
	TrustLost        Code = "trust-lost"            // no anchor of a trust point is left
	TrustUnsaved     Code = "trust-unsaved"         // states of trust anchors cannot be written
	LocalRootFailed  Code = "local-root-failed"     // there is no new copy of the root zone
	TrustMended      Code = "trust-mended"          // a configured negative trust anchor is of no use any more
	ChildrenRefused  Code = "children-refused"      // what children ask for their DS records cannot be believed
	OfflineEnds      Code = "dnssec-offline-ending" // an offline KSK has to sign
	ClockJumped      Code = "clock-jumped"          // the wall clock is not believed for now
)

// severities of the codes that are not errors.
var warnings = []Code{PoolUnused, RouteHidden, BreakerOpen, MemberWarning, RouteInClear, DiscoveryFailed, LocalRootFailed, PolicyWarning, LocalDataWarning, OfflineEnds, TrustMended, TrustFailing, ParentWaits, ChildrenRefused, ServersBehind, ClockJumped, CertificateEnding, ZoneWarning, TransferFailed, NotifyFailed, ObjectUnused, ListenerFailed, SteerHomeless, DatabaseRefused, MemberRefused, ForwardFailed, AliasFailed}

// subject is what a problem is about: a zone, a pool, or nothing.
type subject struct {
	code Code
	name string
}

// List is the problems there are now. The zero List has none.
type List struct {
	mu  sync.Mutex // guards all below; no other lock is taken under it
	all map[subject]api.Problem
}

// Set says that there is a problem, or, with an empty text, that there is not.
// It reports whether that is news.
func (l *List) Set(c Code, name, text string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := subject{c, name}
	old, there := l.all[key]
	if text == "" {
		delete(l.all, key)
		return there
	}
	if there && old.Text == text {
		return false
	}
	if l.all == nil {
		l.all = make(map[subject]api.Problem)
	}
	p := api.Problem{Code: string(c), About: name, Severity: "error", Text: text, Since: now}
	if slices.Contains(warnings, c) {
		p.Severity = "warning"
	}
	if there {
		p.Since = old.Since
	}
	l.all[key] = p
	return true
}

// Keep removes the problems of code c about other things than names.
func (l *List) Keep(c Code, names []string) {
	l.KeepIf(c, func(about string) bool { return slices.Contains(names, about) })
}

// KeepIf removes the problems of code c about what is not there.
func (l *List) KeepIf(c Code, there func(about string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.all {
		if key.code == c && !there(key.name) {
			delete(l.all, key)
		}
	}
}

// None reports whether there are no problems.
func (l *List) None() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all) == 0
}

// All returns the problems, errors first, then by code and text.
func (l *List) All() []api.Problem {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]api.Problem, 0, len(l.all))
	for _, p := range l.all {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b api.Problem) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Text, b.Text))
	})
	return all
}
