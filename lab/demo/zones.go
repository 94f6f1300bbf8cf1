package demo

// The zones of the lab. Each level delegates to the next, with glue where the
// name server lies in the zone it serves.

const rootZone = `$ORIGIN .
$TTL 1d
@           SOA  a.root. hostmaster.root. 1 1h 15m 1w 1h
@           NS   a.root.
a.root.     A    127.53.0.1
example.    NS   ns.nic.example.
ns.nic.example. A 127.53.0.2
test.       NS   ns.nic.test.
ns.nic.test. A   127.53.0.3
53.127.in-addr.arpa. NS ns.blog.test.
`

const exampleZone = `$ORIGIN example.
$TTL 1d
@           SOA  ns.nic hostmaster.nic 1 1h 15m 1w 1h
@           NS   ns.nic
ns.nic      A    127.53.0.2
shop        NS   ns1.shop
ns1.shop    A    127.53.0.5
`

const testZone = `$ORIGIN test.
$TTL 1d
@           SOA  ns.nic hostmaster.nic 1 1h 15m 1w 1h
@           NS   ns.nic
ns.nic      A    127.53.0.3
blog        NS   ns.blog
ns.blog     A    127.53.0.4
`

const shopZone = `$ORIGIN shop.example.
$TTL 1h
@           SOA   ns1 hostmaster 1 1h 15m 1w 5
@           NS    ns1
@           MX    10 mail
@           TXT   "the shop at the end of the lookup"
ns1         A     127.53.0.5
mail        A     127.53.0.5
www         A     127.53.0.5      ; the gateway
static      CNAME www
; app is answered from the pool "web": see the configuration
_http._tcp  SRV   0 5 80 www
`

const blogZone = `$ORIGIN blog.test.
$TTL 1h
@           SOA   ns hostmaster 1 1h 15m 1w 5
@           NS    ns
ns          A     127.53.0.4
www         CNAME www.shop.example.
*           TXT   "no such post"
`

const reverseZone = `$ORIGIN 53.127.in-addr.arpa.
$TTL 1h
@           SOA   ns.blog.test. hostmaster.blog.test. 1 1h 15m 1w 5
@           NS    ns.blog.test.
$GENERATE 1-3 1$.0 PTR origin-$.shop.example.
5.0         PTR   www.shop.example.
`

const authoritativeOnly = `resolver: {allow: []}
`

const edgeYAML = `pools:
  - name: web
    policy: roundRobin
    check: {type: http, path: /health, interval: %s, timeout: 100ms, rise: 2, fall: 2}
    passive: {ejection: 500ms} # 10s by default, which is long for a tour
    members:
%ssteer:
  - {name: app.shop.example, pool: web, ttl: 1s}
routes:
  - {host: www.shop.example, path: /, pool: web}
`

const resolverYAML = `resolver:
  allow: ["127.0.0.0/8"]
  rootHints: %s
  port: PORT
  validate: false # the lab's root is not signed
`
