package node

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// acmeServer is a certification authority (RFC 8555) that goes as far as the challenge,
// at which it looks, and which it then calls not met.
type acmeServer struct {
	*httptest.Server
	looked atomic.Int64
	seen   atomic.Value // of the TXT record, as the answer to who looks
}

// newACMEServer returns one that calls look when a client says that its challenge is there.
func newACMEServer(t *testing.T, look func() string) *acmeServer {
	a := new(acmeServer)
	reply := func(w http.ResponseWriter, status int, place, content string) {
		w.Header().Set("Replay-Nonce", "c29tZXRoaW5n")
		w.Header().Set("Content-Type", "application/json")
		if place != "" {
			w.Header().Set("Location", a.URL+place)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, content)
	}
	const who = `{"type":"dns","value":"www.peer.test"}`
	mux := http.NewServeMux()
	mux.HandleFunc("/dir", func(w http.ResponseWriter, _ *http.Request) {
		all := map[string]string{}
		for _, call := range []string{"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"} {
			all[call] = a.URL + "/" + call
		}
		text, _ := json.Marshal(all)
		reply(w, 200, "", string(text))
	})
	mux.HandleFunc("/newNonce", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, "", "") })
	mux.HandleFunc("/newAccount", func(w http.ResponseWriter, _ *http.Request) { reply(w, 201, "/account", `{"status":"valid"}`) })
	mux.HandleFunc("/newOrder", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 201, "/order", fmt.Sprintf(`{"status":"pending","expires":"2099-01-01T00:00:00Z","identifiers":[%s],"authorizations":["%s/authz"],"finalize":"%[2]s/finalize"}`, who, a.URL))
	})
	mux.HandleFunc("/authz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, "", fmt.Sprintf(`{"status":"pending","identifier":%s,"challenges":[{"type":"dns-01","status":"pending","url":"%s/challenge","token":"dG9rZW4"}]}`, who, a.URL))
	})
	mux.HandleFunc("/challenge", func(w http.ResponseWriter, _ *http.Request) {
		a.looked.Add(1)
		a.seen.Store(look())
		w.Header().Set("Link", fmt.Sprintf(`<%s/authz>;rel="up"`, a.URL))
		reply(w, 200, "", fmt.Sprintf(`{"type":"dns-01","status":"invalid","url":"%s/challenge","token":"dG9rZW4","error":{"type":"urn:ietf:params:acme:error:unauthorized","detail":"looked at, that is all"}}`, a.URL))
	})
	a.Server = httptest.NewTLSServer(mux)
	t.Cleanup(a.Close)
	return a
}

// TestLego: lego, as its users run it, sets the challenge of RFC 8555 by RFC 2136 with a
// key, the authority sees it, and lego takes it away again.
func TestLego(t *testing.T) {
	tools.Need(t, "lego")
	f := newFolder(t)
	n, _ := startStore(t, f)
	at := n.DNS()[0]
	challenge := func() string { return summary(ask(t, at, "_acme-challenge.www.peer.test.", rdata.TypeTXT, false)) }
	before := challenge()
	ca := newACMEServer(t, challenge)
	certificate := f.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})))
	lego := exec.CommandContext(t.Context(), tools.Path(t, "lego"), "--accept-tos", "--email", "hostmaster@peer.test", "--server", ca.URL+"/dir",
		"--path", filepath.Join(f.path, "lego"), "--domains", "www.peer.test", "--dns", "rfc2136", "--dns.disable-cp", "--dns.resolvers", at.String(), "run")
	lego.Env = append(os.Environ(), "LEGO_CA_CERTIFICATES="+certificate, "RFC2136_NAMESERVER="+at.String(), "RFC2136_TSIG_KEY=all-key.",
		"RFC2136_TSIG_ALGORITHM="+dns.HmacSHA256, "RFC2136_TSIG_SECRET="+peerKey.Secret)
	out, err := lego.CombinedOutput()
	if err == nil || ca.looked.Load() == 0 {
		t.Fatalf("lego has not come to the challenge: %v\n%s", err, out)
	}
	if seen, _ := ca.seen.Load().(string); len(seen) < len("NOERROR _acme-challenge.www.peer.test. 120 IN TXT")+43 {
		t.Errorf("the authority saw %q\n%s", seen, out)
	}
	if after := challenge(); after != before {
		t.Errorf("after lego: %s, before: %s\n%s", after, before, out)
	}
}
