package doorward_test

import (
	"bytes"
	"compress/flate"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"doorward"
)

// refused checks that token is ErrInvalidToken in every use.
func refused(t testing.TB, k *doorward.KeyRing, name, token string) {
	t.Helper()
	for _, use := range tokenUses {
		if c, err := k.Verify(use, token, tokenNow); err != doorward.ErrInvalidToken || c != (doorward.Claims{}) {
			t.Errorf("%s: as use %d, Verify = %+v, %v, want none and ErrInvalidToken", name, use, c, err)
		}
	}
}

func goodPayload(t testing.TB) string {
	t.Helper()
	_, payload, _ := segments(t, tokenRing(t).Sign(doorward.AccessToken, personClaims()))
	return decoded(t, payload)
}

func TestTF1AlgNone(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	header, payload, mac := segments(t, k.Sign(doorward.AccessToken, personClaims()))
	b64 := base64.RawURLEncoding
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		for _, head := range []string{
			`{"alg":"` + alg + `"}`,
			`{"alg":"` + alg + `","typ":"at+jwt","kid":"` + k.KeyID() + `"}`,
			`{"alg":"` + alg + `","alg":"HS256","typ":"at+jwt","kid":"` + k.KeyID() + `"}`,
		} {
			h := b64.EncodeToString([]byte(head))
			for _, end := range []string{"", ".", "." + mac, ".."} {
				refused(t, k, head+end, h+"."+payload+end)
			}
		}
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "x"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"golang-jwt's none":   none,
		"empty signature":     header + "." + payload + ".",
		"no signature":        header + "." + payload,
		"no claims":           header + ".." + mac,
		"header and MAC":      header + "." + mac,
		"header alone":        header,
		"header and dot":      header + ".",
		"header and two dots": header + "..",
		"nothing":             "",
		"dot":                 ".",
		"two dots":            "..",
		"no dots":             header + payload + mac,
		"dot after":           header + "." + payload + "." + mac + ".",
		"dot before":          "." + header + "." + payload + "." + mac,
		"header, signed":      header + "." + macOf([]byte(tokenSecret), header),
		"MAC of nothing":      forgeEncoded(nil, header, payload),
		"MAC of the claims":   header + "." + payload + "." + macOf([]byte(tokenSecret), payload),
		"a key of nothing":    header + "." + payload + "." + strings.Repeat("A", 43),
	} {
		refused(t, k, name, token)
	}
}

func macOf(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestTF3OtherHashesWithTheRightSecret(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	var claims jwt.MapClaims
	if err := json.Unmarshal([]byte(goodPayload(t)), &claims); err != nil {
		t.Fatal(err)
	}
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		token := jwt.NewWithClaims(method, claims)
		token.Header["typ"], token.Header["kid"] = "at+jwt", k.KeyID()
		signed, err := token.SignedString([]byte(tokenSecret))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, k, method.Alg(), signed)
	}
	// Our own header over another hash, whole and cut to the length of ours.
	header, payload, _ := segments(t, k.Sign(doorward.AccessToken, personClaims()))
	mac := hmac.New(sha512.New, []byte(tokenSecret))
	mac.Write([]byte(header + "." + payload))
	sum := mac.Sum(nil)
	for _, n := range []int{32, 48, 64} {
		refused(t, k, fmt.Sprintf("SHA-512 of %d bytes", n), header+"."+payload+"."+base64.RawURLEncoding.EncodeToString(sum[:n]))
	}
}

