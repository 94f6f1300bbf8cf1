package sign

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// This file is what a Check does with one name.

// node checks the RRsets of n and its NSEC record.
func (c *Check) node(n zone.Node) {
	isName := c.z.Lookup(c.z.Name(n)).Exact == n
	occluded := isName && c.z.IsOccluded(n)
	sets := c.z.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		switch {
		case set.Type == rdata.TypeRRSIG:
		case set.Type == rdata.TypeNSEC3:
			c.checkSet(n, &set)
		case occluded, !c.isSigned(n, set.Type):
			if signatures, ok := set.Signatures(); ok {
				c.add(zone.Warning, c.z.Name(n), set.Type, "%d signatures of data that is not the zone's own (RFC 4035 §2.2); remove them", signatures.Count)
			}
		default:
			c.checkSet(n, &set)
		}
	}
	if isName && c.p.NSEC3 == nil {
		c.checkNSEC(n)
	}
}

// checkSet checks the signatures of an RRset: one by a key of the zone must be good, and
// there should be one of each algorithm of its keys.
func (c *Check) checkSet(n zone.Node, have *zone.RRset) {
	set := rdata.RRset{Name: c.z.Name(n), Type: have.Type, Class: rdata.ClassIN, TTL: have.TTL, Data: dataOf(have)}
	signatures, ok := have.Signatures()
	if !ok {
		c.add(zone.Fatal, set.Name, set.Type, "no signature; sign the zone again")
		return
	}
	all := dataOf(&signatures)
	if len(all) > dnssec.MaxSignatures {
		c.add(zone.Warning, set.Name, set.Type, "%d signatures, of which validators look at a few; remove those of keys that are gone", len(all))
	}
	var good [256]bool
	any, why := false, ""
	for _, data := range all[:min(len(all), dnssec.MaxSignatures)] {
		sig, _ := dnssec.ParseSignature(data)
		switch text := c.judge(sig, set); text {
		case "":
			good[sig.Algorithm], any = true, true
			c.noteEnd(sig)
		default:
			why = text
		}
	}
	if signatures.TTL != set.TTL {
		c.add(zone.Warning, set.Name, set.Type, "the signatures have TTL %d, what they sign %d (RFC 4034 §3)", signatures.TTL, set.TTL)
	}
	switch {
	case !any:
		c.add(zone.Fatal, set.Name, set.Type, "no good signature: %s", why)
		return
	case why != "":
		c.add(zone.Warning, set.Name, set.Type, "beside a good signature: %s", why)
	}
	for _, k := range c.keys {
		if !good[k.Algorithm] { // RFC 4035 §2.2
			good[k.Algorithm] = true
			c.add(zone.Warning, set.Name, set.Type, "no good signature of algorithm %d, of which the zone has a key", k.Algorithm)
		}
	}
}

// judge says what is wrong with a signature, "" if it is good.
func (c *Check) judge(sig dnssec.Signature, set rdata.RRset) string {
	if text := c.wrong(sig, set); text != "" {
		return text
	}
	if !(dnssec.Policy{}).Supports(sig.Algorithm) {
		return fmt.Sprintf("algorithm %d cannot be checked", sig.Algorithm)
	}
	tried := 0
	for _, k := range c.keys {
		if k.Tag != sig.Tag || k.Algorithm != sig.Algorithm {
			continue
		}
		if tried++; tried > dnssec.MaxCollisions {
			break
		}
		if (dnssec.Policy{}).Check(k, dnssec.AppendSigned(nil, sig, set), sig.Octets) {
			return ""
		}
	}
	if tried == 0 {
		return fmt.Sprintf("it is by key %d, which the zone does not have; publish the key or sign again", sig.Tag)
	}
	return fmt.Sprintf("that by key %d does not fit the records; sign them again", sig.Tag)
}

// wrong says what is wrong with a signature beside its arithmetic.
func (c *Check) wrong(sig dnssec.Signature, set rdata.RRset) string {
	now := rdata.Serial(c.now.Unix())
	switch {
	case sig.Signer != c.origin:
		return fmt.Sprintf("it is by %s, not by the zone", sig.Signer)
	case sig.Labels != dnssec.LabelCount(set.Name):
		return fmt.Sprintf("it is of a name with %d labels", sig.Labels)
	case sig.OriginalTTL < set.TTL:
		return fmt.Sprintf("it is of a TTL of %d, which is less than that of the records, %d", sig.OriginalTTL, set.TTL)
	case now.Less(sig.Inception):
		return fmt.Sprintf("that by key %d is not valid yet; look at the clocks", sig.Tag)
	case sig.Expiration.Less(now):
		return fmt.Sprintf("that by key %d has expired; sign the zone again", sig.Tag)
	}
	return ""
}

// noteEnd notes when a good signature ends, if that is soon.
func (c *Check) noteEnd(sig dnssec.Signature) {
	if c.limits.Soon == 0 || rdata.Serial(c.now.Add(c.limits.Soon).Unix()).Less(sig.Expiration) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.soon == 0 || sig.Expiration.Less(c.ends) {
		c.ends = sig.Expiration
	}
	c.soon++
}

