package node

import (
	"fmt"
	"io"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/proxy/otlp"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/querytap"
	"pharos/internal/serve/querywatch"
)

// logs are the logs of requests and queries; all nil without them. Constant after New.
type logs struct {
	access      *logfile.File
	queries     *logfile.File
	connections *logfile.File
	observer    *querywatch.Observer // nil: of no query
	traces      *otlp.Exporter       // nil: none
}

// buildTap makes what tells of queries, if anything is to be told.
func (n *Node) buildTap(cfg *config.Config, stdout io.Writer) error {
	d, q := cfg.Log.Dnstap, cfg.Log.Queries
	w := querywatch.Config{Dnstap: d.Socket != "" || d.File != "", Every: uint32(d.Every), Log: q.File != "off", LogEvery: uint32(q.Every), Zones: q.Zones}
	if !w.Dnstap && !w.Log {
		return nil
	}
	var err error
	if w.Clients, err = admission.AllowOnly(q.Clients); err != nil {
		return fmt.Errorf("log.queries.clients: %w", err)
	}
	c := querytap.Config{Socket: d.Socket, File: d.File, Identity: d.Identity, Version: "pharos " + api.Version(), Log: n.log}
	if c.Identity == "" {
		c.Identity = cfg.DNS.NSID
	}
	if w.Log {
		if c.Lines, n.logs.queries, err = logfile.OpenNamed(q.File, stdout); err != nil {
			return fmt.Errorf("log.queries.file: %w", err)
		}
	}
	n.logs.observer = querywatch.New(w, querytap.New(c))
	return nil
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
