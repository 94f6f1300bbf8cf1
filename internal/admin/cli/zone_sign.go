package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/dns/zonemd"
)

// zoneSigning is the flags of "pharos zone sign".
type zoneSigning struct {
	origin, out, previous, generate, keyDir, serial string

	keys       []string
	nsec3      bool
	optOut     bool
	iterations uint16
	salt       string
	zonemd     []string
	lifetime   time.Duration
	refresh    time.Duration
	jitter     time.Duration
	backdate   time.Duration
	verify     bool
	quiet      bool
}

func newZoneSign() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign the zone of a master file, without a node",
		Long: `Sign the zone of a master file with keys in files, on all cores, and write it to
another one. A zone that a node serves is signed by the node; see "Signing" in
docs/OPERATING.md.

Keys are pairs of files as dnssec-keygen, ldns-keygen and this command write them:
K<zone>+<algorithm>+<tag>.key and .private. A key with the flag SEP signs the keys,
others sign the rest; if there is one sort only, its keys do both. Absence is proven
with NSEC; with --nsec3 with NSEC3, as RFC 9276 recommends it.

With --previous, signatures of an older signed version that still fit and do not
end soon are taken over. The DS records for the parent zone are printed at the end.`,
		Example: `  pharos zone sign example.com.zone --generate-keys ecdsap256sha256 -o example.com.signed
  pharos zone sign example.com.zone --key Kexample.com.+013+12345 -o example.com.signed
  pharos zone sign example.com.zone --key keys/K*.key --nsec3 --previous example.com.signed -o example.com.signed`,
		Args: argsBetween(1, 1, "one FILE"),
	}
	var s zoneSigning
	f := c.Flags()
	f.StringVar(&s.origin, "origin", "", "`name` of the zone in the file (default: that of its SOA record, or of the file)")
	f.StringVarP(&s.out, "out", "o", "-", "`file` to write the signed zone to; - is standard output")
	f.StringSliceVar(&s.keys, "key", nil, "key `file`, .key or .private or without either; may be repeated")
	f.StringVar(&s.generate, "generate-keys", "", "make a KSK and a ZSK of an `algorithm`: ecdsap256sha256, ecdsap384sha384, ed25519, ed448, rsasha256")
	f.StringVar(&s.keyDir, "key-dir", "", "`folder` for generated keys (default: that of --out)")
	f.StringVar(&s.previous, "previous", "", "signed `file` whose signatures are taken over where they fit")
	f.StringVar(&s.serial, "serial", "keep", "serial of the signed zone: keep, increment or unixtime")
	f.BoolVar(&s.nsec3, "nsec3", false, "prove absence with NSEC3")
	f.BoolVar(&s.optOut, "nsec3-opt-out", false, "leave delegations without DS out of the chain: for zones with very many of them")
	f.Uint16Var(&s.iterations, "nsec3-iterations", 0, "how `often` names are hashed again; RFC 9276 wants 0")
	f.StringVar(&s.salt, "nsec3-salt", "", "salt in `hex`; RFC 9276 wants none")
	f.StringSliceVar(&s.zonemd, "zonemd", nil, "add a digest of the zone: `hash` sha384 or sha512")
	f.DurationVar(&s.lifetime, "lifetime", sign.DefaultLifetime, "how long signatures are good")
	f.DurationVar(&s.jitter, "jitter", sign.DefaultJitter, "by how much less at most, each by another part of it")
	f.DurationVar(&s.refresh, "refresh", sign.DefaultRefresh, "how long before its end a signature of --previous is made again")
	f.DurationVar(&s.backdate, "backdate", sign.DefaultBackdate, "how long ago signatures begin, for clocks that are late")
	f.BoolVar(&s.verify, "verify", false, "verify the signed zone before it is written")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "say nothing but errors and the DS records")
	c.RunE = func(c *cobra.Command, args []string) error { return s.run(c, args[0]) }
	return c
}

