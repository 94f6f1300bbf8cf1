package zone

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// verifier goes once through the arena of an image and checks that every number in
// it is one that Build would have written, so that whatever reads or edits the zone
// later need not doubt it.
type verifier struct {
	z      *Zone
	starts []uint64 // a bit for each Node that begins one
	refs   []Node   // links, to be checked when all nodes are known
	path   []open   // the node before and those above it
	nsec   []Node   // not yet met
	keys   []nsecKey
	hashes []uint64   // not yet met
	denial rdata.Type // which of the indexes there is
	hidden int        // nodes with flagHash
	sought []sought   // in the table, not yet looked for
	stars  int        // nodes with a wildcard, less the wildcards met
	cuts   []insecurity
}

// insecurity is what is noted in a zone cut: see insecure.go.
type insecurity struct {
	cut, proof Node
	flag       byte
}

// open is a node whose descendants may still come.
type open struct {
	node   Node
	passes Node // what covers the names below
	labels int
	hash   uint64 // of the name
}

// sought is a slot that must be in the table.
type sought struct {
	begin int
	slot  uint64
}

// seekAtOnce is how many slots are looked for at once: as many as the processor waits
// for at the same time, and some more.
const seekAtOnce = 32

// newFromParts makes a zone of the parts of an image.
func newFromParts(parts [imageParts][]byte, hash uint64) (*Zone, error) {
	origin, length, err := dnsname.FromWire(parts[partOrigin])
	if err != nil || length != len(parts[partOrigin]) || origin.Wire() != string(parts[partOrigin]) {
		return nil, errors.New("its origin is no name")
	}
	z := &Zone{origin: origin.Clone(), originHash: hash, arena: parts[partArena], special: new(special)}
	if len(z.arena) < nodeUnit+nodeName || len(z.arena) > maxArena {
		return nil, errors.New("it has no nodes, or too many")
	}
	if err = z.decodeWarnings(parts[partWarnings]); err != nil {
		return nil, err
	}
	targets, err := numbersIn[uint64](parts[partTargets])
	if err != nil {
		return nil, err
	}
	z.targets = targets
	v := &verifier{z: z, starts: make([]uint64, len(z.arena)/nodeUnit/64+1)}
	if z.table, err = numbersIn[uint64](parts[partTable]); err != nil {
		return nil, err
	}
	if v.keys, err = numbersIn[nsecKey](parts[partKeys]); err != nil {
		return nil, err
	}
	if v.nsec, err = numbersIn[Node](parts[partNodes]); err != nil {
		return nil, err
	}
	if v.hashes, err = numbersIn[uint64](parts[partHashes]); err != nil {
		return nil, err
	}
	if len(v.hashes) > 0 {
		params := parts[partParams]
		if !isNSEC3Param(params) || len(params) != nsec3Salt+int(params[nsec3SaltLen]) {
			return nil, errors.New("its NSEC3 parameters are none")
		}
		z.nsec3.params = params
		z.nsec3.iterations = int(binary.BigEndian.Uint16(params[nsec3Iterations:]))
	}
	if err := v.verify(); err != nil {
		return nil, err
	}
	z.settle()
	return z, nil
}

// verify checks everything, and makes what an image does not have.
func (v *verifier) verify() error {
	z := v.z
	switch {
	case len(v.keys) != len(v.nsec), len(v.nsec) > 0 && len(v.hashes) > 0, z.nsec3.iterations > maxIterations:
		return errors.New("its chains do not fit each other")
	}
	keys, nodes, hashes := v.keys, v.nsec, v.hashes
	used := v.usedSlots()
	switch {
	case len(nodes) > 0:
		v.denial = rdata.TypeNSEC
	case len(hashes) > 0:
		v.denial = rdata.TypeNSEC3
	}
	for at := nodeUnit; at < len(z.arena); at = roundUp(at) {
		end, err := v.node(at)
		if err != nil {
			return fmt.Errorf("node at octet %d: %w", at, err)
		}
		at = end
	}
	if v.stars != 0 || len(v.nsec) > 0 || len(v.hashes) > 0 {
		return errors.New("it refers to wildcards or to a chain that it has not")
	}
	for _, ref := range v.refs {
		if !v.isNode(ref) {
			return errors.New("a record refers to no node")
		}
	}
	if err := v.seek(); err != nil {
		return err
	}
	// Each node that can be asked for was found in a slot of its own, so no other slot is
	// in use, and none leads to anything else.
	if used != z.names-v.hidden || used >= len(z.table) {
		return errors.New("its table has not as many names as it")
	}
	z.nsec = newNSECIndex(keys, nodes)
	if len(hashes) > 0 {
		z.nsec3.paged(hashes)
	}
	z.unindexed = v.hidden - z.indexedHashNodes()
	if err := v.checkApex(); err != nil {
		return err
	}
	z.readApex(nil)
	if err := v.checkCuts(); err != nil {
		return err
	}
	if !z.IsSigned() && len(nodes)+len(hashes) > 0 {
		return errors.New("it denies with proofs, but is not signed")
	}
	return nil
}

