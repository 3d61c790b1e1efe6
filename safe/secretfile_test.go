package safe

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"doorward"
)

func secretConfig(t *testing.T) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	return Config{DataDir: dir, SecretFile: ".brokoli-jwt-secret"}, filepath.Join(dir, ".brokoli-jwt-secret")
}

func TestTheSecretIsGeneratedOnceAndKept(t *testing.T) {
	t.Parallel()
	s, path := secretConfig(t)
	first, previous, warnings, err := signingSecrets(s, rand.Reader)
	if err != nil || len(previous) != 0 || len(warnings) != 0 || len(first) != 32 {
		t.Fatalf("%d bytes, %v, %v, %v", len(first), previous, warnings, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Fatalf("%v, %v", info, err)
	}
	again, _, _, err := signingSecrets(s, iotest.ErrReader(errors.New("not to be asked")))
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second start has another secret: %v", err)
	}
	if names, err := os.ReadDir(s.DataDir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestServersThatStartAtOnceShareOneSecret(t *testing.T) {
	t.Parallel()
	s, _ := secretConfig(t)
	var wg sync.WaitGroup
	got := make([]doorward.Secret, 16)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], _, _, err = signingSecrets(s, rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, g := range got {
		if !bytes.Equal(g, got[0]) {
			t.Error("two servers have two secrets")
		}
	}
}

// TestKM3AnUnusableSecretFileIsRefusedAndNeverReplaced covers every way in which the file
// can be no good: what is there stays as it is, and the error says what to do.
func TestKM3AnUnusableSecretFileIsRefusedAndNeverReplaced(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0123456789abcdeF", 3)
	for _, c := range []struct {
		name, content string
		mode          fs.FileMode
		want          string // in the error; empty for none
		secret        string
	}{
		{"exactly 32 bytes, ending in a newline", good[:31] + "\n", 0o600, "", good[:31] + "\n"},
		{"text with a newline", good + "\n", 0o600, "", good},
		{"text without", good, 0o600, "", good},
		{"two newlines: one is of the secret", good + "\n\n", 0o600, "", good + "\n"},
		{"cut", good[:31], 0o600, "it was cut", ""},
		{"empty", "", 0o600, "it was cut", ""},
		{"one byte repeated", strings.Repeat("a", 32), 0o600, "openssl rand -base64 32", ""},
		{"readable by the group", good, 0o640, "chmod 600", ""},
		{"readable by all", good, 0o604, "chmod 600", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, path := secretConfig(t)
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			got, _, _, err := signingSecrets(s, rand.Reader)
			switch {
			case c.want == "" && (err != nil || string(got) != c.secret):
				t.Errorf("%d bytes, %v", len(got), err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || got != nil):
				t.Errorf("error %v, want one with %q", err, c.want)
			case err != nil && c.content != "" && strings.Contains(err.Error(), c.content):
				t.Error("the error shows the secret")
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != c.content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// TestKM3WhatIsNoReadableFileIsRefused: whatever stands where the secret should be is not replaced,
// and keeps the server from starting only where nobody has given it another secret.
func TestKM3WhatIsNoReadableFileIsRefused(t *testing.T) {
	t.Parallel()
	const given = "a given secret of more than 32 bytes"
	for _, c := range []struct {
		name  string
		make  func(path string) error
		want  string
		isNot bool // to the given secret it is as if nothing were there
	}{
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }, "is not a regular file", false},
		{"a device", func(path string) error { return os.Symlink("/dev/urandom", path) }, "is not a regular file", false},
		{"a link to itself", func(path string) error { return os.Symlink(path, path) }, "cannot read the secret file", false},
		{"a link to nothing", func(path string) error { return os.Symlink("/nowhere/at/all", path) }, "a link to a file that is not there", true},
		{"readable by others", func(path string) error { return os.WriteFile(path, []byte(given+"!"), 0o644) }, "chmod 600", false},
		{"cut", func(path string) error { return os.WriteFile(path, []byte(given[:31]), 0o600) }, "it was cut", false},
		{"a placeholder", func(path string) error {
			return os.WriteFile(path, []byte("changeme-changeme-changeme-changeme"), 0o600)
		}, "is a placeholder", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, path := secretConfig(t)
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			got, _, _, err := signingSecrets(s, rand.Reader)
			if err == nil || got != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), given[:31]) {
				t.Errorf("%d bytes, %v; want an error with %q", len(got), err, c.want)
			}
			s.JWTSecret = doorward.Secret(given)
			got, previous, warnings, err := signingSecrets(s, rand.Reader)
			if err != nil || string(got) != given || len(previous) != 0 {
				t.Errorf("given another: %d bytes, %d previous, %v", len(got), len(previous), err)
			}
			if said := strings.Join(warnings, "\n"); c.isNot != (said == "") || !c.isNot && !strings.Contains(said, c.want) || strings.Contains(said, given[:31]) {
				t.Errorf("warnings %q, want one with %q", said, c.want)
			}
			after, err := os.Lstat(path)
			if err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() || after.ModTime() != before.ModTime() {
				t.Errorf("it was %v and is %v, %v", before, after, err)
			}
		})
	}
	t.Run("a directory that is none", func(t *testing.T) {
		t.Parallel()
		s, _ := secretConfig(t)
		s.DataDir = filepath.Join(s.DataDir, "file")
		if err := os.WriteFile(s.DataDir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _, _, err := signingSecrets(s, rand.Reader); err == nil || got != nil || !strings.Contains(err.Error(), "cannot read the secret file") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("a directory that is not there", func(t *testing.T) {
		t.Parallel()
		s, _ := secretConfig(t)
		s.DataDir = filepath.Join(s.DataDir, "none")
		if got, _, _, err := signingSecrets(s, rand.Reader); err == nil || got != nil || !strings.Contains(err.Error(), "cannot write the secret file") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestWhichSecretSigns: the given one; the file's and the previous ones still count.
func TestWhichSecretSigns(t *testing.T) {
	t.Parallel()
	const given, old, older, kept = "the given secret, 32 bytes or more", "an old secret of 32 bytes or more", "an older secret of 32 bytes or more", "the secret of the file, 32 bytes or more"
	for _, c := range []struct {
		name             string
		given, file      string
		previous         []doorward.Secret
		signs            string
		accepted, refuse string
	}{
		{"given alone", given, "", nil, given, "", ""},
		{"file alone", "", kept + "\n", nil, kept, "", ""},
		{"given, file beside", given, kept + "\n", nil, given, kept, ""},
		{"given, the same in the file", given, given + "\n", nil, given, "", ""},
		{"given, previous", given, "", []doorward.Secret{[]byte(old), []byte(older)}, given, old + "|" + older, ""},
		{"given, previous, file", given, kept, []doorward.Secret{[]byte(old)}, given, old + "|" + kept, ""},
		{"file, previous", "", kept, []doorward.Secret{[]byte(old)}, kept, old, ""},
		{"given too short", given[:31], "", nil, "", "", "jwt.secret: has 31 bytes"},
		{"given is the page's placeholder", "your-32-byte-secret-key", "", nil, "", "", "jwt.secret: has 23 bytes"},
		{"a previous one too short", given, "", []doorward.Secret{[]byte(old), []byte("short")}, "", "", "jwt.previous_secrets, number 2: has 5 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, path := secretConfig(t)
			s.JWTPreviousSecrets = c.previous
			if c.given != "" {
				s.JWTSecret = doorward.Secret(c.given)
			}
			if c.file != "" {
				if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			signs, previous, warnings, err := signingSecrets(s, iotest.ErrReader(errors.New("not to be asked")))
			if c.refuse != "" {
				if err == nil || signs != nil || !strings.HasPrefix(err.Error(), c.refuse) {
					t.Errorf("%d bytes, %v", len(signs), err)
				}
				return
			}
			var accepted []string
			for _, p := range previous {
				accepted = append(accepted, string(p.Secret))
			}
			if err != nil || string(signs) != c.signs || strings.Join(accepted, "|") != c.accepted {
				t.Errorf("signs %q, accepts %q, %v; want %q, %q", string(signs), accepted, err, c.signs, c.accepted)
			}
			beside := strings.Contains(c.accepted, kept)
			if said := strings.Join(warnings, "\n"); beside != strings.Contains(said, "the secret in "+path+" counts as a previous one") || strings.Contains(said, kept) {
				t.Errorf("warnings %q", said)
			}
			if c.file == "" {
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a file was made beside a given secret: %v", err)
				}
			}
		})
	}
}

func TestKM3WithoutRandomnessThereIsNoSecret(t *testing.T) {
	t.Parallel()
	for name, random := range map[string]io.Reader{
		"failing": iotest.ErrReader(errors.New("broken")),
		"short":   strings.NewReader("too short"),
		"zeros":   bytes.NewReader(make([]byte, 64)),
	} {
		s, path := secretConfig(t)
		if got, _, _, err := signingSecrets(s, random); err == nil || got != nil {
			t.Errorf("%s randomness: %d bytes, %v", name, len(got), err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s randomness left a file: %v", name, err)
		}
	}
}
