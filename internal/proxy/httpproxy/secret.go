package httpproxy

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pharos/internal/diskfile"
)

// secretOctets: as many as the MAC that it is for has.
const secretOctets = 32

// ReadSecret reads the secret that signs cookies of affinity from the file at path, or
// without a path from one in folder, which is made when it is not there.
func ReadSecret(path, folder string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if path == "" {
		path = filepath.Join(folder, "affinity.secret")
		if text, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
			secret := make([]byte, secretOctets)
			rand.Read(secret) // it never fails
			text = []byte(hex.EncodeToString(secret) + "\n")
			if err = os.MkdirAll(folder, 0o700); err == nil {
				err = diskfile.Replace(path, text)
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
