package signer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pharos/internal/dns/dnsname"
)

// The file of a private key:
//
//	"PHAROSKY" | format u32 | nonce 12 | AES-256-GCM( PEM of PKCS #8 ), with its tag
//
// Sealed with it, so that no file can stand for another: the zone's name, the key's
// number and its DNSKEY record.
const (
	keyMagic  = "PHAROSKY"
	keyFormat = 1
	keyHead   = len(keyMagic) + 4 + 12
	// maxKeyFile is more than an RSA key of 4096 bits takes.
	maxKeyFile = 16 << 10
)

// Sealer encrypts private keys at rest.
type Sealer struct {
	aead cipher.AEAD
	// Made is the file that a new key-encryption key was written to; empty: there was
	// one.
	Made string
}

// environment names the file of the key-encryption key, if the configuration does
// not.
const environment = "PHAROS_KEY_ENCRYPTION"

// credential is the name of the systemd credential that may be that file.
const credential = "pharos-keys"

// OpenSealer returns a Sealer with the key-encryption key of file, or, if that is
// empty, of where the environment says; at last of folder, where it is made if
// there is none.
func OpenSealer(file, folder string) (*Sealer, error) {
	if file == "" {
		file = os.Getenv(environment)
	}
	if file == "" && os.Getenv("CREDENTIALS_DIRECTORY") != "" {
		if at := filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), credential); exists(at) {
			file = at
		}
	}
	if file != "" {
		return readSealer(file)
	}
	file = filepath.Join(folder, "encryption.key")
	s, err := readSealer(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if others, err := filepath.Glob(filepath.Join(folder, "*", "*"+keySuffix)); err == nil && len(others) > 0 {
		return nil, fmt.Errorf("%s is gone, and there are keys that were encrypted with it, such as %s; put it back, or name it with dnssec.keyEncryption", file, others[0])
	}
	kek := make([]byte, 32)
	rand.Read(kek) // never fails
	if err := writeFile(file, []byte(hex.EncodeToString(kek)+"\n")); err != nil {
		return nil, fmt.Errorf("the key that private keys are encrypted with: %w", err)
	}
	if s, err = newSealer(kek); err == nil {
		s.Made = file
	}
	return s, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readSealer(file string) (*Sealer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the key that private keys are encrypted with: %w", err)
	}
	kek, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(kek) != 32 {
		return nil, fmt.Errorf("%s does not have the 64 hexadecimal digits that private keys are encrypted with; make such a file with: openssl rand -hex 32", file)
	}
	return newSealer(kek)
}

func newSealer(kek []byte) (*Sealer, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Sealer{aead: aead}, err
}

// bound is what a key file is sealed with.
func bound(zone dnsname.Name, id uint32, dnskey []byte) []byte {
	b := append([]byte(keyMagic), byte(keyFormat), byte(zone.Len()))
	b = binary.BigEndian.AppendUint32(zone.AppendWire(b), id)
	return append(b, dnskey...)
}

// seal returns the content of a key file.
func (s *Sealer) seal(zone dnsname.Name, id uint32, dnskey, plain []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(keyMagic), keyFormat)
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce) // never fails; one of 2^96 for each key
	return s.aead.Seal(append(b, nonce...), nonce, plain, bound(zone, id, dnskey))
}

var errKeyFile = errors.New("it is damaged, or was encrypted with another key-encryption key")

// open returns what was sealed.
func (s *Sealer) open(zone dnsname.Name, id uint32, dnskey, file []byte) ([]byte, error) {
	switch {
	case len(file) < keyHead || string(file[:len(keyMagic)]) != keyMagic:
		return nil, errKeyFile
	case binary.BigEndian.Uint32(file[len(keyMagic):]) != keyFormat:
		return nil, fmt.Errorf("it has format %d; this version reads %d", binary.BigEndian.Uint32(file[len(keyMagic):]), keyFormat)
	}
	plain, err := s.aead.Open(nil, file[keyHead-12:keyHead], file[keyHead:], bound(zone, id, dnskey))
	if err != nil {
		return nil, errKeyFile
	}
	return plain, nil
}