func (v *verifier) isNode(n Node) bool {
	return int(n/64) < len(v.starts) && v.starts[n/64]>>(n%64)&1 != 0
}

// node checks the node that begins at the offset at, and returns where it ends.
func (v *verifier) node(at int) (end int, err error) {
	z, n := v.z, Node(at/nodeUnit)
	if at+nodeName > len(z.arena) {
		return 0, errImageCut
	}
	header := z.arena[at : at+nodeName]
	length := int(header[nodeNameLen])
	if length == 0 || at+nodeName+length > len(z.arena) {
		return 0, errImageCut
	}
	labels, err := v.place(n, z.arena[at+nodeName:at+nodeName+length])
	if err != nil {
		return 0, err
	}
	hash := z.originHash
	if n != apex { // the path ends with the name above
		hash = hashLabel(v.path[len(v.path)-1].hash, dnsname.View(z.arena[at+nodeName:at+nodeName+1+int(z.arena[at+nodeName])]).Wire())
	}
	flags, end, err := v.rrsets(n, at+nodeName+length, int(binary.LittleEndian.Uint16(header[nodeSets:])))
	if err != nil {
		return 0, err
	}
	v.starts[n/64] |= 1 << (n % 64)
	given := header[nodeFlags]
	if given&^(flagHash|flagSteering|flagOptOut) != flags&^flagHash || given&flagHash != 0 && flags&flagHash == 0 || !isSteering(given) {
		return 0, errors.New("its flags do not fit its records")
	}
	z.steers = z.steers || steeringOf(given) != NotSteered
	if given&flagHash != 0 {
		v.hidden++
	} else {
		v.sought = append(v.sought, sought{slotOf(hash, max(len(z.table), 1)), hash<<32 | uint64(n)})
		if len(v.sought) == seekAtOnce {
			if err := v.seek(); err != nil {
				return 0, err
			}
		}
	}
	cover := Node(0)
	if len(v.path) > 0 {
		cover = v.path[len(v.path)-1].passes
	}
	if cover == 0 && flags&flagCut != 0 {
		cover = n
	}
	if Node(binary.LittleEndian.Uint32(header[nodeCover:])) != cover {
		return 0, errors.New("it is not covered as it says")
	}
	passes := cover
	if passes == 0 && flags&flagDNAME != 0 {
		passes = n
	}
	star := Node(binary.LittleEndian.Uint32(header[nodeWildcard:]))
	if flags&flagCut != 0 {
		v.cuts = append(v.cuts, insecurity{n, star, given & flagOptOut})
	} else if star != 0 {
		v.stars++
		v.refs = append(v.refs, star)
	}
	if z.Name(n).IsWildcard() && n != apex {
		if flags&flagAddress != 0 {
			z.wild = true
		}
		if above := v.path[len(v.path)-1].node; !z.IsCut(above) {
			if z.wildcard(above) != n {
				return 0, errors.New("the name above does not know the wildcard")
			}
			v.stars--
		}
	}
	v.path = append(v.path, open{n, passes, labels, hash})
	z.names++
	return end, v.chains(n, labels)
}

// place checks the name of n: that it is one, in lower case, right behind the name
// before in canonical order, with all names above it there. It ends the path with
// the name above, and returns the number of labels below the origin.
func (v *verifier) place(n Node, wire []byte) (labels int, err error) {
	for at := 0; ; {
		if at >= len(wire) || wire[at] > dnsname.MaxLabelLen {
			return 0, errors.New("its name is none")
		}
		length := int(wire[at])
		if length == 0 {
			if at+1 != len(wire) || len(wire) > dnsname.MaxLen {
				return 0, errors.New("its name is none")
			}
			break
		}
		if at+1+length >= len(wire) {
			return 0, errors.New("its name is none")
		}
		for _, c := range wire[at+1 : at+1+length] {
			if lower(c) != c {
				return 0, errors.New("its name is not in lower case")
			}
		}
		at += 1 + length
	}
	name := dnsname.View(wire)
	below := v.z.below(name)
	if !name.IsSubdomainOf(v.z.origin) || (below.labels == 0) != (n == apex) {
		return 0, errors.New("its name is out of place")
	}
	v.z.depth = max(v.z.depth, int32(below.labels))
	if n == apex {
		return 0, nil
	}
	before := v.path[len(v.path)-1]
	for v.path[len(v.path)-1].labels >= below.labels {
		v.path = v.path[:len(v.path)-1]
	}
	above := v.path[len(v.path)-1]
	if above.labels != below.labels-1 || name.Parent() != v.z.Name(above.node) {
		return 0, errors.New("the name above it is missing")
	}
	if before.labels >= below.labels && v.z.Name(before.node).Compare(name) >= 0 {
		return 0, errors.New("its name is not behind the one before")
	}
	return below.labels, nil
}

