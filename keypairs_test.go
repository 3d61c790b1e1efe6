package doorward_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"doorward"
)

// Key pairs of these tests: the private key of RFC 8037, appendix A.1, and that of RFC
// 6979, appendix A.2.5, as PKCS #8.
const (
	edPEM = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
`
	ecPEM = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgya+p2EW6dRZrXCFX
Z7HWk05Qw9s26JsSe4piKxIPZyGhRANCAARg/tS6JVqdMclh63TGNW1owEm4kjth
+mzmaWIuYPKftnkD/hAIuLyZpBrp6VYovGTy8bIMLX6fUXejwpTURiKZ
-----END PRIVATE KEY-----
`
)

var pairAlgorithms = []doorward.Algorithm{doorward.EdDSA, doorward.ES256}

func signingKeys(t testing.TB, text string) doorward.SigningKeys {
	t.Helper()
	keys, err := doorward.ParseSigningKeys("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func testPair(t testing.TB, alg doorward.Algorithm) *doorward.KeyPair {
	t.Helper()
	return signingKeys(t, map[doorward.Algorithm]string{doorward.EdDSA: edPEM, doorward.ES256: ecPEM}[alg]).Current
}

func freshPair(t testing.TB, alg doorward.Algorithm) *doorward.KeyPair {
	t.Helper()
	p, err := doorward.GenerateKeyPair(alg, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pairRing signs access tokens with the test key pair of alg.
func pairRing(t testing.TB, alg doorward.Algorithm, others ...doorward.PublicKey) *doorward.KeyRing {
	t.Helper()
	return tokenRing(t).WithKeyPairs(doorward.KeyPairs{Access: testPair(t, alg), AccessOthers: others})
}

func onPairs(t *testing.T, f func(t *testing.T, alg doorward.Algorithm)) {
	t.Parallel()
	for _, alg := range pairAlgorithms {
		t.Run(string(alg), func(t *testing.T) { t.Parallel(); f(t, alg) })
	}
}

// goldenPairs are access tokens as clients and services hold them today. The
// signatures and the kids were computed by another implementation, python's cryptography.
var goldenPairs = map[doorward.Algorithm]struct{ header, signature string }{
	doorward.EdDSA: {`{"alg":"EdDSA","typ":"at+jwt","kid":"RbO219Pnd36yVIs8"}`, "chCnJfoKY1STDdgV80VxCeYIZ_c7DgtVv2a5S6JZosLp8RTeSWRjltwYDFR1BX48OwrkhqPLIX69-BzTud8wAQ"},
	doorward.ES256: {`{"alg":"ES256","typ":"at+jwt","kid":"lNnRe06w7NBj38U5"}`, "tYTZ73nLnCKTSd9ORJkqnSz_JIa-FcC6BgN7_2-Lw9gRfyEZApPMzFMHup5UmxSrA8SEdaTurwdNGaR5wVwk3g"},
}

func TestGoldenTokensOfKeyPairs(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg)
		token := k.Sign(doorward.AccessToken, personClaims())
		header, payload, signature := segments(t, token)
		if want := goldenPairs[alg]; decoded(t, header) != want.header || signature != want.signature {
			t.Errorf("%s, signature %s, want %s, %s", decoded(t, header), signature, want.header, want.signature)
		}
		if decoded(t, payload) != goodPayload(t) {
			t.Errorf("claims %s, want those of HS256", decoded(t, payload))
		}
		if again := pairRing(t, alg).Sign(doorward.AccessToken, personClaims()); again != token {
			t.Error("equal arguments made two tokens")
		}
		for _, use := range []doorward.Use{doorward.RefreshToken, doorward.CookieToken} {
			if k.Sign(use, personClaims()) != tokenRing(t).Sign(use, personClaims()) {
				t.Errorf("use %d is signed in another way than with HS256", use)
			}
		}
		for _, c := range []doorward.Claims{personClaims(), machineClaims()} {
			token := k.Sign(doorward.AccessToken, c)
			for range 3 { // from the second on it is remembered
				if got, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil || got != c {
					t.Errorf("Verify = %+v, %v", got, err)
				}
			}
			if !k.Recognizes(token) {
				t.Error("not recognized")
			}
		}
	})
}