func (s *zoneSigning) run(c *cobra.Command, file string) error {
	z, err := readZoneFile(s.origin, file)
	if err != nil {
		return err
	}
	now := clock.Now()
	params, err := s.params(z, now)
	if err != nil {
		return err
	}
	var old *zone.Zone
	if s.previous != "" {
		if old, err = readZoneFile(z.Origin().String(), s.previous); err != nil {
			return err
		}
	}
	start := clock.Now()
	plan, err := sign.NewPlan(z, old, params, now)
	if err != nil {
		return err
	}
	onAllCores(s.progress(c), "signing", plan)
	signed, problems, err := plan.Finish()
	if err != nil {
		return err
	}
	if !s.quiet {
		for _, p := range problems {
			fmt.Fprintln(c.ErrOrStderr(), p)
		}
		made, kept := plan.Signatures()
		_, records, _ := signed.Stats()
		fmt.Fprintf(c.ErrOrStderr(), "zone %s: serial %d, %d records, %d signatures made, %d taken over, in %s\n",
			z.Origin(), signed.Serial(), records, made, kept, clock.Since(start).Round(time.Millisecond))
	}
	if s.verify {
		check := sign.NewCheck(signed, now, sign.Limits{})
		onAllCores(s.progress(c), "verifying", check)
		if bad := check.Problems(); len(bad) > 0 {
			return fmt.Errorf("the signed zone does not verify, so it was not written: %s", bad[0])
		}
	}
	if s.out == "-" {
		return zonefile.Write(c.OutOrStdout(), signed.Records())
	}
	if err := replaceFile(s.out, 0o644, func(w io.Writer) error { return zonefile.Write(w, signed.Records()) }); err != nil {
		return err
	}
	return printDS(c.OutOrStdout(), z.Origin(), params.Keys)
}

// progress is where progress is shown: a terminal, or nil.
func (s *zoneSigning) progress(c *cobra.Command) io.Writer {
	if s.quiet {
		return nil
	}
	return terminal(c.ErrOrStderr())
}

// terminal returns w if it is a terminal, else nil.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return w
		}
	}
	return nil
}

// worker is work that any number of goroutines take from.
type worker interface {
	Work()
	Progress() (done, all int)
}

// onAllCores does work on as many goroutines as there are cores, and shows how far it is
// on a terminal. It returns when they have.
func onAllCores(show io.Writer, what string, work worker) {
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(work.Work)
	}
	if show == nil {
		group.Wait()
		return
	}
	finished := make(chan struct{})
	go func() { // until the workers have returned
		group.Wait()
		close(finished)
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			fmt.Fprintf(show, "\r%-30s\r", "")
			return
		case <-tick.C:
			done, all := work.Progress()
			fmt.Fprintf(show, "\r%s: %d %%", what, 100*done/max(all, 1))
		}
	}
}

// params returns what the flags say.
func (s *zoneSigning) params(z *zone.Zone, now time.Time) (sign.Params, error) {
	p := sign.Params{Lifetime: s.lifetime, Jitter: s.jitter, Refresh: s.refresh, Backdate: s.backdate}
	if s.nsec3 || s.optOut || s.salt != "" || s.iterations != 0 {
		salt, err := decodeHex(s.salt)
		if err != nil || len(salt) > 255 {
			return p, fmt.Errorf("%w: --nsec3-salt %q: want up to 255 octets in hexadecimal", errUsage, s.salt)
		}
		p.NSEC3 = &sign.NSEC3{Iterations: s.iterations, Salt: salt, OptOut: s.optOut}
	}
	for _, name := range s.zonemd {
		algorithm, ok := map[string]uint8{"sha384": zonemd.SHA384, "sha512": zonemd.SHA512}[strings.ToLower(name)]
		if !ok {
			return p, fmt.Errorf("%w: --zonemd %q: want sha384 or sha512", errUsage, name)
		}
		p.ZONEMD = append(p.ZONEMD, algorithm)
	}
	switch s.serial {
	case "keep":
	case "increment":
		serial := z.Serial() + 1
		p.Serial = &serial
	case "unixtime":
		serial := rdata.Serial(now.Unix())
		if !z.Serial().Less(serial) {
			return p, fmt.Errorf("--serial unixtime: %d would not be behind the serial of the zone, %d; use increment", serial, z.Serial())
		}
		p.Serial = &serial
	default:
		return p, fmt.Errorf("%w: --serial %q: want keep, increment or unixtime", errUsage, s.serial)
	}
	keys, err := s.loadKeys(z.Origin(), now)
	p.Keys = sign.Roles(keys...)
	return p, err
}

// loadKeys reads the keys that the flags name, or makes new ones.
func (s *zoneSigning) loadKeys(origin dnsname.Name, now time.Time) ([]*sign.Key, error) {
	switch {
	case len(s.keys) > 0 && s.generate != "":
		return nil, fmt.Errorf("%w: --key or --generate-keys, not both", errUsage)
	case s.generate != "":
		return s.makeKeys(origin, now)
	case len(s.keys) == 0:
		return nil, fmt.Errorf("%w: no keys; name some with --key, or make some with --generate-keys ecdsap256sha256", errUsage)
	}
	var keys []*sign.Key
	for _, pattern := range s.keys {
		files := []string{pattern}
		if matches, err := filepath.Glob(pattern); err == nil && len(matches) > 0 {
			files = matches
		}
		for _, file := range files {
			pair, err := readPair(file)
			if err != nil {
				return nil, err
			}
			if pair.Owner != origin {
				return nil, fmt.Errorf("%s is a key of zone %s, not of %s", file, pair.Owner, origin)
			}
			if !slices.ContainsFunc(keys, func(k *sign.Key) bool { return bytes.Equal(k.RDATA(), pair.RDATA()) }) { // K* names both files of one
				keys = append(keys, pair.Key)
			}
		}
	}
	return keys, nil
}

