package kasp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/ed448"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// world is a zone, its servers, its parent and all caches there could be, in a time
// of its own. It shares nothing with the machine but keys and plans: what it
// finds out by signatures and clocks, the machine must have known before.
type world struct {
	t      *testing.T
	rnd    *mrand.Rand
	zone   dnsname.Name
	now    time.Time     // true time
	jumped time.Duration // by which the machine's wall clock is wrong

	machine *Machine
	disk    []byte    // the machine's memory
	last    time.Time // of the last step, by true time
	private map[ID]crypto.Signer
	dataTTL time.Duration

	edition *edition // on the primary
	servers []*server
	seen    [3][]*cached // DS, DNSKEY, data: what anybody may hold

	parent  parentSide
	checked map[[3]int]time.Time // combinations found good, and until when
	stats   struct{ editions, combinations, verifications, steps, restarts, rolled int }
}

// edition is a version of the zone: its DNSKEY RRset, one RRset that stands for all
// data, and its CDS RRset, signed.
type edition struct {
	generation      uint64
	signed          time.Time
	keys, data, cds signedSet
	delete          bool
}

type signedSet struct {
	id   int // the same RRset and signatures have the same
	set  rdata.RRset
	sigs [][]byte
}

// server is a name server of the zone. Its versions come with a delay.
type server struct {
	shows   *edition
	coming  *edition
	at      time.Time // when coming is there
	lag     time.Duration
	stuck   time.Time // until when nothing reaches it
	fresh   time.Time // when it last had what the primary has
	expires time.Duration
}

// parentSide is a parent with two servers.
type parentSide struct {
	shows  [2][][]byte
	coming [2][]pending
	ttl    time.Duration
	next   time.Time // of its next look for CDS
	delay  func() time.Duration
	polls  bool
}

type pending struct {
	at  time.Time
	set [][]byte
}

// cached is an RRset that somebody may hold until gone.
type cached struct {
	signedSet
	gone time.Time
}

const (
	surfaceDS = iota
	surfaceKeys
	surfaceData
)

func newWorld(t *testing.T, p Policy, seed uint64) *world {
	w := &world{
		t: t, rnd: mrand.New(mrand.NewPCG(seed, 1)), zone: dnsname.MustParse("example.com"),
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), private: map[ID]crypto.Signer{}, dataTTL: 12 * time.Hour,
		checked: map[[3]int]time.Time{},
	}
	w.last = w.now
	w.machine = New(w.zone, p)
	for _, lag := range []time.Duration{0, 20 * time.Second, 5 * time.Minute} {
		w.servers = append(w.servers, &server{lag: lag, fresh: w.now, expires: 4 * day})
	}
	w.parent = parentSide{ttl: day, next: w.now, delay: func() time.Duration { return time.Duration(w.rnd.Int64N(int64(2 * day))) }, polls: true}
	w.save()
	w.publish(Plan{})
	for _, s := range w.servers {
		s.shows, s.coming = w.edition, nil
	}
	w.serve()
	return w
}

const day = 24 * time.Hour

func (w *world) save() {
	disk, err := json.Marshal(w.machine.Memory())
	if err != nil {
		w.t.Fatal(err)
	}
	w.disk = disk
}

// restart has the machine forget all but its memory on disk.
func (w *world) restart() {
	var memory Memory
	if err := json.Unmarshal(w.disk, &memory); err != nil {
		w.t.Fatal(err)
	}
	m, err := Restore(w.zone, w.machine.Policy(), memory)
	if err != nil {
		w.t.Fatal(err)
	}
	w.machine, w.last = m, w.now
	w.stats.restarts++
}

// step gives the machine what can be known, and does what it says. With crash, the
// process ends before anything is on disk.
func (w *world) step(crash bool) Plan {
	f := Facts{Passed: w.now.Sub(w.last), Shown: w.shown(), DataTTL: w.dataTTL}
	w.last = w.now
	f.Parent = &Parent{Sets: w.parent.shows[:], TTL: w.parent.ttl}
	var plan Plan
	for {
		plan = w.machine.Step(w.now.Add(w.jumped), f)
		w.stats.steps++
		if err := w.machine.check(); err != nil {
			w.t.Fatalf("%v: %v\n%s", w.now, err, w.picture())
		}
		if crash {
			w.restart()
			return Plan{}
		}
		for _, k := range plan.Generate {
			w.private[k.ID] = generate(w.t, k.Algorithm)
			if err := w.machine.Made(k.ID, dnskey(k, w.private[k.ID]), w.now); err != nil {
				w.t.Fatal(err)
			}
			w.stats.rolled++
		}
		for _, id := range plan.Purge {
			delete(w.private, id)
		}
		if len(plan.Generate) == 0 {
			break
		}
		f.Passed, f.Parent = 0, nil
	}
	w.save()
	if w.edition.generation != plan.Generation || w.now.Sub(w.edition.signed) > refreshEvery {
		w.publish(plan)
	}
	return plan
}

