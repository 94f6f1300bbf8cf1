package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/bulk"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/offheap"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
)

// resolving is what "pharos resolve" was asked to do.
type resolving struct {
	names   []string
	file    string // of names; "-" is standard input
	types   []string
	out     string // file of answers; "" prints them
	restart bool
	retry   bool
	width   int
	cache   int // MiB

	config  string // whose resolver it is; "": one that is made from the flags
	forward []string
	hints   string
	port    uint16

	rrtypes []rdata.Type
	counts  resolveCounts
	all     int64 // octets of the file of names; 0: not known
}

// resolveCounts is how far the work is. It is read while it goes on.
type resolveCounts struct {
	octets                      atomic.Int64 // of names that were read
	answered, failed, bad, done atomic.Int64 // done: by an earlier run
}

func newResolve(p Programs) *cobra.Command {
	r := new(resolving)
	c := &cobra.Command{
		Use:   "resolve [NAME...] [-f FILE]",
		Short: "Resolve many names, a line of JSON for each",
		Long: `Resolve names from the root servers down, many at a time, with one cache, and
validate them; no running node and nobody else's resolver is needed. A file has one
name in a line, with types behind it if they are not those of --type; an IP address
asks for its name (PTR); # begins a comment.

With --out the answers are appended to a file as lines of JSON. Started again after
it was interrupted, however that was, the command reads that file and goes on with
the names that have no answer yet. A line that is no name gets an answer that says
so.`,
		Example: `  pharos resolve www.example.com example.net -t A,AAAA
  pharos resolve -f names.txt --out answers.jsonl             # again: goes on
  pharos resolve -f names.txt --out answers.jsonl --retry     # asks again what failed
  pharos resolve -f names.txt --forward 192.0.2.53 | jq -r 'select(.rcode=="NXDOMAIN").name'`,
		Args: cobra.ArbitraryArgs,
	}
	f := c.Flags()
	f.StringVarP(&r.file, "file", "f", "", "`file` with names; - is standard input")
	f.StringSliceVarP(&r.types, "type", "t", []string{"A"}, "RR `types` to ask for")
	f.StringVar(&r.out, "out", "", "append the answers to this `file`, and leave out what it has")
	f.BoolVar(&r.restart, "restart", false, "begin anew, though --out has answers: they are lost")
	f.BoolVar(&r.retry, "retry", false, "ask again what ended in SERVFAIL")
	f.IntVar(&r.width, "concurrency", 500, "questions in work at a `time`, up to 10000")
	f.IntVar(&r.cache, "cache", 256, "size of the cache in `MiB`")
	f.StringVarP(&r.config, "config", "c", "", "resolve as the node of this configuration `file` does")
	f.StringSliceVar(&r.forward, "forward", nil, "have these servers (`addresses`) resolve")
	f.StringVar(&r.hints, "hints", "", "master `file` with other root servers; their names are not validated")
	f.Uint16VarP(&r.port, "port", "p", 53, "`port` of the servers")
	c.RunE = func(c *cobra.Command, args []string) error {
		r.names = args
		return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), p)
	}
	return c
}

func (r *resolving) run(ctx context.Context, out, errOut io.Writer, p Programs) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	names, err := r.open()
	if err != nil {
		return err
	}
	defer names.Close()
	driver, err := r.driver(p)
	if err != nil {
		return err
	}
	defer driver.Close()
	spareCollector()
	done := new(bulk.Done)
	w := answerWriter{to: out}
	if r.out != "" {
		f, err := r.continueFile(done)
		if err != nil {
			return err
		}
		defer f.Close()
		w.to = f
		r.counts.done.Store(int64(done.Len()))
		if done.Len() > 0 {
			fmt.Fprintf(errOut, "%s has %d answers already: going on with the rest\n", r.out, done.Len())
		}
	}
	w.buf = bufio.NewWriterSize(w.to, 1<<16)
	stop := r.showProgress(errOut)
	err = bulk.Run(ctx, r.questions(names, done, &w), r.width, askOf(driver), func(a bulk.Result) error {
		r.counts.answered.Add(1)
		if a.Answer.Rcode == dnswire.RcodeServFail {
			r.counts.failed.Add(1)
		}
		return w.writeResult(a)
	})
	stop()
	if flushErr := w.buf.Flush(); err == nil {
		err = flushErr
	}
	if err == nil {
		err = w.err
	}
	fmt.Fprintln(errOut, r.counts.text())
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted%s", map[bool]string{true: "; the same command goes on"}[r.out != ""])
	}
	return err
}

func (r *resolving) check() error {
	switch {
	case r.file == "" && len(r.names) == 0:
		return fmt.Errorf("name what to resolve, or a file of names with -f; see %q", "pharos resolve --help")
	case r.file != "" && len(r.names) > 0:
		return fmt.Errorf("names come from the command line or from %s, not from both", r.file)
	case r.width < 1 || r.width > 10000:
		return fmt.Errorf("--concurrency %d: want 1 to 10000", r.width)
	case r.cache < 1:
		return fmt.Errorf("--cache %d: want at least 1 MiB", r.cache)
	case (r.restart || r.retry) && r.out == "":
		return fmt.Errorf("--restart and --retry are about the answers in --out FILE")
	}
	for _, text := range r.types {
		t, ok := rdata.ParseType(text)
		if !ok {
			return fmt.Errorf("--type: %q is no RR type", text)
		}
		r.rrtypes = append(r.rrtypes, t)
	}
	return nil
}

