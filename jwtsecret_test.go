package doorward_test

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"doorward"
)

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		secret string
		want   string // of the error; "" when it may sign
	}{
		{"", "has 0 bytes, must have at least 32"},
		{"your-32-byte-secret-key", "has 23 bytes, must have at least 32"},
		{tokenSecret[:31], "has 31 bytes, must have at least 32"},
		{tokenSecret, ""},
		{tokenSecret + "\n", ""},
		{strings.Repeat("\x00", 32), "one byte repeated"},
		{strings.Repeat("a", 32), "one byte repeated"},
		{strings.Repeat("\xff", 500), "one byte repeated"},
		{strings.Repeat("a", 31) + "b", ""},
		{"b" + strings.Repeat("a", 31), ""},
		{"your-32-byte-secret-key-your-32-byte-secret-key", "placeholder"},
		{"a-string-secret-at-least-256-bits-long", "placeholder"},
		{"your-256-bit-secret-your-256-bit-secret", "placeholder"},
		{"YOUR_SUPER_SECRET_KEY_GOES_IN_HERE_NOW", "placeholder"},
		{"Change Me! Change Me! Change Me! Change Me!", "placeholder"},
		{"please-change-this-in-production-1", "placeholder"},
		{"<replace with 32 random bytes of your own>", "placeholder"},
		{"dev-only-32-byte-secret-for-the-test-run", ""},
	} {
		err := doorward.CheckSecret("jwt.secret", []byte(c.secret))
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: %v", c.secret, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q: accepted, want an error about %q", c.secret, c.want)
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(text, "jwt.secret: ") || !strings.Contains(text, c.want) || !strings.HasSuffix(text, "openssl rand -base64 32") {
			t.Errorf("%q: %s", c.secret, text)
		}
		if c.secret != "" && strings.Contains(text, c.secret) {
			t.Errorf("the error shows the secret: %s", text)
		}
	}
}

func TestCheckSecretAcceptsWhatWeAdvise(t *testing.T) {
	t.Parallel()
	for range 1000 {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			t.Fatal(err)
		}
		for _, secret := range [][]byte{raw, []byte(base64.StdEncoding.EncodeToString(raw))} {
			if err := doorward.CheckSecret("jwt.secret", secret); err != nil {
				t.Fatalf("%x: %v", secret, err)
			}
		}
	}
}
