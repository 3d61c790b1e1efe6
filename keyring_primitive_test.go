package doorward

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The example of RFC 7515, appendix A.1: its key, signing input and signature.
func TestSignerOnRFC7515A1(t *testing.T) {
	t.Parallel()
	key, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	const input = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	s := newSigner("", key)
	for range 3 { // the state is used again
		m := s.get()
		if got := string(m.sum([]byte(input))); got != "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" {
			t.Errorf("sum = %s", got)
		}
		s.put(m)
	}
}

func TestTF17WycheproofHMAC(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("DOORWARD_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "hmac_sha256_test.json"))
	if os.IsNotExist(err) {
		t.Skipf("no vectors of Project Wycheproof: %v; set DOORWARD_VECTORS to their folder", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                  int
				Key, Msg, Tag, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tried := 0
	for _, group := range vectors.TestGroups {
		for _, c := range group.Tests {
			m := newSigner("", unhex(c.Key)).get()
			var sum [32]byte
			m.sum([]byte("something before"))
			if _, err := base64.RawURLEncoding.Decode(sum[:], m.sum(unhex(c.Msg))); err != nil {
				t.Fatal(err)
			}
			tag := unhex(c.Tag) // of 32 bytes, or truncated to 16
			if got, want := bytes.Equal(sum[:len(tag)], tag), c.Result == "valid"; got != want {
				t.Errorf("vector %d: %v, want %v", c.TcID, got, want)
			}
			tried++
		}
	}
	if tried == 0 || tried != vectors.NumberOfTests {
		t.Errorf("tried %d of %d vectors", tried, vectors.NumberOfTests)
	}
}