func jwks(t testing.TB, k *doorward.KeyRing) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": k.PublicKeys(tokenNow)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOtherLibrariesVerifyByThePublishedKeys: go-jose by the set, golang-jwt by the key that it holds.
func TestOtherLibrariesVerifyByThePublishedKeys(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg, freshPair(t, doorward.EdDSA).Public(), freshPair(t, doorward.ES256).Public())
		token := k.Sign(doorward.AccessToken, personClaims())
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(jwks(t, k), &set); err != nil || len(set.Keys) != 3 {
			t.Fatalf("go-jose reads %d keys, %v", len(set.Keys), err)
		}
		parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := parsed.Claims(&set, &claims); err != nil || claims["username"] != "maria" {
			t.Errorf("go-jose: %v, %v", claims, err)
		}
		for _, key := range set.Keys {
			if !key.IsPublic() || !key.Valid() || key.Use != "sig" {
				t.Errorf("published: %+v", key)
			}
		}
		got, err := jwt.NewParser(jwt.WithValidMethods([]string{string(alg)}), jwt.WithTimeFunc(func() time.Time { return tokenNow })).
			Parse(token, func(token *jwt.Token) (any, error) { return set.Key(token.Header["kid"].(string))[0].Key, nil })
		if err != nil || !got.Valid {
			t.Errorf("golang-jwt: %v", err)
		}
	})
}

