package doorward

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestNewAPIKeyIsThePrefixTheRandomBytesAndTheirSum(t *testing.T) {
	t.Parallel()
	random := make([]byte, 40)
	for i := range random {
		random[i] = byte(i)
	}
	got, err := NewAPIKey("brk_", bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	// The sum was computed with another implementation: python3 -c 'import zlib; print("%08x" % zlib.crc32(b"brk_0001..."))'
	const want = "brk_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + "551e64e4"
	if got != want {
		t.Errorf("NewAPIKey = %s, want %s", got, want)
	}
	if wellFormed, sumOK := CheckAPIKeySum(got); !wellFormed || !sumOK {
		t.Errorf("CheckAPIKeySum(%s) = %v, %v", got, wellFormed, sumOK)
	}
}

func TestNewAPIKeyNeverMakesAWeakerKey(t *testing.T) {
	t.Parallel()
	for name, random := range map[string]io.Reader{
		"no bytes":      strings.NewReader(""),
		"too few bytes": strings.NewReader(strings.Repeat("x", 31)),
		"failing":       failingReader{},
	} {
		if key, err := NewAPIKey("brk_", random); err == nil || key != "" {
			t.Errorf("%s: NewAPIKey = %q, %v; want no key and an error", name, key, err)
		}
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestKeyPrefixes(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"brk_": true, "x": true, "my-app_2_": true, strings.Repeat("p", 32): true,
		"": false, strings.Repeat("p", 33): false, "a.b": false, "a b": false, "é_": false, "a\n": false,
	} {
		_, err := NewAPIKey(prefix, strings.NewReader(strings.Repeat("x", 32)))
		if (err == nil) != ok {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

func TestCheckAPIKeySumTellsMistypedFromForeign(t *testing.T) {
	t.Parallel()
	key, err := NewAPIKey("acme_", strings.NewReader(strings.Repeat("r", 32)))
	if err != nil {
		t.Fatal(err)
	}
	swapped := []byte(key)
	swapped[10], swapped[11] = swapped[11], swapped[10]
	if swapped[10] == swapped[11] {
		t.Fatal("the test swaps two equal digits")
	}
	for name, c := range map[string]struct {
		key               string
		wellFormed, sumOK bool
	}{
		"as made":        {key, true, true},
		"digits swapped": {string(swapped), true, false},
		"other prefix":   {"acne_" + key[len("acme_"):], true, false},
		"cut":            {key[:len(key)-1], false, false},
		"upper case":     {strings.ToUpper(key), false, false},
		"no prefix":      {key[len("acme_"):], false, false},
		"printed":        {"brk_a1b2c3d4e5f6...", false, false},
		"empty":          {"", false, false},
	} {
		wellFormed, sumOK := CheckAPIKeySum(c.key)
		if wellFormed != c.wellFormed || sumOK != c.sumOK {
			t.Errorf("%s: CheckAPIKeySum = %v, %v; want %v, %v", name, wellFormed, sumOK, c.wellFormed, c.sumOK)
		}
	}
}
