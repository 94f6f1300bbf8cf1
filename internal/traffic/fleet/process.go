package fleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pharos/internal/program"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/scale"
)

// Times of starting again after failures: a program that ends at once is started less
// and less often. Both arbitrary.
const (
	firstPause = 500 * time.Millisecond
	mostPause  = time.Minute
	// sound is how long a member must have served for its end not to count as one more
	// failure in a row.
	sound   = time.Minute
	wellFor = 5 * time.Second // how long somebody serves before failures are forgotten
)

// processes is a maker of members that are processes of this machine.
type processes struct {
	spec     *Process
	hash     string
	failures int       // in a row
	resume   time.Time // when it is tried again
	why      string    // the last failure
	next     uint16    // the port to try first: the one that was used longest ago
	renewing *member   // that takes the place of one that was started otherwise
	waiters  sync.WaitGroup
}

// process is a running program.
type process struct {
	pid   int
	ticks uint64 // when it was started, by the kernel's clock: with pid, who it is
	hash  string // of what it was started from
	log   string
	kill  time.Time     // when it is killed, once it was told to end
	ended chan struct{} // closed when it has ended
	state string        // with what; once ended is closed
}

// newProcesses returns a maker that has the members of these records.
func newProcesses(g *group, mine []record) *processes {
	p := &processes{}
	for _, r := range mine {
		if !r.isAlive() {
			continue
		}
		m := &member{name: r.Member, spec: r.spec(), started: r.Started, ready: r.Ready, since: r.Started}
		m.spec.Drain, m.spec.Why = false, ""
		if m.phase = starting; !r.Ready.IsZero() {
			m.phase = serving
		}
		m.process = &process{pid: r.PID, ticks: r.Ticks, hash: r.Hash, log: r.Log, ended: make(chan struct{})}
		p.waiters.Go(func() { p.awaitAdopted(g, m) })
		g.members = append(g.members, m)
		g.d.c.Log.Info("member taken over from the run before", "pool", g.name, "member", m.name, "pid", r.PID)
	}
	return p
}

func (p *processes) follow(spec *Spec) {
	p.spec = spec.Process
	if hash := p.spec.hash(); hash != p.hash {
		p.hash, p.failures, p.resume = hash, 0, time.Time{} // it may be mended
	}
}

func (p *processes) promised(*group) int { return 0 }

func (p *processes) record(*group) *hookRecord { return nil }

func (p *processes) look(*group, []Seen, time.Time) {}

func (p *processes) trouble(now time.Time) (text string, blocks bool) {
	if p.failures == 0 {
		return "", false
	}
	return p.why, now.Before(p.resume)
}

