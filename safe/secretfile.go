package safe

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"doorward"
)

// SecretPath is where the secret file is.
func (c Config) SecretPath() string { return filepath.Join(c.DataDir, c.SecretFile) }

// PreviousPath is where the secrets are that were rotated out of the secret file at path.
func PreviousPath(path string) string { return path + ".previous" }

// signingSecrets decides with which secret tokens are signed, and with which others they
// are still accepted. A secret that is given wins; else the secret file's; else one is
// generated from random and written there, unless random is nil. Where a secret is given
// and the file is there too, the file's counts as a previous one, so that giving a secret
// after a first run without one signs nobody out. Those that were rotated out of the file
// count each until its own end.
func signingSecrets(c Config, random io.Reader) (current doorward.Secret, previous []doorward.SigningKey, warnings []string, err error) {
	for i, p := range c.JWTPreviousSecrets {
		if err := doorward.CheckSecret(fmt.Sprintf("jwt.previous_secrets, number %d", i+1), p); err != nil {
			return nil, nil, nil, err
		}
		previous = append(previous, doorward.SigningKey{Secret: p})
	}
	path := c.SecretPath()
	if c.JWTSecret == nil {
		current, err = secretFromFile(path, random)
	} else {
		var kept []doorward.SigningKey
		current, kept, warnings, err = givenSecret(c.JWTSecret, path)
		previous = append(previous, kept...)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	// Read last: a rotation writes here, before it replaces the file, what that held.
	rotated, err := ReadPrevious(PreviousPath(path))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, p := range rotated {
		if !bytes.Equal(p.Secret, current) { // it is where a rotation was cut short
			previous = append(previous, p)
		}
	}
	return current, previous, warnings, nil
}

// givenSecret checks the secret that is given, and finds beside it the one that signed before.
func givenSecret(given doorward.Secret, path string) (current doorward.Secret, previous []doorward.SigningKey, warnings []string, err error) {
	if err := doorward.CheckSecret("jwt.secret", given); err != nil {
		return nil, nil, nil, err
	}
	kept, err := ReadSecretFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		warnings = append(warnings, fmt.Sprintf("jwt.secret is given, so the secret file is not needed, and it cannot be used for tokens made earlier: %v", err))
	case !bytes.Equal(kept, given):
		previous = append(previous, doorward.SigningKey{Secret: kept})
		warnings = append(warnings, fmt.Sprintf("jwt.secret is given and signs from now on; the secret in %s counts as a previous one (remove the file when its tokens have expired)", path))
	}
	return given, previous, warnings, nil
}

// secretFromFile reads the secret file, or makes it unless random is nil. Two servers that
// start at once end with the same secret.
func secretFromFile(path string, random io.Reader) (doorward.Secret, error) {
	secret, err := ReadSecretFile(path)
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return secret, err
	case random == nil:
		return nil, fmt.Errorf("the secret file %s is not there any more", path)
	}
	fresh, err := generateSecret(random)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, fresh); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot write the secret file %s: %w; make its directory writable or set jwt.secret", path, err)
	}
	secret, err = ReadSecretFile(path)
	if errors.Is(err, fs.ErrNotExist) { // there is a name, and nothing behind it
		return nil, fmt.Errorf("the secret file %s is a link to a file that is not there; restore that, or remove the link to have a new one made (which signs everybody out)", path)
	}
	return secret, err
}

// generatedSecret is the length of a secret that we generate, in bytes.
const generatedSecret = 32

// generateSecret makes a secret of random bytes.
func generateSecret(random io.Reader) (doorward.Secret, error) {
	fresh := make([]byte, generatedSecret)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, fmt.Errorf("cannot generate a jwt.secret: no randomness: %w", err)
	}
	if err := doorward.CheckSecret("the generated secret", fresh); err != nil {
		return nil, err // randomness that repeats itself
	}
	return fresh, nil
}

// ReadSecretFile reads a secret file. One of exactly 32 bytes is taken as it is; a longer
// one is text, without its final newline; a shorter one was cut. fs.ErrNotExist is the
// only error after which a new one may be made.
func ReadSecretFile(path string) (doorward.Secret, error) {
	b, err := readPrivate("the secret file", path)
	switch {
	case err != nil:
		return nil, err
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

// readPrivate reads a file that nobody else may read. what begins its errors, of which
// fs.ErrNotExist alone says that there is none.
func readPrivate(what, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s is not a regular file", what, path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s %s can be read by others (mode %04o); run: chmod 600 %s", what, path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, withoutNotExist(err))
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

// previousFile is what the file of secrets that were rotated out holds, as JSON, so that a
// file that was cut is never taken for a shorter one.
type previousFile struct {
	Previous []previousSecret `json:"previous"`
}

type previousSecret struct {
	KeyID  string    `json:"kid"`    // tells a secret that was damaged
	Until  time.Time `json:"until"`  // the first instant at which what it signed is refused
	Secret []byte    `json:"secret"` // base64
}

// maxPreviousFile is far more than anybody's rotations need.
const maxPreviousFile = 1 << 20

// ReadPrevious reads the file of secrets that were rotated out; none when it is not
// there. Whatever else is wrong with it is an error: leaving a secret out signs people out.
func ReadPrevious(path string) ([]doorward.SigningKey, error) {
	const what = "the file of previous secrets"
	b, err := readPrivate(what, path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s %s is a link to a file that is not there; restore that, or remove the link (which signs out who holds their tokens)", what, path)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := parsePrevious(b)
	if err != nil {
		return nil, fmt.Errorf("%s %s is damaged: %w; restore it, or remove it (which signs out who holds their tokens)", what, path, err)
	}
	return all, nil
}

// parsePrevious reads the content of the file. Its errors show none of it.
func parsePrevious(b []byte) ([]doorward.SigningKey, error) {
	if len(b) > maxPreviousFile {
		return nil, errors.New("it is too large")
	}
	var file previousFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, errors.New("it is not as it was written")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || file.Previous == nil {
		return nil, errors.New("it is not as it was written")
	}
	var all []doorward.SigningKey
	for i, p := range file.Previous {
		name := fmt.Sprintf("number %d", i+1)
		if err := doorward.CheckSecret(name, p.Secret); err != nil {
			return nil, err
		}
		if p.KeyID != doorward.KeyID(p.Secret) || p.Until.IsZero() {
			return nil, errors.New(name + " is not as it was written")
		}
		all = append(all, doorward.SigningKey{Secret: p.Secret, Until: p.Until})
	}
	return all, nil
}

// formatPrevious is what parsePrevious reads.
func formatPrevious(all []doorward.SigningKey) ([]byte, error) {
	file := previousFile{Previous: []previousSecret{}}
	for _, k := range all {
		file.Previous = append(file.Previous, previousSecret{KeyID: doorward.KeyID(k.Secret), Until: k.Until.UTC(), Secret: k.Secret})
	}
	b, err := json.MarshalIndent(file, "", "  ")
	return append(b, '\n'), err
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
	return SyncDir(dir)
}

// replaceFile writes a file anew, whole or not at all, and so that it survives a crash.
// It belongs to whom like belongs to, so that an administrator may do it for a server.
// One caller at a time: what a crash leaves beside the file the next one writes over.
func replaceFile(path string, content []byte, like fs.FileInfo) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = ownLike(f, like)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes what was done to the names in a directory survive a crash.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