// signedAs is a compact JWS of any header and payload by the private key in PEM.
func signedAs(t testing.TB, alg doorward.Algorithm, header, payload string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(map[doorward.Algorithm]string{doorward.EdDSA: edPEM, doorward.ES256: ecPEM}[alg]))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.GetSigningMethod(string(alg)).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestTFForgeriesByKeyPair: TF1 to TF9 and the confusions that come with public keys. What signs them holds the
// right private key wherever that could help.
func TestTFForgeriesByKeyPair(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg)
		token := k.Sign(doorward.AccessToken, personClaims())
		header, payload, signature := segments(t, token)
		head, claims := decoded(t, header), decoded(t, payload)
		kid := k.PublicKeys(tokenNow)[0].KeyID
		other := map[doorward.Algorithm]doorward.Algorithm{doorward.EdDSA: doorward.ES256, doorward.ES256: doorward.EdDSA}[alg]
		b64 := base64.RawURLEncoding

		public, err := json.Marshal(k.PublicKeys(tokenNow)[0])
		if err != nil {
			t.Fatal(err)
		}
		var point struct{ X, Y string }
		if err := json.Unmarshal(public, &point); err != nil {
			t.Fatal(err)
		}
		x, _ := b64.DecodeString(point.X)
		y, _ := b64.DecodeString(point.Y)
		block, _ := pem.Decode([]byte(map[doorward.Algorithm]string{doorward.EdDSA: edPEM, doorward.ES256: ecPEM}[alg]))
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil {
			t.Fatal(err)
		}
		asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

		forged := map[string]string{
			"TF3 the other algorithm in the header":    signedAs(t, alg, strings.Replace(head, string(alg), string(other), 1), claims),
			"TF3 the other algorithm's signature":      signedAs(t, other, head, claims),
			"TF3 no kid":                               signedAs(t, alg, `{"alg":"`+string(alg)+`","typ":"at+jwt"}`, claims),
			"TF3 typ JWT":                              signedAs(t, alg, `{"alg":"`+string(alg)+`","typ":"JWT","kid":"`+kid+`"}`, claims),
			"an assertion as an access token":          signedAs(t, alg, `{"alg":"`+string(alg)+`","typ":"doorward-assertion+jwt","kid":"`+kid+`"}`, claims),
			"a refresh token by the key pair":          signedAs(t, alg, `{"alg":"`+string(alg)+`","typ":"rt+jwt","kid":"`+kid+`"}`, claims),
			"a cookie by the key pair":                 signedAs(t, alg, `{"alg":"`+string(alg)+`","typ":"sc+jwt","kid":"`+kid+`"}`, claims),
			"TF9 five parts":                           token + ".x.y",
			"TF9 four parts":                           header + "." + payload + "." + payload + "." + signature,
			"TF9 JSON":                                 `{"protected":"` + header + `","payload":"` + payload + `","signature":"` + signature + `"}`,
			"TF9 nested":                               signedAs(t, alg, strings.TrimSuffix(head, "}")+`,"cty":"JWT"}`, token),
			"TF9 nested under our header":              signedAs(t, alg, head, token),
			"TF9 zip":                                  signedAs(t, alg, strings.TrimSuffix(head, "}")+`,"zip":"DEF"}`, claims),
			"crit":                                     signedAs(t, alg, strings.TrimSuffix(head, "}")+`,"crit":["exp"]}`, claims),
			"another order in the header":              signedAs(t, alg, `{"typ":"at+jwt","alg":"`+string(alg)+`","kid":"`+kid+`"}`, claims),
			"nested claims":                            signedAs(t, alg, head, strings.TrimSuffix(claims, "}")+`,"x":{}}`),
			"a claim twice":                            signedAs(t, alg, head, strings.TrimSuffix(claims, "}")+`,"role":"superadmin"}`),
			"white space in the claims":                signedAs(t, alg, head, claims+" "),
			"no signature":                             header + "." + payload + ".",
			"no third dot":                             header + "." + payload,
			"a signature of zeros":                     header + "." + payload + "." + strings.Repeat("A", 86),
			"a signature of 63 bytes":                  header + "." + payload + "." + signature[:84],
			"the signature of other claims":            header + "." + b64.EncodeToString([]byte(strings.Replace(claims, "editor", "admin", 1))) + "." + signature,
			"a MAC under the header":                   forge([]byte(tokenSecret), head, claims),
			"HS256 by the secret, which signs no more": forge([]byte(tokenSecret), tokenHeader("at+jwt"), claims),
		}
		for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
			h := b64.EncodeToString([]byte(`{"alg":"` + none + `","typ":"at+jwt","kid":"` + kid + `"}`))
			for _, end := range []string{"", ".", "." + signature, ".."} {
				forged["TF1 "+none+end] = h + "." + payload + end
			}
		}
		for name, extra := range map[string]string{
			"jwk": `"jwk":` + string(public), "jku": `"jku":"http://127.0.0.1:1/"`, "x5u": `"x5u":"http://127.0.0.1:1/"`, "x5c": `"x5c":["MIIB"]`,
		} {
			forged["TF5 "+name] = signedAs(t, alg, strings.TrimSuffix(head, "}")+`,`+extra+`}`, claims)
		}
		for name, key := range map[string][]byte{
			"PEM": asPEM, "PEM without a line end": bytes.TrimSpace(asPEM), "DER": der, "JWK": public, "x": x, "y": y, "x and y": slices.Concat(x, y),
			"point": slices.Concat([]byte{4}, x, y), "kid": []byte(kid), "nothing": nil,
		} {
			for _, id := range []string{kid, doorward.KeyID([]byte(tokenSecret)), doorward.KeyID(key)} {
				forged["HS256 by the public key's "+name+", kid "+id] = forge(key, `{"alg":"HS256","typ":"at+jwt","kid":"`+id+`"}`, claims)
			}
			forged["a MAC by the public key's "+name+" under our header"] = forge(key, head, claims)
		}
		for name, bad := range forged {
			refused(t, k, name, bad)
			refused(t, k, name+", again", bad)
		}
		stranger := tokenRing(t).WithKeyPairs(doorward.KeyPairs{Access: freshPair(t, alg)}).Sign(doorward.AccessToken, personClaims())
		refused(t, k, "TF7 a kid that nobody knows", stranger)
		_, _, sig := segments(t, stranger)
		refused(t, k, "another key's signature under our header", header+"."+payload+"."+sig)
		if alg == doorward.ES256 {
			raw, _ := b64.DecodeString(signature)
			n, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
			s := new(big.Int).Sub(n, new(big.Int).SetBytes(raw[32:]))
			refused(t, k, "the other s", header+"."+payload+"."+b64.EncodeToString(append(raw[:32:32], s.FillBytes(make([]byte, 32))...)))
		}
		if _, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil {
			t.Errorf("the good token: %v", err)
		}
	})
}

