package xfr

import (
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestNotifyOf (RFC 9859 §4.2): the message as another library reads it, and what is made of its
// answer.
func TestNotifyOf(t *testing.T) {
	for _, tt := range []struct {
		rcode int
		want  string
	}{{dns.RcodeSuccess, ""}, {dns.RcodeRefused, "it answers REFUSED"}} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan *dns.Msg, 1)
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			select {
			case got <- m:
			default: // sent again
			}
			w.WriteMsg(new(dns.Msg).SetRcode(m, tt.rcode))
		})}
		go server.ActivateAndServe() // ends with Shutdown
		at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		text := ""
		if err := NotifyOf(t.Context(), Peer{Address: netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, dnsname.MustParse("child.example."), rdata.TypeCDS); err != nil {
			text = err.Error()
		}
		if text != tt.want {
			t.Errorf("answered %s: %q, want %q", dns.RcodeToString[tt.rcode], text, tt.want)
		}
		m := <-got
		if want := (dns.Question{Name: "child.example.", Qtype: dns.TypeCDS, Qclass: dns.ClassINET}); m.Opcode != dns.OpcodeNotify || m.Response || !m.Authoritative || len(m.Question) != 1 ||
			m.Question[0] != want || len(m.Answer)+len(m.Ns)+len(m.Extra) != 0 {
			t.Errorf("sent %v", m)
		}
		server.Shutdown()
	}
}