func TestTF5HeadersThatNameAKey(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer attacker.Close()
	k := tokenRing(t)
	key := []byte("attacker's own key, 32 bytes long")
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`
	for name, extra := range map[string]string{
		"jwk": `"jwk":` + jwk, "jku": `"jku":"` + attacker.URL + `"`, "x5u": `"x5u":"` + attacker.URL + `"`, "x5c": `"x5c":["MIIB"]`,
		"kid path": `"kid":"../../../../dev/null"`, "kid URL": `"kid":"` + attacker.URL + `"`, "crit": `"crit":["exp"]`, "b64": `"b64":false`,
	} {
		for _, signWith := range [][]byte{key, []byte(tokenSecret)} { // nor does such a header come in with the right key
			for _, header := range []string{
				`{"alg":"HS256","typ":"at+jwt","kid":"` + k.KeyID() + `",` + extra + `}`,
				`{"alg":"HS256","typ":"at+jwt",` + extra + `}`,
				`{` + extra + `,"alg":"HS256","typ":"at+jwt","kid":"` + k.KeyID() + `"}`,
			} {
				refused(t, k, name, forge(signWith, header, goodPayload(t)))
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the attacker's listener was asked %d times", n)
	}
}

func TestTF7RetiredKey(t *testing.T) {
	t.Parallel()
	until := tokenNow.Add(time.Minute)
	old, err := doorward.NewKeyRing([]byte(tokenSalt), doorward.Secret(retireSecret))
	if err != nil {
		t.Fatal(err)
	}
	keeping := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret), Until: until})
	forever := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	dropped := tokenRing(t)
	for _, use := range tokenUses {
		token := old.Sign(use, personClaims())
		for _, c := range []struct {
			name string
			ring *doorward.KeyRing
			at   time.Time
			want error
		}{
			{"kept, before its end", keeping, tokenNow, nil},
			{"kept, at the last instant", keeping, until.Add(-1), nil},
			{"kept, at its end", keeping, until, doorward.ErrInvalidToken},
			{"kept, long after its end", keeping, until.Add(24 * time.Hour), doorward.ErrInvalidToken},
			{"kept without end", forever, until, nil},
			{"dropped", dropped, tokenNow, doorward.ErrInvalidToken},
		} {
			for range 3 { // also where the ring remembers it
				if _, err := c.ring.Verify(use, token, c.at); !sameError(err, c.want) {
					t.Errorf("%s, use %d: Verify = %v, want %v", c.name, use, err, c.want)
				}
			}
		}
	}
	// The retired kid over the present secret, and the other way round.
	retired := `{"alg":"HS256","typ":"at+jwt","kid":"` + doorward.KeyID([]byte(retireSecret)) + `"}`
	for _, ring := range []*doorward.KeyRing{keeping, forever, dropped} {
		refused(t, ring, "retired kid, present secret", forge([]byte(tokenSecret), retired, goodPayload(t)))
		refused(t, ring, "present kid, retired secret", forge([]byte(retireSecret), tokenHeader("at+jwt"), goodPayload(t)))
	}
}

func sameError(got, want error) bool { return got == want }

func TestTF9OtherSerializations(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	token := k.Sign(doorward.AccessToken, personClaims())
	header, payload, mac := segments(t, token)

	encrypt := func(o *jose.EncrypterOptions) string {
		e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: []byte(tokenSecret)}, o)
		if err != nil {
			t.Fatal(err)
		}
		object, err := e.Encrypt([]byte(goodPayload(t)))
		if err != nil {
			t.Fatal(err)
		}
		compact, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	jwe := encrypt(nil)
	_, jweRest, _ := strings.Cut(jwe, ".")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(tokenSecret)}, (&jose.SignerOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	nested, err := signer.Sign([]byte(token))
	if err != nil {
		t.Fatal(err)
	}
	nestedCompact, err := nested.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: []byte(tokenSecret)}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(tokenSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signedAndEncrypted, err := josejwt.SignedAndEncrypted(inner, encrypter).Claims(map[string]any{"sub": "x"}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte(`{"iss":"doorward"}`), 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	flat := `{"protected":"` + header + `","payload":"` + payload + `","signature":"` + mac + `"}`

	for name, token := range map[string]string{
		"JWE":                         jwe,
		"JWE, compressed":             encrypt(&jose.EncrypterOptions{Compression: jose.DEFLATE}),
		"JWE under our header":        header + "." + jweRest,
		"five parts of ours":          header + "." + payload + "." + payload + "." + payload + "." + mac,
		"four parts of ours":          header + "." + payload + "." + payload + "." + mac,
		"four parts, signed":          forgeEncoded([]byte(tokenSecret), header, payload+"."+payload),
		"flattened JSON":              flat,
		"general JSON":                `{"payload":"` + payload + `","signatures":[{"protected":"` + header + `","signature":"` + mac + `"}]}`,
		"JSON by go-jose":             nested.FullSerialize(),
		"flattened JSON, encoded":     base64.RawURLEncoding.EncodeToString([]byte(flat)),
		"nested":                      nestedCompact,
		"signed and encrypted":        signedAndEncrypted,
		"nested under our header":     forge([]byte(tokenSecret), tokenHeader("at+jwt"), token),
		"nested JSON string":          forge([]byte(tokenSecret), tokenHeader("at+jwt"), `"`+token+`"`),
		"zip in the header":           forge([]byte(tokenSecret), `{"alg":"HS256","typ":"at+jwt","kid":"`+k.KeyID()+`","zip":"DEF"}`, deflated.String()),
		"compressed under our header": forge([]byte(tokenSecret), tokenHeader("at+jwt"), deflated.String()),
		"detached":                    header + ".." + mac,
		"detached, signed":            forgeEncoded([]byte(tokenSecret), header, ""),
	} {
		refused(t, k, name, token)
	}
}

func TestTF13ExpiryToTheSecond(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for _, use := range tokenUses {
		c := personClaims()
		token := k.Sign(use, c)
		iat, exp := time.Unix(c.IssuedAt, 0), time.Unix(c.ExpiresAt, 0)
		for _, at := range []struct {
			name string
			now  time.Time
			want error
		}{
			{"a second before exp", exp.Add(-time.Second), nil},
			{"a nanosecond before exp", exp.Add(-1), nil},
			{"exp", exp, doorward.ErrTokenExpired},
			{"a second after exp", exp.Add(time.Second), doorward.ErrTokenExpired},
			{"a year after exp", exp.AddDate(1, 0, 0), doorward.ErrTokenExpired},
			{"iat", iat, nil},
			{"60 s before iat", iat.Add(-60 * time.Second), nil},
			{"61 s before iat", iat.Add(-61 * time.Second), doorward.ErrInvalidToken},
			{"the epoch", time.Unix(0, 0), doorward.ErrInvalidToken},
			{"before the epoch", time.Unix(-1<<40, 0), doorward.ErrInvalidToken},
			{"the zero time", time.Time{}, doorward.ErrInvalidToken},
		} {
			for range 3 { // also where the ring remembers it
				got, err := k.Verify(use, token, at.now)
				if !sameError(err, at.want) {
					t.Errorf("use %d at %s: Verify = %v, want %v", use, at.name, err, at.want)
				}
				if err != nil && got != (doorward.Claims{}) {
					t.Errorf("use %d at %s: refused, but with claims", use, at.name)
				}
			}
		}

		c.ExpiresAt = tokenNow.Unix() - 1
		expired := k.Sign(use, c)
		header, payload, _ := segments(t, expired)
		if _, err := k.Verify(use, expired, tokenNow); err != doorward.ErrTokenExpired {
			t.Errorf("use %d, expired: Verify = %v", use, err)
		}
		refused(t, k, "expired and wrongly signed", forgeEncoded([]byte(retireSecret), header, payload))
	}
}

func TestTF17Wycheproof(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_encryption_test.json"} {
		var vectors struct {
			TestGroups []struct {
				Private json.RawMessage
				Tests   []struct {
					TcID     int
					JWS, JWE string
				}
			}
		}
		readVectors(t, file, &vectors)
		tried := 0
		for _, group := range vectors.TestGroups {
			rings := []*doorward.KeyRing{tokenRing(t)}
			var key struct{ Kty, K string }
			if json.Unmarshal(group.Private, &key) == nil && key.Kty == "oct" {
				secret, err := base64.RawURLEncoding.DecodeString(key.K)
				if err == nil && doorward.CheckSecret("", secret) == nil {
					rings = append(rings, tokenRing(t, doorward.SigningKey{Secret: secret}))
				}
			}
			for _, c := range group.Tests {
				for _, ring := range rings {
					refused(t, ring, fmt.Sprintf("%s %d", file, c.TcID), c.JWS+c.JWE)
					if ring.Recognizes(c.JWS + c.JWE) {
						t.Errorf("%s %d: Recognizes", file, c.TcID)
					}
				}
				tried++
			}
		}
		if tried == 0 {
			t.Errorf("%s: no vectors in it", file)
		}
	}
}

// readVectors reads a file of Project Wycheproof, or skips the test where there is none.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("DOORWARD_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) {
		t.Skipf("no vectors of Project Wycheproof: %v; set DOORWARD_VECTORS to their folder", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func TestKindsNeverStandInForEachOther(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for _, made := range tokenUses {
		token := k.Sign(made, personClaims())
		for _, used := range tokenUses {
			var want error
			if made != used {
				want = doorward.ErrInvalidToken
			}
			for range 3 { // also where the ring remembers it
				if _, err := k.Verify(used, token, tokenNow); !sameError(err, want) {
					t.Errorf("made for %d, used as %d: %v", made, used, err)
				}
			}
			// The same claims and MAC under the header of the other use.
			header, _, _ := segments(t, k.Sign(used, personClaims()))
			_, payload, mac := segments(t, token)
			if _, err := k.Verify(used, header+"."+payload+"."+mac, tokenNow); (err == nil) != (made == used) {
				t.Errorf("made for %d, re-headed for %d: %v", made, used, err)
			}
		}
		for _, used := range []doorward.Use{0, doorward.CookieToken + 1, 255} {
			if _, err := k.Verify(used, token, tokenNow); err != doorward.ErrInvalidToken {
				t.Errorf("made for %d, used as %d: %v", made, used, err)
			}
		}
	}
	// Who shares the secret can sign access tokens, and nothing else.
	for _, typ := range []string{"rt+jwt", "sc+jwt"} {
		refused(t, k, typ+" signed with the secret itself", forge([]byte(tokenSecret), tokenHeader(typ), goodPayload(t)))
	}
	if _, err := k.Verify(doorward.AccessToken, forge([]byte(tokenSecret), tokenHeader("at+jwt"), goodPayload(t)), tokenNow); err != nil {
		t.Errorf("access token signed with the secret by another program: %v", err)
	}
}

// TestEveryChangedTokenIsRefused, while the good one is remembered.
func TestEveryChangedTokenIsRefused(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for _, use := range tokenUses {
		token := k.Sign(use, machineClaims())
		for range 3 {
			if _, err := k.Verify(use, token, tokenNow); err != nil {
				t.Fatal(err)
			}
		}
		try := func(name string, changed []byte) {
			if _, err := k.Verify(use, string(changed), tokenNow); err != doorward.ErrInvalidToken {
				t.Errorf("use %d, %s: Verify = %v", use, name, err)
			}
		}
		for i := range token {
			for bit := range 8 {
				changed := []byte(token)
				changed[i] ^= 1 << bit
				try(fmt.Sprintf("byte %d bit %d flipped", i, bit), changed)
			}
			try(fmt.Sprintf("cut to %d bytes", i), []byte(token[:i]))
			try(fmt.Sprintf("%d bytes cut off in front", i+1), []byte(token[i+1:]))
			try(fmt.Sprintf("byte %d gone", i), []byte(token[:i]+token[i+1:]))
			for _, c := range "\n\r =.A" {
				try(fmt.Sprintf("%q put in at %d", c, i), []byte(token[:i]+string(c)+token[i:]))
			}
		}
		for b := range 256 {
			try(fmt.Sprintf("byte %d behind", b), append([]byte(token), byte(b)))
		}
		for _, n := range []int{4096, doorward.MaxTokenLen, doorward.MaxTokenLen + 1, 1 << 20} {
			for _, c := range []string{"A", "."} {
				try(fmt.Sprintf("extended to %d bytes of %s", n, c), []byte(token+strings.Repeat(c, n-len(token))))
			}
		}
		try("a million dots", bytes.Repeat([]byte("."), 1_000_000))
	}
}

// Two spellings of one token would be two keys to anything that remembers tokens by their text.
func TestABase64SegmentHasOneSpelling(t *testing.T) {
	t.Parallel()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	k := tokenRing(t)
	key := []byte(tokenSecret)

	// The MAC: 43 characters carry 258 bits, of which the last two say nothing.
	token := k.Sign(doorward.AccessToken, personClaims())
	last := strings.IndexByte(alphabet, token[len(token)-1])
	for spare := range 3 {
		other := token[:len(token)-1] + string(alphabet[last^(spare+1)])
		lenient, err := base64.RawURLEncoding.DecodeString(other[len(other)-43:])
		if err != nil {
			t.Fatal(err)
		}
		if strict := decoded(t, token[len(token)-43:]); string(lenient) != strict {
			t.Fatal("the test changed bits that count")
		}
		refused(t, k, "other spelling of the MAC", other)
	}

	// The claims, spelled otherwise and then signed with the right secret.
	header, _, _ := segments(t, token)
	for _, username := range []string{"m", "ma", "mar"} { // one, two and no bytes in the last group
		c := personClaims()
		c.Username = username
		_, payload, _ := segments(t, k.Sign(doorward.AccessToken, c))
		if _, err := k.Verify(doorward.AccessToken, forgeEncoded(key, header, payload), tokenNow); err != nil {
			t.Fatalf("the spelling that is right: %v", err)
		}
		spellings := map[string]string{
			"padded":           payload + strings.Repeat("=", (4-len(payload)%4)%4+4),
			"newline inside":   payload[:8] + "\n" + payload[8:],
			"return behind":    payload + "\r",
			"newline in front": "\n" + payload,
			"space behind":     payload + " ",
			"NUL behind":       payload + "\x00",
			"a lone character": payload[:len(payload)/4*4] + "A",
			"+ for -":          payload[:8] + "+" + payload[9:],
			"/ for _":          payload[:8] + "/" + payload[9:],
		}
		if n := (4 - len(payload)%4) % 4; n > 0 {
			spellings["padded as it should be"] = payload + strings.Repeat("=", n)
			v := strings.IndexByte(alphabet, payload[len(payload)-1])
			spellings["spare bits"] = payload[:len(payload)-1] + string(alphabet[v|1])
		}
		for name, spelling := range spellings {
			refused(t, k, name, forgeEncoded(key, header, spelling))
		}
	}
}

func TestClaimsInAnyOtherFormAreRefused(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	good := goodPayload(t)
	swap := func(old, other string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, other, 1)
	}
	for name, payload := range map[string]string{
		"nothing":               "",
		"empty object":          "{}",
		"null":                  "null",
		"array":                 "[" + good + "]",
		"two objects":           good + good,
		"space behind":          good + " ",
		"newline behind":        good + "\n",
		"NUL behind":            good + "\x00",
		"space in front":        " " + good,
		"BOM in front":          "\ufeff" + good,
		"space after a colon":   swap(`"sub":`, `"sub": `),
		"space after a comma":   swap(`,"sub"`, `, "sub"`),
		"not closed":            good[:len(good)-1],
		"comma at the end":      good[:len(good)-1] + ",}",
		"another issuer":        swap(`"iss":"doorward"`, `"iss":"Doorward"`),
		"no issuer":             swap(`"iss":"doorward",`, ``),
		"issuers":               swap(`"iss":"doorward"`, `"iss":["doorward"]`),
		"no subject":            swap(`"sub":"usr_0198c2f4a1b27c3d",`, ``),
		"empty subject":         swap(`"sub":"usr_0198c2f4a1b27c3d"`, `"sub":""`),
		"subject a number":      swap(`"sub":"usr_0198c2f4a1b27c3d"`, `"sub":7`),
		"subject null":          swap(`"sub":"usr_0198c2f4a1b27c3d"`, `"sub":null`),
		"subject twice":         swap(`"iat"`, `"sub":"usr_other","iat"`),
		"role twice":            swap(`"org"`, `"role":"superadmin","org"`),
		"role at the end":       swap(`"maria"`, `"maria","role":"superadmin"`),
		"ROLE":                  swap(`"maria"`, `"maria","ROLE":"superadmin"`),
		"unknown name":          swap(`"maria"`, `"maria","x":"y"`),
		"audience":              swap(`"maria"`, `"maria","aud":"x"`),
		"not before":            swap(`"maria"`, `"maria","nbf":1800000000`),
		"other order":           swap(`"kind":"user","role":"editor"`, `"role":"editor","kind":"user"`),
		"no role":               swap(`"role":"editor",`, ``),
		"empty role":            swap(`"editor"`, `""`),
		"unknown role":          swap(`"editor"`, `"root"`),
		"role in capitals":      swap(`"editor"`, `"Editor"`),
		"roles":                 swap(`"editor"`, `["editor"]`),
		"no kind":               swap(`"kind":"user",`, ``),
		"anonymous":             swap(`"kind":"user"`, `"kind":"anonymous"`),
		"no organization":       swap(`"org":"default",`, ``),
		"no workspaces":         swap(`"ws":"default,research",`, ``),
		"workspaces a list":     swap(`"ws":"default,research"`, `"ws":["default"]`),
		"empty username":        swap(`"maria"`, `""`),
		"nested":                swap(`"maria"`, `{"a":"b"}`),
		"escaped letter":        swap(`"maria"`, `"\u006daria"`),
		"escaped quote":         swap(`"maria"`, `"ma\"ria"`),
		"escaped slash":         swap(`"maria"`, `"ma\/ria"`),
		"backslash at the end":  swap(`"maria"`, `"maria\"`),
		"raw newline":           swap(`"maria"`, "\"ma\nria\""),
		"raw NUL":               swap(`"maria"`, "\"ma\x00ria\""),
		"raw DEL":               swap(`"maria"`, "\"ma\x7fria\""),
		"not ASCII":             swap(`"maria"`, `"mária"`),
		"not UTF-8":             swap(`"maria"`, "\"m\xe1ria\""),
		"not ASCII in a name":   swap(`"sub"`, `"ſub"`),
		"no expiry":             swap(`"exp":1800003600,`, ``),
		"expiry null":           swap(`1800003600`, `null`),
		"expiry a string":       swap(`1800003600`, `"1800003600"`),
		"expiry a fraction":     swap(`1800003600`, `1800003600.0`),
		"expiry with exponent":  swap(`1800003600`, `18e8`),
		"expiry negative":       swap(`1800003600`, `-1800003600`),
		"expiry with plus":      swap(`1800003600`, `+1800003600`),
		"expiry with zero":      swap(`1800003600`, `01800003600`),
		"expiry empty":          swap(`1800003600`, ``),
		"expiry true":           swap(`1800003600`, `true`),
		"expiry 2^53":           swap(`1800003600`, `9007199254740992`),
		"expiry 2^64+":          swap(`1800003600`, `18446744075509555216`),
		"expiry of 1000 digits": swap(`1800003600`, strings.Repeat("9", 1000)),
		"expiry infinite":       swap(`1800003600`, `Infinity`),
		"expiry without name":   swap(`,"exp":`, `,`),
		"iat without name":      swap(`,"iat":`, ``),
		"generation 00":         swap(`"gen":0`, `"gen":00`),
		"generation -0":         swap(`"gen":0`, `"gen":-0`),
		"no generation":         swap(`"gen":0,`, ``),
		"no session":            swap(`"sid":"AZjC9KGyfD2On6Cx0tHq8x",`, ``),
		"empty session":         swap(`"AZjC9KGyfD2On6Cx0tHq8x"`, `""`),
		"empty id":              swap(`"AZjC9KGyfD2On6Cx0tHq8w"`, `""`),
		"empty rjti":            swap(`"gen":0`, `"gen":0,"rjti":""`),
		"1000 levels":           strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000),
	} {
		refused(t, k, name, forge([]byte(tokenSecret), tokenHeader("at+jwt"), payload))
	}
	long := swap(`"default,research"`, `"`+strings.Repeat("w", doorward.MaxTokenLen)+`"`)
	refused(t, k, "longer than MaxTokenLen", forge([]byte(tokenSecret), tokenHeader("at+jwt"), long))

	// What is refused is the change, not the making of it here.
	if c, err := k.Verify(doorward.AccessToken, forge([]byte(tokenSecret), tokenHeader("at+jwt"), good), tokenNow); err != nil || c != personClaims() {
		t.Errorf("unchanged: Verify = %+v, %v", c, err)
	}
	largest := swap(`1800003600`, `9007199254740991`)
	if c, err := k.Verify(doorward.AccessToken, forge([]byte(tokenSecret), tokenHeader("at+jwt"), largest), tokenNow); err != nil || c.ExpiresAt != 1<<53-1 {
		t.Errorf("exp 2^53-1: Verify = %+v, %v", c, err)
	}
}

