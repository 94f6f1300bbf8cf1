//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// Names of the works over connections in the table.
const (
	authTCP  = "authoritative TCP, pipelined, zone of 125k records"
	authDoT  = "authoritative DoT, pipelined, zone of 125k records"
	cacheDoT = "cached recursive DoT, pipelined, 11,000 answers"
	authDoQ  = "authoritative DoQ, zone of 125k records"
	authDoH  = "authoritative DoH (HTTP/2), zone of 125k records"
	cacheDoH = "cached recursive DoH (HTTP/2), 11,000 answers"
)

// doh is where DoH is asked.
const doh = "/dns-query"

// streamWorks are the parts of streams, each with connections that stay open.
var streamWorks = []part{{"tcp", (*arena).authTCP}, {"dot", (*arena).authDoT}, {"doh", (*arena).authDoH}, {"doq", (*arena).authDoQ}, {"cached", (*arena).cachedStreams}}

// streams measures answers over connections that stay open, with pipelined
// questions. Knot 3.2 has no DNS over TLS; NSD has no DNS over HTTPS; and none of the others
// has DNS over QUIC, as Debian has them.
func (a *arena) streams() ([]table.Row, error) { return a.parts(streamWorks, nil) }

// streamZone returns the contest of authoritative servers, with what is asked.
func (a *arena) streamZone() (c contest, queries []dnsload.Query, files peer.TLSFiles, err error) {
	if files, err = a.certificate(); err != nil {
		return c, nil, files, err
	}
	shape := authShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 1000, Mail: 100, Texts: 100, Aliases: 50, Delegations: 200, Glue: 200}
	}
	zone := corpus.Zone{Origin: "bench.example.", Shape: shape}
	path, err := a.writeZone(zone, "streams.zone")
	c = contest{job: peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}}}, ready: asks(zone.First())}
	return c, zone.Questions(questions, 1, corpus.Usual), files, err
}

func (a *arena) authTCP([]peer.Program) ([]table.Row, error) {
	c, queries, _, err := a.streamZone()
	if err != nil {
		return nil, err
	}
	return a.overStreams(authTCP, c, queries, nil, peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD(), peer.BIND())
}

func (a *arena) authDoT([]peer.Program) ([]table.Row, error) {
	c, queries, files, err := a.streamZone()
	if err != nil {
		return nil, err
	}
	return a.overStreams(authDoT, c, queries, &files, peer.Secure(peer.PharosZones(a.pharos()), files), peer.Secure(peer.NSD(), files), peer.Secure(peer.BIND(), files))
}

func (a *arena) authDoH([]peer.Program) ([]table.Row, error) {
	c, queries, files, err := a.streamZone()
	if err != nil {
		return nil, err
	}
	return a.overHTTPS(authDoH, c, queries, files, peer.OverHTTPS(peer.PharosZones(a.pharos()), files), peer.OverHTTPS(peer.BIND(), files))
}

func (a *arena) authDoQ([]peer.Program) ([]table.Row, error) {
	c, queries, files, err := a.streamZone()
	if err != nil {
		return nil, err
	}
	rows, err := a.overConnections(authDoQ, c, func(s *peer.Server) (openLoad, error) {
		at := netip.AddrPortFrom(address(s).Addr(), uint16(files.Port))
		config := dnsload.Config{Server: at, Queries: queries, Flows: a.o.flows, Window: a.o.window}
		return dnsload.NewQUIC(a.ctx, config, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}, MinVersion: tls.VersionTLS13})
	}, []peer.Program{peer.OverQUIC(peer.PharosZones(a.pharos()), files)})
	return rows[:min(len(rows), 1)], err // as over HTTPS, the load takes more than what it loads
}

