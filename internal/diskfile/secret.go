package diskfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretOctets: as many as the MACs that secrets are for have.
const secretOctets = 32

// ReadSecret reads a secret from the file at path, or without a path from the one at own,
// which is made when it is not there.
func ReadSecret(path, own string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if path == "" {
		path = own
		if text, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
			secret := make([]byte, secretOctets)
			rand.Read(secret) // it never fails
			text = []byte(hex.EncodeToString(secret) + "\n")
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = Replace(path, text)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) < secretOctets {
		return nil, fmt.Errorf("%s: want %d octets or more in hexadecimal; make some with \"openssl rand -hex 32\"", path, secretOctets)
	}
	return secret, nil
}
