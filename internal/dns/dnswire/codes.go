package dnswire

import "strconv"

// Opcode is the kind of a query (RFC 1035 §4.1.1, RFC 6895 §2.2).
type Opcode uint8

// The opcodes in use.
const (
	OpcodeQuery  Opcode = 0
	OpcodeStatus Opcode = 2
	OpcodeNotify Opcode = 4
	OpcodeUpdate Opcode = 5
	OpcodeDSO    Opcode = 6
)

// String returns the mnemonic of o, or OPCODEn.
func (o Opcode) String() string {
	switch o {
	case OpcodeQuery:
		return "QUERY"
	case OpcodeStatus:
		return "STATUS"
	case OpcodeNotify:
		return "NOTIFY"
	case OpcodeUpdate:
		return "UPDATE"
	case OpcodeDSO:
		return "DSO"
	}
	return "OPCODE" + strconv.Itoa(int(o))
}

// Rcode is a response code with its extension by EDNS: 12 bits (RFC 6891 §6.1.3).
type Rcode uint16

// The response codes in use (RFC 6895 §2.3).
const (
	RcodeNoError  Rcode = 0
	RcodeFormErr  Rcode = 1
	RcodeServFail Rcode = 2
	RcodeNXDomain Rcode = 3
	RcodeNotImp   Rcode = 4
	RcodeRefused  Rcode = 5
	RcodeYXDomain Rcode = 6
	RcodeYXRRSet  Rcode = 7
	RcodeNXRRSet  Rcode = 8
	RcodeNotAuth  Rcode = 9
	RcodeNotZone  Rcode = 10
	RcodeBadVers  Rcode = 16
)

var rcodeNames = [...]string{
	RcodeNoError: "NOERROR", RcodeFormErr: "FORMERR", RcodeServFail: "SERVFAIL", RcodeNXDomain: "NXDOMAIN",
	RcodeNotImp: "NOTIMP", RcodeRefused: "REFUSED", RcodeYXDomain: "YXDOMAIN", RcodeYXRRSet: "YXRRSET",
	RcodeNXRRSet: "NXRRSET", RcodeNotAuth: "NOTAUTH", RcodeNotZone: "NOTZONE", RcodeBadVers: "BADVERS",
}

// String returns the mnemonic of r, or RCODEn.
func (r Rcode) String() string {
	if int(r) < len(rcodeNames) && rcodeNames[r] != "" {
		return rcodeNames[r]
	}
	return "RCODE" + strconv.Itoa(int(r))
}

// MarshalText returns what String returns.
func (r Rcode) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// EDE is an extended DNS error's INFO-CODE (RFC 8914 §4).
type EDE uint16

// The info codes in use here.
const (
	EDEOther                      EDE = 0
	EDEUnsupportedDNSKEYAlgorithm EDE = 1
	EDEUnsupportedDSDigest        EDE = 2
	EDEStaleAnswer                EDE = 3
	EDEForgedAnswer               EDE = 4
	EDEDNSSECIndeterminate        EDE = 5
	EDEDNSSECBogus                EDE = 6
	EDESignatureExpired           EDE = 7
	EDESignatureNotYetValid       EDE = 8
	EDEDNSKEYMissing              EDE = 9
	EDERRSIGsMissing              EDE = 10
	EDENoZoneKeyBitSet            EDE = 11
	EDENSECMissing                EDE = 12
	EDECachedError                EDE = 13
	EDENotReady                   EDE = 14
	EDEBlocked                    EDE = 15
	EDECensored                   EDE = 16
	EDEFiltered                   EDE = 17
	EDEProhibited                 EDE = 18
	EDEStaleNXDomain              EDE = 19
	EDENotAuthoritative           EDE = 20
	EDENotSupported               EDE = 21
	EDENoReachableAuthority       EDE = 22
	EDENetworkError               EDE = 23
	EDEInvalidData                EDE = 24
	EDESignatureInverted          EDE = 25
	EDENSEC3Iterations            EDE = 27
	EDEInvalidQueryType           EDE = 30 // RFC 9824 §9.4
	EDENegativeTrustAnchor        EDE = 33 // draft-farrokhi-dnsop-ede-nta
)

var edeNames = map[EDE]string{
	EDEOther: "Other Error", EDEUnsupportedDNSKEYAlgorithm: "Unsupported DNSKEY Algorithm",
	EDEUnsupportedDSDigest: "Unsupported DS Digest Type", EDEDNSSECIndeterminate: "DNSSEC Indeterminate",
	EDEDNSSECBogus: "DNSSEC Bogus", EDESignatureExpired: "Signature Expired", EDESignatureNotYetValid: "Signature Not Yet Valid",
	EDEDNSKEYMissing: "DNSKEY Missing", EDERRSIGsMissing: "RRSIGs Missing", EDENoZoneKeyBitSet: "No Zone Key Bit Set",
	EDENSECMissing: "NSEC Missing", EDENSEC3Iterations: "Unsupported NSEC3 Iterations Value", EDEStaleAnswer: "Stale Answer", EDEStaleNXDomain: "Stale NXDOMAIN Answer", EDEForgedAnswer: "Forged Answer",
	EDECachedError: "Cached Error", EDENotReady: "Not Ready", EDEBlocked: "Blocked",
	EDECensored: "Censored", EDEFiltered: "Filtered", EDEProhibited: "Prohibited", EDENotAuthoritative: "Not Authoritative", EDENotSupported: "Not Supported",
	EDENoReachableAuthority: "No Reachable Authority", EDENetworkError: "Network Error", EDEInvalidData: "Invalid Data",
	EDEInvalidQueryType: "Invalid Query Type", EDENegativeTrustAnchor: "Negative Trust Anchor", EDESignatureInverted: "Signature Expired before Valid",
}

// String returns the purpose of e as its registry words it, or "EDE n".
func (e EDE) String() string {
	if name, ok := edeNames[e]; ok {
		return name
	}
	return "EDE " + strconv.Itoa(int(e))
}

// Section is a section of records in a message.
type Section uint8

// The sections, in the order in which a message has them.
const (
	Answer Section = iota
	Authority
	Additional
)

// String returns the name of s in lower case.
func (s Section) String() string { return [...]string{"answer", "authority", "additional"}[s] }