// checkNSEC checks that a name has the NSEC record that it should have, and no other.
func (c *Check) checkNSEC(n zone.Node) {
	name := c.z.Name(n)
	set, has := c.z.RRset(n, rdata.TypeNSEC)
	i, should := c.place[n]
	switch {
	case !should && has:
		c.add(zone.Fatal, name, rdata.TypeNSEC, "an NSEC record at a name that has no place in the chain; sign the zone again")
	case should && !has:
		c.add(zone.Fatal, name, rdata.TypeNSEC, "no NSEC record, so denials around the name have no proof; sign the zone again")
	case should && set.Count != 1:
		c.add(zone.Fatal, name, rdata.TypeNSEC, "%d NSEC records; sign the zone again", set.Count)
	case should:
		data, _, _ := set.Record(0)
		next, length, err := dnsname.FromWire(data)
		want := c.z.Name(c.chain[(i+1)%len(c.chain)])
		if err != nil || next != want {
			c.add(zone.Fatal, name, rdata.TypeNSEC, "the next name is %s, not %s; sign the zone again", next, want)
			return
		}
		c.checkBitmap(n, data[length:], rdata.TypeNSEC)
		c.checkTTL(name, &set)
	}
}

func (c *Check) checkBitmap(n zone.Node, bitmap []byte, t rdata.Type) {
	if want := c.bitmapAt(n, c.contentAt(n)); !bytes.Equal(bitmap, want) {
		c.add(zone.Fatal, c.z.Name(n), t, "lists the types%s, but the name has%s; sign the zone again", typesText(bitmap), typesText(want))
	}
}

// typesText spells type bit maps.
func typesText(bitmap []byte) (text string) {
	for len(bitmap) >= 2 {
		length := min(int(bitmap[1]), len(bitmap)-2)
		for i, octet := range bitmap[2 : 2+length] {
			for bit := range 8 {
				if octet&(0x80>>bit) != 0 {
					text += " " + (rdata.Type(bitmap[0])<<8 + rdata.Type(8*i+bit)).String()
				}
			}
		}
		bitmap = bitmap[2+length:]
	}
	if text == "" {
		return " none"
	}
	return text
}

// checkTTL: RFC 9077 §3.
func (c *Check) checkTTL(n dnsname.Name, set *zone.RRset) {
	if set.TTL > c.denialTTL {
		c.add(zone.Warning, n, set.Type, "TTL %d, where denials of the zone are good for %d (RFC 9077)", set.TTL, c.denialTTL)
	}
}

// checkHashes checks the chain of NSEC3 records.
func (c *Check) checkHashes() {
	chain := c.hashedChain()
	if len(chain) == 0 {
		c.add(zone.Fatal, c.origin, rdata.TypeNSEC3, "no NSEC3 record of the chain that NSEC3PARAM tells of; sign the zone again")
		return
	}
	for i, l := range chain {
		if want := chain[(i+1)%len(chain)].hash; l.next != want {
			c.add(zone.Fatal, c.z.Name(l.node), rdata.TypeNSEC3, "the next hash is %s, not %s; sign the zone again", label(l.next), label(want))
		}
	}
	used := make([]bool, len(chain))
	for _, h := range c.hashes {
		i := sort.Search(len(chain), func(i int) bool { return bytes.Compare(chain[i].hash[:], h.hash[:]) >= 0 })
		if i < len(chain) && chain[i].hash == h.hash {
			used[i] = true
			c.checkBitmap(h.node, chain[i].bitmap, rdata.TypeNSEC3)
			continue
		}
		cover := chain[(i+len(chain)-1)%len(chain)]
		if !cover.optOut || !c.mayOptOut(h.node) {
			c.add(zone.Fatal, c.z.Name(h.node), rdata.TypeNSEC3, "no NSEC3 record, so denials around the name have no proof; sign the zone again")
		}
	}
	for i, l := range chain {
		if !used[i] {
			c.add(zone.Warning, c.z.Name(l.node), rdata.TypeNSEC3, "an NSEC3 record of a name that does not exist; sign the zone again")
		}
	}
}

// mayOptOut reports whether n needs no NSEC3 record: it is a delegation without DS, or
// exists only for such (RFC 5155 §7.1).
func (c *Check) mayOptOut(n zone.Node) bool {
	if c.z.HasData(n) {
		_, secure := c.z.RRset(n, rdata.TypeDS)
		return c.z.IsCut(n) && !secure
	}
	for below := range c.z.Below(n) {
		if c.z.HasData(below) && !c.z.IsOccluded(below) && !c.mayOptOut(below) {
			return false
		}
	}
	return !c.z.IsSteered(n)
}

// link is an NSEC3 record.
type link struct {
	hash, next [hashLen]byte
	bitmap     []byte
	optOut     bool
	node       zone.Node
}

// hashedChain returns the NSEC3 records with the parameters of the zone, in order.
func (c *Check) hashedChain() (chain []link) {
	want := c.p.NSEC3.append(nil, 0)
	for n := range c.z.Nodes() {
		set, ok := c.z.RRset(n, rdata.TypeNSEC3)
		if !ok {
			continue
		}
		h, ok := hashOf(c.z.Name(n), c.origin)
		for _, data := range dataOf(&set) {
			at := len(want)
			if !ok || len(data) < at+1+hashLen || data[0] != want[0] || !bytes.Equal(data[2:at], want[2:]) {
				c.add(zone.Warning, c.z.Name(n), rdata.TypeNSEC3, "a record of another chain than that of NSEC3PARAM")
				continue
			}
			chain = append(chain, link{h, [hashLen]byte(data[at+1:]), data[at+1+hashLen:], data[1]&1 != 0, n})
			c.checkTTL(c.z.Name(n), &set)
		}
	}
	slices.SortFunc(chain, func(a, b link) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	return chain
}