// TestEveryChangedTokenOfAKeyPairIsRefused, while the good one is remembered.
func TestEveryChangedTokenOfAKeyPairIsRefused(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg)
		token := k.Sign(doorward.AccessToken, machineClaims())
		if _, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil {
			t.Fatal(err)
		}
		try := func(name, changed string) {
			if _, err := k.Verify(doorward.AccessToken, changed, tokenNow); err != doorward.ErrInvalidToken {
				t.Errorf("%s: Verify = %v", name, err)
			}
		}
		for i := range token {
			for bit := range 8 {
				changed := []byte(token)
				changed[i] ^= 1 << bit
				try(fmt.Sprintf("byte %d bit %d flipped", i, bit), string(changed))
			}
			try(fmt.Sprintf("cut to %d bytes", i), token[:i])
			try(fmt.Sprintf("byte %d gone", i), token[:i]+token[i+1:])
			for _, c := range "\n =.A" {
				try(fmt.Sprintf("%q put in at %d", c, i), token[:i]+string(c)+token[i:])
			}
		}
		for b := range 256 {
			try(fmt.Sprintf("byte %d behind", b), token+string([]byte{byte(b)}))
		}
	})
}

// TestTF13ARememberedTokenExpires: to the second, whether it was met before or not.
func TestTF13ARememberedTokenExpires(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg)
		c := personClaims()
		token := k.Sign(doorward.AccessToken, c)
		for range 2 {
			for _, at := range []struct {
				unix int64
				want error
			}{
				{c.ExpiresAt, doorward.ErrTokenExpired}, {c.IssuedAt - 61, doorward.ErrInvalidToken},
				{c.ExpiresAt - 1, nil}, {c.ExpiresAt, doorward.ErrTokenExpired}, {c.IssuedAt - 61, doorward.ErrInvalidToken}, {c.IssuedAt, nil},
			} {
				if _, err := k.Verify(doorward.AccessToken, token, time.Unix(at.unix, 0)); !sameError(err, at.want) {
					t.Errorf("at %d: %v, want %v", at.unix, err, at.want)
				}
			}
		}
	})
}

// TestTF7ARetiredKeyPairEnds, also for tokens that are remembered.
func TestTF7ARetiredKeyPairEnds(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		until := tokenNow.Add(time.Minute)
		old := testPair(t, alg).Public()
		old.Until = until
		token := pairRing(t, alg).Sign(doorward.AccessToken, personClaims())
		for _, now := range pairAlgorithms {
			k := tokenRing(t).WithKeyPairs(doorward.KeyPairs{Access: freshPair(t, now), AccessOthers: []doorward.PublicKey{old}})
			for range 2 {
				if _, err := k.Verify(doorward.AccessToken, token, until.Add(-1)); err != nil {
					t.Errorf("before the end: %v", err)
				}
				if _, err := k.Verify(doorward.AccessToken, token, until); err != doorward.ErrInvalidToken {
					t.Errorf("at the end: %v", err)
				}
			}
			if n := len(k.PublicKeys(until.Add(-1))); n != 2 {
				t.Errorf("%d keys are published before the end", n)
			}
			if n := len(k.PublicKeys(until)); n != 1 {
				t.Errorf("%d keys are published at the end", n)
			}
		}
		verifies := tokenRing(t).WithKeyPairs(doorward.KeyPairs{AccessOthers: []doorward.PublicKey{old}})
		if _, err := verifies.Verify(doorward.AccessToken, token, tokenNow); err != nil {
			t.Errorf("a ring that signs with the secret and has the public key: %v", err)
		}
		if got := verifies.Sign(doorward.AccessToken, personClaims()); got != tokenRing(t).Sign(doorward.AccessToken, personClaims()) {
			t.Error("a public key changes what is signed")
		}
	})
}

