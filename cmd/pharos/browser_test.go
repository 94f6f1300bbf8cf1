package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// shownPage does what pages do, and tells the server how that went.
const shownPage = `<!doctype html><title>a page</title><script>
const said = [], say = (what) => said.push(what)
const events = () => new Promise((done) => {
  const from = new EventSource('/events'); let n = 0
  from.onmessage = (e) => { if (++n == 3) { from.close(); say('events to ' + e.data); done() } }
})
const chat = () => new Promise((done, failed) => {
  const ws = new WebSocket(location.origin.replace('http', 'ws') + '/chat'); let n = 0
  ws.onerror = () => failed('no WebSocket')
  ws.onmessage = (e) => {
    if (n++ == 0) { say('greeted with ' + e.data); ws.send('and back') } else { say('heard ' + e.data); ws.close(1000) }
  }
  ws.onclose = (e) => { say('closed with ' + e.code); done() }
})
const run = async () => {
  const got = await fetch('/data.json'), data = await got.json()
  say('data of ' + data.octets.length + ' by ' + (got.headers.get('content-encoding') || 'nothing'))
  const entry = performance.getEntriesByType('resource').find((e) => e.name.includes('data.json'))
  say('over ' + entry.nextHopProtocol)
  const sent = await fetch('/length', {method: 'POST', body: 'x'.repeat(300000)})
  say('sent ' + await sent.text())
  await events(); await chat()
}
run().catch((e) => say('failed: ' + e)).finally(() => fetch('/report?' + encodeURIComponent(said.join('; '))))
</script>`

// browsable adds to a server what the page asks for; reports go to the channel.
func browsable(mux *http.ServeMux, reports chan<- string) {
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, shownPage)
	})
	mux.HandleFunc("/data.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"octets": %q}`, strings.Repeat("data ", 1000))
	})
	mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
		var n int64
		for b := make([]byte, 64<<10); ; {
			got, err := r.Body.Read(b)
			if n += int64(got); err != nil {
				break
			}
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/report", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := url.QueryUnescape(r.URL.RawQuery)
		select {
		case reports <- text:
		default:
		}
	})
}

// reported is what pages have told. Only one script has pages.
var reported = make(chan string, 1)

// browse has a browser without a window, which believes the certificate in localhost.crt, open a
// URL, and prints what its page reports. Further arguments are the browser's.
func browse(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	flags := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--user-data-dir=" + ts.MkAbs("profile"), "--ignore-certificate-errors-spki-list=" + keySum(ts, "localhost.crt"), "--remote-debugging-port=0"}
	cmd := exec.CommandContext(ctx, "chromium", append(append(flags, args[1:]...), args[0])...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "HOME="+ts.MkAbs("."))
	ts.Check(cmd.Start())
	select {
	case text := <-reported:
		fmt.Fprintln(ts.Stdout(), text)
	case <-ctx.Done():
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with all that it has started
	cmd.Wait()
	if ctx.Err() != nil {
		ts.Fatalf("the page at %s has reported nothing", args[0])
	}
}

// keySum returns the SHA-256 of the public key of a certificate, in base64.
func keySum(ts *testscript.TestScript, file string) string {
	block, _ := pem.Decode([]byte(ts.ReadFile(file)))
	if block == nil {
		ts.Fatalf("%s is no PEM", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