// fail notes that a member could not be had.
func (p *processes) fail(g *group, now time.Time, why string) {
	p.failures++
	g.counts.failed++
	pause := min(firstPause<<min(p.failures-1, 10), mostPause)
	p.resume = now.Add(pause)
	p.why = fmt.Sprintf("%s; %s in a row, tried again after %v", why, count(p.failures, "failure"), pause)
	g.d.c.Log.Warn("member failed", "pool", g.name, "cause", why, "in_a_row", p.failures, "pause", pause)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// grow is asked for members; while a pause lasts there are none, and it is asked again.
func (p *processes) grow(g *group, n int, now time.Time) {
	for range n {
		if now.Before(p.resume) || !p.start(g, now) {
			return
		}
	}
}

// start starts one member and reports whether it runs.
func (p *processes) start(g *group, now time.Time) bool {
	address, err := p.freePort(g)
	if err == nil {
		err = p.launch(g, address, now)
	}
	if err != nil {
		p.fail(g, now, err.Error())
		return false
	}
	return true
}

// freePort returns an address that no member has and nobody listens at.
func (p *processes) freePort(g *group) (netip.AddrPort, error) {
	if p.next < p.spec.First || p.next > p.spec.Last {
		p.next = p.spec.First
	}
	var taken []string
	for range int(p.spec.Last) - int(p.spec.First) + 1 {
		address := netip.AddrPortFrom(p.spec.Address, p.next)
		if p.next++; p.next > p.spec.Last || p.next == 0 {
			p.next = p.spec.First
		}
		if g.find(address) != nil {
			continue
		}
		l, err := net.Listen("tcp", address.String())
		if err == nil {
			l.Close()
			return address, nil
		}
		if taken = append(taken, strconv.Itoa(int(address.Port()))); errors.Is(err, syscall.EADDRNOTAVAIL) {
			return netip.AddrPort{}, fmt.Errorf("%s is no address of this machine", p.spec.Address)
		}
	}
	if len(taken) > 0 {
		return netip.AddrPort{}, fmt.Errorf("no port of %d-%d is free; others listen at %s", p.spec.First, p.spec.Last, strings.Join(taken, ", "))
	}
	return netip.AddrPort{}, fmt.Errorf("all ports of %d-%d are members', some of which are still stopping", p.spec.First, p.spec.Last)
}

// launch starts a process. It is in the record before anything depends on it: publish
// saves before it tells.
func (p *processes) launch(g *group, address netip.AddrPort, now time.Time) error {
	credential, err := program.Credential(p.spec.User)
	if err != nil {
		return fmt.Errorf("scale.process.user: %w", err)
	}
	name := address.String()
	log, file, err := openLog(filepath.Join(g.d.c.Folder, g.name), address)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := &exec.Cmd{
		Path: p.spec.Run[0], Dir: p.spec.Folder, Stdout: file, Stderr: file,
		Args: fill(p.spec.Run, address, name, g.name),
		Env: append(append(program.Environment(address), "PHAROS_POOL="+g.name, memberMark+name, mark+g.d.c.Folder),
			p.spec.Environment...),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: credential},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("scale.process.run: %w", err)
	}
	pid := cmd.Process.Pid
	m := &member{name: name, started: now, since: now, spec: pool.MemberSpec{Name: name, Address: address, Host: p.spec.Host}}
	m.process = &process{pid: pid, ticks: startTicks(pid), hash: p.hash, log: log, ended: make(chan struct{})}
	p.waiters.Go(func() { p.await(g, m, cmd) })
	g.members = append(g.members, m)
	g.counts.started++
	g.dirty = true
	g.d.c.Log.Info("member started", "pool", g.name, "member", name, "pid", pid)
	return nil
}

// fill replaces what arguments have in braces.
func fill(args []string, address netip.AddrPort, member, pool string) []string {
	replacer := strings.NewReplacer("{address}", address.String(), "{host}", address.Addr().String(), "{port}", strconv.Itoa(int(address.Port())), "{member}", member, "{pool}", pool)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = replacer.Replace(a)
	}
	return out
}

// await waits for the end of a child, and ends what it leaves behind.
func (p *processes) await(g *group, m *member, cmd *exec.Cmd) {
	program.AwaitEnd(m.process.pid)
	program.Kill(m.process.pid, syscall.SIGKILL)
	m.process.state = "exit status 0"
	if err := cmd.Wait(); err != nil {
		m.process.state = err.Error()
	}
	p.end(g, m)
}

// awaitAdopted is await for a process that another node has started.
func (p *processes) awaitAdopted(g *group, m *member) {
	awaitOther(m.process.pid, m.process.ticks)
	m.process.state = "it was started by the run before, so that its status is not known"
	p.end(g, m)
}

func (p *processes) end(g *group, m *member) {
	endMarked(g.d.c.Folder, m.name) // what has left its group
	close(m.process.ended)
	g.post(g.ctx.Done(), func(now time.Time) { p.onEnd(g, m, now) })
}

// onEnd takes in that a process has ended.
func (p *processes) onEnd(g *group, m *member, now time.Time) {
	g.drop(m)
	state := m.process.state
	switch {
	case m.phase >= leaving:
		g.d.c.Log.Info("member ended", "pool", g.name, "member", m.name, "state", state)
		return
	case m.phase == starting:
		p.fail(g, now, fmt.Sprintf("member %s ended before it was up (%s)%s", m.name, state, lastLine(m.process.log)))
	default:
		if now.Sub(m.ready) >= sound {
			p.failures = 0
		}
		p.fail(g, now, fmt.Sprintf("member %s ended by itself (%s)%s", m.name, state, lastLine(m.process.log)))
	}
}

