package zonetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// Signing is how Sign signs; its zero value has one key of Ed25519 and signatures that
// count from now.
type Signing struct {
	At     time.Time // zero: now
	Split  bool      // a KSK and a ZSK of ECDSA P-256, which every peer knows
	ZONEMD []uint8   // hash algorithms of digests (RFC 8976)
}

// Signed is a zone with its signatures.
type Signed struct {
	Zone   *zone.Zone
	Text   string // a master file
	DS     string // the record for the parent, without a TTL: also a trust anchor
	DNSKEY string // the record of the key that DS names
}

// Sign signs the zone that is in a master file, by NSEC.
func Sign(t testing.TB, origin, text string, how Signing) Signed {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	generate := func(flags uint16, algorithm uint8) *sign.Key {
		k, err := sign.Generate(flags, algorithm, 0)
		must(err)
		return k
	}
	var keys []*sign.Key
	if how.Split {
		keys = append(keys, generate(257, dnssec.ECDSAP256), generate(256, dnssec.ECDSAP256))
	} else {
		keys = append(keys, generate(257, dnssec.Ed25519))
	}
	if how.At.IsZero() {
		how.At = time.Now()
	}
	plan, err := sign.NewPlan(Zone(t, origin, text), nil, sign.Params{Keys: sign.Roles(keys...), ZONEMD: how.ZONEMD}, how.At)
	must(err)
	plan.Work()
	z, _, err := plan.Finish()
	must(err)
	ds, err := keys[0].DS(dnsname.MustParse(origin), dnssec.DigestSHA256)
	must(err)
	var lines strings.Builder
	must(zonefile.Write(&lines, z.Records()))
	return Signed{
		Zone: z, Text: lines.String(), DS: fmt.Sprintf("%s DS %s", origin, rdata.AppendText(nil, rdata.TypeDS, ds)),
		DNSKEY: fmt.Sprintf("%s 3600 IN DNSKEY %s", origin, rdata.AppendText(nil, rdata.TypeDNSKEY, keys[0].RDATA())),
	}
}
