package node

import (
	"context"
	"time"

	"pharos/internal/admin/versions"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// raiseTimeout bounds the change that raises a serial: longer than any disk that works.
const raiseTimeout = 20 * time.Second

// raise changes the serial of a zone of kind store, if it is less.
func (k *keeping) raise(name dnsname.Name, to rdata.Serial) {
	ctx, cancel := context.WithTimeout(context.Background(), raiseTimeout)
	defer cancel()
	_, err := k.changeInLedger(ctx, name, "this node, after versions were lost", func(now *zone.Zone) (update.Change, error) {
		if !now.Serial().Less(to) {
			return update.Change{}, nil
		}
		soa := transfer.SOA(now)
		data := append([]byte(nil), soa.Data...)
		at := len(data) - 20
		data[at], data[at+1], data[at+2], data[at+3] = byte(to>>24), byte(to>>16), byte(to>>8), byte(to)
		soa.Data = data
		return update.Change{Added: []rdata.Record{soa}}, nil
	})
	if err != nil {
		k.n.log.Error("the serial of a zone whose versions were lost cannot be raised; its secondaries stay behind until it is above", "zone", versions.ID(k.view, name), "serial", uint32(to), "error", err)
	}
}