// A backslash, a control character or a byte above ASCII must be seen wherever it stands, also between
// the groups of eight that are looked at together.
func TestEveryByteValueAtEveryPlace(t *testing.T) {
	t.Parallel()
	k, good := tokenRing(t), goodPayload(t)
	for at := range 17 {
		for b := range 256 {
			name := []byte("seventeen_letters")
			name[at] = byte(b)
			fits := fitsClaim(string(name))
			payload := strings.Replace(good, "maria", string(name), 1)
			c, err := k.Verify(doorward.AccessToken, forge([]byte(tokenSecret), tokenHeader("at+jwt"), payload), tokenNow)
			if (err == nil) != fits || fits && c.Username != string(name) {
				t.Errorf("username %q: Verify = %q, %v", name, c.Username, err)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	k := tokenRing(f, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	old, err := doorward.NewKeyRing([]byte(tokenSalt), doorward.Secret(retireSecret))
	if err != nil {
		f.Fatal(err)
	}
	for _, use := range tokenUses {
		for _, c := range []doorward.Claims{personClaims(), machineClaims()} {
			f.Add(uint8(use), k.Sign(use, c))
			f.Add(uint8(use), old.Sign(use, c))
		}
	}
	f.Add(uint8(1), "")
	f.Add(uint8(0), "..")
	f.Fuzz(func(t *testing.T, use uint8, token string) {
		c, err := k.Verify(doorward.Use(use), token, tokenNow)
		if err == doorward.ErrInvalidToken || err == doorward.ErrTokenExpired {
			return
		}
		if err != nil {
			t.Fatalf("Verify = %v", err)
		}
		if k.Sign(doorward.Use(use), c) != token && old.Sign(doorward.Use(use), c) != token {
			t.Fatalf("accepted a token that Sign does not make: %+v", c)
		}
		if !k.Recognizes(token) {
			t.Fatal("accepted, but not recognized")
		}
	})
}

// FuzzClaims gives the parser any claims, well signed: it must accept what Sign writes and nothing
// else, and read it as any reader of JSON does.
func FuzzClaims(f *testing.F) {
	k := tokenRing(f)
	for _, c := range []doorward.Claims{personClaims(), machineClaims()} {
		_, payload, _ := segments(f, k.Sign(doorward.AccessToken, c))
		f.Add(decoded(f, payload))
	}
	f.Add(`{"iss":"doorward","sub":"a","iat":0,"exp":9007199254740991,"jti":"b","sid":"c","gen":0,"kind":"key","role":"viewer","org":"","ws":""}`)
	f.Fuzz(func(t *testing.T, payload string) {
		token := forge([]byte(tokenSecret), tokenHeader("at+jwt"), payload)
		c, err := k.Verify(doorward.AccessToken, token, tokenNow)
		if err != nil {
			return
		}
		if k.Sign(doorward.AccessToken, c) != token {
			t.Fatalf("accepted claims that Sign does not write: %s", payload)
		}
		if there := readJSON(t, payload); there != c {
			t.Fatalf("encoding/json reads %+v, we read %+v", there, c)
		}
	})
}