// readPair reads both files of a key.
func readPair(file string) (sign.Pair, error) {
	stem := strings.TrimSuffix(strings.TrimSuffix(file, ".key"), ".private")
	public, err := os.ReadFile(stem + ".key")
	if err != nil {
		return sign.Pair{}, err
	}
	private, err := os.ReadFile(stem + ".private")
	if err != nil {
		return sign.Pair{}, err
	}
	pair, err := sign.ParsePair(public, private)
	if err != nil {
		err = fmt.Errorf("%s: %w", stem, err)
	}
	return pair, err
}

// makeKeys makes a KSK and a ZSK and writes their files.
func (s *zoneSigning) makeKeys(origin dnsname.Name, now time.Time) ([]*sign.Key, error) {
	algorithm, err := parseAlgorithm(s.generate)
	if err != nil {
		return nil, fmt.Errorf("%w: --generate-keys %w", errUsage, err)
	}
	dir := s.keyDir
	if dir == "" && s.out != "-" {
		dir = filepath.Dir(s.out)
	}
	var keys []*sign.Key
	for _, flags := range []uint16{sign.KSK, sign.ZSK} {
		k, err := sign.Generate(flags, algorithm, 0)
		if err != nil {
			return nil, err
		}
		pair := sign.Pair{Key: k, Owner: origin, Times: map[string]time.Time{"Created": now, "Publish": now, "Activate": now}}
		if err := writePair(dir, pair); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// writePair writes both files of a new key, the private one first: a record without its
// key helps nobody.
func writePair(dir string, pair sign.Pair) error {
	private, err := pair.PrivateFile()
	if err != nil {
		return err
	}
	stem := filepath.Join(dir, pair.FileName())
	if err := os.WriteFile(stem+".private", private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(stem+".key", pair.PublicFile(), 0o644)
}

// parseAlgorithm reads the mnemonic or number of an algorithm that is signed with.
func parseAlgorithm(text string) (uint8, error) {
	number, err := strconv.ParseUint(text, 10, 8)
	for a := range 256 {
		name := sign.AlgorithmName(uint8(a))
		if name != "" && (strings.EqualFold(name, text) || err == nil && uint64(a) == number) {
			return uint8(a), nil
		}
	}
	return 0, fmt.Errorf("%q: want ecdsap256sha256, ecdsap384sha384, ed25519, ed448 or rsasha256", text)
}

func decodeHex(text string) ([]byte, error) {
	if len(text)%2 != 0 {
		return nil, errors.New("odd number of digits")
	}
	out := make([]byte, 0, len(text)/2)
	for i := 0; i < len(text); i += 2 {
		octet, err := strconv.ParseUint(text[i:i+2], 16, 8)
		if err != nil {
			return nil, err
		}
		out = append(out, byte(octet))
	}
	return out, nil
}

// printDS prints the DS records for the parent zone.
func printDS(w io.Writer, origin dnsname.Name, keys []sign.Use) error {
	for _, u := range keys {
		if !u.SignKeys {
			continue
		}
		data, err := u.DS(origin, dnssec.DigestSHA256)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s IN DS %s\n", origin, rdata.AppendText(nil, rdata.TypeDS, data)); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file anew: those who read it see the old one or the new one.
func replaceFile(path string, mode os.FileMode, write func(io.Writer) error) error {
	err := diskfile.ReplaceWith(path, func(f *os.File) error {
		b := bufio.NewWriterSize(f, 1<<20)
		return cmp.Or(write(b), b.Flush(), f.Chmod(mode))
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// zoneVerify is what "pharos zone verify" prints.
type zoneVerify struct {
	File       string        `json:"file"`
	Origin     string        `json:"origin"`
	Serial     uint32        `json:"serial"`
	Records    int           `json:"records"`
	Signatures int           `json:"signatures"`
	Denial     string        `json:"denial"` // "NSEC", "NSEC3" or ""
	Secure     bool          `json:"secure"` // nothing fatal was found
	Findings   []fileFinding `json:"findings"`
}

func newZoneVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a signed zone: every signature and the chain of denial",
		Long: `Verify the zone of a master file as validating resolvers would, all of it: each
RRset that must be signed has a good signature of now, the chain of NSEC or NSEC3
records names every name and its types, and a digest of the zone (ZONEMD) fits. A
fatal finding is what resolvers refuse; it ends the command with exit code 1.

With --trust-anchor, a DS or DNSKEY record in that file must lead to the zone's keys;
without, a key of the zone that signs the others is believed.`,
		Example: `  pharos zone verify example.com.signed
  pharos zone verify example.com.signed --trust-anchor ds.example.com --soon 72h
  pharos zone verify root.zone --origin . --at 2020-10-20T00:00:00Z -o json`,
		Args: argsBetween(1, 1, "one FILE"),
	}
	output, origin := outputFlag(c), originFlag(c)
	anchor := c.Flags().String("trust-anchor", "", "`file` with DS or DNSKEY records of the zone")
	at := c.Flags().String("at", "", "the `time` at which signatures must be good, as 2026-01-02T15:04:05Z (default: now)")
	soon := c.Flags().Duration("soon", 0, "warn of signatures that end within this time")
	c.RunE = func(c *cobra.Command, args []string) error {
		now := clock.Now()
		if *at != "" {
			var err error
			if now, err = time.Parse(time.RFC3339, *at); err != nil {
				return fmt.Errorf("%w: --at %q: want a time such as 2026-01-02T15:04:05Z", errUsage, *at)
			}
		}
		z, err := readZoneFile(*origin, args[0])
		if err != nil {
			return err
		}
		limits := sign.Limits{Soon: *soon}
		if *anchor != "" {
			if limits.Anchors, err = readAnchors(*anchor, z.Origin()); err != nil {
				return err
			}
		}
		check := sign.NewCheck(z, now, limits)
		onAllCores(terminal(c.ErrOrStderr()), "verifying", check)
		v := newVerified(args[0], z, check.Problems())
		if err := output.print(c.OutOrStdout(), v, v.writeText); err != nil {
			return err
		}
		if !v.Secure {
			return fmt.Errorf("%s: zone %s is not secure", args[0], v.Origin)
		}
		return nil
	}
	return c
}

func newVerified(file string, z *zone.Zone, problems []zone.Problem) zoneVerify {
	v := zoneVerify{File: file, Origin: z.Origin().String(), Serial: uint32(z.Serial()), Secure: true, Findings: []fileFinding{}}
	_, v.Records, _ = z.Stats()
	for r := range z.Records() {
		if r.Type == rdata.TypeRRSIG {
			v.Signatures++
		}
	}
	if t := z.DenialType(); t != 0 {
		v.Denial = t.String()
	}
	for _, p := range problems {
		f := fileFinding{Severity: p.Severity.String(), Name: p.Name.String(), Text: p.Text}
		if p.Type != 0 {
			f.Type = p.Type.String()
		}
		v.Findings = append(v.Findings, f)
		v.Secure = v.Secure && p.Severity != zone.Fatal
	}
	return v
}

func (v *zoneVerify) writeText(w io.Writer) error {
	for _, f := range v.Findings {
		fmt.Fprintf(w, "%s: %s: %s\n", f.Severity, strings.TrimSpace(f.Name+" "+f.Type), f.Text)
	}
	verdict := "secure"
	if !v.Secure {
		verdict = "not secure"
	}
	_, err := fmt.Fprintf(w, "%s: zone %s: serial %d, %d records, %d signatures, %s: %s\n",
		v.File, v.Origin, v.Serial, v.Records, v.Signatures, cmp.Or(v.Denial, "no chain of denial"), verdict)
	return err
}

// readAnchors reads the DS and DNSKEY records of a zone from a file.
func readAnchors(file string, origin dnsname.Name) (anchors []dnssec.DS, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r, err := range zonefile.Read(f, zonefile.Options{Origin: dnsname.Root, File: file, TTL: 3600}) {
		if err != nil {
			return nil, err
		}
		if r.Name != origin {
			continue
		}
		switch r.Type {
		case rdata.TypeDS:
			if ds, ok := dnssec.ParseDS(r.Data); ok {
				anchors = append(anchors, ds)
			}
		case rdata.TypeDNSKEY:
			if len(r.Data) < 2 || binary.BigEndian.Uint16(r.Data)&1 == 0 { // a ZSK is nobody's anchor
				continue
			}
			if ds, ok := dnssec.MakeDS(origin, r.Data, dnssec.DigestSHA256); ok {
				anchors = append(anchors, ds)
			}
		}
	}
	if len(anchors) == 0 {
		return nil, fmt.Errorf("%s has no DS or DNSKEY record of %s; print one with \"dig %s DS\" or take what \"pharos zone sign\" prints", file, origin, origin)
	}
	return anchors, nil
}