// stop has a member end: SIGTERM to all of its processes; SIGKILL when its grace is over.
func (p *processes) stop(g *group, m *member, now time.Time) {
	if m.process == nil { // a member of others, that was only drained
		g.drop(m)
		return
	}
	m.process.kill = now.Add(p.spec.Grace)
	m.process.signal(syscall.SIGTERM)
}

// signal sends a signal to all processes of a member, unless it has ended.
func (x *process) signal(s syscall.Signal) {
	select {
	case <-x.ended:
	default:
		if isProcess(x.pid, x.ticks) {
			program.Kill(x.pid, s)
		}
	}
}

// step kills those whose time is over, turns logs over, and replaces members that were
// started otherwise than is configured now.
func (p *processes) step(g *group, _ *scale.Decision, _ []Seen, now time.Time) {
	for _, m := range slices.Clone(g.members) {
		x := m.process
		switch {
		case x == nil:
		case m.phase == stopping && !now.Before(x.kill):
			g.d.c.Log.Warn("member killed: it did not end in its grace", "pool", g.name, "member", m.name)
			x.signal(syscall.SIGKILL)
			x.kill = now.Add(mostPause) // if that does not help, nothing will soon
		case m.phase == starting && now.Sub(m.started) >= p.spec.Start:
			p.fail(g, now, fmt.Sprintf("member %s was not up within %v%s", m.name, p.spec.Start, lastLine(x.log)))
			m.cause = "it did not start"
			m.enter(stopping, now)
			g.dirty = true
			p.stop(g, m, now)
		}
		if x != nil {
			turnLog(x.log, p.spec.LogSize, p.spec.LogFiles)
		}
	}
	if p.failures > 0 && !now.Before(p.resume) && p.allServe(g, now) {
		p.failures, p.why = 0, ""
	}
	p.renew(g, now)
}

// allServe reports whether what has failed is to be forgotten: everybody who was started
// since is up, and somebody has been for a while.
func (p *processes) allServe(g *group, now time.Time) bool {
	serve := false
	for _, m := range g.members {
		if m.phase == starting {
			return false
		}
		serve = serve || m.phase == serving && now.Sub(m.ready) >= wellFor
	}
	return serve
}

// renew replaces members whose program, user or environment is another one now: one at a
// time, first the new one up, then the old one out of use.
func (p *processes) renew(g *group, now time.Time) {
	i := slices.IndexFunc(g.members, func(m *member) bool {
		return m.process != nil && m.process.hash != p.hash && m.phase <= serving
	})
	switch {
	case i < 0:
		p.renewing = nil
	case p.renewing == nil || !slices.Contains(g.members, p.renewing):
		p.renewing = nil
		if now.Before(p.resume) || slices.ContainsFunc(g.members, func(m *member) bool { return m.phase == starting }) {
			return
		}
		if p.start(g, now) {
			p.renewing = g.members[len(g.members)-1]
		}
	case p.renewing.phase == serving:
		p.renewing = nil
		g.retire(g.members[i].name, nil, "it was started otherwise than is configured now", now)
	}
}

// close ends all members: those that do not end in their grace are killed.
func (p *processes) close(g *group) {
	for _, m := range g.members {
		if m.process != nil {
			m.process.signal(syscall.SIGTERM)
		}
	}
	grace := time.NewTimer(p.spec.Grace)
	defer grace.Stop()
	for _, m := range g.members {
		if m.process == nil {
			continue
		}
		select {
		case <-m.process.ended:
		case <-grace.C:
			grace.Reset(0) // for the others it is over, too
			m.process.signal(syscall.SIGKILL)
			<-m.process.ended
		}
	}
	p.waiters.Wait()
	g.members = nil
	g.dirty = true
}

// openLog opens the log of a member.
func openLog(folder string, address netip.AddrPort) (name string, file *os.File, err error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return "", nil, fmt.Errorf("log: %w", err)
	}
	name = filepath.Join(folder, strings.ReplaceAll(address.Addr().String(), ":", "-")+"-"+strconv.Itoa(int(address.Port()))+".log")
	file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	return name, file, err
}
