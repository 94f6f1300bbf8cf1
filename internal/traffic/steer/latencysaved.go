package steer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"time"
)

// This file makes octets of a Latency and one of octets, for who keeps it over a restart
// (docs/formats/round-trips.md).

const (
	savedMagic   = "PHAROSRT"
	savedVersion = 1
	savedHead    = len(savedMagic) + 4 + 4
	savedSum     = 4
	savedTrip    = 1 + 16 + 8 + 8 // at most: address, mean, heard
	savedNetwork = 1 + 1 + 16 + 1 // at most: length, address, trips

	// MaxSaved is the most that AppendSaved appends: what is longer was not written by it.
	MaxSaved = savedHead + latencyShards*maxNetworks*(savedNetwork+maxServers*savedTrip) + savedSum
)

// Why saved round trips are not taken back.
var (
	// ErrNotTrips: no such file, or of another version.
	ErrNotTrips = errors.New("no round trips that this version reads")
	// ErrTripsDamaged: octets are not those that were written.
	ErrTripsDamaged = errors.New("damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendSaved appends all that is believed now.
func (l *Latency) AppendSaved(b []byte, now time.Time) []byte {
	begin, count, second := len(b), uint32(0), now.Unix()
	b = append(b, savedMagic...)
	b = binary.BigEndian.AppendUint32(b, savedVersion)
	b = append(b, 0, 0, 0, 0)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for network, m := range s.networks {
			var saved bool
			if b, saved = m.appendSaved(b, network, second); saved {
				count++
			}
		}
		s.mu.Unlock()
	}
	binary.BigEndian.PutUint32(b[begin+len(savedMagic)+4:], count)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

// appendSaved appends what is believed of one network, if there is something.
func (m *measured) appendSaved(b []byte, network netip.Prefix, second int64) (_ []byte, saved bool) {
	begin := len(b)
	b = append(b, byte(network.Bits()))
	b = appendAddress(b, network.Addr())
	at, count := len(b), byte(0)
	b = append(b, 0)
	for _, t := range m.servers {
		if isOld(t.heard, second) {
			continue
		}
		b = appendAddress(b, t.server)
		b = binary.BigEndian.AppendUint64(b, uint64(t.mean))
		b = binary.BigEndian.AppendUint64(b, uint64(t.heard))
		count++
	}
	if b[at] = count; count == 0 {
		return b[:begin], false
	}
	return b, true
}

func appendAddress(b []byte, a netip.Addr) []byte {
	octets := a.AsSlice()
	return append(append(b, byte(len(octets))), octets...)
}

// Restore takes back what AppendSaved has appended to nothing, as far as it is still
// believed, and returns how many networks that is. Of what cannot be read it takes nothing.
// What was measured since it was saved is left as it is.
func (l *Latency) Restore(saved []byte, now time.Time) (networks int, err error) {
	count, body, err := openSaved(saved)
	if err != nil {
		return 0, err
	}
	r := tripReader{rest: body}
	all := make([]network, 0, min(count, latencyShards*maxNetworks))
	for range count {
		all = append(all, r.network(now.Unix()))
		if r.failed {
			return 0, ErrTripsDamaged
		}
	}
	if len(r.rest) > 0 {
		return 0, ErrTripsDamaged
	}
	for _, n := range all {
		if len(n.servers) > 0 && l.shard(n.prefix).restore(n) {
			networks++
		}
	}
	return networks, nil
}

// openSaved returns what is between head and checksum, and how many networks that is.
func openSaved(saved []byte) (count int, body []byte, err error) {
	if len(saved) < savedHead+savedSum || string(saved[:len(savedMagic)]) != savedMagic ||
		binary.BigEndian.Uint32(saved[len(savedMagic):]) != savedVersion {
		return 0, nil, ErrNotTrips
	}
	end := len(saved) - savedSum
	if len(saved) > MaxSaved || binary.BigEndian.Uint32(saved[end:]) != crc32.Checksum(saved[:end], castagnoli) {
		return 0, nil, ErrTripsDamaged
	}
	return int(binary.BigEndian.Uint32(saved[len(savedMagic)+4:])), saved[savedHead:end], nil
}

// network is a measured one with its name.
type network struct {
	prefix netip.Prefix
	measured
}

func (s *latencyShard) restore(n network) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.networks[n.prefix] != nil || len(s.networks) >= maxNetworks {
		return false
	}
	s.networks[n.prefix] = &n.measured
	return true
}

// tripReader reads octets up to the first that cannot be.
type tripReader struct {
	rest   []byte
	failed bool
}

func (r *tripReader) take(n int) []byte {
	if r.failed = r.failed || len(r.rest) < n; r.failed {
		return make([]byte, n)
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *tripReader) address() netip.Addr {
	size := int(r.take(1)[0])
	a, ok := netip.AddrFromSlice(r.take(min(size, 16)))
	r.failed = r.failed || !ok || a.Is4In6()
	return a
}

// network reads one network, with what is still believed of it.
func (r *tripReader) network(second int64) (n network) {
	bits := int(r.take(1)[0])
	address := r.address()
	var err error
	n.prefix, err = address.Prefix(bits)
	if r.failed = r.failed || err != nil || n.prefix.Addr() != address; r.failed {
		return n
	}
	count := int(r.take(1)[0])
	r.failed = r.failed || count > maxServers
	for range count {
		t := trip{server: r.address()}
		t.mean = time.Duration(binary.BigEndian.Uint64(r.take(8)))
		t.heard = int64(binary.BigEndian.Uint64(r.take(8)))
		if r.failed = r.failed || t.mean <= 0 || t.mean > maxTrip || t.heard < 0; r.failed {
			return n
		}
		if !isOld(t.heard, second) {
			n.servers = append(n.servers, t)
			n.heard = max(n.heard, t.heard)
		}
	}
	return n
}
