package app

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"doorward"
)

func secretSettings(t *testing.T) (Settings, string) {
	t.Helper()
	dir := t.TempDir()
	return Settings{DataDir: dir, SecretFile: ".brokoli-jwt-secret"}, filepath.Join(dir, ".brokoli-jwt-secret")
}

func TestTheSecretIsGeneratedOnceAndKept(t *testing.T) {
	t.Parallel()
	s, path := secretSettings(t)
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
	s, _ := secretSettings(t)
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
			s, path := secretSettings(t)
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
	s, path := secretSettings(t)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := signingSecrets(s, rand.Reader); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestKM3WithoutRandomnessThereIsNoSecret(t *testing.T) {
	t.Parallel()
	for name, random := range map[string]io.Reader{
		"failing": iotest.ErrReader(errors.New("broken")),
		"short":   strings.NewReader("too short"),
		"zeros":   bytes.NewReader(make([]byte, 64)),
	} {
		s, path := secretSettings(t)
		if got, _, _, err := signingSecrets(s, random); err == nil || got != nil {
			t.Errorf("%s randomness: %d bytes, %v", name, len(got), err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s randomness left a file: %v", name, err)
		}
	}
}

// TestAGivenSecretFollowsAFirstRunWithoutOne: the pages tell people to start first and to
// export a secret later; nobody is signed out by it, nor by going on to another.
func TestAGivenSecretFollowsAFirstRunWithoutOne(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	before, refresh := d.exchange(machineToken, "app")
	const given, other = "a given secret of more than 32 bytes", "another given secret of more than 32 bytes"
	d.restart("jwt.secret=" + given)
	d.do("GET", "/auth/validate", bearer(before)).want(http.StatusOK)
	_, refresh = d.rotated(refresh)
	during, _ := d.exchange(machineToken, "app")
	d.restart("jwt.secret="+other, "jwt.previous_secrets="+given)
	for _, token := range []string{before, during} {
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
	d.rotated(refresh)
	// TF7: once the old one is dropped, what it signed is dead.
	delete(d.flags, "jwt.previous_secrets")
	d.restart()
	d.do("GET", "/auth/validate", bearer(during)).refused(http.StatusUnauthorized, "invalid token")
}
