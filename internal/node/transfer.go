package node

import (
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// queryPeer answers what other servers send: what is signed, and NOTIFY.
func (n *Node) queryPeer(_ *Snapshot, r *dnsserver.Request) dnsserver.Verdict {
	r.Out.SetRcode(dnswire.RcodeNotImp)
	return dnsserver.Answered
}

// transferOut answers a request for a whole zone, signed with key if that is set.
func (n *Node) transferOut(_ *Snapshot, r *dnsserver.Request, _ dnsname.Name) dnsserver.Verdict {
	r.Out.SetRcode(dnswire.RcodeRefused)
	r.Out.SetEDE(dnswire.EDEProhibited, "zone transfers are not allowed")
	return dnsserver.Answered
}
