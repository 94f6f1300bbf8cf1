package node

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/proxy/l4proxy"
)

// This file joins the streams (layer 4) to pools, problems and the log of connections.

// buildStreams makes what carries streams. Its listeners are bound with the first snapshot.
func (n *Node) buildStreams(cfg *config.Config, stdout io.Writer) error {
	var lines io.Writer
	var err error
	if lines, n.logs.connections, err = logfile.OpenNamed(cfg.Log.Connections, stdout); err != nil {
		return fmt.Errorf("log.connections: %w", err)
	}
	n.forStreams = settings.Streams{Certificates: &n.certificates, Started: n.started}
	n.streams = l4proxy.New(l4proxy.Config{
		Report: n.prober.Report, Clock: n.elapsed, Log: n.log, Lines: lines,
		Past:    l4proxy.NewPast(int(cfg.Gateway.Past.Memory), cfg.Gateway.Past.Every),
		Problem: func(about, text string) { n.problem(problems.StreamFailed, about, text) },
	})
	return nil
}

// followStreams has the streams of a snapshot carried, and no others.
func (n *Node) followStreams(s *Snapshot) {
	n.streams.Follow(n.forStreams.Of(s.Config, s.pools, s.gateway.Room))
}

// closeStreams ends what carries streams in a node that was never run.
func (n *Node) closeStreams() {
	if n.streams != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.streams.Shutdown(ctx)
	}
}

// stopStreams lets connections finish until ctx ends.
func (n *Node) stopStreams(ctx context.Context) error {
	if cut := n.streams.Shutdown(ctx); cut > 0 {
		n.log.Info("connections of streams were cut, as the node stops", "count", cut)
	}
	return nil
}

// Stream returns the addresses at which a stream lets clients in.
func (n *Node) Stream(name string) []netip.AddrPort { return n.streams.Addrs(name) }