// Signatures live for two weeks and are made anew after one; that leaves time for EXPIRE
// and the longest TTL (RFC 6781 §4.4.2).
const (
	validity     = 14 * day
	refreshEvery = 7 * day
)

// shown is the generation that all servers have: what a check of their serials
// tells. A server that does not answer has none.
func (w *world) shown() uint64 {
	least := w.edition.generation
	for _, s := range w.servers {
		if !w.answers(s) {
			return 0
		}
		least = min(least, s.shows.generation)
	}
	return least
}

// answers: a server whose zone has expired says SERVFAIL (RFC 1035 §3.3.13).
func (w *world) answers(s *server) bool { return w.now.Sub(s.fresh) < s.expires }

// publish makes an edition of a plan on the primary; the other servers get it when
// they do.
func (w *world) publish(p Plan) {
	w.stats.editions++
	e := &edition{generation: p.Generation, signed: w.now, delete: p.DeleteDS}
	e.keys.set = rdata.RRset{Name: w.zone, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN, TTL: rdata.TTL(w.machine.Policy().KeyTTL / time.Second)}
	e.cds.set = rdata.RRset{Name: w.zone, Type: rdata.TypeCDS, Class: rdata.ClassIN, TTL: e.keys.set.TTL}
	e.data.set = rdata.RRset{Name: w.zone, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: rdata.TTL(w.dataTTL / time.Second), Data: [][]byte{{192, 0, 2, 1}}}
	for _, k := range p.Keys {
		e.keys.set.Data = append(e.keys.set.Data, k.DNSKEY)
	}
	for _, k := range p.CDS {
		e.cds.set.Data = append(e.cds.set.Data, k.DS(w.zone))
	}
	if p.DeleteDS {
		e.cds.set.Data = [][]byte{{0, 0, 0, 0, 0}}
	}
	w.sign(&e.keys, p.KeySigners)
	w.sign(&e.cds, p.KeySigners)
	w.sign(&e.data, p.Signers)
	w.edition = e
	for _, s := range w.servers {
		s.coming, s.at = e, w.now.Add(s.lag)
	}
}

var setIDs int

func (w *world) sign(s *signedSet, ids []ID) {
	setIDs++
	s.id = setIDs
	for _, id := range ids {
		k, ok := w.machine.Key(id)
		if !ok || w.private[id] == nil {
			w.t.Fatalf("%v: key %d is to sign and is not there", w.now, id)
		}
		s.sigs = append(s.sigs, makeSignature(w.t, &k, w.private[id], s.set, w.zone, w.now))
	}
}

// serve moves versions to servers, and notes what caches may take from them now.
func (w *world) serve() {
	for i, s := range w.servers {
		if s.coming != nil && !w.now.Before(s.at) && !w.now.Before(s.stuck) {
			s.shows, s.coming = s.coming, nil
		}
		if i == 0 || s.coming == nil && !w.now.Before(s.stuck) {
			s.fresh = w.now
		}
		if s.shows != nil && w.answers(s) {
			w.hold(surfaceKeys, s.shows.keys)
			w.hold(surfaceData, s.shows.data)
		}
	}
	for i := range w.parent.shows {
		for len(w.parent.coming[i]) > 0 && !w.now.Before(w.parent.coming[i][0].at) {
			w.parent.shows[i] = w.parent.coming[i][0].set
			w.parent.coming[i] = w.parent.coming[i][1:]
		}
		w.hold(surfaceDS, w.dsOf(w.parent.shows[i]))
	}
	for surface := range w.seen {
		w.seen[surface] = slices.DeleteFunc(w.seen[surface], func(c *cached) bool { return !w.now.Before(c.gone) })
	}
}

var dsIDs = map[string]int{}

func (w *world) dsOf(set [][]byte) signedSet {
	key := fmt.Sprint(set)
	if dsIDs[key] == 0 {
		dsIDs[key] = len(dsIDs) + 1
	}
	return signedSet{id: dsIDs[key], set: rdata.RRset{Name: w.zone, Type: rdata.TypeDS, Class: rdata.ClassIN, TTL: rdata.TTL(w.parent.ttl / time.Second), Data: set}}
}

