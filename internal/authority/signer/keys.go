package signer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
)

// generate makes a key, and takes it in when it is safe on disk.
func (s *Signers) generate(e *entry, k kasp.Key, now time.Time) error {
	made, err := s.newKey(e, k.Role, k.Algorithm)
	if err != nil {
		return err
	}
	if err := s.writeKey(e, k.ID, made); err != nil {
		return err
	}
	if err := e.machine.Made(k.ID, made.RDATA(), now); err != nil {
		return err
	}
	e.keys[k.ID] = made
	return nil
}

// newKey makes a key with a tag of its own.
func (s *Signers) newKey(e *entry, role kasp.Role, algorithm uint8) (*sign.Key, error) {
	const tries = 100 // of 65,536 tags a zone has a few
	for range tries {
		made, err := sign.Generate(role.Flags(), algorithm, 0)
		if err != nil {
			return nil, err
		}
		if e.hasTag(made.Tag(), algorithm) {
			continue
		}
		s.config.Log.Info("key made", "zone", e.name.String(), "role", role.String(), "tag", made.Tag(), "algorithm", sign.AlgorithmName(algorithm))
		return made, nil
	}
	return nil, fmt.Errorf("no new key with a tag of its own in %d tries", tries)
}

// hasTag reports whether a key with that tag is known: validators would confuse them.
func (e *entry) hasTag(tag uint16, algorithm uint8) bool {
	memory := e.machine.Memory()
	return slices.ContainsFunc(slices.Concat(memory.Keys, memory.Spares), func(k kasp.Key) bool {
		return k.Algorithm == algorithm && len(k.DNSKEY) > 0 && k.Tag() == tag
	})
}

func keyPath(folder string, id kasp.ID) string {
	return filepath.Join(folder, fmt.Sprintf("%d%s", id, keySuffix))
}

func keyFiles(folder string) []string {
	all, _ := filepath.Glob(filepath.Join(folder, "*"+keySuffix)) // the pattern is good
	return all
}

func (s *Signers) writeKey(e *entry, id kasp.ID, k *sign.Key) error {
	text, err := k.PEM()
	if err != nil {
		return err
	}
	sealer, err := s.config.Sealer()
	if err != nil {
		return err
	}
	err = writeFile(keyPath(e.folder, id), sealer.seal(e.name, uint32(id), k.RDATA(), text))
	clear(text)
	if err != nil {
		return fmt.Errorf("the private key cannot be written, so it is not used: %w", err)
	}
	return nil
}

// privateKey returns a key with its private half, from disk when it is first needed.
func (s *Signers) privateKey(e *entry, k *kasp.Key) (*sign.Key, error) {
	if have := e.keys[k.ID]; have != nil {
		return have, nil
	}
	path := keyPath(e.folder, k.ID)
	stat, err := os.Stat(path)
	if err == nil && stat.Size() > maxKeyFile {
		err = fmt.Errorf("it is larger than %d octets", maxKeyFile)
	}
	var file, text []byte
	var sealer *Sealer
	if err == nil {
		sealer, err = s.config.Sealer()
	}
	if err == nil {
		file, err = os.ReadFile(path)
	}
	if err == nil {
		text, err = sealer.open(e.name, uint32(k.ID), k.DNSKEY, file)
	}
	var key *sign.Key
	if err == nil {
		key, err = sign.ParsePEM(k.Role.Flags(), k.Algorithm, text)
		clear(text)
	}
	if err == nil && string(key.RDATA()) != string(k.DNSKEY) {
		err = fmt.Errorf("it is that of another key")
	}
	if err != nil {
		return nil, &KeyError{fmt.Errorf("the private key %d (%s) in %s cannot be used: %w; put the file back from a backup, or replace the key with \"pharos zone rollover\"; until then the zone is served with the signatures it has", k.Tag(), k.Role, path, err)}
	}
	e.keys[k.ID] = key
	return key, nil
}

// KeyError says that a private key cannot be used.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }

// Unwrap is part of errors.As.
func (e *KeyError) Unwrap() error { return e.Err }

func (s *Signers) purge(e *entry, ids []kasp.ID) {
	for _, id := range ids {
		delete(e.keys, id)
		if err := os.Remove(keyPath(e.folder, id)); err != nil && !os.IsNotExist(err) {
			s.config.Log.Warn("a key that nobody needs could not be deleted", "zone", e.name.String(), "error", err)
		}
	}
}
