package node

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pharos/internal/admin/api"
)

// code names a kind of problem, for alerts; the registry of them is this list
// and nothing else. The texts are the same in API, UI, CLI and metrics.
type code string

const (
	configRefused      code = "config-refused"      // the configuration file is not what is served
	zoneRefused        code = "zone-refused"        // a zone's file is not what is served
	zoneWarning        code = "zone-warning"        // a zone is served, but somebody should look
	zoneAbsent         code = "zone-absent"         // a secondary zone has no version to serve
	transferFailed     code = "transfer-failed"     // a secondary zone is served, but cannot be refreshed
	notifyFailed       code = "notify-failed"       // a secondary could not be told of a change
	changesFailed      code = "changes-failed"      // changes of zones cannot be kept on disk, so none is made
	versionsLost       code = "versions-lost"       // what is on disk of a zone's versions cannot all be read
	poolAllDown        code = "pool-all-down"       // no member is healthy, so all are used
	routeInClear       code = "route-not-encrypted" // a server cannot be asked encrypted that should be
	discoveryFailed    code = "discovery-failed"    // a list of members is not read, so the last good one stays
	scaleFailed        code = "scale-failed"        // a pool cannot get the members that it should have
	memberWarning      code = "member-warning"      // a member is well, or cannot be asked, but somebody should look
	storeLost          code = "store-lost"          // what is changed at run time cannot be read or written
	objectUnused       code = "object-unused"       // an applied object clashes with the file
	snapshotFailed     code = "snapshot-failed"     // a change is served but would be lost in a crash
	certificateRefused code = "certificate-refused" // a certificate's files cannot be used
	certificateEnding  code = "certificate-ending"  // a certificate is near its end, or past it
	listenerFailed     code = "listener-changed"    // listen.* cannot change without a restart
	catalogBroken      code = "catalog-broken"      // a catalog says nothing, so its members stay as they are
	memberRefused      code = "member-refused"      // members of a catalog are not served
	aliasFailed        code = "alias-failed"        // the target of an ALIAS record cannot be resolved
	forwardFailed      code = "forward-failed"      // dynamic updates do not reach a primary
	policyAbsent       code = "policy-absent"       // a policy zone has no version, so its rules are not followed
	policyWarning      code = "policy-warning"      // a policy zone has owner names that are no triggers
	localDataWarning   code = "local-data-warning"  // lines of a hosts file, or all of it, cannot be read
	steerHomeless      code = "steer-homeless"      // steered names lie in no zone of ours
	databaseRefused    code = "database-refused"    // the database of places cannot be used

	signingFailed    code = "dnssec-failed"         // a zone is not signed as its policy says
	signaturesExpire code = "dnssec-expiring"       // signatures end soon and are not renewed
	parentLost       code = "dnssec-parent-lost"    // the parent shows DS records that lead nowhere
	parentWaits      code = "dnssec-parent-waits"   // the parent does not show what it should, or cannot be seen
	serversBehind    code = "dnssec-servers-behind" // a rollover waits for a server of the zone
	trustDamaged     code = "trust-damaged"         // states of trust anchors cannot be read
	trustFailing     code = "trust-failing"         // the keys of a trust point cannot be verified
	trustLost        code = "trust-lost"            // no anchor of a trust point is left
	trustUnsaved     code = "trust-unsaved"         // states of trust anchors cannot be written
	localRootFailed  code = "local-root-failed"     // there is no new copy of the root zone
	trustMended      code = "trust-mended"          // a configured negative trust anchor is of no use any more
	offlineEnds      code = "dnssec-offline-ending" // an offline KSK has to sign
	clockJumped      code = "clock-jumped"          // the wall clock is not believed for now
)

// severities of the codes that are not errors.
var warnings = []code{memberWarning, routeInClear, discoveryFailed, localRootFailed, policyWarning, localDataWarning, offlineEnds, trustMended, trustFailing, parentWaits, serversBehind, clockJumped, certificateEnding, zoneWarning, transferFailed, notifyFailed, objectUnused, listenerFailed, steerHomeless, databaseRefused, memberRefused, forwardFailed, aliasFailed}

// subject is what a problem is about: a zone, a pool, or nothing.
type subject struct {
	code code
	name string
}

// problemList is the problems there are now.
type problemList struct {
	mu  sync.Mutex // guards all below; no other lock is taken under it
	all map[subject]api.Problem
}

// set says that there is a problem, or, with an empty text, that there is not.
// It reports whether that is news.
func (l *problemList) set(c code, name, text string, now time.Time) bool {
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

// keep removes the problems of code c about other things than names.
func (l *problemList) keep(c code, names []string) {
	l.keepIf(c, func(about string) bool { return slices.Contains(names, about) })
}

// keepIf removes the problems of code c about what is not there.
func (l *problemList) keepIf(c code, there func(about string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.all {
		if key.code == c && !there(key.name) {
			delete(l.all, key)
		}
	}
}

// none reports whether there are no problems.
func (l *problemList) none() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all) == 0
}

// list returns the problems, errors first, then by code and text.
func (l *problemList) list() []api.Problem {
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
