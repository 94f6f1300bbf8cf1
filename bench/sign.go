//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// signWork is a zone signed whole from a file into a file: each RRset, and an NSEC record
// for each name, with ECDSA P-256 and one key.
const signWork = "signing a zone of %s RRsets, ECDSA P-256, NSEC, all processors"

// Metrics of signing.
var (
	signWall = table.Metric{Name: "s to sign", Digits: 2}
	signCPU  = table.Metric{Name: "CPU s to sign", Digits: 2}
)

// signNames is how many names the zone has.
const signNames = 100_000

// signRounds is how often a zone is signed at most: four programs take a minute and a
// half.
const signRounds = 3

// zoneSigner is a program that signs a zone in a file.
type zoneSigner struct {
	peer.Program
	// prepare makes keys and configuration in the folder; sign returns the arguments, and
	// the file that has the signed zone then.
	prepare func(dir string) error
	sign    func(dir string) (args []string, signed string)
}

// signing is the work "sign".
func (a *arena) signing() ([]table.Row, error) {
	names := signNames
	if a.o.quick {
		names = 500
	}
	signers, err := a.zoneSigners()
	if err != nil {
		return nil, err
	}
	samples := a.samples()
	for round := range min(a.o.rounds, signRounds) {
		for _, s := range signers {
			if err := a.ctx.Err(); err != nil {
				return nil, err
			}
			if err := a.signOnce(s, round, names, samples); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
		}
	}
	work := fmt.Sprintf(signWork, thousands(names))
	return []table.Row{samples.Row(work, signWall), samples.Row(work, signCPU)}, nil
}

// signOnce has a program sign the zone, and looks whether it has.
func (a *arena) signOnce(s zoneSigner, round, names int, samples *table.Samples) error {
	dir := filepath.Join(a.dir, fmt.Sprintf("sign-%s-%d", s.Name, round))
	if err := os.MkdirAll(filepath.Join(dir, "out"), 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeSignable(filepath.Join(dir, "sign.test.zone"), names); err != nil {
		return err
	}
	if err := s.prepare(dir); err != nil {
		return err
	}
	args, signed := s.sign(dir)
	path, _ := s.Find()
	wall, cpu, err := runOnAll(dir, path, args)
	if err != nil {
		return err
	}
	made, err := countSignatures(filepath.Join(dir, signed))
	if err != nil {
		return err
	}
	if made < 2*names { // for each name its RRset, and its NSEC record
		return fmt.Errorf("%d signatures for %d names", made, names)
	}
	samples.Add(s.Name, signWall.Name, wall.Seconds())
	samples.Add(s.Name, signCPU.Name, cpu.Seconds())
	a.say("%-9s signed %d RRsets in %.2f s, %.2f s on processors", s.Name, made, wall.Seconds(), cpu.Seconds())
	return nil
}

// runOnAll runs a command on all processors, though this process has one of them.
func runOnAll(dir, path string, args []string) (wall, cpu time.Duration, err error) {
	var all unix.CPUSet
	for i := range runtime.NumCPU() {
		all.Set(i)
	}
	return runOn(all, dir, path, args)
}

// runOn runs a command on some processors.
func runOn(processors unix.CPUSet, dir, path string, args []string) (wall, cpu time.Duration, err error) {
	runtime.LockOSThread() // a child has the processors of the thread that starts it
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return 0, 0, err
	}
	if err := unix.SchedSetaffinity(0, &processors); err != nil {
		return 0, 0, err
	}
	defer unix.SchedSetaffinity(0, &before)
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said.String())
	}
	wall = time.Since(began)
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return wall, time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// writeSignable writes a zone of so many names with one RRset each.
func writeSignable(path string, names int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	fmt.Fprintf(b, "$ORIGIN sign.test.\n$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := range names {
		fmt.Fprintf(b, "host-%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// countSignatures counts the RRSIG records in a file.
func countSignatures(path string) (count int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		for field := range strings.FieldsSeq(lines.Text()) {
			if field == "RRSIG" {
				count++
				break
			}
			if field == "NSEC" { // whose types have RRSIG too
				break
			}
		}
	}
	return count, lines.Err()
}

// zoneSigners returns Pharos and the peers that are installed.
func (a *arena) zoneSigners() ([]zoneSigner, error) {
	tool := func(name, binary string, version ...string) peer.Program {
		return peer.Program{Name: name, Binary: binary, Version: version}
	}
	dnsseckey := func(dir string) error {
		return quietly(dir, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "sign.test")
	}
	all := []zoneSigner{
		{tool("Pharos", a.pharos(), "version"), dnsseckey, func(dir string) ([]string, string) {
			return []string{"zone", "sign", "sign.test.zone", "--key", "Ksign.test.+013*.key", "-o", "signed"}, "signed"
		}},
		{tool("ldns", "ldns-signzone", "-v"), dnsseckey, func(dir string) ([]string, string) {
			keys, _ := filepath.Glob(filepath.Join(dir, "Ksign.test.+013*.key"))
			return append([]string{"-f", "signed", "-o", "sign.test", "sign.test.zone"}, stems(keys)...), "signed"
		}},
		{tool("Knot", "kzonesign", "-V"), knotSigning, func(dir string) ([]string, string) {
			return []string{"-c", "knot.conf", "-o", "out", "sign.test"}, "out/sign.test.zone"
		}},
		{tool("BIND", "dnssec-signzone", "-V"), dnsseckey, func(dir string) ([]string, string) {
			return []string{"-S", "-z", "-q", "-O", "full", "-n", fmt.Sprint(runtime.NumCPU()), "-o", "sign.test", "-f", "signed", "sign.test.zone"}, "signed"
		}},
	}
	if _, ok := tool("", "dnssec-keygen").Find(); !ok {
		if required() {
			return nil, fmt.Errorf("dnssec-keygen is not installed: make peers")
		}
		a.missing = append(a.missing, "dnssec-keygen")
		return nil, nil
	}
	var programs []peer.Program
	for _, s := range all[1:] {
		programs = append(programs, s.Program)
	}
	chosen, err := a.choose(all[0].Program, programs...)
	if err != nil {
		return nil, err
	}
	var signers []zoneSigner
	for _, p := range chosen {
		for _, s := range all {
			if s.Name == p.Name {
				signers = append(signers, s)
			}
		}
	}
	return signers, nil
}

func stems(files []string) (out []string) {
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".key"))
	}
	return out
}

func quietly(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// knotSigning writes a configuration by which Knot makes one key and signs on all
// processors.
func knotSigning(dir string) error {
	text := fmt.Sprintf(`database:
    storage: "%[1]s/db"
policy:
  - id: p
    algorithm: ecdsap256sha256
    single-type-signing: on
    signing-threads: %[2]d
    cds-cdnskey-publish: none
zone:
  - domain: sign.test
    storage: "%[1]s"
    file: sign.test.zone
    journal-content: none
    dnssec-signing: on
    dnssec-policy: p
`, dir, runtime.NumCPU())
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "knot.conf"), []byte(text), 0o644)
}
