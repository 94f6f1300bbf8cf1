# Pharos. `make run` shows it at work, `make test` proves it; both set up what
# they need. GO may name another Go tool.
GO ?= go

# Servers and clients that nobody here wrote, which tests and bench are held
# against; and iproute2 and procps, which the bench reads the machine with. Chromium is
# one where it is installed (apt-get install chromium): it is larger than all others together.
PEERS = bind9 bind9-dnsutils bind9-utils knot knot-dnsutils knot-dnssecutils knot-resolver ldnsutils nsd unbound pdns-recursor pdns-server pdns-backend-sqlite3 sqlite3 zonemaster-cli dnsviz lego dnsdist libnginx-mod-stream \
        nginx-light haproxy wrk curl nghttp2-client ngtcp2-client iproute2 procps openssl

# The same, of Go modules. They are built into the cache of the user, where tests look too.
GOPEERS = github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible \
          grpc-interop-client=google.golang.org/grpc/interop/client@v1.83.2 grpc-interop-server=google.golang.org/grpc/interop/server@v1.83.2
.PHONY: run test check soak bench build peers clean

# An internet in one process: it resolves, balances, loses a server, explains
# itself, and stays up to be tried until Ctrl-C. Needs no root and no network.
run: build
	./pharos lab

# All tests, with the peers installed if that is allowed. The bench's own test
# starts ten servers and loads them, so it runs when nothing else does. A machine
# may be ten times as slow as the one on which a package takes three minutes.
test: build peers
	$(GO) vet ./...
	$(GO) test -timeout 30m $$($(GO) list ./... | grep -v '/bench$$')
	$(GO) test -timeout 30m ./bench

# Everything: the tests, staticcheck, the race detector, each fuzz target for a
# short time.
check: test
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	$(GO) test -race -timeout 60m ./...
	GO=$(GO) lab/peers/fuzz.sh 10s

# The long forms of what the tests do in short: a million questions to each of Knot, NSD
# and BIND, five hundred kills of each thing that writes and of whole nodes, a million
# mutated HTTP requests that nginx, HAProxy and net/http read, the gateway without each of
# its defences, and five minutes of each of its fuzz targets. Takes three hours or four.
soak: build peers
	PHAROS_DIFFERENTIAL=1000000 $(GO) test -timeout 3h -v -run '^TestDifferential$$' ./internal/authority/answer
	PHAROS_TEST_KILLS=500 $(GO) test -timeout 3h -v -run '^TestKill(Late|Node)?$$' ./internal/authority/ledger ./internal/authority/xfr ./internal/authority/signer ./internal/node
	PHAROS_FRAMINGS=1000000 $(GO) test -timeout 3h -v -run '^TestFramingOfOthers$$' ./internal/proxy/httpproxy
	PHAROS_DEFENCES=1000 $(GO) test -timeout 3h -v -run '^TestAttacksSucceedWithoutDefence$$' ./lab/defences
	GO=$(GO) lab/peers/fuzz.sh 5m ./internal/proxy/...

# Pharos beside its peers, on one pinned core, in one run. Writes
# docs/PERFORMANCE.md and bench/results.json.
bench: build peers
	$(GO) run ./bench

# Without debugger tables: a fifth less to build and to ship. Stack traces and
# profiles do not need them.
build:
	@test -x pharos || echo "Building ./pharos; with nothing built before, this takes a minute or two."
	CGO_ENABLED=0 $(GO) build -trimpath -gcflags=all=-dwarf=false -ldflags=-w -o pharos ./cmd/pharos

peers:
	@lab/peers/install.sh $(PEERS)
	@for module in $(GOPEERS); do GO=$(GO) lab/peers/gobuild.sh $$module || exit; done

clean:
	rm -rf pharos bench/work
