package node

import (
	"fmt"
	"io"
	"slices"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/clock"
	"pharos/internal/proxy/otlp"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/querytap"
)

// This file says which queries are told of, by dnstap and in the log of queries. Where
// neither is configured there is no observer, and nothing of this is called.

// logs are the logs of requests and queries; all nil without them. Constant after New.
type logs struct {
	access   *logfile.File
	queries  *logfile.File
	observer *observer
	traces   *otlp.Exporter // nil: none
}

// observer is the Observer of the DNS listeners. Constant after buildTap.
type observer struct {
	tap     *querytap.Tap
	dnstap  bool
	every   uint32 // of frames
	log     bool
	lines   config.QueryLog
	clients *admission.ACL // whose queries are all logged
}

// buildTap makes what tells of queries, if anything is to be told.
func (n *Node) buildTap(cfg *config.Config, stdout io.Writer) error {
	d, q := cfg.Log.Dnstap, cfg.Log.Queries
	o := &observer{dnstap: d.Socket != "" || d.File != "", every: uint32(d.Every), log: q.File != "off", lines: q}
	if !o.dnstap && !o.log {
		return nil
	}
	var err error
	if o.clients, err = admission.AllowOnly(q.Clients); err != nil {
		return fmt.Errorf("log.queries.clients: %w", err)
	}
	c := querytap.Config{Socket: d.Socket, File: d.File, Identity: d.Identity, Version: "pharos " + api.Version(), Log: n.log}
	if c.Identity == "" {
		c.Identity = cfg.DNS.NSID
	}
	if o.log {
		if c.Lines, n.logs.queries, err = logfile.OpenNamed(q.File, stdout); err != nil {
			return fmt.Errorf("log.queries.file: %w", err)
		}
	}
	o.tap = querytap.New(c)
	n.logs.observer = o
	return nil
}

// Wants implements dnsserver.Observer.
func (o *observer) Wants(r *dnsserver.Request) dnsserver.Interest {
	switch {
	case o.dnstap && r.Rotation%o.every == 0:
		return dnsserver.Messages
	case o.log && (len(o.lines.Zones) > 0 || o.isSampled(r.Rotation) || o.clients.Allows(r.Client.Addr())):
		return dnsserver.Facts
	}
	return dnsserver.Nothing
}

// isSampled reports whether a query is one of so many.
func (o *observer) isSampled(rotation uint32) bool {
	return o.lines.Every > 0 && rotation%uint32(o.lines.Every) == 0
}

// Observe implements dnsserver.Observer.
func (o *observer) Observe(x *dnsserver.Exchange) {
	e := querytap.Event{
		Client: x.Client, Local: x.Local, Transport: x.Transport.String(), Received: x.Received, Sent: clock.Now(),
		Name: x.Name, Type: x.Type, Rcode: x.Rcode, Octets: len(x.Answer), View: x.View, Recursive: x.Recursive,
		Frame: x.Interest == dnsserver.Messages,
	}
	if e.Frame {
		e.Query, e.Answer = x.Query, x.Answer
	}
	if !x.Zone.IsZero() {
		e.Zone = x.Zone.String()
	}
	e.Line = o.log && (o.isSampled(x.Rotation) || o.clients.Allows(x.Client.Addr()) || slices.Contains(o.lines.Zones, x.Zone))
	if e.Frame || e.Line {
		o.tap.Put(&e)
	}
}

// close writes what waits.
func (o *observer) close() {
	if o != nil {
		o.tap.Close()
	}
}

// note says of a query what it was answered from, if somebody wants to know.
func (n *Node) note(s *Snapshot, p *plan, r *dnsserver.Request) {
	if n.logs.observer == nil {
		return
	}
	r.Note.View, r.Note.Recursive = s.viewName(), p.recurse
	if p.zone != nil {
		r.Note.Zone = p.zone.Origin()
	}
}
