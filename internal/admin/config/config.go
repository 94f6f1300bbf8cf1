package config

import (
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Duration is a span of time, written "500ms", "1s" or "1m30s".
type Duration = document.Duration

// Size is a number of octets, written "64KiB" or "256MiB".
type Size = document.Size

// Config is the configuration file. Every key may be left out: an empty file is
// a node that resolves names for the machine it runs on, and a file with
// nothing but zones serves them. Names of files are relative to the folder of
// the configuration file.
type Config struct {
	// Data is the folder for what the node keeps: the store, the last compiled
	// snapshots and journals. It is made if it does not exist.
	Data string `json:"data" format:"file" default:"/var/lib/pharos" example:"data"`
	// Listen is where the node can be reached.
	Listen Listen `json:"listen"`
	// Place is where the node stands: what pools with localFirst, and answers by
	// distance, go by.
	Place state.Place `json:"place,omitzero"`
	// Zones are the zones that the node is an authoritative server for. An entry is one
	// zone, or, with names or a pattern in file, as many as these say: up to ten million.
	Zones []Zone `json:"zones" max:"100000"`
	// Views are sets of zones that only some clients see (split horizon). The first
	// one decides that a client belongs to, by the key of its query, or else by its
	// network. Who belongs to none sees the zones outside of views alone.
	Views []View `json:"views" max:"128"`
	// Alias bounds how ALIAS records are resolved.
	Alias Alias `json:"alias"`
	// Keys are secrets that the node shares with other servers (TSIG, RFC 8945).
	Keys []Key `json:"keys" max:"10000"`
	// Transfers bounds what is given to secondaries and taken from primaries.
	Transfers Transfers `json:"transfers"`
	// DNSSEC is how zones are signed that say so with their key dnssec.
	DNSSEC DNSSEC `json:"dnssec"`
	// Resolver looks up the names that others are authoritative for.
	Resolver Resolver `json:"resolver"`
	// The pools, steered names and routes.
	state.Resources
	// Streams are ports whose connections or datagrams are carried to pools as they are
	// (layer 4).
	Streams []Stream `json:"streams" max:"1000"`
	// Steering is what the answers from pools go by: where clients are.
	Steering Steering `json:"steering"`
	// DNS bounds what the DNS listeners take on.
	DNS DNS `json:"dns"`
	// TLS is what encrypted listeners show to clients.
	TLS TLS `json:"tls"`
	// Gateway bounds what the HTTP listeners take on.
	Gateway Gateway `json:"gateway"`
	// Store keeps what is applied at run time.
	Store Store `json:"store"`
	// Log is the node's own log, on standard error.
	Log Log `json:"log"`

	// File is the name of the file that this was read from; not a key.
	File string `json:"-"`
	// Lists are the files and folders beside it that say which zones there are; not a key.
	Lists []diskfile.Stamp `json:"-"`
	// Sum is the SHA-256 of the text of that file; not a key.
	Sum [32]byte `json:"-"`
}

// Listen is where the node can be reached. Port 0 takes any free port.
type Listen struct {
	// DNS are the addresses for DNS over UDP and TCP.
	DNS []netip.AddrPort `json:"dns" default:"127.0.0.1:53,[::1]:53" max:"64" example:"192.0.2.1:53"`
	// DoT are the addresses for DNS over TLS (RFC 7858), in general port 853.
	DoT []netip.AddrPort `json:"dot" default:"" max:"64" example:"0.0.0.0:853"`
	// DoH are the addresses for DNS over HTTPS (RFC 8484) on HTTP/2, in general
	// port 443. The path is dns.encrypted.path.
	DoH []netip.AddrPort `json:"doh" default:"" max:"64" example:"0.0.0.0:443"`
	// DoH3 are the addresses for the same on HTTP/3: UDP, in general the ports of
	// DoH, whose answers then tell clients of it.
	DoH3 []netip.AddrPort `json:"doh3" default:"" max:"64" example:"0.0.0.0:443"`
	// DoQ are the addresses for DNS over QUIC (RFC 9250): UDP, in general port 853.
	DoQ []netip.AddrPort `json:"doq" default:"" max:"64" example:"0.0.0.0:853"`
	// HTTP are the addresses of the gateway. Without one, here or under https, there is no
	// gateway.
	HTTP []netip.AddrPort `json:"http" default:"" max:"64" example:"0.0.0.0:80"`
	// HTTPS are the addresses of the gateway over TLS, in general port 443. The
	// certificates are those under tls.
	HTTPS []netip.AddrPort `json:"https" default:"" max:"64" example:"0.0.0.0:443"`
	// Admin is the address of status, metrics and commands. Whoever reaches it
	// can change the node, so keep it on loopback.
	Admin netip.AddrPort `json:"admin" default:"127.0.0.1:8053" example:"127.0.0.1:8053"`
}

// Zone is a zone that the node is an authoritative server for.
type Zone struct {
	// Name is the apex of the zone. Each zone stands once. An entry without a name is
	// about many zones, which differ in nothing but their names: see names and file. A
	// zone that has an entry with its name as well is as that one says.
	Name dnsname.Name `json:"name,omitzero" example:"example.com"`
	// Names is a file with the names of the zones that the entry is about, one on each
	// line; "#" begins a comment. When it changes it is read again.
	Names string `json:"names,omitzero" format:"file" example:"customers.txt"`
	// Kind is where the zone comes from: file is a master file here, secondary is
	// transferred from Primaries, kept in the data folder and served after a
	// restart, until its SOA record says that it has expired. store is changed here by
	// commands and dynamic updates; every version is kept in the data folder. catalog is
	// made here: the list of the zones whose catalogMember it is (RFC 9432).
	Kind string `json:"kind" enum:"file,secondary,store,catalog" default:"file" example:"secondary"`
	// File is the master file of the zone (RFC 1035 §5), of kind file. $INCLUDE
	// reaches only files in the same folder and below. Of kind store, the file is the
	// first version, and not looked at once there is one; without it there is nothing
	// to serve before "pharos zone import".
	// In an entry with names, a "*" in its last part stands for the name of each zone,
	// without the final dot. In an entry with neither name nor names, such a file is a
	// pattern: there is a zone for each file, called what "*" stands for.
	File string `json:"file,omitzero" format:"file" example:"zones/example.com.zone"`

	*ZoneRules

	// ListedBy is the catalog that the zone comes from; not a key.
	ListedBy dnsname.Name `json:"-"`
}

// ZoneRules is what an entry of zones[] says beside the name of a zone and where it comes
// from. All zones of an entry that is about many have the same one, and nobody changes it
// once the file is read.
type ZoneRules struct {
	// Primaries are the servers that a zone of kind secondary is transferred from,
	// tried in this order. NOTIFY is heard from their addresses and their keys.
	Primaries []Peer `json:"primaries,omitzero" max:"16"`
	// Transfer are the servers that may have the whole zone by AXFR and IXFR.
	// Nobody else may.
	Transfer []TransferRule `json:"transfer,omitzero" max:"1000"`
	// Query are those who may ask about names in the zone; everybody if there are
	// none. Others get REFUSED with the extended error Prohibited. Transfer, primaries
	// and updates have rules of their own, which this does not touch.
	Query []TransferRule `json:"query,omitzero" max:"1000"`
	// Notify are the servers that are told when the zone has changed (RFC 1996).
	Notify []Peer `json:"notify,omitzero" max:"256"`
	// Gate is what a version of the zone has to pass before it is served. Until it
	// does, the version before it is served on, and what is wrong is a problem.
	Gate Gate `json:"gate,omitzero"`
	// DNSSEC is the policy under dnssec.policies that the zone is signed by;
	// "default" is always there. "insecure" leads a signed zone out of DNSSEC, in
	// steps that break nothing. To leave the key out later changes nothing: a zone
	// that is signed stays so.
	DNSSEC string `json:"dnssec,omitzero" example:"default"`

	signing *Policy // that of DNSSEC
	// Updates say who may change the zone by dynamic update (RFC 2136), of kind store.
	// The rules are tried in this order for each record of an update by itself: the
	// first that is about the client, the name and the type decides. What no rule is
	// about may not be changed. An update of which one record may not be changed
	// changes nothing.
	Updates []UpdateRule `json:"updates,omitzero" max:"1000"`
	// ForwardUpdates sends signed updates of a zone of kind secondary on to its
	// primaries, which decide about them (RFC 2136 §6). The key need not be known
	// here.
	ForwardUpdates bool `json:"forwardUpdates,omitzero" example:"true"`
	// Children says whether the DS records of delegations follow what the children say in CDS
	// and CDNSKEY records (RFC 7344), of kind store outside of views.
	Children Children `json:"children,omitzero"`
	// Reports are errors that resolvers meet with in the zone (RFC 9567).
	Reports Reports `json:"reports,omitzero"`
	// Serial is which serial the next version of a zone of kind store gets: one more,
	// the seconds since 1970, or the date as YYYYMMDDnn. It always goes forward.
	Serial string `json:"serial" enum:"increment,unixtime,date" default:"increment" example:"date"`
	// History is which versions of a zone of kind store can be shown and gone back to.
	History History `json:"history,omitzero"`
	// Catalog makes the zone a catalog whose members are served here, as secondary
	// zones (RFC 9432).
	Catalog Catalog `json:"catalog,omitzero"`
	// CatalogMember is the zone of kind catalog that lists this zone.
	CatalogMember dnsname.Name `json:"catalogMember,omitzero" example:"catalog.example"`
	// CatalogGroup is the group that the catalog says of this zone: a hint for how
	// others are to configure it.
	CatalogGroup string `json:"catalogGroup,omitzero" example:"signed"`
	// CatalogOwner is another catalog that may take this zone over from the one that
	// lists it.
	CatalogOwner dnsname.Name `json:"catalogOwner,omitzero" example:"new-catalog.example"`
}

// Children says how a zone gets the DS records of its delegations from the children. All
// addresses of a child's name servers have to say the same, by keys that the present DS
// records name; what would leave it without a chain of trust is refused.
type Children struct {
	// CDS is follow, which has the DS records changed as the children ask, or off.
	CDS string `json:"cds" enum:"off,follow" default:"off" example:"follow"`
	// Every is how often each child is asked. "pharos zone children --ask" asks at once.
	Every Duration `json:"every" default:"1h" min:"1s" max:"720h" example:"15m"`
	// KeepSigned leaves it to people to remove the DS records of a child that asks for that
	// (RFC 8078 §4).
	KeepSigned bool `json:"keepSigned,omitzero" example:"true"`
	// Bootstrap gives a child its first DS records, if the zones of all its name servers that
	// are not in itself vouch for them (RFC 9615); the resolver, which has to be on and to
	// validate, looks for that.
	Bootstrap bool `json:"bootstrap,omitzero" example:"true"`
}

// History is which versions of a zone are kept: the newest ones, and all that are not
// too old, as far as there is room.
type History struct {
	// Versions is how many of the newest versions are kept however old they are.
	Versions int `json:"versions" default:"100" min:"0" max:"100000000" example:"1000"`
	// For is how long versions are kept however many they are.
	For Duration `json:"for" default:"720h" min:"0s" max:"87600h" example:"2160h"`
	// Size is how many octets of disk they may take, beside the zone itself. The oldest
	// make room.
	Size Size `json:"size" default:"64MiB" min:"1MiB" max:"64GiB" example:"1GiB"`
}

// Gate is what a version of a zone has to pass before it is served. Each key is
// what is done about what it finds: off, warn (say it, and serve the version) or
// refuse. What cannot be served at all is always refused: a zone without SOA or NS
// records, a CNAME beside other data.
type Gate struct {
	// Serial finds a change under a serial that does not go forward (RFC 1982),
	// which secondaries do not see. auto warns for a zone of kind file that has
	// transfer or notify, and refuses for a zone that is changed by commands.
	// Transfers have a check of their own: see pharos zone refresh --force.
	Serial string `json:"serial" enum:"auto,off,warn,refuse" default:"auto" example:"refuse"`
	// Glue finds name servers within the zone that have no address in it.
	Glue string `json:"glue" enum:"off,warn,refuse" default:"warn" example:"refuse"`
	// Aliases finds name servers and mail exchangers that are aliases (RFC 2181
	// §10.3), and names below a DNAME (RFC 6672 §2.4).
	Aliases string `json:"aliases" enum:"off,warn,refuse" default:"warn" example:"off"`
	// Signatures finds RRsets of a signed zone whose signatures have expired or are
	// not valid yet, and signatures of SOA, NS and DNSKEY that are not by the zone's
	// keys.
	Signatures string `json:"signatures" enum:"off,warn,refuse" default:"warn" example:"refuse"`
	// ZONEMD finds a digest of the zone (RFC 8976) that does not fit: the zone is not
	// as it was made. require also refuses a zone that has none. It takes a walk over the
	// whole zone for each version.
	ZONEMD string `json:"zonemd" enum:"off,warn,refuse,require" default:"off" example:"refuse"`
	// MaxChange is how much of the zone may be deleted, or added, in one step, in
	// percent of its records; more is refused until "pharos zone accept". What
	// DNSSEC adds by itself does not count. 0: any amount.
	MaxChange int `json:"maxChange" default:"0" min:"0" max:"100" example:"20"`
	// MinRecords is how many records a version has at least; likewise.
	MinRecords int `json:"minRecords" default:"0" min:"0" max:"4000000000" example:"10"`
	// MaxRecords is how many records a version has at the most. 100 million take some 6
	// to 9 GiB of memory. No more than these are read from a file or a primary.
	MaxRecords uint32 `json:"maxRecords" default:"100000000" min:"1" max:"4000000000" example:"1000000"`
	// MaxNames is how many names it has at the most, with those that exist only because
	// of others below them: a record with 120 labels makes as many.
	MaxNames uint32 `json:"maxNames" default:"100000000" min:"1" max:"2000000000" example:"1000000"`
	// MaxRRset is how many records of one type are at one name at the most, signatures
	// aside. 4096 addresses fit one message; what does not can never be answered.
	MaxRRset uint32 `json:"maxRRset" default:"4096" min:"1" max:"65535" example:"100"`
	// MaxTypes is of how many types they are. There are some 100 types in use, and they
	// are looked through one after the other.
	MaxTypes uint32 `json:"maxTypes" default:"256" min:"1" max:"65535" example:"100"`
}

// Reports is where resolvers report what fails in a zone, as a question below the
// agent's name (RFC 9567).
type Reports struct {
	// Agent is named to resolvers in every answer from the zone.
	Agent dnsname.Name `json:"agent,omitzero" example:"agent.example.net"`
	// Receive makes the zone that of an agent: questions below its name that are
	// reports are counted, and new ones logged. Give it a record to answer them with:
	// "*._er TXT received". Over UDP reporters are told to come by TCP, or with a cookie.
	Receive bool `json:"receive,omitzero" example:"true"`
}

// Peer is another server of a zone.
type Peer struct {
	// Address is where the server answers DNS queries.
	Address netip.AddrPort `json:"address" required:"true" example:"192.0.2.1:53"`
	// Key signs what is sent to the server, which then has to sign its answers.
	// Left out: nothing is signed.
	Key dnsname.Name `json:"key,omitzero" example:"transfer-key"`
	// TLS has the server asked over TLS only (RFC 9103), at a port for that, which is
	// 853 in general. Only of primaries: NOTIFY goes over UDP and TCP.
	TLS PeerTLS `json:"tls,omitzero"`
}

// PeerTLS says how to know a server by its certificate. With name and pin, both must
// hold.
type PeerTLS struct {
	// Name is the name in the server's certificate, which CA must have signed.
	Name string `json:"name,omitzero" example:"ns1.example.com"`
	// CA is a PEM file with the authorities that are believed. Left out: those of
	// the system.
	CA string `json:"ca,omitzero" format:"file" example:"tls/ca.crt"`
	// Pin is the SHA-256 of the public key in the server's certificate, in base64.
	// Without Name nothing else about the certificate matters.
	Pin string `json:"pin,omitzero" example:"H7jQkUhFTQSaAWlMNuJFq1TaZHgPVF1JJAZmmHbfx/c="`
	// Certificate and Key are PEM files of what the node shows to the server, if
	// that asks (mutual TLS).
	Certificate string `json:"certificate,omitzero" format:"file" example:"tls/client.crt"`
	// Key is the file with the private key of Certificate.
	Key string `json:"key,omitzero" format:"file" example:"tls/client.key"`
}

// TransferRule names who may have a zone. What is said must hold together.
type TransferRule struct {
	// Network are the addresses that the request may come from.
	Network netip.Prefix `json:"network,omitzero" example:"192.0.2.0/24"`
	// Key is what the request must be signed with.
	Key dnsname.Name `json:"key,omitzero" example:"transfer-key"`
	// TLS has the zone sent only over TLS or QUIC. Only of transfer rules.
	TLS TransferTLS `json:"tls,omitzero"`
}

// TransferTLS says what a client must show by TLS before it gets a zone (RFC 9103).
// Any key of it needs TLS 1.3, at listen.dot or listen.doq.
type TransferTLS struct {
	// Required has the zone sent only over TLS, whoever the client is.
	Required bool `json:"required,omitzero" example:"true"`
	// CA is a PEM file with the authorities of which one must have signed the
	// client's certificate.
	CA string `json:"ca,omitzero" format:"file" example:"tls/ca.crt"`
	// Name is a name that must be in the client's certificate.
	Name string `json:"name,omitzero" example:"secondary.example.com"`
}

// UpdateRule says who may change what of a zone, or may not. What is said must hold
// together; what is left out says nothing.
type UpdateRule struct {
	// Deny keeps the client from changing what the rule is about, whatever later
	// rules say.
	Deny bool `json:"deny,omitzero" example:"true"`
	// Key is what the update must be signed with. Without a key, an update that comes
	// over UDP from elsewhere than this machine must carry a DNS cookie: the sender's
	// address could be forged.
	Key dnsname.Name `json:"key,omitzero" example:"acme-key"`
	// Network are the addresses that the update may come from.
	Network netip.Prefix `json:"network,omitzero" example:"192.0.2.0/24"`
	// Names are owner names of records, without what is below them.
	Names []dnsname.Name `json:"names,omitzero" max:"1000" example:"_acme-challenge.example.com"`
	// Subtrees are owner names of records with all that is below them. Without names,
	// subtrees and self the rule is about every name of the zone.
	Subtrees []dnsname.Name `json:"subtrees,omitzero" max:"1000" example:"dyn.example.com"`
	// Self is the owner name that is the name of the key.
	Self bool `json:"self,omitzero" example:"true"`
	// Types are the types of records. Left out: all but SOA, NS, RRSIG, NSEC and
	// NSEC3. ANY: all.
	Types []rdata.Type `json:"types,omitzero" max:"100" example:"TXT"`
}

// Key is a secret that the node shares with other servers. Both sides need the
// same name, algorithm and secret. Protect the file that has it.
type Key struct {
	// Name is the name of the key, which requests carry.
	Name dnsname.Name `json:"name" required:"true" example:"transfer-key"`
	// Algorithm is what signatures are made with.
	Algorithm string `json:"algorithm" enum:"hmac-sha1,hmac-sha224,hmac-sha256,hmac-sha384,hmac-sha512" default:"hmac-sha256" example:"hmac-sha512"`
	// Secret is the secret in base64, as keymgr, tsig-keygen and others print it.
	Secret string `json:"secret,omitzero" example:"K2tf3TRjvQkVCmJF3/Z9vA=="`
	// SecretFile is a file that has the secret in base64 and nothing else. It is
	// read with the configuration.
	SecretFile string `json:"secretFile,omitzero" format:"file" example:"transfer.key"`
}

// Transfers bounds what is given to secondaries and taken from primaries.
type Transfers struct {
	// Outgoing is how many transfers are sent at a time. Beyond it SERVFAIL, and
	// secondaries come again.
	Outgoing int `json:"outgoing" default:"64" min:"1" max:"10000" example:"16"`
	// OutgoingPerClient is how many of them one address may have.
	OutgoingPerClient int `json:"outgoingPerClient" default:"8" min:"1" max:"10000" example:"2"`
	// Journal is the memory for the differences between versions of one zone,
	// which IXFR is answered from. The oldest make room; 0: AXFR only.
	Journal Size `json:"journal" default:"16MiB" min:"0" max:"16GiB" example:"1MiB"`
	// Journals is the memory for the differences of all zones together. At the limit
	// the zones that have not changed for longest lose theirs: a secondary that has
	// missed their last change gets the zone whole.
	Journals Size `json:"journals" default:"512MiB" min:"0" max:"1TiB" example:"64MiB"`
	// Incoming is how many transfers are received at a time; others wait.
	Incoming int `json:"incoming" default:"16" min:"1" max:"10000" example:"4"`
	// IncomingPerPrimary is how many of them come from one address, so that a primary
	// that is slow holds up its own zones only.
	IncomingPerPrimary int `json:"incomingPerPrimary" default:"8" min:"1" max:"10000" example:"2"`
	// MaxRecords is how many records one transfer may have. Beyond it the version
	// is refused, and the one before is served on.
	MaxRecords int `json:"maxRecords" default:"100000000" min:"10" max:"4000000000" example:"1000000"`
	// MaxSize is how many octets of messages one transfer may have; likewise.
	MaxSize Size `json:"maxSize" default:"8GiB" min:"64KiB" max:"1TiB" example:"1GiB"`
	// MaxTime is how long one transfer may take; likewise.
	MaxTime Duration `json:"maxTime" default:"1h" min:"1s" max:"24h" example:"10m"`
}

// Resolver looks names up for clients, from the root down, and keeps what it
// learned.
type Resolver struct {
	// Allow are the clients that may ask for recursion; the others get REFUSED.
	// An empty list turns the resolver off. Do not open it to the Internet: it
	// would be used to flood others (RFC 5358).
	Allow []netip.Prefix `json:"allow" default:"127.0.0.0/8,::1/128" max:"10000" example:"192.0.2.0/24"`
	// RootHints is a master file with the names and addresses of the root
	// servers. Empty: those built in. It is read again when it changes. One that cannot be
	// read is the problem root-hints-damaged: what was read before counts, and if that is
	// nothing only zones of ours and of routes resolve; the Internet's root is not asked in
	// place of yours.
	RootHints string `json:"rootHints" format:"file" default:"" example:"named.root"`
	// Port is where authoritative servers are asked. Anything but 53 is for
	// labs.
	Port uint16 `json:"port" default:"53" min:"1" max:"65535" example:"5353"`
	// CacheSize is the memory for what was learned: 7/16 each for records and for
	// answers that are ready, 1/8 for what is remembered of servers, chains of trust and
	// proofs. All of it together takes at most 5 % more; what has not been used for longest
	// makes room for what is new. Beside it there are the stories of failures (32 MiB at
	// most) and what the garbage collector keeps free.
	CacheSize Size `json:"cacheSize" default:"256MiB" min:"1MiB" max:"1TiB" example:"1GiB"`
	// Timeout is how long one client query may be worked on before SERVFAIL: as long as
	// stub resolvers wait (resolv.conf's timeout, 5 s). More than 10 s serves nobody.
	Timeout Duration `json:"timeout" default:"5s" min:"100ms" max:"1m" example:"3s"`
	// Limits bound the work that questions can cause.
	Limits ResolverLimits `json:"limits"`
	// Routes are zones whose servers are known without a delegation: private ones,
	// and those left to other resolvers. Of several the deepest counts.
	Routes []ResolverRoute `json:"routes,omitzero" max:"100000"`
	// ClientSubnet tells servers of chosen zones for which network a question is.
	ClientSubnet ResolverSubnet `json:"clientSubnet"`
	// Designated is what clients are told of the encrypted listeners of this resolver.
	Designated Designated `json:"designated,omitzero"`
	// SpecialNames answers names here that the Internet can know nothing of:
	// localhost, test, local, home.arpa, onion, private addresses and the like (RFC
	// 6761, RFC 6303). Zones here and routes to other servers come first. With
	// rootHints of your own only localhost, invalid and onion are special.
	SpecialNames bool `json:"specialNames" default:"true" example:"false"`
	// Minimise shows each server only as much of a name as it needs to know (QNAME
	// minimisation, RFC 9156). A server that answers less than the whole name with
	// an error, or not at all, is shown the whole.
	Minimise bool `json:"minimise" default:"true" example:"false"`
	// MixCase writes names in queries in a random mixture of upper and lower case,
	// which replies have to repeat, so that they are harder to forge. A server that
	// does not repeat it is asked over TCP.
	MixCase bool `json:"mixCase" default:"true" example:"false"`
	// ServeStale is how much longer answers are kept beyond their time, and given
	// with a TTL of 30 seconds at most when the servers that could renew them do not answer
	// within 1.8 seconds, or fail (RFC 8767, which advises one to three days; one bridges
	// outages, and what is older is more often wrong than missing). 0: never.
	ServeStale Duration `json:"serveStale" default:"24h" min:"0s" max:"168h" example:"72h"`
	// MinTTL is the least time that records are kept and told for. More than 0 is
	// against RFC 2181 §8: who lowers a TTL to move a service is not heard for that long.
	MinTTL Duration `json:"minTTL" default:"0s" min:"0s" max:"1h" example:"30s"`
	// MaxTTL is the longest time that records are kept and told for, as in Unbound and
	// PowerDNS: a mistake, or a forgery, is gone after a day.
	MaxTTL Duration `json:"maxTTL" default:"24h" min:"1s" max:"168h" example:"1h"`
	// MaxNegativeTTL is the same for what does not exist. RFC 2308 §5 advises one to three
	// hours; with one, a new name that was asked for too early is seen soonest.
	MaxNegativeTTL Duration `json:"maxNegativeTTL" default:"1h" min:"1s" max:"3h" example:"15m"`
	// SaveCache is how long after the cache was written to the data folder it is
	// written again, so that a process that follows begins with it, even after a
	// kill; it is also written when the process ends. Writing takes half a percent of
	// one processor. 0: it is neither written nor read.
	SaveCache Duration `json:"saveCache" default:"1m" min:"0s" max:"24h" example:"10m"`
	// Prefetch fetches a popular answer anew when it is asked for near the end of its
	// time, so that nobody has to wait for it later: in the last tenth to quarter of it,
	// the earlier the more seldom it is asked for. Servers are asked more often for it, by a
	// ninth to a third.
	Prefetch bool `json:"prefetch" default:"true" example:"false"`
	// PrefetchAsks is how often an answer has to be asked for in its time to be popular;
	// earlier times count half, a quarter and so on. With 1 every answer is.
	PrefetchAsks int `json:"prefetchAsks" default:"3" min:"1" max:"60" example:"10"`
	// ErrorReports tells the owners of zones that name an agent for it when names of
	// theirs do not resolve here, by asking for a name below the agent's (RFC 9567). The
	// agent learns which names are asked for here.
	ErrorReports bool `json:"errorReports" default:"false" example:"true"`
	// Aggressive answers names and types that validated denials prove not to exist,
	// though nobody has asked for them before, and names that a wildcard stands for from
	// what is known of that (RFC 8198). It keeps floods of random names in signed zones
	// from their servers, and costs nothing else: turn it off to see what servers say.
	Aggressive bool `json:"aggressive" default:"true" example:"false"`
	// Validate has answers proven by DNSSEC: what is signed wrongly is SERVFAIL,
	// with the reason as extended error. Turn it off only for a private root that
	// is not signed.
	Validate bool `json:"validate" default:"true" example:"false"`
	// TrustAnchors are DS or DNSKEY records in master file form that chains of
	// trust begin with, in place of the root's built-in ones (keys 20326 and 38696).
	TrustAnchors []string `json:"trustAnchors" default:"" max:"100" example:". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"`
	// Trust says where trust anchors come from, and whether their keys are followed.
	Trust Trust `json:"trust"`
	// LocalRoot keeps a copy of the root zone, from which names are resolved without asking
	// the root's servers.
	LocalRoot LocalRoot `json:"localRoot"`
	// NegativeTrustAnchors are names at and below which nothing is validated
	// (RFC 7646): for a domain whose owner has broken it. They stay until they are taken
	// out; "pharos resolver nta add" makes one that ends by itself.
	NegativeTrustAnchors []dnsname.Name `json:"negativeTrustAnchors" default:"" max:"1000" example:"broken.example.com"`
	Rewriting
}

// ResolverRoute says whom the resolver asks about a zone.
type ResolverRoute struct {
	// Zone is where the route begins: it is for this name and all below. "." is for
	// all names.
	Zone dnsname.Name `json:"zone" required:"true" example:"corp.example"`
	// Kind is what the servers are: a forward zone's are resolvers, which find the
	// whole answer; a stub zone's serve the zone themselves.
	Kind string `json:"kind" enum:"forward,stub" default:"forward" example:"stub"`
	// Servers are asked over UDP and TCP, the one that answers soonest first.
	Servers []netip.AddrPort `json:"servers,omitzero" max:"13" example:"192.0.2.1:53"`
	// Discover has the servers of a forward route asked whether they can be asked
	// encrypted (RFC 9462), and asked so where that is true. Opportunistic: they are asked
	// in the clear while that does not work. Strict: they never are, but for finding out.
	Discover string `json:"discover" enum:"off,opportunistic,strict" default:"off" example:"opportunistic"`
	// DiscoverCA is a PEM file with the authorities that sign the certificates of what is
	// found, which have to name the server's address. Empty: those of the system.
	DiscoverCA string `json:"discoverCA,omitzero" example:"tls/ca.pem"`
	// Encrypted are servers that are asked over TLS, HTTPS or QUIC, and never
	// otherwise. A route has either these or servers, as what one may read another
	// might as well.
	Encrypted []EncryptedServer `json:"encrypted,omitzero" max:"13"`
	// First goes on as if there was no route when no server has an answer.
	// Otherwise the answer is SERVFAIL then.
	First bool `json:"first" default:"false" example:"true"`
	// Validate has what the servers say proven by DNSSEC. Turn it off for a private
	// zone that the public parent knows nothing of.
	Validate bool `json:"validate" default:"true" example:"false"`
}

// ResolverSubnet has the servers of some zones told the networks of clients (EDNS
// client subnet, RFC 7871), so that they can answer with what is near. It costs
// privacy and cache: each network has answers of its own. A client that sends the
// option with length 0 is not told of; nor are private addresses.
type ResolverSubnet struct {
	// Zones are those whose servers are told, and those below. None: nobody is told.
	Zones []dnsname.Name `json:"zones,omitzero" max:"1000" example:"cdn.example"`
	// IPv4 is how many bits of an IPv4 address are told.
	IPv4 int `json:"ipv4" default:"24" min:"1" max:"24" example:"20"`
	// IPv6 is how many bits of an IPv6 address are told.
	IPv6 int `json:"ipv6" default:"56" min:"1" max:"56" example:"48"`
	// Encrypted has encrypted servers told, too. They are asked so that fewer know who
	// asks what.
	Encrypted bool `json:"encrypted" default:"false" example:"true"`
}

// Designated is how clients of the resolver find its encrypted listeners, at
// _dns.resolver.arpa (RFC 9462), and learn what it does, by the type RESINFO (RFC 9606).
type Designated struct {
	// Name is the resolver's name in its certificate. Clients that know the resolver by
	// its address also want the address in the certificate. Without a name they are told
	// of no listener.
	Name dnsname.Name `json:"name,omitzero" example:"dns.example.com"`
	// Addresses are where clients reach the encrypted listeners. Left out: those that
	// they listen on, unless they listen on all.
	Addresses []netip.Addr `json:"addresses,omitzero" max:"16" example:"192.0.2.53"`
	// InfoURL is where people find more about the resolver.
	InfoURL string `json:"infoURL,omitzero" example:"https://dns.example.com/about"`
}

// EncryptedServer is a server that the resolver asks encrypted. It must prove who it
// is, or it is told nothing.
type EncryptedServer struct {
	// Address is where it is asked. The port is 853 for DoT and DoQ and 443 for DoH, in
	// general.
	Address netip.AddrPort `json:"address" required:"true" example:"192.0.2.1:853"`
	// Transport is dot (RFC 7858), doh (RFC 8484, over HTTP/2) or doq (RFC 9250).
	Transport string `json:"transport" enum:"dot,doh,doq" default:"dot" example:"doh"`
	// TLS says how it is known. It needs a name or a pin.
	TLS PeerTLS `json:"tls"`
	// Path is the path of the URI that DoH has; its host is tls.name.
	Path string `json:"path" default:"/dns-query" example:"/dns-query"`
}

// DNS bounds what the DNS listeners take on.
type DNS struct {
	// UDPWorkers is how many loops serve each UDP address, each with a socket
	// of its own. 0: one for each core.
	UDPWorkers int `json:"udpWorkers" default:"0" min:"0" max:"1024" example:"4"`
	// TCPConnections is how many TCP connections are open at most. At the
	// limit the one that has been idle longest is closed (RFC 7766 §6.2.3).
	TCPConnections int `json:"tcpConnections" default:"2048" min:"1" max:"1000000" example:"10000"`
	// TCPPerClient is how many of them one IPv4 address or one IPv6 /64 may have.
	// At the limit new ones are refused.
	TCPPerClient int `json:"tcpPerClient" default:"128" min:"1" max:"1000000" example:"8"`
	// TCPIdle is how long a TCP connection stays open without a query
	// (RFC 7766 §6.2.3).
	TCPIdle Duration `json:"tcpIdle" default:"10s" min:"100ms" max:"1h" example:"30s"`
	// TCPPipeline is how many queries of one TCP connection are worked on at a
	// time; the next ones wait in the socket.
	TCPPipeline int `json:"tcpPipeline" default:"64" min:"1" max:"65535" example:"16"`
	// TCPQueries is how many queries one TCP connection may bring before it is
	// closed, and its client opens another. 0: any number.
	TCPQueries int `json:"tcpQueries" default:"0" min:"0" max:"1000000000" example:"10000"`
	// Encrypted bounds what listen.dot, listen.doh, listen.doh3 and listen.doq take
	// on, each by itself.
	Encrypted Encrypted `json:"encrypted"`
	// Proxy says who may speak for clients.
	Proxy Proxy `json:"proxy"`
	// NSID is the name of this server in answers to those who ask for it
	// (RFC 5001), to tell the servers behind one address apart. Up to 64 octets.
	// Empty: it is not told.
	NSID string `json:"nsid" default:"" example:"ns1.fra"`
	// CookieSecret is what server cookies are made with (RFC 9018), 32 hexadecimal
	// digits. Servers behind one address need the same, be they Pharos, BIND, Knot
	// or NSD. Empty: a random one for each start.
	CookieSecret string `json:"cookieSecret" default:"" example:"e5e973e5a6b2a43f48e7dc849e37bfcf"`
	// RateLimit is how many answers of one kind (with records, without, no such
	// name, errors) go in a second over UDP to one IPv4 /24 or IPv6 /56. Of those
	// too many half are dropped, half tell the client to use TCP. Clients with a
	// good cookie, and those that may use the resolver, have no limit. 0: nobody
	// has one.
	RateLimit int `json:"rateLimit" default:"0" min:"0" max:"1000000" example:"50"`
	// RateLimitExempt are the networks that RateLimit is not for.
	RateLimitExempt []netip.Prefix `json:"rateLimitExempt" default:"" max:"10000" example:"192.0.2.0/24"`
	Answers
}

// Encrypted bounds what the encrypted DNS listeners take on, each by itself.
type Encrypted struct {
	// Connections is how many connections are open at most. At the limit the one
	// that has been idle longest is closed.
	Connections int `json:"connections" default:"2048" min:"1" max:"1000000" example:"10000"`
	// PerClient is how many of them one IPv4 address or one IPv6 /64 may have.
	// At the limit new ones are refused.
	PerClient int `json:"perClient" default:"128" min:"1" max:"1000000" example:"8"`
	// Idle is how long a connection stays open without a query. To come back costs
	// a client more than over TCP.
	Idle Duration `json:"idle" default:"30s" min:"100ms" max:"1h" example:"10s"`
	// Pipeline is how many queries of one connection are worked on at a time: the
	// streams of DoH, DoH3 and DoQ.
	Pipeline int `json:"pipeline" default:"100" min:"1" max:"10000" example:"16"`
	// Queries is how many queries one connection may bring before it is closed, and
	// its client opens another. 0: any number.
	Queries int `json:"queries" default:"0" min:"0" max:"1000000000" example:"10000"`
	// Handshakes is how many TLS handshakes may begin in a second, over all encrypted
	// listeners: one costs as much as a hundred queries. More are cut off before. 0: any
	// number.
	Handshakes int `json:"handshakes" default:"4000" min:"0" max:"1000000" example:"1000"`
	// HandshakesPerNetwork is how many of them an IPv4 /24 or an IPv6 /56 may begin.
	HandshakesPerNetwork int `json:"handshakesPerNetwork" default:"500" min:"0" max:"1000000" example:"50"`
	// Path is where DoH and DoH3 answer (RFC 8484 §4.1).
	Path string `json:"path" default:"/dns-query" example:"/dns-query"`
}

// Proxy says who may speak for clients.
type Proxy struct {
	// Trusted are the networks of proxies that send a PROXY header (version 2)
	// before each connection over TCP, DoT and DoH, and in each datagram over UDP.
	// The client in it counts for access, limits, views and logs. From these
	// networks nothing without a header is heard; from all others nothing with one.
	Trusted []netip.Prefix `json:"trusted" default:"" max:"1000" example:"10.0.0.0/24"`
}

// TLS is what encrypted listeners show to clients. Files are read again when they
// change, without a connection noticing.
type TLS struct {
	// Certificates are shown by the name that a client asks for; the first also to
	// those that ask for none or another.
	Certificates []Certificate `json:"certificates" max:"1000"`
	// SelfSigned makes a certificate that is signed by nobody but itself, to try
	// things out with: it is kept in the data folder, "pharos status" shows its
	// fingerprint, and clients have to be told not to check it or to expect that.
	SelfSigned bool `json:"selfSigned" default:"false" example:"true"`
	// MinVersion is the oldest version of TLS for DoT, DoH and HTTPS. QUIC, and the
	// transfer of zones over TLS, always need 1.3.
	MinVersion string `json:"minVersion" enum:"1.2,1.3" default:"1.2" example:"1.3"`
}

// Certificate is a certificate and its key.
type Certificate struct {
	// Certificate is a PEM file with the server's certificate and then those that
	// lead from it to the root.
	Certificate string `json:"certificate" required:"true" format:"file" example:"tls/ns1.example.com.crt"`
	// Key is a PEM file with the private key.
	Key string `json:"key" required:"true" format:"file" example:"tls/ns1.example.com.key"`
}

// Gateway bounds what the HTTP listeners take on.
type Gateway struct {
	// TrustedProxies are the addresses whose X-Forwarded-For, Forwarded and
	// X-Request-Id fields are believed. From all others they are replaced.
	TrustedProxies []netip.Prefix `json:"trustedProxies" default:"" max:"10000" example:"10.0.0.0/8"`
	// AccessLog is where each request leaves a line: a file, stdout, syslog or off.
	AccessLog string `json:"accessLog" format:"file" default:"off" example:"/var/log/pharos/access.log"`
	// AccessLines are those lines.
	AccessLines AccessLines `json:"accessLines"`
	// Tracing has requests take part in traces.
	Tracing Tracing `json:"tracing"`
	// Past is which requests are kept, to be explained by their ids.
	Past Past `json:"past"`
	// Compression compresses content of responses.
	Compression Compression `json:"compression"`
	// AffinitySecret is a file with the secret that signs cookies of pools with affinity:
	// 32 octets or more in hexadecimal. Gateways that serve the same clients must have
	// the same one. Default: a secret that is made, in the data folder.
	AffinitySecret string `json:"affinitySecret,omitzero" format:"file" default:"" example:"/etc/pharos/affinity.secret"`
	// Timeouts end what takes too long.
	Timeouts GatewayTimeouts `json:"timeouts"`
	// Limits refuse what is too much.
	Limits GatewayLimits `json:"limits"`
	// HTTP2 is for connections of HTTP/2.
	HTTP2 GatewayHTTP2 `json:"http2"`
	// HTTP3 is for connections of HTTP/3.
	HTTP3 GatewayHTTP3 `json:"http3"`
	// ProxyProtocol are the networks of proxies that begin each connection with a PROXY
	// header, version 1 or 2. The client in it counts for routes, limits and logs, and is
	// passed on. From these networks no connection without a header is let in, from all others
	// none with one.
	ProxyProtocol []netip.Prefix `json:"proxyProtocol" default:"" max:"1000" example:"10.0.0.0/24"`
	// TLS is about listen.https.
	TLS GatewayTLS `json:"tls,omitzero"`
}

// GatewayTimeouts end what takes too long.
type GatewayTimeouts struct {
	// Header is how long a client may take to send the fields of a request,
	// from its first octet. Then 408.
	Header Duration `json:"header" default:"10s" min:"100ms" max:"10m" example:"5s"`
	// Content is how long a client or an origin server may pause while content
	// is sent or taken.
	Content Duration `json:"content" default:"20s" min:"100ms" max:"1h" example:"1m"`
	// Idle is how long a client connection stays open between two requests.
	Idle Duration `json:"idle" default:"60s" min:"100ms" max:"1h" example:"15s"`
	// Connect is how long a connection to an origin server may take to open.
	Connect Duration `json:"connect" default:"1s" min:"10ms" max:"1m" example:"500ms"`
	// Response is how long an origin server may take until its response begins,
	// and between two pieces of it. Then 504, or the response is cut off.
	Response Duration `json:"response" default:"30s" min:"10ms" max:"1h" example:"10s"`
	// OriginIdle is how long a connection to an origin server is kept for the
	// next request.
	OriginIdle Duration `json:"originIdle" default:"30s" min:"100ms" max:"1h" example:"10s"`
	// Tunnel is how long a tunnel (WebSocket) stays open without an octet.
	Tunnel Duration `json:"tunnel" default:"1h" min:"1s" max:"24h" example:"10m"`
	// Drain is how long requests may go on when the node stops.
	Drain Duration `json:"drain" default:"10s" min:"0s" max:"10m" example:"30s"`
}

// GatewayLimits refuse what is too much.
type GatewayLimits struct {
	// Connections is how many client connections are open at most; beyond it
	// 503.
	Connections int `json:"connections" default:"65536" min:"1" max:"10000000" example:"10000"`
	// PerClient is how many of them one client may have, an IPv4 address or a /64 of IPv6, so
	// that nobody alone takes all places. 0: no limit. Proxies of gateway.trustedProxies may have any
	// number, and clients that they name by the PROXY protocol are counted instead. Beyond it
	// 503, or with TLS the end. Those of HTTP/3 are gateway.http3.perClient.
	PerClient int `json:"perClient" default:"16384" min:"0" max:"10000000" example:"256"`
	// Fields is how large the request line and the fields of a request, or of
	// a response, may be. Beyond it a client gets 431, for an origin server 502.
	Fields Size `json:"fields" default:"32KiB" min:"1KiB" max:"1MiB" example:"64KiB"`
	// Content is how large the content of a request may be; beyond it 413.
	// 0: no limit, content is passed on as it comes and never held.
	Content Size `json:"content" default:"0" min:"0" example:"100MiB"`
	// Inspect is how much of the content of a request is looked at for routes that go by it.
	Inspect Size `json:"inspect" default:"16KiB" min:"1" max:"32KiB" example:"4KiB"`
	// OriginIdle is how many connections to each member are kept for the next
	// request.
	OriginIdle int `json:"originIdle" default:"1024" min:"1" max:"65535" example:"64"`
	// Retries is how many other members a request is tried on, if it is safe
	// to repeat and no part of a response has come.
	Retries int `json:"retries" default:"2" min:"0" max:"7" example:"1"`
	// RetryBudget is how many percent of the requests in flight to a pool may be tried on
	// another member at a time, but always 10: so that a pool that can do no more does not
	// have several times as much to do. At it, the failure is what the client gets.
	RetryBudget int `json:"retryBudget" default:"20" min:"1" max:"100" example:"50"`
}

// Store keeps what is applied at run time, on disk in the data folder.
type Store struct {
	// Enabled turns the store on. Without it only the file counts, and nothing
	// can be applied at run time.
	Enabled bool `json:"enabled" default:"true" example:"false"`
	// Quota is how large the store may grow on disk. At the limit changes are
	// refused; what is there goes on being served.
	Quota Size `json:"quota" default:"256MiB" min:"16MiB" max:"8GiB" example:"1GiB"`
	// History is how many past revisions are kept before they are compacted.
	History int `json:"history" default:"10000" min:"100" max:"10000000" example:"1000"`
}

// Log is the node's own log.
type Log struct {
	// Level is the least severe kind of line that is written.
	Level string `json:"level" enum:"debug,info,warn,error" default:"info" example:"debug"`
	// Format is text for people or json for programs.
	Format string `json:"format" enum:"text,json" default:"text" example:"json"`
	Taps
}
