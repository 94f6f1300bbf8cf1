package config

// ResolverLimits bound the work that clients' questions can cause. The first group is
// the budget of one question, which it shares with everything that is asked on its
// behalf; where it ends, the answer is SERVFAIL, and an extended error names the limit.
type ResolverLimits struct {
	// Queries is how many queries one question may cost, to all servers together. Unbound
	// has 200 and PowerDNS 50; 100 resolves all that was seen in practice from an empty cache.
	Queries int `json:"queries" default:"100" min:"5" max:"10000" example:"200"`
	// Received is how much may be received for one question: four of the largest messages
	// that there are. PowerDNS has 100 kB.
	Received Size `json:"received" default:"256KiB" min:"64KiB" max:"64MiB" example:"1MiB"`
	// Signatures is how many signatures are checked for one question, as in Knot Resolver.
	// An answer through three zones, with all keys new, takes about 12.
	Signatures int `json:"signatures" default:"32" min:"8" max:"1000" example:"64"`
	// Hashes is how many NSEC3 hashes of names are made for one question. A denial of a name
	// with ten labels takes about 12.
	Hashes int `json:"hashes" default:"64" min:"16" max:"10000" example:"128"`
	// ServerLookups is how many addresses of name servers are looked up for one
	// question, over all delegations. It is how many queries one question can bring upon a
	// victim (NXNSAttack, CAMP); Unbound has 64. Names that need more than six are rare.
	ServerLookups int `json:"serverLookups" default:"15" min:"2" max:"1000" example:"48"`
	// DelegationLookups is the same for one delegation, as in Knot Resolver: of five servers
	// one answers. Delegations that are met on the way to such an address have half as many,
	// and so on.
	DelegationLookups int `json:"delegationLookups" default:"5" min:"1" max:"100" example:"10"`
	// Aliases is how many CNAME and DNAME records are followed for one question, as in
	// Unbound and BIND. Names in use have five at most.
	Aliases int `json:"aliases" default:"11" min:"1" max:"100" example:"16"`
	// ZoneRate is how many queries a second the servers of one zone get, over all
	// questions. Questions beyond that are answered SERVFAIL at once, those of clients
	// that ask for much at half of it. The root and top level domains get eight times
	// as many, and routes any number. The same holds for the next two. A flood of random names
	// in one zone costs its servers no more than this; a zone of the largest operators gets
	// some hundreds from a resolver of a million users, as most is in the cache.
	ZoneRate int `json:"zoneRate" default:"2000" min:"1" max:"1000000" example:"500"`
	// ZoneWaiting is how many queries to the servers of one zone wait for a reply at a
	// time: with 20 ms to a server as many as zoneRate lets through ten times over, so it
	// binds where servers are slow. BIND recommends 200 and more.
	ZoneWaiting int `json:"zoneWaiting" default:"400" min:"1" max:"1000000" example:"200"`
	// ServerWaiting is how many queries to one server address wait for a reply at a
	// time: two zones' worth, as servers have many zones.
	ServerWaiting int `json:"serverWaiting" default:"800" min:"1" max:"1000000" example:"400"`
	// Questions is how many questions may wait or be in work at a time. While there is
	// room anybody has it; what is scarce is shared out by the network of the client,
	// an IPv4 /24 or an IPv6 /56. Each takes some kilobytes, so 10,000 take some tens of
	// megabytes; with 100 ms for each they are 100,000 a second.
	Questions int `json:"questions" default:"10000" min:"100" max:"16000" example:"16000"`
	// PerNetwork is how many of them one such network may have, be there room or not: a
	// tenth, as in Unbound (wait-limit). Raise it for a forwarder with all users behind it.
	PerNetwork int `json:"perNetwork" default:"1000" min:"1" max:"16000" example:"200"`
	// Sockets is how many queries to other servers are under way at a time, each with a
	// socket of its own, as a port that is used again is easier to guess. Of the file
	// descriptors that a process may have (1,024 to 524,288, by default) it is a small part
	// where systemd starts it.
	Sockets int `json:"sockets" default:"2048" min:"16" max:"60000" example:"8192"`
	// Discard is after what time an answer over UDP is not sent any more, if more than
	// 16 questions of its network are under way and no cookie proves the client's
	// address: else answers held back by a slow server could be made to arrive
	// somewhere all at once (DNSBomb). 0: never. The time is Unbound's: stub resolvers ask
	// again after two seconds or more.
	Discard Duration `json:"discard" default:"1900ms" min:"0s" max:"1m" example:"0s"`
}