func (w *world) hold(surface int, s signedSet) {
	gone := w.now.Add(time.Duration(s.set.TTL) * time.Second)
	for _, c := range w.seen[surface] {
		if c.id == s.id {
			c.gone = gone
			return
		}
	}
	w.seen[surface] = append(w.seen[surface], &cached{s, gone})
}

// validate has a resolver ask with every combination that a cache may have. It must
// never find the zone bogus, however strict it is.
func (w *world) validate() {
	for _, ds := range w.seen[surfaceDS] {
		if len(ds.set.Data) == 0 {
			continue // insecure
		}
		for _, keys := range w.seen[surfaceKeys] {
			for _, data := range w.seen[surfaceData] {
				at := [3]int{ds.id, keys.id, data.id}
				if until, ok := w.checked[at]; ok && !w.now.After(until) {
					continue
				}
				w.stats.combinations++
				until, fault := w.chain(ds, keys, data)
				if fault != nil {
					w.t.Fatalf("%v: bogus: %s\nDS %x\n%s", w.now, fault.Text, ds.set.Data, w.picture())
				}
				w.checked[at] = until
			}
		}
	}
}

// chain is the strictest validator there may be: each algorithm of the DS RRset and
// of the DNSKEY RRset has to lead to the data by itself.
func (w *world) chain(ds, keys, data *cached) (until time.Time, fault *dnssec.Fault) {
	v := &dnssec.Verifier{Now: w.now, Budget: &dnssec.Budget{Signatures: 1000, Hashes: 1}}
	usable, why := v.Policy.Usable(ds.set.Data)
	if len(usable) == 0 {
		return until, why
	}
	var named, all []uint8
	for _, d := range usable {
		named = append(named, d.Algorithm)
	}
	for _, k := range dnssec.ParseKeys(keys.set.Data) {
		all = append(all, k.Algorithm)
	}
	slices.Sort(named)
	slices.Sort(all)
	until = w.now.Add(100 * 365 * day)
	var trusted []dnssec.Key
	for _, a := range slices.Compact(named) {
		of := slices.DeleteFunc(slices.Clone(usable), func(d dnssec.DS) bool { return d.Algorithm != a })
		k, verdict := v.Match(keys.set, ofAlgorithm(keys.sigs, a), of)
		w.stats.verifications++
		if verdict.Fault != nil {
			return until, verdict.Fault
		}
		trusted, until = k, earlier(until, verdict.Expires)
	}
	for _, a := range slices.Compact(all) {
		for _, s := range []*cached{keys, data} {
			verdict := v.Verify(s.set, ofAlgorithm(s.sigs, a), trusted, w.zone)
			w.stats.verifications++
			if verdict.Fault != nil {
				return until, verdict.Fault
			}
			until = earlier(until, verdict.Expires)
		}
	}
	return until, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func ofAlgorithm(sigs [][]byte, a uint8) [][]byte {
	return slices.DeleteFunc(slices.Clone(sigs), func(b []byte) bool { return b[2] != a })
}

// look is the parent's look for CDS records, at any server, as RFC 7344 §4.1 and
// RFC 8078 have it: they count if they fit the chain that the parent knows.
func (w *world) look() {
	p := &w.parent
	if !p.polls || w.now.Before(p.next) {
		return
	}
	p.next = w.now.Add(time.Duration(w.rnd.Int64N(int64(day))))
	s := w.servers[w.rnd.IntN(len(w.servers))]
	if !w.answers(s) || len(s.shows.cds.set.Data) == 0 || len(p.coming[0])+len(p.coming[1]) > 0 {
		return
	}
	want := s.shows.cds.set.Data
	if s.shows.delete {
		want = nil
	}
	if fmt.Sprint(want) == fmt.Sprint(p.shows[0]) && fmt.Sprint(want) == fmt.Sprint(p.shows[1]) {
		return
	}
	if usable, _ := (dnssec.Policy{}).Usable(p.shows[0]); len(usable) > 0 {
		v := &dnssec.Verifier{Now: w.now, Budget: &dnssec.Budget{Signatures: 100}}
		keys, verdict := v.Match(s.shows.keys.set, s.shows.keys.sigs, usable)
		if verdict.Fault == nil {
			entry := slices.DeleteFunc(keys, func(k dnssec.Key) bool {
				return !slices.ContainsFunc(usable, func(d dnssec.DS) bool { return d.IsOf(w.zone, k) })
			})
			verdict = v.Verify(s.shows.cds.set, s.shows.cds.sigs, entry, w.zone) // RFC 7344 §4.1
		}
		if verdict.Fault != nil {
			w.t.Fatalf("%v: the parent cannot accept CDS: %s\n%s", w.now, verdict.Fault.Text, w.picture())
		}
	}
	for i := range p.coming {
		p.coming[i] = append(p.coming[i], pending{w.now.Add(p.delay()), want})
	}
}

// run lets time pass until end in ticks, denser for some hours behind everything
// that happens, and calls each before each of them.
func (w *world) run(end time.Time, tick time.Duration, each func()) {
	dense := w.now
	for w.now.Before(end) {
		each()
		before := w.edition
		w.serve()
		w.look()
		plan := w.step(false)
		w.serve()
		w.validate()
		if w.edition != before || len(w.parent.coming[0])+len(w.parent.coming[1]) > 0 {
			dense = w.now.Add(2 * time.Hour)
		}
		next := tick
		if w.now.Before(dense) {
			next = tick / 6
		}
		if plan.Wait > 0 && plan.Wait < next {
			next = plan.Wait // to the instant: a step too early would show here
		}
		w.now = w.now.Add(max(next, time.Second))
	}
}

// picture tells of the machine for a failed test.
func (w *world) picture() string {
	var out string
	for _, v := range w.machine.Views(w.now) {
		out += fmt.Sprintf("key %d %v alg %d wanted %v: %s; dnskey %v, signs %v, ds %v: %s %v\n", v.Key.ID, v.Key.Role, v.Key.Algorithm, v.Key.Wanted, v.Phase, v.DNSKEY, v.Signs, v.DS, v.Next, v.In)
	}
	memory, _ := json.Marshal(w.machine.Memory())
	return out + string(memory)
}

// generate makes a key. RSA keys are made once: they take long.
func generate(t *testing.T, algorithm uint8) crypto.Signer {
	var s crypto.Signer
	var err error
	switch algorithm {
	case dnssec.RSASHA256:
		s, err = rsa.GenerateKey(rand.Reader, 1024)
	case dnssec.ECDSAP256:
		s, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case dnssec.ECDSAP384:
		s, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case dnssec.Ed25519:
		_, s, err = ed25519.GenerateKey(rand.Reader)
	case dnssec.Ed448:
		_, s, err = ed448.GenerateKey(rand.Reader)
	default:
		t.Fatalf("algorithm %d", algorithm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dnskey(k Key, s crypto.Signer) []byte {
	out := []byte{byte(k.Role.Flags() >> 8), byte(k.Role.Flags()), 3, k.Algorithm}
	switch pub := s.Public().(type) {
	case *rsa.PublicKey:
		return append(append(out, 3, 1, 0, 1), pub.N.Bytes()...)
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes()
		return append(out, point[1:]...)
	case ed25519.PublicKey:
		return append(out, pub...)
	case ed448.PublicKey:
		return append(out, pub...)
	}
	panic("BUG: a key of no known kind")
}

// makeSignature signs by RFC 4034 §3.1.8.1, valid from an hour ago.
func makeSignature(t *testing.T, k *Key, s crypto.Signer, set rdata.RRset, zone dnsname.Name, now time.Time) []byte {
	sig := dnssec.Signature{
		Covered: set.Type, Algorithm: k.Algorithm, Labels: dnssec.LabelCount(set.Name), OriginalTTL: set.TTL,
		Inception: rdata.Serial(now.Add(-time.Hour).Unix()), Expiration: rdata.Serial(now.Add(validity).Unix()), Tag: k.Tag(), Signer: zone,
	}
	signed := dnssec.AppendSigned(nil, sig, set)
	hash := crypto.Hash(0)
	switch k.Algorithm {
	case dnssec.RSASHA256, dnssec.ECDSAP256:
		sum := sha256.Sum256(signed)
		signed, hash = sum[:], crypto.SHA256
	case dnssec.ECDSAP384:
		sum := sha512.Sum384(signed)
		signed, hash = sum[:], crypto.SHA384
	}
	octets, err := s.Sign(rand.Reader, signed, hash)
	if err != nil {
		t.Fatal(err)
	}
	if pub, ok := s.Public().(*ecdsa.PublicKey); ok {
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(octets, &pair); err != nil {
			t.Fatal(err)
		}
		size := pub.Curve.Params().BitSize / 8
		octets = append(pair.R.FillBytes(make([]byte, size)), pair.S.FillBytes(make([]byte, size))...)
	}
	return append(sig.AppendUnsigned(nil), octets...)
}
