package doorward

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

func mustKeyPair(t testing.TB, private any) *KeyPair {
	t.Helper()
	p, err := newKeyPair(private)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 8037, appendices A.1 to A.4.
func TestEdDSAOnRFC8037(t *testing.T) {
	t.Parallel()
	seed, err := base64url.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	p := mustKeyPair(t, ed25519.NewKeyFromSeed(seed))
	got, err := p.sign([]byte("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"))
	const want = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	if s := base64url.EncodeToString(got[:]); err != nil || s != want {
		t.Errorf("sign = %s, %v", s, err)
	}
	b, err := json.Marshal(p.Public())
	if err != nil || !bytes.HasPrefix(b, []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","alg":"EdDSA","kid":"`)) {
		t.Errorf("as a JWK it is %s, %v", b, err)
	}
}

// The key and the signature with SHA-256 of RFC 6979, appendix A.2.5; its s is the higher
// one, so ours is the order less it.
func TestES256OnRFC6979(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), unhex(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"))
	if err != nil {
		t.Fatal(err)
	}
	p := mustKeyPair(t, key)
	for range 3 {
		got, err := p.sign([]byte("sample"))
		const want = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
			"0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9"
		if s := hex.EncodeToString(got[:]); err != nil || s != want {
			t.Errorf("sign = %s, %v, want %s", s, err, want)
		}
	}
	b, err := json.Marshal(p.Public())
	if want := `{"kty":"EC","crv":"P-256","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7YfpsY5_mc-dVxQ8","y":"efC9h5cOKkWMTJ2HjcXeh8mGm3Y5Qvr8xpUP7VvbeE0"`; err != nil || len(b) < len(want) {
		t.Errorf("as a JWK it is %s, %v", b, err)
	} else {
		var got struct{ X, Y string }
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		x, _ := base64.RawURLEncoding.DecodeString(got.X)
		y, _ := base64.RawURLEncoding.DecodeString(got.Y)
		if hex.EncodeToString(x) != "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" || hex.EncodeToString(y) != "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299" {
			t.Errorf("as a JWK it is %s", b)
		}
	}
}

// wycheproof reads vectors of Project Wycheproof, or skips the test where there are none.
func wycheproof(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("DOORWARD_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) {
		t.Skipf("no vectors of Project Wycheproof: %v; set DOORWARD_VECTORS to their folder", err)
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type signatureVectors struct {
	NumberOfTests int
	TestGroups    []struct {
		PublicKeyPem string
		Tests        []struct {
			TcID             int
			Comment          string
			Msg, Sig, Result string
		}
	}
}

func TestTF17WycheproofSignatures(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"ed25519_test.json", "ecdsa_secp256r1_sha256_p1363_test.json"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var vectors signatureVectors
			wycheproof(t, file, &vectors)
			tried, higher := 0, 0
			for _, group := range vectors.TestGroups {
				block, _ := pem.Decode([]byte(group.PublicKeyPem))
				key, err := parsePublicKey(block)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range group.Tests {
					sig, msg := unhex(t, c.Sig), unhex(t, c.Msg)
					want := c.Result == "valid"
					if want && key.Algorithm == ES256 && !lowS(sig[32:]) {
						want = false // as good a signature, and not the one that we write
						higher++
					}
					if got := key.verify(msg, sig); got != want {
						t.Errorf("vector %d (%s): %v, want %v", c.TcID, c.Comment, got, want)
					}
					tried++
				}
			}
			if tried == 0 || tried != vectors.NumberOfTests {
				t.Errorf("tried %d of %d vectors", tried, vectors.NumberOfTests)
			}
			t.Logf("%d vectors, of which %d are valid but for the higher s", tried, higher)
		})
	}
}

// A row that is full forgets one, and never takes another for one that it holds.
func TestVerifiedTokensAreBounded(t *testing.T) {
	t.Parallel()
	row := newVerifiedTokens().row([]byte("a token that ends so"))
	for i := range uint64(100) {
		d := [2]uint64{i + 1, i << 58}
		if row.has(d) {
			t.Errorf("%d is there before it was added", i)
		}
		if row.add(d); !row.has(d) {
			t.Errorf("%d is not there", i)
		}
		if half := [2]uint64{d[0], d[1] + 1}; row.has(half) {
			t.Errorf("half of %d is taken for the whole", i)
		}
	}
	held := 0
	for i := range uint64(100) {
		if row.has([2]uint64{i + 1, i << 58}) {
			held++
		}
	}
	if held != verifiedWays {
		t.Errorf("%d are held, want %d", held, verifiedWays)
	}
}
