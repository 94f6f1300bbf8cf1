package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pharos/internal/admin/stubconf"
)

// This file is the stub: a caching forwarder without a configuration file.

// resolvConfs are where the servers of the network are looked for, in this order: the
// first file that names one that is not the stub itself. The others are where network
// managers keep what they have learnt when resolv.conf leads to a stub.
var resolvConfs = []string{
	"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf", "/run/resolvconf/interface/resolv.conf",
}

// stubFlags are what was asked for on the command line.
type stubFlags struct {
	listen, upstreams, splits []string
	resolvConf, hosts, data   string
	cacheSize, admin          string
	validate, show            bool
}

func newStub(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "stub",
		Short: "Run a caching forwarder for this machine, without a configuration file",
		Long: `Run a caching forwarder for this machine or container. It asks the servers that
resolv.conf names, and goes over to others when the file is rewritten, as it is when
the network changes; then what was learnt from those before is forgotten. Names in
/etc/hosts are answered from there, also when that file changes. Domains may have
servers of their own (split DNS), and the servers for all others may be asked
encrypted.

Point programs at it with "nameserver 127.0.0.55" in resolv.conf. Should that be the
file that it reads, it passes itself over, and looks where network managers keep the
network's servers; with --upstream it reads none. What resolv.conf says of search
and ndots is for programs, which complete names before they ask, and of no use here.

The cache outlives restarts. "pharos cache", "pharos status" and "pharos query" work
as with a node.`,
		Example: `  pharos stub
  pharos stub --split corp.example=10.0.0.53 --upstream tls://192.0.2.1#dns.example
  pharos stub --show-config > stub.yaml`,
		Args: noArgs,
	}
	f := new(stubFlags)
	flags := c.Flags()
	flags.StringSliceVar(&f.listen, "listen", []string{"127.0.0.55:53"}, "`address` and port to answer at; may be repeated")
	flags.StringVar(&f.resolvConf, "resolv-conf", "", "`file` with the network's servers; without it /etc/resolv.conf, or where it leads")
	flags.StringVar(&f.hosts, "hosts", "/etc/hosts", "`file` of names and addresses; empty for none")
	flags.StringArrayVar(&f.upstreams, "upstream", nil, "`server` for all names in place of those in resolv.conf: ADDRESS, tls://ADDRESS#NAME, quic://ADDRESS#NAME or https://ADDRESS/PATH#NAME; may be repeated")
	flags.StringArrayVar(&f.splits, "split", nil, "`DOMAIN=ADDRESS`[,ADDRESS]: servers for the names at and below a domain; may be repeated")
	flags.BoolVar(&f.validate, "validate", false, "prove answers by DNSSEC; the servers must pass on what it takes")
	flags.StringVar(&f.cacheSize, "cache-size", "32MiB", "`memory` for what was learnt")
	flags.StringVar(&f.data, "data", defaultData(), "`folder` for the cache while nothing runs")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:8053", "`address` for pharos status, pharos cache and the like")
	flags.BoolVar(&f.show, "show-config", false, "print the configuration file that would do the same, and end")
	c.RunE = func(c *cobra.Command, _ []string) error {
		settings, err := f.settings()
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		file, err := chooseResolvConf(settings, f.resolvConf)
		if err != nil {
			return err
		}
		load := func() (string, error) { return stubConfig(settings, file) }
		if f.show {
			text, err := load()
			if err == nil {
				_, err = fmt.Fprint(c.OutOrStdout(), text)
			}
			return err
		}
		if err := os.MkdirAll(f.data, 0o700); err != nil {
			return fmt.Errorf("%w; name a folder that can be written with --data", err)
		}
		return p.Stub(c.Context(), file, load, nil)
	}
	return c
}

// defaultData returns a folder that the caller can most likely write to.
func defaultData() string {
	if os.Geteuid() != 0 {
		if folder, err := os.UserCacheDir(); err == nil {
			return filepath.Join(folder, "pharos-stub")
		}
	}
	return "/var/lib/pharos/stub"
}

func (f *stubFlags) settings() (s stubconf.Settings, err error) {
	s = stubconf.Settings{Data: f.data, CacheSize: f.cacheSize, Validate: f.validate}
	for _, text := range f.listen {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return s, fmt.Errorf("--listen %s: want ADDRESS:PORT", text)
		}
		s.Listen = append(s.Listen, at)
	}
	if s.Admin, err = netip.ParseAddrPort(f.admin); err != nil {
		return s, fmt.Errorf("--admin %s: want ADDRESS:PORT", f.admin)
	}
	for _, text := range f.upstreams {
		u, err := stubconf.ParseUpstream(text)
		if err != nil {
			return s, fmt.Errorf("--upstream: %w", err)
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	for _, text := range f.splits {
		split, err := stubconf.ParseSplit(text)
		if err != nil {
			return s, fmt.Errorf("--split: %w", err)
		}
		s.Splits = append(s.Splits, split)
	}
	if f.hosts != "" {
		if s.Hosts, err = filepath.Abs(f.hosts); err != nil {
			return s, err
		}
		if _, err := os.Stat(s.Hosts); err != nil && f.hosts == "/etc/hosts" {
			s.Hosts = "" // a container may have none
		}
	}
	s.Data, err = filepath.Abs(f.data)
	return s, err
}

// chooseResolvConf returns the file that the stub follows.
func chooseResolvConf(s stubconf.Settings, asked string) (string, error) {
	if asked != "" || len(s.Upstreams) > 0 {
		if asked == "" {
			asked = resolvConfs[0]
		}
		return asked, nil
	}
	var first error
	for _, file := range resolvConfs {
		_, err := stubConfig(s, file)
		if err == nil {
			return file, nil
		}
		if first == nil || errors.Is(first, os.ErrNotExist) {
			first = err
		}
	}
	return "", first
}

// stubConfig returns the configuration with what the file says now.
func stubConfig(s stubconf.Settings, file string) (string, error) {
	if s.File = file; len(s.Upstreams) == 0 {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("the network's servers: %w; name them with --upstream, or their file with --resolv-conf", err)
		}
		s.Resolv = stubconf.Parse(text)
	}
	return s.Config()
}
