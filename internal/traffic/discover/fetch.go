package discover

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/roster"
)

// list is one reading of a source.
type list struct {
	members   []pool.MemberSpec
	faults    string        // what was left out
	ttl       time.Duration // how long it is good for; 0: it is not said
	unchanged bool          // it is as it was; all else is empty
}

// fetcher reads one source. It belongs to one goroutine.
type fetcher interface {
	fetch(ctx context.Context) (list, error)
}

type lookup = func(context.Context, dnsname.Name, rdata.Type) ([]rdata.Record, error)

func newFetcher(s Source, l lookup) fetcher {
	switch s.Kind {
	case File:
		return &fileFetcher{file: s.File, port: s.Port}
	case HTTP:
		return newHTTPFetcher(s)
	case SRV:
		return srvFetcher{s, l}
	}
	return dnsFetcher{s, l}
}

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// maxAddresses bounds the records of one name. More is no list of servers.
const maxAddresses = 4096

// families returns the types of records that s wants.
func (s Source) families() []rdata.Type {
	switch s.Families {
	case "ipv4":
		return []rdata.Type{rdata.TypeA}
	case "ipv6":
		return []rdata.Type{rdata.TypeAAAA}
	}
	return []rdata.Type{rdata.TypeA, rdata.TypeAAAA}
}

// addressesOf returns the address records of a name. A failure for one family fails the
// whole: half of a list would look like a list.
func (s Source) addressesOf(ctx context.Context, l lookup, name dnsname.Name) (all []rdata.Record, err error) {
	for _, t := range s.families() {
		records, err := l(ctx, name, t)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	if len(all) > maxAddresses {
		return nil, fmt.Errorf("%s has %d records; at most %d are read", name, len(all), maxAddresses)
	}
	return all, nil
}

// dnsFetcher reads A and AAAA records.
type dnsFetcher struct {
	source Source
	lookup lookup
}

func (f dnsFetcher) fetch(ctx context.Context) (list, error) {
	name, err := dnsname.Parse(f.source.Name)
	if err != nil {
		return list{}, err
	}
	records, err := f.source.addressesOf(ctx, f.lookup, name)
	if err != nil {
		return list{}, err
	}
	members, ttl := roster.OfAddresses(records, f.source.Port)
	return list{members: members, ttl: ttl}, nil
}

// srvFetcher reads SRV records, and the addresses of their targets.
type srvFetcher struct {
	source Source
	lookup lookup
}

// maxServices bounds the SRV records of a name: each costs two lookups.
const maxServices = 256

func (f srvFetcher) fetch(ctx context.Context) (list, error) {
	name, err := dnsname.Parse(f.source.Name)
	if err != nil {
		return list{}, err
	}
	records, err := f.lookup(ctx, name, rdata.TypeSRV)
	if err != nil {
		return list{}, err
	}
	var services []roster.SRV
	addresses := map[string][]netip.Addr{}
	_, ttl := roster.OfAddresses(records, 0)
	for _, r := range records {
		target, ok := rdata.Target(r.Type, r.Data)
		if r.Type != rdata.TypeSRV || !ok || len(services) == maxServices {
			continue
		}
		s := roster.SRV{
			Priority: binary.BigEndian.Uint16(r.Data), Weight: binary.BigEndian.Uint16(r.Data[2:]),
			Port: binary.BigEndian.Uint16(r.Data[4:]), Target: target.String(),
		}
		services = append(services, s)
		if _, known := addresses[s.Target]; known || target.IsRoot() {
			continue
		}
		found, err := f.source.addressesOf(ctx, f.lookup, target)
		if err != nil {
			return list{}, err
		}
		addresses[s.Target] = nil
		members, least := roster.OfAddresses(found, s.Port)
		for _, m := range members {
			addresses[s.Target] = append(addresses[s.Target], m.Address.Addr())
		}
		if len(members) > 0 {
			ttl = min(ttl, least)
		}
	}
	members, faults := roster.OfServices(services, addresses)
	return list{members: members, faults: faults.String(), ttl: ttl}, nil
}

// fileFetcher reads a file when it has changed. Whoever writes it should put a new one
// in its place; one that is half written does not parse, and is read again when the
// rest is there.
type fileFetcher struct {
	file string
	port uint16
	read diskfile.Stamp
	once bool
}

func (f *fileFetcher) fetch(context.Context) (list, error) {
	stamp := diskfile.StampOf(f.file)
	if f.once && stamp == f.read {
		return list{unchanged: true}, nil
	}
	file, err := os.Open(f.file)
	if err != nil {
		f.once = false
		return list{}, errors.Unwrap(err) // the name is known
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, roster.MaxDocument+1))
	if err != nil {
		return list{}, err
	}
	l, err := ofDocument(text, f.port)
	if err != nil {
		f.once = false
		return list{}, err
	}
	f.read, f.once = stamp, true
	return l, nil
}

func ofDocument(text []byte, port uint16) (list, error) {
	groups, err := roster.ParseGroups(text)
	if err != nil {
		return list{}, err
	}
	members, faults := roster.OfGroups(groups, port)
	return list{members: members, faults: faults.String()}, nil
}

// httpFetcher reads http_sd of Prometheus: GET, with the interval in a field, and the
// tag of the last list.
type httpFetcher struct {
	source Source
	client *http.Client
	tag    string
	roots  diskfile.Stamp // of the CA file that client was made with
}

// maxHead bounds the fields of a response, in octets.
const maxHead = 16 << 10

func newHTTPFetcher(s Source) *httpFetcher { return &httpFetcher{source: s} }

// connect makes the client anew when the file of authorities has changed. Redirects are
// not followed: they would have this node ask wherever the list's server wants.
func (f *httpFetcher) connect() error {
	stamp := diskfile.StampOf(f.source.CA)
	if f.client != nil && (f.source.CA == "" || stamp == f.roots) {
		return nil
	}
	config := &tls.Config{Time: clock.Now}
	if f.source.CA != "" {
		text, err := os.ReadFile(f.source.CA)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca: %s has no certificate in PEM form", f.source.CA)
		}
	}
	f.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHead},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	f.roots = stamp
	return nil
}

func (f *httpFetcher) fetch(ctx context.Context) (list, error) {
	if err := f.connect(); err != nil {
		return list{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.source.URL, nil)
	if err != nil {
		return list{}, err
	}
	req.Header.Set("User-Agent", "pharos-discovery")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Prometheus-Refresh-Interval-Seconds", strconv.FormatFloat(f.source.Interval.Seconds(), 'f', -1, 64))
	if f.tag != "" {
		req.Header.Set("If-None-Match", f.tag)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return list{}, errors.Unwrap(err) // of *url.Error, whose URL is known
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && f.tag != "":
		return list{unchanged: true}, nil
	case resp.StatusCode != http.StatusOK:
		return list{}, fmt.Errorf("status %d, want 200", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, roster.MaxDocument+1))
	if err != nil {
		return list{}, err
	}
	l, err := ofDocument(text, f.source.Port)
	if err == nil {
		f.tag = resp.Header.Get("ETag")
	}
	return l, err
}
