package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"doorward"
)

// signingSecrets decides with which secret tokens are signed, and with which others they
// are still accepted. A secret that is given wins; else the secret file's; else one is
// generated and written there. Where a secret is given and the file is there too, the
// file's counts as a previous one, so that giving a secret after a first run without one
// signs nobody out.
func signingSecrets(s Settings, random io.Reader) (current doorward.Secret, previous []doorward.SigningKey, warnings []string, err error) {
	for i, p := range s.JWTPreviousSecrets {
		if err := doorward.CheckSecret(fmt.Sprintf("jwt.previous_secrets, number %d", i+1), p); err != nil {
			return nil, nil, nil, err
		}
		previous = append(previous, doorward.SigningKey{Secret: p})
	}
	path := filepath.Join(s.DataDir, s.SecretFile)
	if s.JWTSecret == nil {
		current, err = secretFromFile(path, random)
		return current, previous, nil, err
	}
	if err := doorward.CheckSecret("jwt.secret", s.JWTSecret); err != nil {
		return nil, nil, nil, err
	}
	kept, err := readSecretFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		warnings = append(warnings, fmt.Sprintf("jwt.secret is given, so the secret file is not needed, and it cannot be used for tokens made earlier: %v", err))
	case !bytes.Equal(kept, s.JWTSecret):
		previous = append(previous, doorward.SigningKey{Secret: kept})
		warnings = append(warnings, fmt.Sprintf("jwt.secret is given and signs from now on; the secret in %s counts as a previous one (remove the file when its tokens have expired)", path))
	}
	return s.JWTSecret, previous, warnings, nil
}

// secretFromFile reads the secret file, or makes it. Two servers that start at once end
// with the same secret.
func secretFromFile(path string, random io.Reader) (doorward.Secret, error) {
	secret, err := readSecretFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	fresh := make([]byte, generatedSecret)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, fmt.Errorf("cannot generate a jwt.secret: no randomness: %w", err)
	}
	if err := doorward.CheckSecret("the generated secret", fresh); err != nil {
		return nil, err // randomness that repeats itself
	}
	if err := writeNew(path, fresh); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot write the secret file %s: %w; make its directory writable or set jwt.secret", path, err)
	}
	secret, err = readSecretFile(path)
	if errors.Is(err, fs.ErrNotExist) { // there is a name, and nothing behind it
		return nil, fmt.Errorf("the secret file %s is a link to a file that is not there; restore that, or remove the link to have a new one made (which signs everybody out)", path)
	}
	return secret, err
}

// generatedSecret is the length of a secret that we generate, in bytes.
const generatedSecret = 32

// readSecretFile reads a secret file. One of exactly 32 bytes is taken as it is; a longer
// one is text, without its final newline; a shorter one was cut. fs.ErrNotExist is the
// only error after which a new one may be made.
func readSecretFile(path string) (doorward.Secret, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the secret file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the secret file %s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the secret file %s can be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the secret file: %w", withoutNotExist(err))
	case len(b) < generatedSecret:
		return nil, fmt.Errorf("the secret file %s holds %d bytes, fewer than %d: it was cut; restore it, or remove it to have a new one made (which signs everybody out)", path, len(b), generatedSecret)
	case len(b) > generatedSecret:
		b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	}
	if err := doorward.CheckSecret("the secret file "+path, b); err != nil {
		return nil, err
	}
	return b, nil
}

// withoutNotExist keeps a file that vanished between two looks from reading as "make a new one".
func withoutNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it vanished while it was read")
	}
	return err
}

// writeNew writes a file that must not be there yet, whole or not at all, and so that it
// survives a crash; fs.ErrExist when somebody else was first.
func writeNew(path string, content []byte) error {
	dir := filepath.Dir(path)
	suffix := make([]byte, 8)
	if _, err := rand.Read(suffix); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.new-%x", path, suffix)
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(temporary, path) // unlike a rename, it never replaces
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
