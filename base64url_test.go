package doorward

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// sameAsStrict compares decodeBase64url with the standard library's strict decoder, whose one laxity,
// skipping line ends, is taken out.
func sameAsStrict(t testing.TB, src []byte) {
	t.Helper()
	want, err := base64.RawURLEncoding.Strict().AppendDecode(nil, src)
	good := err == nil && !bytes.ContainsAny(src, "\r\n")
	got, ok := decodeBase64url(nil, src)
	if ok != good || ok && !bytes.Equal(got, want) {
		t.Fatalf("decodeBase64url(%q) = %x, %v, want %x, %v", src, got, ok, want, good)
	}
}

func TestDecodeBase64urlEveryEnd(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "_-9zAbC0"} {
		sameAsStrict(t, []byte(before))
		for a := range 256 {
			sameAsStrict(t, []byte(before+string([]byte{byte(a)})))
			for b := range 256 {
				sameAsStrict(t, append([]byte(before), byte(a), byte(b)))
			}
		}
	}
	for a := range 256 {
		for b := range 256 {
			sameAsStrict(t, []byte{byte(a), '_', byte(b)})
			sameAsStrict(t, []byte{'_', byte(a), byte(b)})
		}
	}
}

func TestDecodeBase64urlEveryByteAtEveryPlace(t *testing.T) {
	t.Parallel()
	const good = "AbC0_-9zZyX1"
	for n := range len(good) + 1 {
		for at := range n {
			for b := range 256 {
				src := []byte(good[:n])
				src[at] = byte(b)
				sameAsStrict(t, src)
			}
		}
	}
}

func TestDecodeBase64urlUsesTheMemoryItIsGiven(t *testing.T) {
	t.Parallel()
	memory := []byte(strings.Repeat("x", 64))
	for _, text := range []string{"", "a", "ab", "abc", "abcd", strings.Repeat("abcdefg", 9)} {
		src := []byte(base64.RawURLEncoding.EncodeToString([]byte(text)))
		got, ok := decodeBase64url(memory, src)
		if !ok || string(got) != text || &got[:1][0] != &memory[0] {
			t.Errorf("decodeBase64url(%q) = %q, %v", src, got, ok)
		}
		if got, ok := decodeBase64url(memory, append(src, '!')); ok || cap(got) != cap(memory) {
			t.Errorf("decodeBase64url(%q!) = %q, %v", src, got, ok)
		}
	}
}

func FuzzDecodeBase64url(f *testing.F) {
	for _, s := range []string{"", "A", "AA", "AB", "AAA", "AAB", "AAAA", "AA==", "AA\nAA", "+/+/", "_-_-", "AAAA\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) { sameAsStrict(t, src) })
}