// cachedStreams measures resolvers that know every answer, over TLS and HTTPS.
func (a *arena) cachedStreams([]peer.Program) ([]table.Row, error) {
	files, err := a.certificate()
	if err != nil {
		return nil, err
	}
	zone := corpus.Zone{Origin: "bench.", Shape: a.cacheShape()}
	origin, err := a.origin(zone)
	if err != nil {
		return nil, err
	}
	defer origin.Stop()
	queries := zone.Every(1)
	c := contest{job: peer.Job{Target: address(origin).String()}, ready: func(s *peer.Server) error {
		if err := asks(queries[0])(s); err != nil {
			return err
		}
		return a.fill(s, queries)
	}}
	rows, err := a.overStreams(cacheDoT, c, queries, &files, peer.Secure(peer.PharosResolver(a.pharos()), files), peer.Secure(peer.Unbound(), files))
	if err != nil {
		return nil, err
	}
	https, err := a.overHTTPS(cacheDoH, c, queries, files, peer.OverHTTPS(peer.PharosResolver(a.pharos()), files), peer.OverHTTPS(peer.Unbound(), files))
	return append(rows, https...), err
}

// openLoad is a load over connections that are open.
type openLoad interface {
	Run(ctx context.Context, d time.Duration) (dnsload.Result, error)
	Close()
}

// overHTTPS holds one contest over HTTP/2. Only the CPU time counts: the load takes more
// than what it loads.
func (a *arena) overHTTPS(work string, c contest, queries []dnsload.Query, files peer.TLSFiles, programs ...peer.Program) ([]table.Row, error) {
	rows, err := a.overConnections(work, c, func(s *peer.Server) (openLoad, error) {
		at := netip.AddrPortFrom(address(s).Addr(), uint16(files.Port))
		config := dnsload.Config{Server: at, Queries: queries, Flows: a.o.flows, Window: a.o.window}
		return dnsload.NewHTTPS(a.ctx, config, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, doh)
	}, programs)
	return rows[:min(len(rows), 1)], err
}

// overStreams holds one contest over TCP, or over TLS if there are files for it.
func (a *arena) overStreams(work string, c contest, queries []dnsload.Query, files *peer.TLSFiles, programs ...peer.Program) ([]table.Row, error) {
	return a.overConnections(work, c, func(s *peer.Server) (openLoad, error) {
		config := dnsload.Config{Server: address(s), Queries: queries, Flows: a.o.flows, Window: a.o.window}
		if files == nil {
			return dnsload.NewStreams(a.ctx, config, nil)
		}
		config.Server = netip.AddrPortFrom(config.Server.Addr(), uint16(files.Port))
		return dnsload.NewStreams(a.ctx, config, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}, MinVersion: tls.VersionTLS13})
	}, programs)
}

// overConnections holds one contest with a load that is opened for each server.
func (a *arena) overConnections(work string, c contest, load func(*peer.Server) (openLoad, error), programs []peer.Program) ([]table.Row, error) {
	var err error
	if c.programs, err = a.choose(programs[0], programs[1:]...); err != nil {
		return nil, err
	}
	c.rounds = a.o.rounds
	c.measure = func(s *peer.Server, samples *table.Samples) error {
		g, err := load(s)
		if err != nil {
			return err
		}
		defer g.Close()
		r, spent, err := measure(a, s, g.Run)
		if err != nil {
			return err
		}
		micros, rate := float64(spent)/1e3/float64(r.Answered), float64(r.Answered)/r.Elapsed.Seconds()
		samples.Add(s.Name, cpuPerAnswer.Name, micros)
		samples.Add(s.Name, answersPerSecond.Name, rate)
		a.say("%-9s %6.2f us per answer, %7.0f/s, on its processor %3.0f %% of the time, %d compared in full; %s",
			s.Name, micros, rate, 100*spent.Seconds()/r.Elapsed.Seconds(), r.Compared, work)
		return a.profile(s, work, func(d time.Duration) error {
			g, err := load(s)
			if err != nil {
				return err
			}
			defer g.Close()
			_, err = g.Run(a.ctx, d)
			return err
		})
	}
	samples, err := a.hold("streams", c)
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(work, cpuPerAnswer), samples.Row(work, answersPerSecond)}, nil
}

// certificate makes a certificate that all servers show: ECDSA on P-256, the same
// work for each.
func (a *arena) certificate() (peer.TLSFiles, error) {
	files := peer.TLSFiles{Certificate: filepath.Join(a.dir, "bench.crt"), Key: filepath.Join(a.dir, "bench.key")}
	var err error
	if files.Port, err = freePort(); err != nil {
		return files, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost", "*.bench.example"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return files, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return files, err
	}
	if err := os.WriteFile(files.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
		return files, err
	}
	return files, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
