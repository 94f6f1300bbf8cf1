package httpproxy

import (
	"net/netip"
	"time"

	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// Target is the request that is explained, as far as it is known.
type Target struct {
	Client            netip.Addr
	Host, Path, Query string // Query begins with "?" unless it is empty
}

// AskFor returns what a request for target would be picked by, and says what is
// hashed; "" if nothing is. Fields and cookies are not known: what hashes these goes
// by the client's address, as for a request that has none.
func (s *Server) AskFor(t Target, p *pool.Pool) (ask balance.Ask, keyed string) {
	if s != nil {
		ask.Now = time.Since(s.began)
		ask.Lane = uint32(s.nextID.Load())
	}
	spec := p.View().Spec()
	if spec.Policy != pool.Hash {
		return ask, ""
	}
	c := &client{server: s, peer: t.Client}
	x := &exchange{path: []byte(t.Path)}
	k := spec.Hash.Key
	switch k.Of {
	case pool.URL:
		ask.Key = urlKey([]byte(t.Host), x.path, []byte(t.Query))
		return ask, t.Host + t.Path + t.Query
	case pool.Path:
		ask.Key = consistent.Sum(x.path)
		return ask, t.Path
	case pool.Query:
		if value := parameterOf([]byte(t.Query), k.Name); value != nil {
			ask.Key = consistent.Sum(value)
			return ask, k.Name + "=" + string(value)
		}
	case pool.ClientPrefix:
		ask.Key, _ = c.keyOf(x, &k)
		length := k.Bits6
		if t.Client.Is4() {
			length = k.Bits4
		}
		return ask, netip.PrefixFrom(t.Client, length).Masked().String()
	}
	ask.Key = sumOfAddress(t.Client)
	return ask, t.Client.String()
}
