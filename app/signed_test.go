package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"doorward"
	"doorward/safe"
)

var pairAlgorithms = []string{"EdDSA", "ES256"}

func onPairs(t *testing.T, f func(t *testing.T, alg string)) {
	t.Parallel()
	for _, alg := range pairAlgorithms {
		t.Run(alg, func(t *testing.T) { t.Parallel(); f(t, alg) })
	}
}

// keySet fetches the public keys as go-jose reads them.
func (d *door) keySet() *jose.JSONWebKeySet {
	d.t.Helper()
	set := new(jose.JSONWebKeySet)
	body := d.do("GET", "/.well-known/jwks.json").want(http.StatusOK).body
	if err := json.Unmarshal([]byte(body), set); err != nil {
		d.t.Errorf("%v in %s", err, body)
	}
	return set
}

func (d *door) publishes(kid string) bool { return len(d.keySet().Key(kid)) == 1 }

// verified are the claims of a token as go-jose finds them by the public keys, its kid and typ.
func (d *door) verified(token string) (claims map[string]any, typ string) {
	d.t.Helper()
	parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		d.t.Errorf("go-jose cannot read %q: %v", token, err)
		return nil, ""
	}
	if err := parsed.Claims(d.keySet(), &claims); err != nil {
		d.t.Errorf("go-jose: %v", err)
	}
	set := d.keySet()
	if _, err := jwt.NewParser(jwt.WithTimeFunc(d.clock.now), jwt.WithValidMethods(pairAlgorithms)).Parse(token, func(token *jwt.Token) (any, error) {
		return set.Key(token.Header["kid"].(string))[0].Key, nil
	}); err != nil {
		d.t.Errorf("golang-jwt: %v", err)
	}
	typ, _ = parsed.Headers[0].ExtraHeaders["typ"].(string)
	return claims, typ
}

func algOf(t *testing.T, token string) string {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	var header struct{ Alg string }
	if b, err := base64.RawURLEncoding.DecodeString(first); err != nil || json.Unmarshal(b, &header) != nil {
		t.Fatalf("%q has no header", token)
	}
	return header.Alg
}