// TestTheSecretEndsWithAKeyPair: who shares the secret can make access tokens until then, and none after.
func TestTheSecretEndsWithAKeyPair(t *testing.T) {
	t.Parallel()
	until := tokenNow.Add(time.Minute)
	token := tokenRing(t).Sign(doorward.AccessToken, personClaims())
	k := tokenRing(t).WithKeyPairs(doorward.KeyPairs{Access: testPair(t, doorward.EdDSA), HS256Until: until})
	if _, err := k.Verify(doorward.AccessToken, token, until.Add(-1)); err != nil {
		t.Errorf("before the end: %v", err)
	}
	if _, err := k.Verify(doorward.AccessToken, token, until); err != doorward.ErrInvalidToken {
		t.Errorf("at the end: %v", err)
	}
	if _, err := pairRing(t, doorward.EdDSA).Verify(doorward.AccessToken, token, tokenNow); err != doorward.ErrInvalidToken {
		t.Errorf("without such a time: %v", err)
	}
	for _, use := range []doorward.Use{doorward.RefreshToken, doorward.CookieToken} {
		if _, err := k.Verify(use, k.Sign(use, personClaims()), until); err != nil {
			t.Errorf("use %d: %v", use, err)
		}
	}
}

func TestSigners(t *testing.T) {
	t.Parallel()
	ed, ec := testPair(t, doorward.EdDSA), testPair(t, doorward.ES256)
	until := time.Unix(1_800_000_123, 0)
	plain := tokenRing(t)
	both := plain.WithKeyPairs(doorward.KeyPairs{Access: ed, HS256Until: until, Assertion: ec})
	want := plain.KeyID() + " access:" + ed.Public().KeyID + " hs256-until:1800000123 assertion:" + ec.Public().KeyID
	if both.KeyID() != want {
		t.Errorf("KeyID = %s, want %s", both.KeyID(), want)
	}
	for _, k := range []*doorward.KeyRing{plain, both, plain.WithKeyPairs(doorward.KeyPairs{Assertion: ed}), plain.WithKeyPairs(doorward.KeyPairs{Access: ec})} {
		if got := doorward.ParseSigners(k.KeyID()); got.String() != k.KeyID() || got != k.Signers() {
			t.Errorf("%s is read as %s", k.KeyID(), got)
		}
		if !k.Has(k.KeyID()) || !both.Has(k.KeyID()) {
			t.Errorf("%s is not had", k.KeyID())
		}
	}
	verifies := plain.WithKeyPairs(doorward.KeyPairs{AccessOthers: []doorward.PublicKey{ed.Public()}})
	if lacks := verifies.Lacks(both.Signers()); lacks != (doorward.Signers{Assertion: ec.Public().KeyID}) {
		t.Errorf("lacks %+v", lacks)
	}
	if plain.Has("") || plain.Has("x") || plain.Has(want) {
		t.Error("has what it has not")
	}
}

