package rdata

// portable has the types whose mnemonic and presentation form BIND 9.18, Knot
// DNS 3.2, NSD 4.6 and ldns 1.8 all read; the others are written as RFC 3597
// says, which all of them read too.
var portable = [...]bool{
	TypeA: true, TypeNS: true, TypeCNAME: true, TypeSOA: true, TypePTR: true, TypeHINFO: true, TypeMINFO: true,
	TypeMX: true, TypeTXT: true, TypeRP: true, TypeAFSDB: true, TypeRT: true, TypeKEY: true, TypeAAAA: true,
	TypeLOC: true, TypeSRV: true, TypeNAPTR: true, TypeKX: true, TypeCERT: true, TypeDNAME: true, TypeAPL: true,
	TypeDS: true, TypeSSHFP: true, TypeIPSECKEY: true, TypeRRSIG: true, TypeNSEC: true, TypeDNSKEY: true,
	TypeDHCID: true, TypeNSEC3: true, TypeNSEC3PARAM: true, TypeTLSA: true, TypeSMIMEA: true, TypeCDS: true,
	TypeCDNSKEY: true, TypeOPENPGPKEY: true, TypeCSYNC: true, TypeZONEMD: true, TypeSVCB: true, TypeHTTPS: true,
	TypeSPF: true, TypeNID: true, TypeL32: true, TypeL64: true, TypeLP: true, TypeEUI48: true, TypeEUI64: true,
	TypeURI: true, TypeCAA: true,
}

// IsPortable reports whether t may be written by its mnemonic in a file that other
// servers are to read.
func (t Type) IsPortable() bool { return int(t) < len(portable) && portable[t] }