// pairPEM is a fresh private key in PEM, and its public key.
func pairPEM(t *testing.T, alg string) (private, public string) {
	t.Helper()
	pair, err := doorward.GenerateKeyPair(doorward.Algorithm(alg), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := doorward.FormatSigningKeys(doorward.SigningKeys{Current: pair})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var of any
	switch key := key.(type) {
	case ed25519.PrivateKey:
		of = key.Public()
	case *ecdsa.PrivateKey:
		of = &key.PublicKey
	}
	der, err := x509.MarshalPKIXPublicKey(of)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestTFForgedTokensAtTheDoorOfKeyPairs: TF1 to TF9 and the confusions with the public key, shown at the doors of a
// whole server after the good token, and after it was remembered.
func TestTFForgedTokensAtTheDoorOfKeyPairs(t *testing.T) {
	onPairs(t, func(t *testing.T, alg string) {
		service := newEcho(t)
		private, public := pairPEM(t, alg)
		d := machineDoor(t, "upstream="+service.URL, "jwt.algorithm="+alg, "jwt.signing_keys="+private)
		access, refresh := d.exchange(machineToken, "app")
		if algOf(t, access) != alg || algOf(t, refresh) != "HS256" {
			t.Errorf("signed with %s and %s", algOf(t, access), algOf(t, refresh))
		}
		for range 2 {
			d.do("GET", "/x", bearer(access)).want(http.StatusOK)
		}
		part := strings.Split(access, ".")
		kid := kidOf(t, access)
		block, _ := pem.Decode([]byte(private))
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		publicBlock, _ := pem.Decode([]byte(public))
		jwk := string(must(json.Marshal(d.keySet().Key(kid)[0])))
		encode := base64.RawURLEncoding.EncodeToString
		signed := func(method string, key any, header string) string {
			text := encode([]byte(header)) + "." + part[1]
			return text + "." + encode(must(jwt.GetSigningMethod(method).Sign(text, key)))
		}
		head := `{"alg":"` + alg + `","typ":"at+jwt","kid":"` + kid + `"`
		if good := signed(alg, key, head+"}"); alg == "EdDSA" && good != access {
			t.Error("another library signs the same token otherwise")
		}
		forged := map[string]string{
			"TF3 HS256 by the secret":           signed("HS256", []byte(machineSecret), `{"alg":"HS256","typ":"at+jwt","kid":"`+doorward.KeyID([]byte(machineSecret))+`"}`),
			"TF3 a MAC by the secret":           signed("HS256", []byte(machineSecret), head+"}"),
			"TF5 jku":                           signed(alg, key, head+`,"jku":"http://127.0.0.1:1/"}`),
			"TF5 jwk":                           signed(alg, key, head+`,"jwk":`+jwk+`}`),
			"TF7 no kid":                        signed(alg, key, `{"alg":"`+alg+`","typ":"at+jwt"}`),
			"TF7 another kid":                   signed(alg, key, `{"alg":"`+alg+`","typ":"at+jwt","kid":"retired"}`),
			"TF9 five parts":                    access + ".x.y",
			"TF9 JSON":                          `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
			"TF9 nested":                        signed(alg, key, head+`,"cty":"JWT"}`),
			"TF9 deflated":                      signed(alg, key, head+`,"zip":"DEF"}`),
			"a cookie's typ":                    signed(alg, key, `{"alg":"`+alg+`","typ":"sc+jwt","kid":"`+kid+`"}`),
			"an assertion's typ":                signed(alg, key, `{"alg":"`+alg+`","typ":"doorward-assertion+jwt","kid":"`+kid+`"}`),
			"a refresh token":                   refresh,
			"the remembered token, but its end": access[:len(access)-4] + other(access[len(access)-4:]),
		}
		for name, bytes := range map[string][]byte{"PEM": []byte(public), "PEM without a line end": []byte(strings.TrimSpace(public)), "DER": publicBlock.Bytes, "JWK": []byte(jwk), "kid": []byte(kid)} {
			forged["HS256 by the public key's "+name] = signed("HS256", bytes, `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`)
			forged["a MAC by the public key's "+name] = signed("HS256", bytes, head+"}")
			forged["HS256 by the public key's "+name+" under the secret's kid"] = signed("HS256", bytes, `{"alg":"HS256","typ":"at+jwt","kid":"`+doorward.KeyID([]byte(machineSecret))+`"}`)
		}
		for _, none := range []string{"none", "None", "NONE", "nOnE"} {
			h := encode([]byte(`{"alg":"` + none + `","typ":"at+jwt","kid":"` + kid + `"}`))
			forged["TF1 "+none] = h + "." + part[1] + "."
			forged["TF1 "+none+", signed"] = h + "." + part[1] + "." + part[2]
		}
		before := service.count()
		for name, token := range forged {
			for _, at := range [][2]string{{"GET", "/x"}, {"GET", "/auth/validate"}, {"POST", "/auth/logout"}, {"GET", "/api/auth/me"}} {
				if got := d.do(at[0], at[1], bearer(token)); got.status != http.StatusUnauthorized || got.str("error") != "invalid token" {
					t.Errorf("%s: %s: %d %s", name, got.what, got.status, got.body)
				}
			}
			d.do("GET", "/x", cookie(token)).want(http.StatusUnauthorized)
		}
		if n := service.count() - before; n != 0 {
			t.Errorf("the service was asked %d times", n)
		}
		d.do("GET", "/x", bearer(access)).want(http.StatusOK)
		d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		d.do("GET", "/x", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted") // though its signature is remembered
	})
}

// TestThePublicKeysOfTheDoor: what is published verifies what is signed, and signs nothing.
func TestThePublicKeysOfTheDoor(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "jwt.algorithm=ES256", "assertion=EdDSA")
	access, _ := d.exchange(machineToken, "app")
	if claims, typ := d.verified(access); claims["sub"] != "app" || typ != "at+jwt" {
		t.Errorf("%v, typ %s", claims, typ)
	}
	a := d.do("GET", "/.well-known/jwks.json", bearer("nonsense"), header("Origin", "https://evil.example")).want(http.StatusOK)
	if len(d.keySet().Keys) != 2 || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%v %s", a.header, a.body)
	}
	for _, secret := range []string{`"d"`, `"k"`, "oct", "PRIVATE", doorward.KeyID([]byte(machineSecret))} {
		if strings.Contains(a.body, secret) {
			t.Errorf("%s is published: %s", secret, a.body)
		}
	}
	tag := a.header.Get("ETag")
	for _, asked := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if got := d.do("GET", "/.well-known/jwks.json", header("If-None-Match", asked)).want(http.StatusNotModified); got.body != "" || got.header.Get("ETag") != tag {
			t.Errorf("%s: %v %q", asked, got.header, got.body)
		}
	}
	d.do("GET", "/.well-known/jwks.json", header("If-None-Match", `"x"`)).want(http.StatusOK)
	d.do("HEAD", "/.well-known/jwks.json").want(http.StatusOK)
	d.do("POST", "/.well-known/jwks.json").want(http.StatusMethodNotAllowed)
	if !strings.Contains(d.log.String(), "/.well-known/jwks.json") {
		t.Error("the start-up log does not list the door")
	}

	for name, settings := range map[string][]string{"nothing to publish": nil, "off": {"jwt.algorithm=EdDSA", "paths.jwks=off"}, "elsewhere": {"jwt.algorithm=EdDSA", "paths.jwks=/keys.json"}} {
		d, service := gatewayDoor(t, settings...)
		d.do("GET", "/.well-known/jwks.json", bearer(machineToken)).want(http.StatusOK)
		if n := service.calls.Load(); n != 1 {
			t.Errorf("%s: the path is not the service's", name)
		}
		if name == "elsewhere" {
			d.do("GET", "/keys.json").want(http.StatusOK)
		}
	}
}

// TestKM5KeyPairsRotateWithTheSecret, on a running server, and nobody is signed out; with --now everybody is.
func TestKM5KeyPairsRotateWithTheSecret(t *testing.T) {
	onPairs(t, func(t *testing.T, alg string) {
		d := newDoor(t, "api_tokens="+machineToken, "jwt.algorithm="+alg, "assertion="+alg)
		d.setUp()
		var all []*outfit
		var kids []string
		for range 2 {
			o := d.outfit()
			all, kids = append(all, o), append(kids, kidOf(t, o.access))
			done := d.rotate(false)
			if len(done.KeyPairs) != 2 || done.KeyID == "" || len(done.Previous) != 3*len(kids) {
				t.Errorf("rotated: %+v", done)
			}
			d.signsWith(done.KeyPairs[0])
			for _, o := range all {
				d.accepts(o)
			}
			for _, kid := range kids {
				if !d.publishes(kid) {
					t.Errorf("%s is not published any more", kid)
				}
			}
			if n := len(d.keySet().Keys); n != 2*len(kids)+2 {
				t.Errorf("%d keys are published after %d rotations", n, len(kids))
			}
		}
		d.restart()
		for _, o := range all {
			d.accepts(o)
		}
		d.clock.advance(2 * time.Hour) // keys of assertions have ended
		if n := len(d.keySet().Keys); n != 4 {
			t.Errorf("%d keys are published later", n)
		}
		if strings.Contains(d.log.String(), "ALARM") || strings.Contains(d.log.String(), "not accepted any more") {
			t.Errorf("the log says\n%s", d.log)
		}
		done := d.rotate(true)
		d.signsWith(done.KeyPairs[0])
		for _, o := range all {
			d.refuses(o)
		}
		d.restart()
		for _, o := range all {
			d.refuses(o)
		}
		if n := len(d.keySet().Keys); n != 2 {
			t.Errorf("%d keys are published after --now", n)
		}
		d.accepts(d.outfit())
		for _, name := range []string{".doorward-jwt-keys.pem", ".doorward-assertion-keys.pem"} {
			info, err := os.Stat(filepath.Join(d.dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	})
}

// TestARotationOfKeyPairsCutShort after any step leaves a server that starts, and signs nobody out.
func TestARotationOfKeyPairsCutShort(t *testing.T) {
	t.Parallel()
	for cut := range 5 {
		t.Run(fmt.Sprintf("after %d steps", cut), func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, "api_tokens="+machineToken, "jwt.algorithm=EdDSA")
			d.setUp()
			before := d.outfit()
			s := d.settings()
			r, err := safe.Plan(t.Context(), s.doorConfig().Safe(), d.beside(s), false, rand.Reader, d.clock.now())
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Steps()) != 4 {
				t.Fatalf("%d steps", len(r.Steps()))
			}
			for i, step := range r.Steps() {
				if i < cut {
					if err := step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			d.clock.advance(time.Hour)
			after := d.outfit() // by the server that was not told, or not yet
			d.restart()
			d.accepts(before)
			d.accepts(after)
			d.accepts(d.outfit())
		})
	}
}

// TestChangingTheAlgorithmSignsNobodyOut, whichever way; and the secret signs no access token for ever.
func TestChangingTheAlgorithmSignsNobodyOut(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	d.setUp()
	var all []*outfit
	for _, alg := range []string{"HS256", "EdDSA", "ES256", "HS256", "ES256", "EdDSA"} {
		d.restart("jwt.algorithm=" + alg)
		o := d.outfit()
		if algOf(t, o.access) != alg || algOf(t, o.person) != alg || algOf(t, o.refresh) != "HS256" || algOf(t, o.cookie) != "HS256" {
			t.Errorf("%s: signed with %s, %s, %s and %s", alg, algOf(t, o.access), algOf(t, o.person), algOf(t, o.refresh), algOf(t, o.cookie))
		}
		all = append(all, o)
		for _, o := range all {
			for _, token := range []string{o.access, o.person} {
				d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
			}
			d.do("GET", "/api/auth/me", cookie(o.cookie)).want(http.StatusOK)
		}
	}
	d.restart()
	secret, err := safe.ReadSecretFile(d.secretFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := doorward.NewKeyRing(make([]byte, doorward.SaltLen), secret)
	if err != nil {
		t.Fatal(err)
	}
	byHand := func() string {
		access, _ := d.exchange(machineToken, "app")
		c := claimsOf(t, access)
		return ring.Sign(doorward.AccessToken, doorward.Claims{
			Subject: c.Subject, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, ID: "by-hand", Session: c.Session,
			Kind: doorward.KindClient, Role: doorward.Editor, Org: "default", Workspaces: "default",
		})
	}
	d.do("GET", "/auth/validate", bearer(byHand())).want(http.StatusOK)
	d.clock.advance(31 * 24 * time.Hour)
	d.do("GET", "/auth/validate", bearer(byHand())).refused(http.StatusUnauthorized, "invalid token")
	d.restart()
	d.do("GET", "/auth/validate", bearer(byHand())).refused(http.StatusUnauthorized, "invalid token")

	fresh := newDoor(t, "api_tokens="+machineToken, "jwt.algorithm=EdDSA")
	if secret, err = safe.ReadSecretFile(fresh.secretFile()); err != nil {
		t.Fatal(err)
	}
	if ring, err = doorward.NewKeyRing(make([]byte, doorward.SaltLen), secret); err != nil {
		t.Fatal(err)
	}
	d = fresh
	d.do("GET", "/auth/validate", bearer(byHand())).refused(http.StatusUnauthorized, "invalid token")
}

// TestARepeatedRefreshIsTheSameWithKeyPairs: to the letter, access token included, restart between.
func TestARepeatedRefreshIsTheSameWithKeyPairs(t *testing.T) {
	onPairs(t, func(t *testing.T, alg string) {
		d := newDoor(t, "api_tokens="+machineToken, "jwt.algorithm="+alg)
		d.clock.freeze(time.Now().Truncate(time.Second))
		_, refresh := d.exchange(machineToken, "app")
		first := d.refresh(refresh).want(http.StatusOK)
		d.restart()
		if again := d.refresh(refresh).want(http.StatusOK); again.body != first.body {
			t.Errorf("%s\nthen\n%s", first.body, again.body)
		}
	})
}

// TestAGivenKeyAfterAFirstRun signs nobody out, and one of another algorithm is refused.
func TestAGivenKeyAfterAFirstRun(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken, "jwt.algorithm=EdDSA")
	d.setUp()
	before := d.outfit()
	kid := kidOf(t, before.access)
	private, _ := pairPEM(t, "EdDSA")
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart("jwt.signing_keys_file=" + path)
	after := d.outfit()
	d.accepts(before)
	d.accepts(after)
	if kid == kidOf(t, d.outfit().access) {
		t.Error("the given key does not sign")
	}
	other, _ := pairPEM(t, "ES256")
	for keys, want := range map[string]string{
		other:                "jwt.signing_keys: holds a private key for ES256, and jwt.algorithm is EdDSA",
		"not a key":          "jwt.signing_keys: does not begin with a key in PEM",
		private + private:    "jwt.signing_keys: holds two private keys",
		private[:100] + "\n": "jwt.signing_keys: is damaged",
	} {
		l := load(sources{flags: map[string]string{"jwt.algorithm": "EdDSA", "jwt.signing_keys": keys}})
		if err := l.err(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "MC4C") || strings.Contains(err.Error(), "not a key") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestKM3AKeyFileIsNeverReplaced when it cannot be used, and the server says why it does not start.
func TestKM3AKeyFileIsNeverReplaced(t *testing.T) {
	t.Parallel()
	private, _ := pairPEM(t, "EdDSA")
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"empty":           {"", 0o600, "PEM"},
		"cut":             {private[:60], 0o600, "damaged"},
		"others can read": {private, 0o644, "chmod 600"},
		"something else":  {"hello", 0o600, "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, ".doorward-jwt-keys.pem")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			for _, alg := range pairAlgorithms {
				l := load(sources{flags: map[string]string{"data_dir": dir, "jwt.algorithm": alg}})
				h, err := open(context.Background(), l.Settings, slog.New(slog.DiscardHandler), time.Now)
				if err == nil {
					_ = h.Close()
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v, want %s", err, c.want)
				}
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != c.content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// TestKM5KeyPairsOfSeveralNodes: given by a setting, known to each before one signs with it; and a node that lacks one does not start.
func TestKM5KeyPairsOfSeveralNodes(t *testing.T) {
	t.Parallel()
	private, public := pairPEM(t, "EdDSA")
	next, nextPublic := pairPEM(t, "EdDSA")
	word, wordPublic := pairPEM(t, "ES256")
	a, b := twoNodes(t)
	a.setUp()
	starts := func(d *door, change ...string) error {
		flags := map[string]string{}
		for k, v := range d.flags {
			flags[k] = v
		}
		for _, c := range change {
			k, v, _ := strings.Cut(c, "=")
			if flags[k] = v; v == "" {
				delete(flags, k)
			}
		}
		l := load(sources{flags: flags})
		if err := l.err(); err != nil {
			return err
		}
		h, err := open(context.Background(), l.Settings, slog.New(slog.DiscardHandler), time.Now)
		if err == nil {
			_ = h.Close()
		}
		return err
	}
	refusedStart := func(want string, d *door, change ...string) {
		t.Helper()
		if err := starts(d, change...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	refusedStart("jwt.signing_keys: must be given with a PostgreSQL database where jwt.algorithm is EdDSA", a, "jwt.algorithm=EdDSA")
	refusedStart("assertion_keys: must be given with a PostgreSQL database where assertion is ES256", a, "assertion=ES256")

	var all []*outfit
	step := func(d *door, settings ...string) {
		t.Helper()
		d.restart(settings...)
		for _, from := range []*door{a, b} {
			all = append(all, from.outfit())
		}
		for _, o := range all {
			for _, at := range []*door{a, b} {
				for _, token := range []string{o.access, o.person} {
					at.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
				}
				at.do("GET", "/api/auth/me", cookie(o.cookie)).want(http.StatusOK)
			}
		}
	}
	step(a, "jwt.signing_keys="+private) // still HS256: it can verify
	step(b, "jwt.signing_keys="+private)
	step(a, "jwt.algorithm=EdDSA")
	step(b, "jwt.algorithm=EdDSA")
	refusedStart("jwt.signing_keys: lacks the key that signs access tokens on this database", a, "jwt.signing_keys="+next)
	refusedStart("jwt.signing_keys: lacks the key", a, "jwt.signing_keys=", "jwt.algorithm=HS256")
	// The next key: known everywhere, then signing everywhere, then alone.
	step(a, "jwt.signing_keys="+private+nextPublic)
	step(b, "jwt.signing_keys="+private+nextPublic)
	step(a, "jwt.signing_keys="+next+public)
	step(b, "jwt.signing_keys="+next+public)
	if n := len(b.keySet().Keys); n != 2 {
		t.Errorf("%d keys are published", n)
	}
	step(a, "assertion=ES256", "assertion_keys="+word)
	step(b, "assertion=ES256", "assertion_keys="+wordPublic+word)
	another, _ := pairPEM(t, "ES256")
	refusedStart("assertion_keys: lacks the key that signs assertions on this database", b, "assertion_keys="+another)
	if strings.Contains(a.log.String(), "not accepted any more") {
		t.Errorf("the log says\n%s", a.log)
	}
}

// TestAssertions: who asks, as the service can verify it by itself; whatever was shown.
func TestAssertions(t *testing.T) {
	onPairs(t, func(t *testing.T, alg string) {
		d, _ := gatewayDoor(t, "assertion="+alg, "public_url=https://door.example")
		root := d.setUp()
		id, ada, adaCookie := d.newUser(root, "ada", "viewer")
		access, _ := d.exchange(machineToken, "my-app")
		for name, c := range map[string]struct {
			shown ask
			want  string // of claims, the times and the session aside
		}{
			"a person's token": {bearer(ada), `{"aud":"upstream","iss":"https://door.example","kind":"user","org":"default","role":"viewer","sub":"` + id + `","username":"ada","ws":"default"}`},
			"a cookie":         {cookie(adaCookie), `{"aud":"upstream","iss":"https://door.example","kind":"user","org":"default","role":"viewer","sub":"` + id + `","username":"ada","ws":"default"}`},
			"a machine":        {bearer(access), `{"aud":"upstream","iss":"https://door.example","kind":"client","org":"default","role":"editor","sub":"my-app","ws":"default"}`},
			"a key":            {apiKey(machineKey), `{"aud":"upstream","iss":"https://door.example","kind":"key","org":"default","role":"admin","sub":"` + d.do("GET", "/api/auth/me", apiKey(machineKey)).str("id") + `","ws":"default"}`},
		} {
			got := d.do("GET", "/x", c.shown, header("X-Doorward-Assertion", "spoofed")).echoed().Header
			words := got["X-Doorward-Assertion"]
			if len(words) != 1 {
				t.Fatalf("%s: %q", name, words)
			}
			claims, typ := d.verified(words[0])
			iat, exp := claims["iat"].(float64), claims["exp"].(float64)
			if typ != "doorward-assertion+jwt" || exp-iat != 60 || algOf(t, words[0]) != alg {
				t.Errorf("%s: typ %s, %v", name, typ, claims)
			}
			if session, _ := claims["sid"].(string); (session == "") != (name == "a key") {
				t.Errorf("%s: sid %q", name, session)
			}
			delete(claims, "iat")
			delete(claims, "exp")
			delete(claims, "sid")
			if b := string(must(json.Marshal(claims))); b != c.want {
				t.Errorf("%s: %s\nwant %s", name, b, c.want)
			}
			// It is no credential of ours, wherever it is shown.
			d.do("GET", "/x", bearer(words[0])).want(http.StatusUnauthorized)
			d.do("GET", "/x", cookie(words[0])).want(http.StatusUnauthorized)
			d.do("GET", "/auth/validate", bearer(words[0])).refused(http.StatusUnauthorized, "invalid token")
		}
	})
}

// TestAnAssertionIsMadeOnce and given again for half of its life; never to another, and not after sign-out.
func TestAnAssertionIsMadeOnce(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "assertion=ES256")
	root := d.setUp()
	_, ada, _ := d.newUser(root, "ada", "viewer")
	d.clock.freeze(time.Now().Truncate(time.Second))
	word := func(shown ask) string {
		return d.do("GET", "/x", shown).echoed().Header.Get("X-Doorward-Assertion")
	}
	first := word(bearer(ada))
	if other := word(bearer(root)); other == first {
		t.Error("two people have one assertion")
	}
	d.clock.advance(29 * time.Second)
	if word(bearer(ada)) != first {
		t.Error("made again after 29 s")
	}
	d.clock.advance(time.Second)
	second := word(bearer(ada))
	if second == first {
		t.Error("given again after 30 s")
	}
	d.clock.advance(-20 * time.Second)
	if word(bearer(root)) == second {
		t.Error("two people have one assertion")
	}
	d.do("POST", "/api/auth/logout", bearer(ada)).want(http.StatusOK)
	d.do("GET", "/x", bearer(ada)).want(http.StatusUnauthorized)

	// It does not outlive the token that was shown.
	access, _ := d.exchange(machineToken, "app")
	d.clock.advance(24*time.Hour - 10*time.Second)
	if claims, _ := d.verified(word(bearer(access))); claims["exp"].(float64) != float64(claimsOf(t, access).ExpiresAt) {
		t.Errorf("it ends at %v, the token at %d", claims["exp"], claimsOf(t, access).ExpiresAt)
	}
}

// TestAnAssertionOfNobody says so; and without the setting there is none, whatever a client sends.
func TestAnAssertionOfNobody(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "assertion=EdDSA", "auth.enabled=false")
	words := d.do("GET", "/x", header("X-Doorward-Assertion", "spoofed")).echoed().Header["X-Doorward-Assertion"]
	if len(words) != 1 {
		t.Fatalf("%q", words)
	}
	claims, _ := d.verified(words[0])
	if _, has := claims["sub"]; has || claims["kind"] != "anonymous" || claims["role"] != "" {
		t.Errorf("%v", claims)
	}
	off, _ := gatewayDoor(t)
	if words := off.do("GET", "/x", apiKey(machineKey), header("X-Doorward-Assertion", "spoofed")).echoed().Header["X-Doorward-Assertion"]; len(words) != 1 || words[0] != "" {
		t.Errorf("%q", words)
	}
}

// TestMN15AssertionsAreForOneService and one workspace.
func TestMN15AssertionsAreForOneService(t *testing.T) {
	t.Parallel()
	one, two := newEchoService(t), newEchoService(t)
	d := machineDoor(t, "assertion=EdDSA", "upstreams=one "+one.URL+" /one/**,two "+two.URL+" /two/**", "upstream="+one.URL)
	for path, want := range map[string]string{"/one/x": "one", "/two/x": "two", "/x": "upstream"} {
		for range 2 {
			claims, _ := d.verified(d.do("GET", path, apiKey(machineKey)).echoed().Header.Get("X-Doorward-Assertion"))
			if claims["aud"] != want {
				t.Errorf("%s: %v", path, claims)
			}
		}
	}
}

// TestAssertionsAtForwardAuthNameNoService: whichever host is asked for, since the door does not know where the
// proxy goes with the request.
func TestAssertionsAtForwardAuthNameNoService(t *testing.T) {
	t.Parallel()
	d := forwardDoor(t, "caddy", "assertion=EdDSA")
	for _, host := range []string{"one.example", "two.example"} {
		a := d.do("GET", "/auth/forward", apiKey(machineKey), header("X-Forwarded-Method", "GET"), header("X-Forwarded-Uri", "/x"), header("X-Forwarded-Host", host)).want(http.StatusOK)
		if claims, _ := d.verified(a.header.Get("X-Doorward-Assertion")); claims["aud"] != "upstream" {
			t.Errorf("%s: %v", host, claims)
		}
	}
}

// TestAKeyFileForAllToReadIsWarnedOf, in the words that the TLS key is warned of in.
func TestAKeyFileForAllToReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	private, _ := pairPEM(t, "EdDSA")
	for setting, algorithm := range map[string]string{"jwt.signing_keys": "jwt.algorithm", "assertion_keys": "assertion"} {
		path := filepath.Join(t.TempDir(), "keys.pem")
		if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
			t.Fatal(err)
		}
		_, file, _ := strings.Cut(settingsFile(t, algorithm+": EdDSA\n"+setting+"_file: "+path+"\n"), "=")
		flag := "--" + flagName(setting) + "-file"
		for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o604: true} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			status, out, stderr := runProgram(t, nil, "check", "--data-dir", t.TempDir(), "--"+flagName(algorithm), "EdDSA", flag, path)
			want := "warning: " + setting + " (" + flag + "): can be read by everybody on this machine; run chmod o-rwx on its file"
			if status != 0 || strings.Contains(stderr, want) != warned || strings.Contains(stderr, "can be read by") != warned {
				t.Errorf("mode %o: status %d, %s%s", mode, status, out, stderr)
			}
			l := load(sources{flags: map[string]string{configKey: file}})
			if err := l.err(); err != nil || strings.Contains(strings.Join(l.warnings, "\n"), "can be read by") != warned {
				t.Errorf("mode %o: %v, %q", mode, err, l.warnings)
			}
		}
		// Of a file that a stronger source makes idle nothing is said.
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		l := load(sources{flags: map[string]string{algorithm: "EdDSA", setting: private}, environ: []string{envName(setting) + "_FILE=" + path}})
		if err := l.err(); err != nil || strings.Contains(strings.Join(l.warnings, "\n"), "can be read by") {
			t.Errorf("%v, %q", err, l.warnings)
		}
	}
}

// TestTheServerWarnsOfAKeyFileForAllToRead at its start.
func TestTheServerWarnsOfAKeyFileForAllToRead(t *testing.T) {
	t.Parallel()
	private, _ := pairPEM(t, "EdDSA")
	path := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	s := serveProgram(t, "--data-dir", t.TempDir(), "--jwt-algorithm", "EdDSA", "--jwt-signing-keys-file", path)
	if log := s.stderr.String(); !strings.Contains(log, "jwt.signing_keys (--jwt-signing-keys-file): can be read by everybody on this machine") {
		t.Errorf("the log: %s", log)
	}
}

// TestTheCommandRotatesKeyPairs: the real program for both.
func TestTheCommandRotatesKeyPairs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveProgram(t, "--data-dir", dir, "--api-tokens", machineToken, "--jwt-algorithm", "EdDSA", "--jwt-secret", machineSecret)
	d := &door{t: t, URL: "http://" + s.addr, clock: &clock{}}
	access, refresh := d.exchange(machineToken, "app")
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "doorward", "secret", "rotate", "--data-dir", dir, "--json", "--jwt-secret", machineSecret)
	cmd.Stdout, cmd.Stderr = &out, &errs
	var done rotatedJSON
	if err := cmd.Run(); err != nil || json.Unmarshal(out.Bytes(), &done) != nil || len(done.KeyPairs) != 1 || done.KeyID != "" {
		t.Fatalf("%v: %s %s", err, &out, &errs)
	}
	if !strings.Contains(errs.String(), "jwt.secret (--jwt-secret) is given, so the secret file does not sign") {
		t.Errorf("it says %s", &errs)
	}
	d.signsWith(done.KeyPairs[0])
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	d.refresh(refresh).want(http.StatusOK)
}

// other is four characters of base64 that are others than these.
func other(end string) string {
	if end == "AAAA" {
		return "BAAA"
	}
	return "AAAA"
}
