package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
)

var origin = dnsname.MustParse("example.com.")

// parse makes an unsigned version.
func parse(t testing.TB, serial uint32, lines ...string) *zone.Zone {
	t.Helper()
	text := fmt.Sprintf("$TTL 0\n@ SOA ns host %d 1h 15m 1w 0\n@ NS ns\nns A 127.0.0.1\n%s\n", serial, strings.Join(lines, "\n"))
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// quick is a policy whose waits are over at once.
func quick() *Settings {
	return &Settings{
		Policy: kasp.Policy{Algorithm: 13, KeyTTL: 5 * time.Millisecond, Purge: 50 * time.Millisecond, CDS: kasp.CDSAlways},
		KeyTTL: 1, Life: 14 * 24 * time.Hour, Jitter: time.Hour, Renew: 24 * time.Hour, ParentEvery: 5 * time.Millisecond,
	}
}

// rig is signers that sign one zone, whose parent follows CDS at once.
type rig struct {
	t      testing.TB
	s      *Signers
	folder string
	news   chan struct{} // sent to when something was published or has gone wrong

	mu       sync.Mutex
	source   journal.Version
	settings *Settings
	served   *zone.Zone
	ds       [][]byte
	lazy     bool // the parent does not follow
	heard    func(z *zone.Zone)
	log      bytes.Buffer
}

func sealerIn(folder, keyEncryption string) func() (*Sealer, error) {
	return func() (*Sealer, error) { return OpenSealer(keyEncryption, folder) }
}

func newRig(t testing.TB, folder string) *rig {
	t.Helper()
	r := &rig{t: t, folder: folder, news: make(chan struct{}, 1), settings: quick()}
	sealer, err := OpenSealer("", folder)
	if err != nil {
		t.Fatal(err)
	}
	r.s = New(Config{
		Folder: folder, Log: slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Sealer:  func() (*Sealer, error) { return sealer, nil },
		Publish: func(name dnsname.Name) { r.serve() },
		Trouble: func(dnsname.Name) { r.tell() },
		Servers: func(context.Context, dnsname.Name) []Server {
			r.mu.Lock()
			defer r.mu.Unlock()
			return []Server{{Address: "this node", Serial: r.served.Serial()}}
		},
		Parent: func(context.Context, dnsname.Name, []netip.AddrPort) (kasp.Parent, bool, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.follow()
			return kasp.Parent{Sets: [][][]byte{r.ds}}, true, nil
		},
	})
	t.Cleanup(r.s.Close)
	return r
}

// Write takes the log; part of io.Writer.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// serve asks for the version to be served, as a node does.
func (r *rig) serve() {
	r.mu.Lock()
	source, settings := r.source, r.settings
	r.mu.Unlock()
	v, err := r.s.Offer(origin, settings, source)
	r.mu.Lock()
	if err == nil {
		r.served = v.Zone
	}
	heard := r.heard
	r.mu.Unlock()
	if heard != nil && err == nil {
		heard(v.Zone)
	}
	r.tell()
}

// offer gives a version of the source.
func (r *rig) offer(z *zone.Zone) {
	r.mu.Lock()
	r.source = journal.Version{Zone: z}
	r.mu.Unlock()
	r.serve()
	r.s.Start()
}

// follow has the parent show what CDS asks for. r.mu is held.
func (r *rig) follow() {
	set, ok := r.served.RRset(r.served.Apex(), rdata.TypeCDS)
	if !ok || r.lazy {
		return
	}
	r.ds = nil
	for at, i := 0, 0; i < set.Count; i++ {
		var data []byte
		if data, _, at = set.Record(at); data[2] != 0 {
			r.ds = append(r.ds, bytes.Clone(data))
		}
	}
}

func (r *rig) version() *zone.Zone {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.served
}

// eventually waits until holds returns "".
func (r *rig) eventually(holds func() string) {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for {
		missing := holds()
		if missing == "" {
			return
		}
		select {
		case <-r.news:
		case <-deadline:
			r.t.Fatalf("%s\n%s", missing, r.log.String())
		}
	}
}

// phases waits until the keys are where want says, oldest first.
func (r *rig) phases(want string) {
	r.t.Helper()
	r.eventually(func() string {
		st, _ := r.s.State(origin)
		var all []string
		for _, v := range st.Keys {
			if v.Phase != "removed" {
				all = append(all, v.Key.Role.String()+" "+v.Phase)
			}
		}
		if got := strings.Join(all, ", "); got != want {
			return fmt.Sprintf("keys are %s, want %s; %s", got, want, st.Problem)
		}
		return ""
	})
}

// faults returns what makes validators refuse something of z.
func faults(z *zone.Zone) string {
	for _, p := range sign.Verify(z, time.Now(), sign.Limits{}) {
		if p.Severity == zone.Fatal {
			return p.String()
		}
	}
	return ""
}

// TestLife takes a zone in, through rollovers and a change of algorithm, and out.
func TestLife(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.heard = func(z *zone.Zone) {
		if z.DenialType() != 0 {
			if text := faults(z); text != "" {
				t.Errorf("serial %d: %s", z.Serial(), text)
			}
		}
	}
	r.offer(parse(t, 7, "www A 192.0.2.1"))
	r.phases("ksk active, zsk active")
	if err := r.s.Roll(origin, kasp.ZSK, false); err != nil {
		t.Fatal(err)
	}
	r.phases("ksk active, zsk active")
	if err := r.s.Roll(origin, kasp.KSK, true); err != nil {
		t.Fatal(err)
	}
	r.phases("zsk active, ksk active")
	r.mu.Lock()
	settings := quick()
	settings.Policy.Algorithm, settings.Policy.Single = 15, true
	r.settings = settings
	r.mu.Unlock()
	r.serve()
	r.phases("csk active")
	r.mu.Lock()
	settings = quick()
	settings.Policy.Off = true
	r.settings = settings
	r.mu.Unlock()
	r.serve()
	r.eventually(func() string {
		if z := r.version(); z.DenialType() != 0 {
			return fmt.Sprintf("serial %d is signed", z.Serial())
		}
		return ""
	})
	if got := r.version().Serial(); !rdata.Serial(7).Less(got) {
		t.Errorf("serial %d, want one ahead of the source's", got)
	}
	if strings.Contains(r.log.String(), "PRIVATE") {
		t.Error("a private key is in the log")
	}
}

// TestSerials: the signed version has the source's serial when that is ahead, else
// one more than before.
func TestSerials(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.settings.Policy.Single = true
	r.offer(parse(t, 7))
	r.phases("csk active")
	before := r.version().Serial()
	for _, tt := range []struct{ source, want rdata.Serial }{{8, before + 1}, {100, 100}, {5, 101}, {1 << 31, 1 << 31}} {
		r.offer(parse(t, uint32(tt.source), fmt.Sprintf("n%d A 192.0.2.1", tt.source)))
		r.eventually(func() string {
			if got := r.version().Serial(); got != tt.want {
				return fmt.Sprintf("source %d: serial %d, want %d", tt.source, got, tt.want)
			}
			return ""
		})
	}
}

// TestKeysAtRest: private keys are nowhere on disk in the clear, only their owner can
// read their files, and neither another key-encryption key, nor another zone's file,
// nor a changed bit is taken.
func TestKeysAtRest(t *testing.T) {
	folder := t.TempDir()
	r := newRig(t, folder)
	r.settings.Policy.Single = true
	r.offer(parse(t, 1))
	r.phases("csk active")
	r.s.Close()
	at := filepath.Join(folder, "example.com")
	record, err := loadRecord(at, origin)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadKey(folder, sealerIn(folder, ""), origin, record.Memory.Keys[0].Tag())
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Split(text, []byte("\n"))[1]
	filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		content, err := os.ReadFile(path)
		if err != nil || bytes.Contains(content, secret) || bytes.Contains(content, []byte("PRIVATE KEY")) {
			t.Errorf("%s has the key: %v", path, err)
		}
		return nil
	})

	other := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(other, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(folder, sealerIn(folder, other), origin, k.Tag()); err == nil {
		t.Error("another key-encryption key opens the file")
	}
	for _, bad := range []string{"", "zz", strings.Repeat("a", 63)} {
		if err := os.WriteFile(other, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSealer(other, folder); err == nil {
			t.Errorf("%q was taken for a key-encryption key", bad)
		}
	}
	path := keyPath(at, record.Memory.Keys[0].ID)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := OpenSealer("", folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealer.open(dnsname.MustParse("example.org."), 1, k.RDATA(), file); err == nil {
		t.Error("the file of one zone is taken for that of another")
	}
	for i := range file {
		file[i] ^= 4
		if _, err := sealer.open(origin, uint32(record.Memory.Keys[0].ID), k.RDATA(), file); err == nil {
			t.Errorf("octet %d does not count", i)
		}
		file[i] ^= 4
	}
	if err := os.Remove(filepath.Join(folder, "encryption.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSealer("", folder); err == nil {
		t.Error("a new key-encryption key was made, beside keys that need the old one")
	}
}

// TestKeyEncryptionFromEnvironment: a file named by the environment, or a credential.
func TestKeyEncryptionFromEnvironment(t *testing.T) {
	folder := t.TempDir()
	kek := filepath.Join(folder, credential)
	if err := os.WriteFile(kek, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, set := range [][2]string{{environment, kek}, {"CREDENTIALS_DIRECTORY", folder}} {
		t.Run(set[0], func(t *testing.T) {
			t.Setenv(set[0], set[1])
			if s, err := OpenSealer("", empty); err != nil || s.Made != "" {
				t.Errorf("made %q, %v", s.Made, err)
			}
		})
	}
}

// TestDamage: without the state, or with a damaged one, nothing is changed, and what
// was signed is served on.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(folder string) error{
		"state damaged": func(at string) error {
			return os.WriteFile(filepath.Join(at, stateFile), []byte("{}\nbad\n"), 0o600)
		},
		"state gone": func(at string) error { return os.Remove(filepath.Join(at, stateFile)) },
		"key gone": func(at string) error {
			for _, f := range keyFiles(at) {
				if err := os.Remove(f); err != nil {
					return err
				}
			}
			return nil
		},
		"copy damaged": func(at string) error {
			return os.WriteFile(filepath.Join(at, copyFile), []byte("nonsense"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			r := newRig(t, folder)
			r.settings.Policy.Single = true
			r.offer(parse(t, 1))
			r.phases("csk active")
			serial := r.version().Serial()
			r.s.Close()
			if err := damage(filepath.Join(folder, "example.com")); err != nil {
				t.Fatal(err)
			}
			again := newRig(t, folder)
			again.settings.Policy.Single = true
			again.offer(parse(t, 1, "new A 192.0.2.2"))
			switch name {
			case "copy damaged":
				again.eventually(func() string {
					if z := again.version(); z == nil || z.DenialType() == 0 || !serial.Less(z.Serial()) {
						return "not signed anew"
					}
					return ""
				})
			case "state gone":
				if z := again.version(); z != nil && z.DenialType() == 0 {
					t.Error("a zone that was signed is served without signatures")
				}
				again.eventually(func() string {
					if st, _ := again.s.State(origin); !strings.Contains(st.Problem, "put it back") {
						return "no problem is told: " + st.Problem
					}
					return ""
				})
			default:
				again.eventually(func() string {
					if st, _ := again.s.State(origin); st.Problem == "" {
						return "no problem is told"
					}
					return ""
				})
				if z := again.version(); z == nil || z.Serial() != serial || z.DenialType() == 0 {
					t.Error("what was signed is not served on")
				}
			}
		})
	}
}

// TestRenewal: signatures that come due are made anew, under the next serial.
func TestRenewal(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.settings.Policy.Single = true
	r.settings.Life, r.settings.Jitter, r.settings.Renew = 4*time.Second, time.Second, 2*time.Second
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	r.phases("csk active")
	first := r.version()
	r.eventually(func() string {
		z := r.version()
		if z.Serial() == first.Serial() {
			return "no signature was renewed"
		}
		return faults(z)
	})
}

// TestClock: a jump of the wall clock is believed when it has stayed for a while, and
// what NTP does at once.
func TestClock(t *testing.T) {
	start := time.Unix(1e9, 0)
	passed, set := time.Hour, time.Duration(0) // since some instant; what the wall clock was set by
	c := &wallClock{
		wall: func() time.Time { return start.Add(passed + set) }, steady: func() time.Duration { return passed },
		base: start.Add(passed), at: passed,
	}
	for _, step := range []struct {
		passed, set, want time.Duration // want: what is believed of set
	}{
		{time.Minute, 0, 0},
		{time.Minute, 5 * time.Minute, 5 * time.Minute},
		{time.Minute, 365 * 24 * time.Hour, 5 * time.Minute},
		{9 * time.Minute, 365 * 24 * time.Hour, 5 * time.Minute},
		{time.Minute, 5 * time.Minute, 5 * time.Minute}, // it was a mistake
		{time.Minute, -20 * time.Minute, 5 * time.Minute},
		{11 * time.Minute, -20 * time.Minute, -20 * time.Minute}, // it was meant
	} {
		passed, set = passed+step.passed, step.set
		now, jumped := c.read()
		if got := now.Sub(start.Add(passed)); got != step.want || jumped != step.set-step.want {
			t.Errorf("set by %v: %v of it is believed, jump %v; want %v", step.set, got, jumped, step.want)
		}
	}
}

// TestCopy: a signed version is read as it was written, steered names with it; a
// changed octet is seen.
func TestCopy(t *testing.T) {
	folder := t.TempDir()
	b := zone.NewBuilder(origin)
	for r := range parse(t, 3, "www A 192.0.2.1", "*.w TXT x").Records() {
		b.Add(r)
	}
	steered := dnsname.MustParse("lb.example.com.")
	b.Steer(steered, zone.SteersAddresses)
	z, _ := b.Finish()
	want := about{Generation: 4, Setup: "x", Source: 5, Steered: []string{steered.String()}, DataTTL: time.Hour}
	if _, err := saveCopy(folder, want, z); err != nil {
		t.Fatal(err)
	}
	got, a, err := loadCopy(folder, origin, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !journal.Same(got, z) || !got.IsSteered(got.Lookup(steered).Exact) || a.Generation != 4 || a.Setup != "x" || a.Source != 5 || a.DataTTL != time.Hour {
		t.Errorf("got %+v", a)
	}
	path := filepath.Join(folder, copyFile)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range file {
		file[i] ^= 1
		if _, _, err := readCopy(bytes.NewReader(file), origin, int64(len(file))); err == nil {
			t.Errorf("octet %d of %d does not count", i, len(file))
		}
		file[i] ^= 1
	}
	for i := range file {
		if _, _, err := readCopy(bytes.NewReader(file[:i]), origin, int64(i)); err == nil {
			t.Errorf("the first %d octets are taken for all", i)
		}
	}
}

func FuzzReadCopy(f *testing.F) {
	folder := f.TempDir()
	b := zone.NewBuilder(origin)
	b.Add(rdata.Record{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: 1, Data: append([]byte{0, 0}, make([]byte, 20)...)})
	b.Add(rdata.Record{Name: origin, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: 1, Data: []byte{0}})
	if z, _ := b.Finish(); z != nil {
		if _, err := saveCopy(folder, about{Steered: []string{"a.example.com."}}, z); err != nil {
			f.Fatal(err)
		}
	}
	if file, err := os.ReadFile(filepath.Join(folder, copyFile)); err == nil {
		f.Add(file)
	}
	f.Add([]byte(copyMagic))
	f.Fuzz(func(t *testing.T, file []byte) {
		readCopy(bytes.NewReader(file), origin, int64(len(file)))
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte("{}\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := decodeRecord(text); err == nil {
			kasp.Restore(origin, kasp.Policy{}, r.Memory)
		}
	})
}

// TestTagsAreDistinct: two keys of a zone with one tag would be confused.
func TestTagsAreDistinct(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.settings.Policy.Single = true
	r.offer(parse(t, 1))
	r.phases("csk active")
	st, _ := r.s.State(origin)
	own := st.Keys[0].Key
	e := r.s.entries[origin]
	if !e.hasTag(own.Tag(), own.Algorithm) || e.hasTag(own.Tag()+1, own.Algorithm) || e.hasTag(own.Tag(), own.Algorithm+1) {
		t.Error("tags are not told apart")
	}
	k, err := ReadKey(r.folder, sealerIn(r.folder, ""), origin, own.Tag())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Import(origin, kasp.CSK, k); err == nil || !strings.Contains(err.Error(), "tag") {
		t.Errorf("a key with a taken tag is imported: %v", err)
	}
}

// abandon ends the signers as a crash would, with nothing written any more.
func (r *rig) abandon() {
	r.s.mu.Lock()
	r.s.closed = true
	for _, e := range r.s.entries {
		r.s.stopLocked(e)
	}
	r.s.cancel()
	r.s.mu.Unlock()
	r.s.wait.Wait()
}

// TestLargeZones: versions of large zones are not on disk when they are published; a
// crash leads to a serial ahead of all of them, and to few signatures made again.
func TestLargeZones(t *testing.T) {
	folder := t.TempDir()
	r := newRig(t, folder)
	r.s.atOnce = 0
	r.settings.Policy.Single = true
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("n%d A 192.0.2.1", i))
	}
	r.offer(parse(t, 1, names...))
	r.phases("csk active")
	r.s.Close() // which writes it
	r = newRig(t, folder)
	r.s.atOnce = 0
	r.settings.Policy.Single = true
	for i := range 20 {
		names = append(names, fmt.Sprintf("new%d A 192.0.2.1", i))
		before := r.version()
		r.offer(parse(t, 1, names...))
		r.eventually(func() string {
			if now := r.version(); before != nil && before.Serial() == now.Serial() {
				return fmt.Sprintf("serial %d is still served", now.Serial())
			}
			return ""
		})
	}
	last := r.version().Serial()
	if onDisk, _, err := loadCopy(filepath.Join(folder, "example.com"), origin, nil); err != nil || onDisk.Serial() == last {
		t.Fatalf("serial %d is on disk already, which is not what is tested: %v", last, err)
	}
	r.abandon()
	r = newRig(t, folder)
	r.s.atOnce = 0
	r.settings.Policy.Single = true
	r.offer(parse(t, 1, names...))
	r.eventually(func() string {
		if z := r.version(); !last.Less(z.Serial()) {
			return fmt.Sprintf("serial %d, and %d was published before the crash", z.Serial(), last)
		}
		return faults(r.version())
	})
	if c := r.s.Counts(); c.Made > 100 {
		t.Errorf("%d signatures were made again", c.Made)
	}
}

// TestDifferences: what an update of a signed zone says has changed, for IXFR, is what
// has: with NSEC, and with NSEC3, whose owners no look-up of a name finds; with and
// without a digest of the zone.
func TestDifferences(t *testing.T) {
	for _, tt := range []struct {
		name   string
		nsec3  *sign.NSEC3
		zonemd []uint8
	}{{"nsec", nil, nil}, {"nsec3", &sign.NSEC3{}, nil}, {"opt-out", &sign.NSEC3{OptOut: true}, nil}, {"digest", &sign.NSEC3{}, []uint8{zonemd.SHA384}}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, t.TempDir())
			r.settings.Policy.Single, r.settings.NSEC3, r.settings.ZONEMD = true, tt.nsec3, tt.zonemd
			there := map[string]bool{}
			for i := range 50 {
				there[fmt.Sprintf("n%d A 192.0.2.1", i)] = true
			}
			r.offer(parse(t, 1, slices.Sorted(maps.Keys(there))...))
			r.phases("csk active")
			rnd := rand.New(rand.NewPCG(1, 2))
			for serial := uint32(1000); serial < 1030; serial++ {
				for range 1 + rnd.IntN(3) {
					line := []string{"n%d A 192.0.2.1", "d%d NS ns.n1", "a.b.c%d TXT x", "n%d 30 AAAA 2001:db8::1"}[rnd.IntN(4)]
					line = fmt.Sprintf(line, rnd.IntN(60))
					if there[line] {
						delete(there, line)
					} else {
						there[line] = true
					}
				}
				before := r.version()
				r.offer(parse(t, serial, slices.Sorted(maps.Keys(there))...))
				r.eventually(func() string {
					if got := r.version().Serial(); uint32(got) != serial {
						return fmt.Sprintf("serial %d, want %d", got, serial)
					}
					return ""
				})
				if err := zonemd.Verify(origin, r.version().Records()); err != nil && (tt.zonemd != nil || !errors.Is(err, zonemd.ErrNone)) {
					t.Fatalf("serial %d: %v", serial, err)
				}
				now := r.s.entries[origin].version
				list, ok := now.Journal.Since(before.Serial())
				want, _ := journal.Between(before, now.Zone, 1<<20)
				if !ok || len(list) != 1 {
					t.Fatalf("serial %d: the journal does not lead to it", serial)
				}
				if got, want := records(list[0].Deleted()), records(want.Deleted()); got != want {
					t.Fatalf("serial %d: deleted\n%s\nwant\n%s", serial, got, want)
				}
				if got, want := records(list[0].Added()), records(want.Added()); got != want {
					t.Fatalf("serial %d: added\n%s\nwant\n%s", serial, got, want)
				}
			}
		})
	}
}

func records(all iter.Seq[rdata.Record]) string {
	var lines []string
	for r := range all {
		lines = append(lines, r.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
