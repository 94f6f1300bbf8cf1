package upgrade

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
)

// cacheOctets is for what one question brings.
const cacheOctets = 64 << 10

// ask is an Asker: a resolver of its own, which knows nothing yet, forwards one question.
// So all that guards questions of clients guards this one, and each is a new handshake.
func ask(ctx context.Context, s Source, via Found, name dnsname.Name, t rdata.Type) ([]rdata.Record, string, error) {
	route := iterate.Route{Zone: dnsname.Root, Forward: true, Servers: []netip.AddrPort{s.Server}}
	c := outbound.Config{Clients: 8, Exchanges: 8, MixCase: true, Cache: rrcache.New(clock.Now(), rrcache.Limits{RecordOctets: cacheOctets, AnswerOctets: cacheOctets})}
	met := new(meeting)
	if via != (Found{}) {
		route.Servers, route.Encrypted = nil, []iterate.Server{{AddrPort: via.At, Over: via.Over}}
		c.Peers = []outbound.Peer{{TLS: met.config(s, via), Name: via.Name, Path: via.Path}}
	}
	c.Routes = []iterate.Route{route}
	d := outbound.New(c)
	defer d.Close()
	answer, err := d.Resolve(ctx, name, t, outbound.Options{})
	switch {
	case err != nil:
		return nil, "", err
	case answer.Rcode == dnswire.RcodeNoError || answer.Rcode == dnswire.RcodeNXDomain:
		return answer.Answer, met.seen(), nil
	case met.failure() != nil:
		return nil, "", met.failure()
	case len(answer.Errors) > 0:
		return nil, "", fmt.Errorf("%v: %s", answer.Rcode, answer.Errors[0].Text)
	}
	return nil, "", fmt.Errorf("the answer is %v", answer.Rcode)
}

// meeting is what a server has shown.
type meeting struct {
	mu  sync.Mutex
	pin string
	err error
}

func (m *meeting) seen() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pin
}

func (m *meeting) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// config returns how a server is known: by the name or the pin of via; without either by
// nothing, and its pin is seen.
func (m *meeting) config(s Source, via Found) *tls.Config {
	peer := tlscert.Peer{Name: via.Name, CA: s.CA, Pin: via.Pin}
	c := peer.Config()
	c.MinVersion = tls.VersionTLS12
	known := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		var err error
		switch {
		case len(state.PeerCertificates) == 0:
			err = errors.New("the server shows no certificate")
		case via.Name != "" || via.Pin != "":
			err = known(state)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.err = err; err == nil {
			sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			m.pin = base64.StdEncoding.EncodeToString(sum[:])
		}
		return err
	}
	return c
}