// rrsets checks the RRsets of n, which begin at the offset at, and returns what
// flags follow from them and where they end.
func (v *verifier) rrsets(n Node, at, count int) (flags uint8, end int, err error) {
	z := v.z
	before, others, beside := -1, n == apex, false // beside a CNAME
	for range count {
		if at+setHeader > len(z.arena) {
			return 0, 0, errImageCut
		}
		t := rdata.Type(binary.LittleEndian.Uint16(z.arena[at:]))
		records := int(binary.LittleEndian.Uint16(z.arena[at+2:]))
		length := int(binary.LittleEndian.Uint32(z.arena[at+8:]))
		if at += setHeader; length > len(z.arena)-at || records == 0 || t.IsMeta() ||
			records > 1 && (t == rdata.TypeSOA || t == rdata.TypeCNAME || t == rdata.TypeDNAME) || t == rdata.TypeSOA && n != apex {
			return 0, 0, errImageCut
		}
		body := z.arena[at : at+length]
		at += length
		var key uint32
		for range records {
			if len(body) < 2 {
				return 0, 0, errImageCut
			}
			size := int(binary.LittleEndian.Uint16(body))
			if len(body) < 2+size+linkLenOf(t) {
				return 0, 0, errImageCut
			}
			data := body[2 : 2+size]
			if !isWellFormed(t, data) {
				return 0, 0, errors.New("a record has not the form of its type")
			}
			if key = setKey(t, data); int(key) < before {
				return 0, 0, errors.New("its RRsets are not in order")
			}
			if linkLenOf(t) != 0 {
				if link := Node(binary.LittleEndian.Uint32(body[2+size:])); link != 0 {
					v.refs = append(v.refs, link)
				}
			}
			body = body[2+size+linkLenOf(t):]
			z.records++
		}
		if len(body) != 0 || int(key) <= before {
			return 0, 0, errors.New("its RRsets are not in order")
		}
		before = int(key)
		flags |= flagOf(t, n)
		z.types.add(t)
		beside = beside || t != rdata.TypeCNAME && t != rdata.TypeRRSIG && t != rdata.TypeNSEC
		others = others || t != rdata.TypeNSEC3 && key != uint32(rdata.TypeNSEC3)<<1|1
	}
	if flags&flagCNAME != 0 && beside {
		return 0, 0, errors.New("it has a CNAME and other records")
	}
	if !others && count > 0 {
		flags |= flagHash
	}
	return flags, at, nil
}

// chains checks that n is in the index of NSEC or NSEC3 records if it belongs there,
// and only then.
func (v *verifier) chains(n Node, labels int) error {
	z := v.z
	if v.denial == rdata.TypeNSEC && z.isInChain(n) {
		name := z.below(z.Name(n))
		if len(v.nsec) == 0 || v.nsec[0] != n || v.keys[0] != name.key() {
			return errors.New("it is not in the index of NSEC")
		}
		v.nsec, v.keys = v.nsec[1:], v.keys[1:]
	}
	if v.denial == rdata.TypeNSEC3 && labels == 1 {
		if entry, ok := z.hashEntry(n, z.nsec3.params); ok {
			if len(v.hashes) == 0 || v.hashes[0] != entry {
				return errors.New("it is not in the index of NSEC3")
			}
			v.hashes = v.hashes[1:]
		}
	}
	return nil
}

// usedSlots returns how many slots of the table are not empty.
func (v *verifier) usedSlots() (used int) {
	for _, slot := range v.z.table {
		if slot != 0 {
			used++
		}
	}
	return used
}

// seek checks that the table leads to the nodes that are sought. All places where they
// should be are read before the first is looked at, so that the processor waits for
// the memory of all of them at once.
func (v *verifier) seek() error {
	table := v.z.table
	if len(table) == 0 {
		return errors.New("it has no table")
	}
	at := [seekAtOnce]uint64{}
	for i, s := range v.sought {
		at[i] = table[s.begin]
	}
	for i, s := range v.sought {
		slot := at[i]
		for k, left := s.begin, len(table); slot != s.slot; slot = table[k] {
			if k++; k == len(table) {
				k = 0
			}
			if left--; slot == 0 || left == 0 {
				return fmt.Errorf("its table does not lead to %s", v.z.Name(Node(s.slot)))
			}
		}
	}
	v.sought = v.sought[:0]
	return nil
}

// checkApex checks that there is what every zone has.
func (v *verifier) checkApex() error {
	z := v.z
	if z.names == 0 {
		return errors.New("it has no names")
	}
	_, soa := z.RRset(apex, rdata.TypeSOA)
	_, ns := z.RRset(apex, rdata.TypeNS)
	if !soa || !ns || z.probe(z.originHash, z.origin.Wire()) != apex {
		return errors.New("it has no apex")
	}
	if z.nsec3.count > 0 && !z.nsec3.anchor(z) || len(z.nsec.chunks) > 0 && z.nsec.chunks[0].nodes[0] != apex {
		return errors.New("its chain does not begin at the apex")
	}
	return nil
}

// checkCuts checks what is noted in the zone cuts.
func (v *verifier) checkCuts() error {
	for _, noted := range v.cuts {
		var want insecurity
		if v.z.nsec3.count > 0 {
			want.proof, want.flag = v.z.insecurityOf(noted.cut)
		}
		if noted.proof != want.proof || noted.flag != want.flag {
			return fmt.Errorf("%s: not the NSEC3 record that proves it to be insecure", v.z.Name(noted.cut))
		}
	}
	return nil
}
