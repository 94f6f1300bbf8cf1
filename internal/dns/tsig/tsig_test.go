package tsig

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func key(a Algorithm) *Key {
	return &Key{Name: dnsname.MustParse("Transfer.Key."), Algorithm: a, Secret: secret}
}

func only(k *Key) func(dnsname.Name) *Key {
	return func(n dnsname.Name) *Key {
		if n != k.Name {
			return nil
		}
		return k
	}
}

func request() *dns.Msg {
	m := new(dns.Msg)
	m.SetAxfr("example.com.")
	m.Id = 4711
	return m
}

// theirs signs m with the other library.
func theirs(t testing.TB, m *dns.Msg, a Algorithm, now time.Time, requestMAC string, timersOnly bool) ([]byte, string) {
	t.Helper()
	m.Extra = append(m.Extra, &dns.TSIG{
		Hdr:       dns.RR_Header{Name: "transfer.key.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: a.String() + ".", TimeSigned: uint64(now.Unix()), Fudge: 300, OrigId: m.Id,
	})
	wire, mac, err := dns.TsigGenerate(m, base64.StdEncoding.EncodeToString(secret), requestMAC, timersOnly)
	if err != nil {
		t.Fatal(err)
	}
	return wire, mac
}

func verifyTheirs(wire []byte, requestMAC string, timersOnly bool) error {
	return dns.TsigVerify(wire, base64.StdEncoding.EncodeToString(secret), requestMAC, timersOnly)
}

func macOf(t testing.TB, wire []byte) string {
	r, err := find(wire)
	if err != nil || r == nil {
		t.Fatalf("no TSIG: %v", err)
	}
	return hex.EncodeToString(r.mac)
}

func pack(t testing.TB, m *dns.Msg) []byte {
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestBothWays holds each algorithm against another implementation: as server and
// as client, over a stream of three messages (RFC 8945 §5.3.1).
func TestBothWays(t *testing.T) {
	now := time.Now() // the other library reads the clock
	for a := HMACSHA1; int(a) < len(algorithms); a++ {
		wire, mac := theirs(t, request(), a, now, "", false)
		s, err := Verify(wire, only(key(a)), now)
		if err != nil {
			t.Fatalf("%v: their request: %v", a, err)
		}
		clear(wire) // a response is made in the memory of its request
		response := new(dns.Msg).SetReply(request())
		for i := range 3 {
			plain := pack(t, response)
			signed := s.Sign(plain, now)
			if len(signed)-len(plain) != s.Overhead() {
				t.Errorf("%v: %d octets added, Overhead says %d", a, len(signed)-len(plain), s.Overhead())
			}
			if err := verifyTheirs(bytes.Clone(signed), mac, i > 0); err != nil {
				t.Errorf("%v: they refuse our message %d: %v", a, i, err)
			}
			mac = macOf(t, signed)
		}

		ours, client := Open(pack(t, request()), key(a), now)
		if err := verifyTheirs(bytes.Clone(ours), "", false); err != nil {
			t.Errorf("%v: they refuse our request: %v", a, err)
		}
		mac = macOf(t, ours)
		for i := range 3 {
			var wire []byte
			wire, mac = theirs(t, new(dns.Msg).SetReply(request()), a, now, mac, i > 0)
			plain, err := client.Check(wire, now)
			if err != nil {
				t.Fatalf("%v: their message %d: %v", a, i, err)
			}
			if want := pack(t, new(dns.Msg).SetReply(request())); !bytes.Equal(plain, want) {
				t.Errorf("%v: message without TSIG: got %x, want %x", a, plain, want)
			}
		}
		if err := client.Complete(); err != nil {
			t.Errorf("%v: %v", a, err)
		}
	}
}

// TestUnsignedBetween: RFC 8945 §5.3.1: a stream may leave out signatures between
// the first and the last; the next one covers all since. The MAC is computed here
// by hand, as the other library always signs.
func TestUnsignedBetween(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := key(HMACSHA256)
	plain := pack(t, new(dns.Msg).SetReply(request()))
	for _, between := range []int{0, 1, 99, 100} {
		asked, client := Open(pack(t, request()), k, now)
		server, err := Verify(asked, only(k), now)
		if err != nil {
			t.Fatal(err)
		}
		first := server.Sign(bytes.Clone(plain), now)
		mac, _ := hex.DecodeString(macOf(t, first))
		if _, err := client.Check(first, now); err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, secret)
		h.Write(append([]byte{0, byte(len(mac))}, mac...))
		for range between {
			h.Write(plain)
			if _, err = client.Check(bytes.Clone(plain), now); err != nil {
				break
			}
		}
		if between == 100 {
			if !errors.Is(err, ErrStream) {
				t.Errorf("100 unsigned messages: %v, want %v", err, ErrStream)
			}
			continue
		}
		if err := client.Complete(); (err == nil) != (between == 0) {
			t.Errorf("%d unsigned at the end: %v", between, err)
		}
		times := timesOf(now)
		h.Write(plain)
		h.Write(times[:])
		last := (&record{key: k.Name, algorithm: algorithms[HMACSHA256].wire, times: times, id: 4711, mac: h.Sum(nil)}).append(bytes.Clone(plain))
		if _, err := client.Check(last, now); err != nil {
			t.Errorf("after %d unsigned: %v", between, err)
		}
		if err := client.Complete(); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusals: RFC 8945 §5.2: each kind of bad signature has its code, and its
// way of being answered; the client understands each.
func TestRefusals(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := key(HMACSHA256)
	other := &Key{Name: k.Name, Algorithm: k.Algorithm, Secret: []byte("another secret")}
	stranger := &Key{Name: dnsname.MustParse("stranger."), Algorithm: k.Algorithm, Secret: secret}
	weak := &Key{Name: k.Name, Algorithm: HMACSHA1, Secret: secret}
	for _, tt := range []struct {
		name   string
		client *Key
		ahead  time.Duration
		code   Code
		signed bool
	}{
		{"right", k, 0, NoError, true},
		{"at the edge of the window", k, 300 * time.Second, NoError, true},
		{"wrong secret", other, 0, BadSig, false},
		{"unknown name", stranger, 0, BadKey, false},
		{"wrong algorithm", weak, 0, BadKey, false},
		{"clock ahead", k, 301 * time.Second, BadTime, true},
		{"replayed after the window", k, -301 * time.Second, BadTime, true},
	} {
		asked, client := Open(pack(t, request()), tt.client, now.Add(tt.ahead))
		server, err := Verify(asked, only(k), now)
		var refusal *Refusal
		if tt.code != NoError && (!errors.As(err, &refusal) || refusal.Code != tt.code) || tt.code == NoError && err != nil {
			t.Fatalf("%s: server says %v, want %v", tt.name, err, tt.code)
		}
		plain := pack(t, new(dns.Msg).SetReply(request()))
		answer := server.Sign(bytes.Clone(plain), now)
		if len(answer)-len(plain) != server.Overhead() {
			t.Errorf("%s: Overhead %d, want %d", tt.name, server.Overhead(), len(answer)-len(plain))
		}
		r, err := find(answer)
		if err != nil || (len(r.mac) > 0) != tt.signed || r.code != tt.code {
			t.Errorf("%s: answer has code %v and %d octets of MAC", tt.name, r.code, len(r.mac))
		}
		_, err = client.Check(answer, now.Add(tt.ahead))
		if tt.code == NoError {
			if err != nil {
				t.Errorf("%s: client says %v", tt.name, err)
			}
			continue
		}
		if !errors.As(err, &refusal) || refusal.Code != tt.code || !refusal.Peer {
			t.Errorf("%s: client says %v", tt.name, err)
		}
		if tt.code == BadTime && refusal.Skew != -tt.ahead {
			t.Errorf("%s: skew %v, want %v", tt.name, refusal.Skew, -tt.ahead)
		}
	}
}

// TestTruncation: RFC 8945 §5.2.2.1 and §5.2.4.
func TestTruncation(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		least, octets int
		want          error
		code          Code
	}{
		{0, 32, nil, 0}, {0, 31, nil, BadTrunc}, {16, 16, nil, NoError}, {20, 16, nil, BadTrunc},
		{16, 15, ErrMalformed, 0}, {4, 12, ErrMalformed, 0}, {16, 33, ErrMalformed, 0}, {0, 0, ErrMalformed, 0},
	} {
		k := &Key{Name: dnsname.MustParse("k."), Algorithm: HMACSHA256, Secret: secret, MinMAC: tt.least}
		asked, _ := Open(pack(t, request()), k, now)
		r, _ := find(asked)
		cut := asked[:r.at:r.at]
		binary.BigEndian.PutUint16(cut[10:], 0)
		r.mac = append(bytes.Clone(r.mac), 0)[:tt.octets]
		s, err := Verify(r.append(cut), only(k), now)
		var refusal *Refusal
		errors.As(err, &refusal)
		switch {
		case tt.want != nil:
			if !errors.Is(err, tt.want) || s != nil {
				t.Errorf("%+v: %v", tt, err)
			}
		case tt.code == NoError:
			if err != nil {
				t.Errorf("%+v: %v", tt, err)
			}
		default:
			if refusal == nil || refusal.Code != tt.code || s == nil {
				t.Errorf("%+v: %v", tt, err)
			}
		}
	}
}

// TestEveryBitCounts: no change of any bit of a signed request or response is
// taken for genuine, but those of the id, which TSIG lets a forwarder change.
func TestEveryBitCounts(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := key(HMACSHA256)
	asked, client := Open(pack(t, request()), k, now)
	server, err := Verify(asked, only(k), now)
	if err != nil {
		t.Fatal(err)
	}
	answer := server.Sign(pack(t, new(dns.Msg).SetReply(request())), now)
	for bit := 16; bit < 8*len(asked); bit++ {
		forged := bytes.Clone(asked)
		forged[bit/8] ^= 1 << (bit % 8)
		// Letters of the key's and the algorithm's name count in lower case.
		if _, err := Verify(forged, only(k), now); err == nil && !equalFold(forged, asked) {
			t.Errorf("request with bit %d changed is accepted", bit)
		}
	}
	for bit := 16; bit < 8*len(answer); bit++ {
		forged := bytes.Clone(answer)
		forged[bit/8] ^= 1 << (bit % 8)
		again := *client
		if _, err := again.Check(bytes.Clone(forged), now); err == nil && !equalFold(forged, answer) {
			t.Errorf("response with bit %d changed is accepted", bit)
		}
	}
	// A response to another request is a replay: its MAC continues another one.
	_, second := Open(pack(t, request()), k, now.Add(time.Second))
	var refusal *Refusal
	if _, err := second.Check(bytes.Clone(answer), now); !errors.As(err, &refusal) || refusal.Code != BadSig {
		t.Errorf("replayed response: %v", err)
	}
	if _, err := client.Check(pack(t, new(dns.Msg).SetReply(request())), now); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned response: %v", err)
	}
}

// equalFold reports whether a and b are equal but for the case of letters.
func equalFold(a, b []byte) bool {
	a, b = bytes.Clone(a), bytes.Clone(b)
	dnsname.Lower(a)
	dnsname.Lower(b)
	return bytes.Equal(a, b)
}

func TestParseAlgorithm(t *testing.T) {
	for a := HMACSHA1; int(a) < len(algorithms); a++ {
		if got, err := ParseAlgorithm(strings.ToUpper(a.String()) + "."); err != nil || got != a {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	if _, err := ParseAlgorithm("hmac-md5"); err == nil || !strings.Contains(err.Error(), "hmac-sha256") {
		t.Errorf("hmac-md5: %v", err)
	}
	if got := fmt.Sprint(Algorithm(0), BadTrunc, Code(99)); got != "none BADTRUNC TSIG error 99" {
		t.Error(got)
	}
}

// FuzzVerify: no input makes it panic, and none without the secret is accepted.
func FuzzVerify(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	k := key(HMACSHA256)
	asked, _ := Open(pack(f, request()), k, now)
	f.Add(asked)
	f.Add(pack(f, request()))
	f.Fuzz(func(t *testing.T, msg []byte) {
		s, err := Verify(msg, only(k), now)
		if err == nil && !equalFold(msg[2:], asked[2:]) {
			t.Fatalf("accepted %x", msg)
		}
		if s != nil {
			s.Sign(make([]byte, 12), now)
		}
		_, c := Open(make([]byte, 12), k, now)
		if _, err := c.Check(bytes.Clone(msg), now); err == nil {
			t.Fatalf("accepted as a response: %x", msg)
		}
	})
}