func TestSigningKeysAreReadWhole(t *testing.T) {
	t.Parallel()
	until := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	old, next := freshPair(t, doorward.ES256).Public(), freshPair(t, doorward.EdDSA).Public()
	old.Until = until
	for _, alg := range pairAlgorithms {
		text, err := doorward.FormatSigningKeys(doorward.SigningKeys{Current: testPair(t, alg), Others: []doorward.PublicKey{old, next}})
		if err != nil {
			t.Fatal(err)
		}
		got := signingKeys(t, string(text))
		if got.Current.Public().KeyID != testPair(t, alg).Public().KeyID || len(got.Others) != 2 ||
			got.Others[0].KeyID != old.KeyID || !got.Others[0].Until.Equal(until) || got.Others[1].KeyID != next.KeyID || !got.Others[1].Until.IsZero() {
			t.Errorf("%s: read as %v", alg, got)
		}
		for n := range len(bytes.TrimSpace(text)) {
			if _, err := doorward.ParseSigningKeys("file", text[:n]); err == nil {
				t.Fatalf("cut to %d bytes it is taken for the whole", n)
			}
		}
		for i := range text {
			for _, to := range []byte{'\n', '*', 'A', '-'} {
				changed := bytes.Clone(text)
				changed[i] = to
				keys, err := doorward.ParseSigningKeys("file", changed)
				if err == nil && len(keys.Others) != 2 && !bytes.Equal(changed, text) {
					t.Fatalf("with byte %d changed a key is left out", i)
				}
			}
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"", "PEM"},
		"a secret":          {tokenSecret, "PEM"},
		"text before":       {"hello\n" + edPEM, "PEM"},
		"text behind":       {edPEM + "hello\n", "damaged"},
		"two private keys":  {edPEM + ecPEM, "two private keys"},
		"a public key only": {string(onlyPublic(t)), "no private key"},
		"RSA":               {"-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n", "openssl pkcs8"},
		"SEC 1":             {"-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n", "openssl pkcs8"},
		"encrypted":         {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"},
		"a certificate":     {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "neither"},
		"junk":              {"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "PKCS #8"},
	} {
		_, err := doorward.ParseSigningKeys("jwt.signing_keys", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), "jwt.signing_keys: ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MIIB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func onlyPublic(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// A source of randomness that fails or repeats itself makes no key.
func TestKM3NoKeyPairWithoutRandomness(t *testing.T) {
	t.Parallel()
	for _, alg := range append(pairAlgorithms, doorward.HS256, "none") {
		for name, random := range map[string]*strings.Reader{"none": strings.NewReader(""), "short": strings.NewReader("short"), "zeros": strings.NewReader(strings.Repeat("\x00", 9999)), "ones": strings.NewReader(strings.Repeat("\xff", 9999))} {
			if p, err := doorward.GenerateKeyPair(alg, random); err == nil || p != nil {
				t.Errorf("%s, %s: %v, %v", alg, name, p, err)
			}
		}
	}
	for _, alg := range pairAlgorithms {
		if a, b := freshPair(t, alg), freshPair(t, alg); a.Public().KeyID == b.Public().KeyID {
			t.Errorf("%s: two key pairs are one", alg)
		}
	}
}

func TestNothingPrintsAPrivateKey(t *testing.T) {
	t.Parallel()
	for _, alg := range pairAlgorithms {
		pair := testPair(t, alg)
		k := pairRing(t, alg)
		holder := struct {
			Keys  doorward.SigningKeys
			Ring  *doorward.KeyRing
			Pairs doorward.KeyPairs
		}{doorward.SigningKeys{Current: pair}, k, doorward.KeyPairs{Access: pair}}
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", pair)
			fmt.Fprintf(&out, verb+"\n", holder)
			fmt.Fprintf(&out, verb+"\n", &holder)
		}
		b, err := json.Marshal(holder)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		out.Write(jwks(t, k))
		for _, secret := range []string{"nWGxne", "9d61b19d", "[157 97 177", "c9afa9d8", "ya-p2", "[201 175", "9114550", `"d"`, "kq3Zt8", "6b71335a"} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: a private key is printed: %s", alg, secret)
			}
		}
	}
}

func TestManySignAndVerifyByKeyPairAtOnce(t *testing.T) {
	onPairs(t, func(t *testing.T, alg doorward.Algorithm) {
		k := pairRing(t, alg)
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for i := range 60 {
					c := personClaims()
					c.Subject = fmt.Sprintf("usr_%d_%d_%s", worker, i%20, strings.Repeat("x", i%20))
					token := k.Sign(doorward.AccessToken, c)
					got, err := k.Verify(doorward.AccessToken, token, tokenNow)
					_, bad := k.Verify(doorward.AccessToken, token[:len(token)-1]+"!", tokenNow)
					if err != nil || got != c || bad != doorward.ErrInvalidToken {
						t.Errorf("Verify = %+v, %v; changed: %v", got, err, bad)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// FuzzVerifyByKeyPair: what is accepted is what Sign makes, remembered or not.
func FuzzVerifyByKeyPair(f *testing.F) {
	var rings []*doorward.KeyRing
	for _, alg := range pairAlgorithms {
		k := pairRing(f, alg)
		rings = append(rings, k)
		for _, c := range []doorward.Claims{personClaims(), machineClaims()} {
			f.Add(k.Sign(doorward.AccessToken, c))
		}
		f.Add(k.Sign(doorward.CookieToken, personClaims()))
	}
	f.Add(tokenRing(f).Sign(doorward.AccessToken, personClaims()))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		for _, k := range rings {
			c, err := k.Verify(doorward.AccessToken, token, tokenNow)
			if again, err2 := k.Verify(doorward.AccessToken, token, tokenNow); again != c || err2 != err {
				t.Fatalf("once %v, then %v", err, err2)
			}
			if err == nil && k.Sign(doorward.AccessToken, c) != token {
				t.Fatalf("accepted a token that Sign does not make: %+v", c)
			}
			if err == nil && !k.Recognizes(token) {
				t.Fatal("accepted, but not recognized")
			}
		}
	})
}

// BenchmarkVerifyByKeyPair: by turns, one of 100,000 live tokens that was met before, and
// one that was not. ratio says how much more the second takes.
func BenchmarkVerifyByKeyPair(b *testing.B) {
	const live = 100_000
	for _, alg := range pairAlgorithms {
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			k := pairRing(b, alg)
			tokens := make([]string, live)
			for i := range tokens {
				c := personClaims()
				c.Session = fmt.Sprintf("AZjC9KGyfD2On6%08d", i)
				tokens[i] = k.Sign(doorward.AccessToken, c)
				if _, err := k.Verify(doorward.AccessToken, tokens[i], tokenNow); err != nil {
					b.Fatal(err)
				}
			}
			fresh := pairRing(b, alg) // has met none
			const turn = 128
			var cached, uncached []time.Duration
			at := 0
			var shown [turn]string
			show := func() { // as a server has just read them from connections
				for i := range shown {
					at = (at + 77_777) % live
					shown[i] = strings.Clone(tokens[at])
				}
			}
			for b.Loop() {
				show()
				start := time.Now()
				for _, token := range shown {
					if _, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil {
						b.Fatal(err)
					}
				}
				cached = append(cached, time.Since(start))
				show()
				start = time.Now()
				for _, token := range shown[:4] {
					if _, err := fresh.Verify(doorward.AccessToken, token, tokenNow); err != nil {
						b.Fatal(err)
					}
				}
				if uncached = append(uncached, time.Since(start)); len(uncached)%1000 == 0 {
					fresh = pairRing(b, alg)
				}
			}
			slices.Sort(cached)
			slices.Sort(uncached)
			hit, miss := float64(cached[len(cached)/2])/turn, float64(uncached[len(uncached)/2])/4
			b.ReportMetric(0, "ns/op") // of both: means nothing
			b.ReportMetric(hit, "ns/cached")
			b.ReportMetric(miss, "ns/uncached")
			b.ReportMetric(miss/hit, "ratio")
		})
	}
}
