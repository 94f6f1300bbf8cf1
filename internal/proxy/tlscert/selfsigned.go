package tlscert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/diskfile"
)

const (
	// selfSignedLife is how long a self-signed certificate lasts: 397 days, beyond
	// which some clients do not believe any.
	selfSignedLife = 397 * 24 * time.Hour

	// RenewBefore is how long before its end a self-signed certificate is made
	// anew, and an operator is told of one that somebody else has signed.
	RenewBefore = 14 * 24 * time.Hour
)

// SelfSigned returns a certificate that is signed by nobody but itself, kept in
// folder so that its fingerprint stays over a restart. It is made when there is
// none, or none that names all of names and addrs, or when it is about to end.
func SelfSigned(folder string, names []string, addrs []netip.Addr, now time.Time) (Source, error) {
	source := Source{Certificate: filepath.Join(folder, "self-signed.crt"), Key: filepath.Join(folder, "self-signed.key")}
	if pair, err := tls.LoadX509KeyPair(source.Certificate, source.Key); err == nil && fits(pair.Leaf, names, addrs, now) {
		return source, nil
	}
	if err := makeSelfSigned(source, names, addrs, now); err != nil {
		return source, fmt.Errorf("self-signed certificate in %s: %w; see that the folder can be written", folder, err)
	}
	return source, nil
}

func fits(leaf *x509.Certificate, names []string, addrs []netip.Addr, now time.Time) bool {
	if leaf == nil || leaf.NotAfter.Sub(now) < RenewBefore || leaf.NotBefore.After(now) {
		return false
	}
	for _, n := range names {
		if !slices.Contains(leaf.DNSNames, n) {
			return false
		}
	}
	for _, a := range addrs {
		if !slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { return ip.Equal(a.AsSlice()) }) {
			return false
		}
	}
	return true
}

func makeSelfSigned(source Source, names []string, addrs []netip.Addr, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Pharos, self-signed"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), // an hour for clients whose clocks are late
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(source.Key), 0o700); err != nil {
		return err
	}
	// Between the two renames they do not belong together: then the next start makes
	// them again.
	return errors.Join(
		diskfile.Replace(source.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		diskfile.Replace(source.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
}
