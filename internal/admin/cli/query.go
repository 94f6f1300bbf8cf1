package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// lookup is what "pharos query" was asked to do.
type lookup struct {
	name      dnsname.Name
	qtype     rdata.Type
	server    string // address or address:port; "" takes resolv.conf's first
	port      uint16
	tcp, noRD bool
	short     bool
	trace     bool
	hints     string
	anchors   string
	validate  bool
	svg       string
	timeout   time.Duration
}

func newQuery() *cobra.Command {
	l := new(lookup)
	c := &cobra.Command{
		Use:   "query NAME [TYPE] [@SERVER]",
		Short: "Ask a DNS server, or every server from the root down",
		Long: `Ask a DNS server and print its answer. A name without a final dot is taken as if
it had one; an IP address asks for its name (PTR).

With --trace nobody else's resolver is involved: the root servers are asked, then
the servers they refer to, and so on, and every step is printed as it was, with
its round-trip time.`,
		Example: `  pharos query www.example.com
  pharos query example.com MX @192.0.2.53
  pharos query 192.0.2.80 @127.0.0.1 -p 5353
  pharos query www.example.com --trace
  pharos query www.example.com --trace --svg lookup.svg
  pharos query www.example.com --trace --hints lab.hints --anchors lab.anchors --validate -p 5353`,
		Args: argsBetween(1, 3, "NAME [TYPE] [@SERVER]"),
	}
	output := outputFlag(c)
	c.Flags().Uint16VarP(&l.port, "port", "p", 53, "`port` of the servers")
	c.Flags().BoolVar(&l.tcp, "tcp", false, "ask over TCP")
	c.Flags().BoolVar(&l.noRD, "no-recurse", false, "ask for what the server knows itself (RD=0)")
	c.Flags().BoolVar(&l.short, "short", false, "print the data of the answer only")
	c.Flags().BoolVar(&l.trace, "trace", false, "resolve from the root and print every step")
	c.Flags().StringVar(&l.hints, "hints", "", "master `file` with the root servers, for --trace")
	c.Flags().BoolVar(&l.validate, "validate", false, "for --trace with --hints: validate by --anchors; without --hints that is always done")
	c.Flags().StringVar(&l.anchors, "anchors", "", "`file` with trust anchors (DS or DNSKEY records, or IANA's XML), for --trace")
	c.Flags().StringVar(&l.svg, "svg", "", "also write the steps as a picture to this `file`, for --trace")
	c.Flags().DurationVar(&l.timeout, "timeout", 5*time.Second, "`time` to wait for an answer")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := l.parse(args); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if l.trace {
			return l.runTrace(c.Context(), c.OutOrStdout(), *output)
		}
		return l.run(c.Context(), c.OutOrStdout(), *output)
	}
	return c
}

// parse reads NAME [TYPE] [@SERVER], the latter two in any order.
func (l *lookup) parse(args []string) error {
	l.qtype = rdata.TypeA
	typed := false
	for _, arg := range args[1:] {
		if server, ok := strings.CutPrefix(arg, "@"); ok {
			l.server = server
			continue
		}
		var ok bool
		if l.qtype, ok = rdata.ParseType(arg); !ok {
			return fmt.Errorf("%q is neither an RR type nor @SERVER", arg)
		}
		typed = true
	}
	if addr, err := netip.ParseAddr(args[0]); err == nil && !typed {
		l.name, l.qtype = reverseName(addr), rdata.TypePTR
		return nil
	}
	var err error
	l.name, err = dnsname.Parse(args[0])
	return err
}

// reverseName returns the name under in-addr.arpa (RFC 1035 §3.5) or ip6.arpa
// (RFC 3596 §2.5) that stands for addr.
func reverseName(addr netip.Addr) dnsname.Name {
	var b strings.Builder
	if addr = addr.Unmap(); addr.Is4() {
		a := addr.As4()
		fmt.Fprintf(&b, "%d.%d.%d.%d.in-addr.arpa.", a[3], a[2], a[1], a[0])
	} else {
		a := addr.As16()
		for i := len(a) - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%x.%x.", a[i]&0xF, a[i]>>4)
		}
		b.WriteString("ip6.arpa.")
	}
	return dnsname.MustParse(b.String())
}

// reply is an answer as it is printed.
type reply struct {
	Server   string                  `json:"server"`
	Network  string                  `json:"network"`
	Took     time.Duration           `json:"took_ns"`
	Octets   int                     `json:"octets"`
	Rcode    dnswire.Rcode           `json:"rcode"`
	Flags    []string                `json:"flags"`
	Question string                  `json:"question"`
	Answer   []string                `json:"answer,omitempty"`
	Auth     []string                `json:"authority,omitempty"`
	Extra    []string                `json:"additional,omitempty"`
	Errors   []dnswire.ExtendedError `json:"errors,omitempty"`

	short []string
}

