package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/children"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/parentnotify"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/xfr"
	"pharos/internal/clock"
	"pharos/internal/serve/outgoing"
	"pharos/internal/serve/updates"
)

// Ledger emits what became of changes of zones of kind store.
func Ledger(c ledger.Counts, emit func(telemetry.Sample)) {
	const changes = "Changes of zones of kind store: made durable, refused by what they asked for or by the gate, failed because the disk did."
	emit(Counter("zone_changes_total", changes, c.Changes, "outcome", "made"))
	emit(Counter("zone_changes_total", changes, c.Refused, "outcome", "refused"))
	emit(Counter("zone_changes_total", changes, c.Failed, "outcome", "failed"))
	emit(Counter("zone_commits_total", "Writes to the commit log, each of which makes all changes durable that waited.", c.Commits))
	emit(Counter("zone_checkpoints_total", "Times that entries went from the commit log to the logs of their zones.", c.Checkpoints))
	emit(Counter("zone_compactions_total", "Times that a zone was built anew beside its changes, to give back what they had written over.", c.Compacted))
	emit(Counter("zone_folds_total", "Times that the log of a zone was folded into a new base.", c.Folds))
}

// Children emits what became of asking children for the DS records that they want.
func Children(c children.Counts, emit func(telemetry.Sample)) {
	if c.Asked == 0 {
		return
	}
	emit(Counter("children_asked_total", "Times that a child of a zone was asked for CDS and CDNSKEY records.", c.Asked))
	emit(Counter("children_changed_total", "Changes of the DS records of a child as it asked.", c.Changed))
	emit(Counter("children_notified_total", "Times that a child said by NOTIFY(CDS) that it has something new.", c.Notified))
	emit(Counter("children_refused_total", "Times that what a child asked for could not be believed.", c.Refused))
}

// Updates emits what became of dynamic updates.
func Updates(c updates.Counts, emit func(telemetry.Sample)) {
	for _, e := range []struct {
		outcome string
		value   uint64
	}{
		{"changed", c.Changed}, {"unchanged", c.Unchanged}, {"prerequisite", c.Unmet},
		{"malformed", c.Malformed}, {"refused", c.Refused}, {"failed", c.Failed}, {"busy", c.Busy},
		{"repeated", c.Repeated}, {"forwarded", c.Forwarded}, {"forward_failed", c.ForwardFailed},
	} {
		emit(Counter("updates_total", "Dynamic updates, by what became of them.", e.value, "outcome", e.outcome))
	}
	emit(Gauge("updates_in_work", "Dynamic updates that are not answered yet.", float64(c.InWork)))
}

// Transferred are the counts of zone transfers both ways.
type Transferred struct {
	Out            outgoing.Counts
	In             xfr.Counts
	BadKeys        uint64 // requests that were not signed as they should be
	Taken, Waiting int    // turns at primaries
}

// Transfers emits what became of zone transfers.
func Transfers(t *Transferred, emit func(telemetry.Sample)) {
	o, in := t.Out, t.In
	for _, e := range []struct {
		direction, outcome string
		value              uint64
	}{
		{"out", "whole", o.Whole}, {"out", "differences", o.Incremental}, {"out", "current", o.Current},
		{"out", "refused", o.Refused}, {"out", "busy", o.Busy}, {"out", "failed", o.Failed}, {"out", "bad_signature", t.BadKeys},
		{"in", "whole", in.Whole}, {"in", "differences", in.Incremental}, {"in", "current", in.UpToDate},
		{"in", "failed", in.Failed}, {"in", "expired", in.Expired},
	} {
		emit(Counter("transfers_total", "Zone transfers and requests for them, by direction and outcome.", e.value, "direction", e.direction, "outcome", e.outcome))
	}
	emit(Counter("transfers_compactions_total", "Times that a secondary zone was built anew beside its differences, to give back what they had written over.", in.Compacted))
	emit(Gauge("transfers_out", "Zone transfers to secondaries that are under way.", float64(o.UnderWay)))
	emit(Gauge("transfers_in", "Primaries that are being asked, or that a zone comes from.", float64(t.Taken)))
	emit(Gauge("transfers_in_waiting", "Zones whose primaries will be asked when transfers.incoming and incomingPerPrimary let it.", float64(t.Waiting)))
}

// Secondary emits how far a secondary zone is with its primaries.
func Secondary(zone string, st xfr.State, emit func(telemetry.Sample)) {
	emit(Gauge("zone_present", "1 while a secondary zone has a version to serve.", One(st.Present), "zone", zone))
	emit(Gauge("zone_refresh_failures", "Failed checks of a secondary zone's primaries in a row.", float64(st.Failures), "zone", zone))
	if st.Present {
		emit(Gauge("zone_expires_seconds", "Time until a secondary zone expires, if no primary confirms it.", clock.Until(st.Expires).Seconds(), "zone", zone))
	}
}

// Signing emits what was done to keep zones signed.
func Signing(c signer.Counts, emit func(telemetry.Sample)) {
	emit(Counter("dnssec_signatures_total", "Signatures of zones, by what became of them.", c.Made, "outcome", "made"))
	emit(Counter("dnssec_signatures_total", "Signatures of zones, by what became of them.", c.Kept, "outcome", "kept"))
	emit(Counter("dnssec_versions_total", "Signed versions of zones that were made.", c.Versions))
	emit(Counter("dnssec_compactions_total", "Times that a signed zone was built anew beside its versions, to give back what they had written over.", c.Compacted))
	emit(Counter("dnssec_failures_total", "Times that a zone could not be signed as it should.", c.Failed))
}

// ParentsTold emits how often parents of signed zones were told of new CDS records.
func ParentsTold(c parentnotify.Counts, emit func(telemetry.Sample)) {
	const help = "Times that the parent of a zone was to be told of new CDS records, by what became of it: told, failed, or no_dsync where it has no DSYNC record."
	emit(Counter("dnssec_parent_notifies_total", help, c.Told, "outcome", "told"))
	emit(Counter("dnssec_parent_notifies_total", help, c.Failed, "outcome", "failed"))
	emit(Counter("dnssec_parent_notifies_total", help, c.Without, "outcome", "no_dsync"))
}

// Keys emits how the keys of a signed zone stand.
func Keys(zone string, st *signer.State, emit func(telemetry.Sample)) {
	phases := map[[2]string]int{}
	next := time.Duration(0)
	for _, v := range st.Keys {
		phases[[2]string{v.Key.Role.String(), v.Phase}]++
		if v.In > 0 && (next == 0 || v.In < next) {
			next = v.In
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(phases), func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) }) {
		emit(Gauge("dnssec_keys", "Keys of a zone, by role and state.", float64(phases[k]), "zone", zone, "role", k[0], "state", k[1]))
	}
	emit(Gauge("dnssec_next_event_seconds", "Time until the next step of a key that time alone brings; 0 if none does.", next.Seconds(), "zone", zone))
	emit(Gauge("dnssec_parent_agrees", "1 while the parent shows what it should.", One(st.Parent.Agrees), "zone", zone))
	if st.Signed {
		emit(Gauge("dnssec_first_expiry_seconds", "Time until the first signature of a zone ends, if it is not renewed.", clock.Until(st.Expires).Seconds(), "zone", zone))
	}
}
