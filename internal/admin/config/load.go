// Package config reads the configuration file: one YAML document, one typed
// struct, Config, whose field comments and tags are the manual.
//
// It owns the shape of the file, its defaults and ranges, what must agree within it,
// and the lists of zones that it refers to. It does not open what else the file names
// (zones, root hints) and binds nothing; that is for package node. What is wrong with a file is reported all
// at once, each problem with its place, its path and the remedy.
//
//	file --yaml--> Node tree --document.Decode--> Config --check--> Config
//	                    |                                   |
//	                    +---- line:column of a path <-------+
//
// docs/CONFIG.md and docs/config.schema.json are generated from this package's
// source: go test ./internal/admin/config -run TestDocs -update
//
// Concurrency: a Config is not changed after Load returns it and may be shared.
package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
)

// MaxFileSize is the largest configuration file that is read. A file of 10,000
// pools is about 2 MiB; what is larger is not a configuration file.
const MaxFileSize = 16 << 20

// Default returns the configuration of an empty file.
func Default() *Config {
	c := &Config{}
	document.SetDefaults(c)
	return c
}

// Load reads and checks the file at path. The error is a *document.Problems
// with everything wrong in the file, or says why it cannot be read.
func Load(path string) (*Config, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w; name the file with --config, or write a first one with \"pharos init\"", err)
	}
	if stat.IsDir() {
		return nil, fmt.Errorf("configuration file %s: is a directory; name the file in it", path)
	}
	if stat.Size() > MaxFileSize {
		return nil, fmt.Errorf("configuration file %s: larger than %d MiB", path, MaxFileSize>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	c, err := Parse(path, text)
	if err == nil {
		err = c.expand()
	}
	if err != nil {
		return nil, err
	}
	c.Sum = sha256.Sum256(text)
	return c, nil
}

// Parse reads and checks the text of a file called name, without the lists of zones
// that it refers to. Names of files in it become relative to the folder of name. It
// never panics.
func Parse(name string, text []byte) (*Config, error) {
	root, problems := readYAML(name, text)
	if problems.Err() != nil {
		return nil, problems
	}
	c := &Config{File: name}
	problems = document.Decode(name, root, c)
	c.check(&checker{file: name, root: root, problems: problems})
	problems.Sort()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	c.resolvePaths(filepath.Dir(name))
	c.resolvePolicies()
	return c, nil
}

// ParseResources reads the text of a document with pools, steer and routes, as
// it is applied at run time; YAML or JSON, under the same keys as in the file.
// Pools that it refers to may be elsewhere.
func ParseResources(name string, text []byte) (*state.Resources, error) {
	root, problems := readYAML(name, text)
	if problems.Err() != nil {
		return nil, problems
	}
	r := &state.Resources{}
	problems = document.Decode(name, root, r)
	r.CheckPart((&checker{file: name, root: root, problems: problems}).fail)
	problems.Sort()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseDocument reads the text of a YAML document of another type than Config into what
// into points to; check reports what is wrong between its values.
func ParseDocument(name string, text []byte, into any, check func(state.Report)) error {
	root, problems := readYAML(name, text)
	if problems.Err() != nil {
		return problems
	}
	if problems = document.Decode(name, root, into); problems.Err() == nil {
		check((&checker{file: name, root: root, problems: problems}).fail)
	}
	problems.Sort()
	return problems.Err()
}

// paths returns the names of files of a zone.
func (z *Zone) paths() []*string {
	paths := append([]*string{&z.File, &z.Names}, tlsPaths(z.Primaries, z.Transfer)...)
	for i := range z.Catalog.Templates {
		t := &z.Catalog.Templates[i]
		paths = append(paths, tlsPaths(t.Primaries, t.Transfer)...)
	}
	return paths
}

func tlsPaths(primaries []Peer, rules []TransferRule) []*string {
	var paths []*string
	for i := range primaries {
		t := &primaries[i].TLS
		paths = append(paths, &t.CA, &t.Certificate, &t.Key)
	}
	for i := range rules {
		paths = append(paths, &rules[i].TLS.CA)
	}
	return paths
}

// resolvePaths makes the names of files relative to folder.
func (c *Config) resolvePaths(folder string) {
	c.Log.paths(folder)
	paths := []*string{&c.Data, &c.Resolver.RootHints, &c.Resolver.Trust.File, &c.Resolver.LocalRoot.File, &c.DNSSEC.KeyEncryption, &c.Steering.Database}
	paths = append(paths, tlsPaths(c.Resolver.LocalRoot.Primaries, nil)...)
	for i := range c.Zones {
		paths = append(paths, c.Zones[i].paths()...)
	}
	for v := range c.Views {
		for i := range c.Views[v].Zones {
			paths = append(paths, c.Views[v].Zones[i].paths()...)
		}
	}
	for i := range c.Resolver.Routes {
		paths = append(paths, &c.Resolver.Routes[i].DiscoverCA)
		for j := range c.Resolver.Routes[i].Encrypted {
			t := &c.Resolver.Routes[i].Encrypted[j].TLS
			paths = append(paths, &t.CA, &t.Certificate, &t.Key)
		}
	}
	paths = append(paths, c.Resolver.LocalData.paths()...)
	for v := range c.Views {
		paths = append(paths, c.Views[v].Resolver.LocalData.paths()...)
	}
	for i := range c.TLS.Certificates {
		paths = append(paths, &c.TLS.Certificates[i].Certificate, &c.TLS.Certificates[i].Key)
	}
	paths = append(append(paths, c.Gateway.paths()...), c.streamPaths()...)
	for i := range c.Keys {
		paths = append(paths, &c.Keys[i].SecretFile)
	}
	for i := range c.Pools {
		paths = append(paths, c.Pools[i].Paths()...)
	}
	for i := range c.Filters {
		paths = append(paths, c.Filters[i].Paths()...)
	}
	for i := range c.Routes {
		paths = append(paths, c.Routes[i].Paths()...)
	}
	for _, p := range paths {
		isWord := p == &c.Gateway.AccessLog && (*p == "off" || *p == "stdout" || *p == "syslog")
		if *p != "" && !isWord && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
}