func (l *lookup) run(ctx context.Context, w io.Writer, output output) error {
	server, err := l.serverAddress()
	if err != nil {
		return err
	}
	network := "udp"
	if l.tcp {
		network = "tcp"
	}
	r, err := l.ask(ctx, network, server)
	if err == nil && r == nil { // truncated: RFC 7766 §5: the same again over TCP
		r, err = l.ask(ctx, "tcp", server)
	}
	if err != nil {
		return err
	}
	return output.print(w, r, func(w io.Writer) error { return r.writeText(w, l.short) })
}

// serverAddress returns the server to ask, with its port.
func (l *lookup) serverAddress() (string, error) {
	server := l.server
	if server == "" {
		text, err := os.ReadFile("/etc/resolv.conf")
		if err != nil {
			return "", fmt.Errorf("no server given, and %w; add @SERVER", err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
				server = f[1]
				break
			}
		}
		if server == "" {
			return "", fmt.Errorf("no server given, and /etc/resolv.conf names none; add @SERVER")
		}
	}
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server, nil
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), fmt.Sprint(l.port)), nil
}

// ask asks server once. It returns nil for a truncated answer over UDP.
func (l *lookup) ask(ctx context.Context, network, server string) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", server, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	var id [2]byte
	rand.Read(id[:])
	query := dnswire.AppendQuery(nil, dnswire.QuerySpec{
		ID: binary.BigEndian.Uint16(id[:]), Name: l.name, Type: l.qtype, Class: rdata.ClassIN, RD: !l.noRD, EDNS: true,
	})
	began := time.Now()
	msg, m, err := exchange(conn, network, query)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w; is it running, and is --port right?", server, err)
	}
	if m.TC && network == "udp" {
		return nil, nil
	}
	return newReply(m, len(msg), server, network, time.Since(began)), nil
}

// exchange sends query and returns the first message that answers it.
func exchange(conn net.Conn, network string, query []byte) ([]byte, *dnswire.Message, error) {
	if network == "tcp" {
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, nil, err
	}
	buf := make([]byte, dnswire.MaxMessage)
	for {
		msg, err := readMessage(conn, network, buf)
		if err != nil {
			return nil, nil, err
		}
		m, err := dnswire.ParseMessage(msg)
		if network == "tcp" && err != nil {
			return nil, nil, err
		}
		// RFC 5452 §3: what is not the answer to this question is not looked at.
		if err == nil && m.QR && m.ID == queryID(query, network) {
			return msg, m, nil
		}
	}
}

func queryID(query []byte, network string) uint16 {
	if network == "tcp" {
		query = query[2:]
	}
	return binary.BigEndian.Uint16(query)
}

func readMessage(conn net.Conn, network string, buf []byte) ([]byte, error) {
	if network == "udp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

func newReply(m *dnswire.Message, octets int, server, network string, took time.Duration) *reply {
	r := &reply{
		Server: server, Network: network, Took: took, Octets: octets, Rcode: m.Rcode,
		Question: fmt.Sprintf("%s %s %s", m.Question.Name, m.Question.Class, m.Question.Type),
		Answer:   lines(m.Answer), Auth: lines(m.Authority), Extra: lines(m.Additional), Errors: m.EDE,
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{m.QR, "qr"}, {m.AA, "aa"}, {m.TC, "tc"}, {m.RD, "rd"}, {m.RA, "ra"}, {m.AD, "ad"}, {m.CD, "cd"}} {
		if f.on {
			r.Flags = append(r.Flags, f.name)
		}
	}
	for _, record := range m.Answer {
		r.short = append(r.short, string(rdata.AppendText(nil, record.Type, record.Data)))
	}
	return r
}

func lines(records []rdata.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, r.String())
	}
	return all
}

func (r *reply) writeText(w io.Writer, short bool) error {
	if short {
		for _, line := range r.short {
			fmt.Fprintln(w, line)
		}
		return nil
	}
	fmt.Fprintf(w, ";; %s, flags %s; question %s\n", r.Rcode, strings.Join(r.Flags, " "), r.Question)
	for _, e := range r.Errors {
		fmt.Fprintf(w, ";; extended error %d (%s) %s\n", e.Code, e.Code, e.Text)
	}
	for _, s := range []struct {
		name  string
		lines []string
	}{{"answer", r.Answer}, {"authority", r.Auth}, {"additional", r.Extra}} {
		if len(s.lines) > 0 {
			fmt.Fprintf(w, "\n;; %s\n%s\n", s.name, strings.Join(s.lines, "\n"))
		}
	}
	_, err := fmt.Fprintf(w, "\n;; %d octets from %s over %s in %v\n", r.Octets, r.Server, strings.ToUpper(r.Network), r.Took.Round(10*time.Microsecond))
	return err
}