// open opens what has the names.
func (r *resolving) open() (io.ReadCloser, error) {
	switch r.file {
	case "":
		return io.NopCloser(strings.NewReader(strings.Join(r.names, "\n"))), nil
	case "-":
		return io.NopCloser(os.Stdin), nil
	}
	f, err := os.Open(r.file)
	if err != nil {
		return nil, err
	}
	if stat, err := f.Stat(); err == nil && stat.Mode().IsRegular() {
		r.all = stat.Size()
	}
	return f, nil
}

// driver makes the resolver.
func (r *resolving) driver(p Programs) (Asker, error) {
	if r.config != "" {
		return p.Resolver(r.config)
	}
	c := outbound.Config{
		Port: r.port, Minimise: true, MixCase: true, Aggressive: true, Untold: true, Validate: r.hints == "" && len(r.forward) == 0, Clients: r.width + 1,
		Cache: rrcache.New(clock.Now(), rrcache.Limits{RecordOctets: r.cache << 20, AnswerOctets: -1, Memory: offheap.New()}),
	}
	var err error
	if r.hints != "" {
		if c.Hints, err = outbound.ReadHints(r.hints); err != nil {
			return nil, err
		}
	}
	if len(r.forward) > 0 {
		route := iterate.Route{Zone: dnsname.Root, Forward: true}
		for _, text := range r.forward {
			addr, err := netip.ParseAddrPort(text)
			if err != nil {
				var ip netip.Addr
				if ip, err = netip.ParseAddr(text); err != nil {
					return nil, fmt.Errorf("%w: --forward: %q is no IP address, with or without a port", errUsage, text)
				}
				addr = netip.AddrPortFrom(ip, r.port)
			}
			route.Servers = append(route.Servers, addr)
		}
		c.Routes = []iterate.Route{route}
	}
	return outbound.New(c), nil
}

// spareCollector lets five times as much garbage come together as usual, unless somebody
// has chosen: the cache is outside of the heap, and what is in work is a few MiB.
func spareCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(500)
	}
}

func askOf(d Asker) bulk.Ask {
	return func(q bulk.Question, done func(iterate.Answer)) bool {
		return d.Ask(q.Name, q.Type, outbound.Options{}, done)
	}
}

// questions reads names line by line. What is no name is written to w at once.
func (r *resolving) questions(names io.Reader, done *bulk.Done, w *answerWriter) iter.Seq[bulk.Question] {
	return func(yield func(bulk.Question) bool) {
		lines := bufio.NewScanner(names)
		for lines.Scan() {
			r.counts.octets.Add(int64(len(lines.Bytes()) + 1))
			text, _, _ := strings.Cut(lines.Text(), "#")
			fields := strings.Fields(text)
			if len(fields) == 0 {
				continue
			}
			all, err := r.parse(fields)
			if err != nil {
				if key := bulk.Key(fields[0], ""); !done.Has(key) {
					r.counts.bad.Add(1)
					w.writeProblem(fields[0], err)
				}
				continue
			}
			for _, q := range all {
				if !done.Has(bulk.Key(q.Name.String(), q.Type.String())) && !yield(q) {
					return
				}
			}
		}
		if err := lines.Err(); err != nil && w.err == nil {
			w.err = fmt.Errorf("reading names after %d octets: %w", r.counts.octets.Load(), err)
		}
	}
}

// parse reads the fields of a line: NAME [TYPE...].
func (r *resolving) parse(fields []string) ([]bulk.Question, error) {
	types := r.rrtypes
	if len(fields) > 1 {
		types = nil
		for _, text := range fields[1:] {
			t, ok := rdata.ParseType(text)
			if !ok {
				return nil, fmt.Errorf("%q is no RR type", text)
			}
			types = append(types, t)
		}
	}
	if addr, err := netip.ParseAddr(fields[0]); err == nil && len(fields) == 1 {
		return []bulk.Question{{Name: reverseName(addr), Type: rdata.TypePTR}}, nil
	}
	name, err := dnsname.Parse(fields[0])
	if err != nil {
		return nil, err
	}
	var all []bulk.Question
	for _, t := range types {
		all = append(all, bulk.Question{Name: name, Type: t})
	}
	return all, nil
}

// showProgress tells now and then how far the work is: on a terminal in one line,
// elsewhere with a new line each time. stop ends it.
func (r *resolving) showProgress(errOut io.Writer) (stop func()) {
	every, begin, end := 10*time.Second, "", "\n"
	if terminal(errOut) != nil {
		every, begin, end = time.Second/2, "\r", ""
	}
	started, quit, gone := clock.Now(), make(chan struct{}), make(chan struct{})
	go func() { // until stop
		defer close(gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				if begin != "" {
					fmt.Fprintf(errOut, "\r%-79s\r", "")
				}
				return
			case <-tick.C:
				fmt.Fprintf(errOut, "%s%-79s%s", begin, r.progress(clock.Since(started)), end)
			}
		}
	}()
	return func() { close(quit); <-gone }
}

// progress tells how far the work is after some time.
func (r *resolving) progress(took time.Duration) string {
	text := r.counts.text() + fmt.Sprintf(", %.0f a second", float64(r.counts.answered.Load())/took.Seconds())
	if read := r.counts.octets.Load(); r.all > 0 && read > 0 {
		text = fmt.Sprintf("%d %%: ", 100*read/r.all) + text
		if left := time.Duration(float64(took) * float64(r.all-read) / float64(read)).Round(time.Second); left > 0 {
			text += fmt.Sprintf(", %v left", left)
		}
	}
	return text
}

func (c *resolveCounts) text() string {
	text := fmt.Sprintf("%d answered, %d of them SERVFAIL", c.answered.Load(), c.failed.Load())
	if bad := c.bad.Load(); bad > 0 {
		text += fmt.Sprintf(", %d are no names", bad)
	}
	return text
}
