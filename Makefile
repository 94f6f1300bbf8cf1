# Pharos. `make run` shows it at work, `make test` proves it; both set up what
# they need. GO may name another Go tool.
GO ?= go

# Servers and clients that nobody here wrote, which tests and bench are held
# against.
PEERS = bind9 bind9-dnsutils bind9-utils knot knot-dnsutils ldnsutils nsd unbound pdns-recursor \
        nginx-light haproxy wrk curl iproute2 procps

.PHONY: run test check bench build peers clean

# An internet in one process: it resolves, balances, loses a server, explains
# itself, and stays up to be tried until Ctrl-C. Needs no root and no network.
run: build
	./pharos lab

# All tests, with the peers installed when we may.
test: build peers
	$(GO) vet ./...
	$(GO) test ./...

# Everything: vet, staticcheck, the race detector, and a short run of each fuzz
# target.
check: test
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	$(GO) test -race ./...
	./bench/fuzz.sh 10s

# Pharos beside its peers, on one pinned core, in one run; writes
# docs/PERFORMANCE.md and bench/results.json.
bench: build peers
	$(GO) run ./bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o pharos ./cmd/pharos

# As root, install the peers that are missing; otherwise say what is missing.
# Without them the tests that need them are skipped, and counted.
peers:
	@missing=$$(for p in $(PEERS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing test peers:" $$missing; \
	  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.pharos; \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then mv /usr/sbin/policy-rc.d.pharos /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; else rm /usr/sbin/policy-rc.d.pharos; made=; fi; \
	  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null; s=$$?; \
	  [ -n "$$made" ] && rm -f /usr/sbin/policy-rc.d; exit $$s; \
	else \
	  echo "tests against real peers will be skipped; to run them: sudo apt-get install" $$missing; \
	fi

clean:
	rm -rf pharos bench/work
