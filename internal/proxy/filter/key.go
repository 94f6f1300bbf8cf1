package filter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
)

// keyer makes of a request the key of its account: the hash of parts of it. The seed is drawn
// when the process starts, so that nobody can look for requests that share an account.
type keyer struct {
	parts []keyPart
	seed  maphash.Seed
}

// keyPart is one part of a key.
type keyPart struct {
	of           partKind
	name         string // of a field, cookie, parameter or claim
	bits4, bits6 int    // of the client's network
}

type partKind uint8

const (
	partClient partKind = iota
	partRoute
	partPool
	partHost
	partPath
	partMethod
	partField
	partCookie
	partQuery
	partClaim
)

var partNames = map[string]partKind{
	"client": partClient, "route": partRoute, "pool": partPool, "host": partHost, "path": partPath, "method": partMethod,
	"field": partField, "cookie": partCookie, "query": partQuery, "claim": partClaim,
}

// clientBits6 is how much of an IPv6 address makes a client: a host has a /64 at least, and
// as many addresses in it as it likes (RFC 6177).
const clientBits6 = 64

// maxParts is how many parts a key has at most; arbitrary.
const maxParts = 4

// compileKey reads the parts of a key: "client", "client/24/56" (its network), "route",
// "pool", "host", "path", "method", "field:NAME", "cookie:NAME", "query:NAME", "claim:NAME".
func compileKey(parts []string) (keyer, error) {
	k := keyer{seed: maphash.MakeSeed()}
	if len(parts) == 0 || len(parts) > maxParts {
		return k, fmt.Errorf("key: %d parts; want 1 to %d", len(parts), maxParts)
	}
	for _, text := range parts {
		word, name, named := strings.Cut(text, ":")
		word, network, isNetwork := strings.Cut(word, "/")
		kind, known := partNames[word]
		p := keyPart{of: kind, name: name, bits4: 32, bits6: clientBits6}
		switch {
		case !known:
			return k, fmt.Errorf("key %q: want client, client/BITS4/BITS6, route, pool, host, path, method, field:NAME, cookie:NAME, query:NAME or claim:NAME", text)
		case named != (kind >= partField) || named && name == "":
			return k, fmt.Errorf("key %q: field, cookie, query and claim have a name, as in field:X-Api-Key, and no other part has", text)
		case isNetwork && kind != partClient:
			return k, fmt.Errorf("key %q: only clients have networks", text)
		case isNetwork:
			four, six, _ := strings.Cut(network, "/")
			var errs [2]error
			p.bits4, errs[0] = strconv.Atoi(four)
			p.bits6, errs[1] = strconv.Atoi(six)
			if errs[0] != nil || errs[1] != nil || p.bits4 < 0 || p.bits4 > 32 || p.bits6 < 0 || p.bits6 > 128 {
				return k, fmt.Errorf("key %q: want the lengths of networks of IPv4 and IPv6, as in client/24/56", text)
			}
		}
		k.parts = append(k.parts, p)
	}
	return k, nil
}

// of returns the key of a request. A part that the request does not have stands for its
// client, so that leaving it out makes nobody free.
func (k *keyer) of(p *Pass) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	q := p.Request
	for i := range k.parts {
		part := &k.parts[i]
		var value []byte
		switch part.of {
		case partRoute:
			h.WriteString(p.Route.Title())
		case partPool:
			h.WriteString(p.Pool)
		case partHost:
			value = q.Host()
		case partPath:
			value = q.Path()
		case partMethod:
			value = q.Method()
		case partField:
			value = q.Field(part.name)
		case partCookie:
			value = q.Cookie(part.name)
		case partQuery:
			value = parameter(q.Query(), part.name)
		case partClaim:
			value = p.claim(part.name)
		}
		if len(value) == 0 && (part.of == partClient || part.of >= partField) {
			writeNetwork(&h, q.Client(), part.bits4, part.bits6)
		}
		// The length keeps "ab", "c" and "a", "bc" apart, and the kind values of a part from
		// clients that stand for it.
		var end [9]byte
		binary.LittleEndian.PutUint64(end[:], uint64(len(value)))
		end[8] = byte(part.of)
		h.Write(value)
		h.Write(end[:])
	}
	return h.Sum64()
}

func writeNetwork(h *maphash.Hash, client netip.Addr, bits4, bits6 int) {
	bits := bits6
	if client.Is4() {
		bits = bits4
	}
	network, err := client.Prefix(bits)
	if err != nil {
		return // of nobody
	}
	octets := network.Addr().As16()
	h.Write(octets[:])
}

// parameter returns the value of a parameter of a query as it is written; nil if there is none.
func parameter(query []byte, name string) []byte {
	if len(query) == 0 {
		return nil
	}
	for rest := query[1:]; len(rest) > 0; {
		end := bytes.IndexByte(rest, '&')
		pair := rest
		if end >= 0 {
			pair, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		if len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name {
			return pair[len(name)+1:]
		}
	}
	return nil
}
