package doorward_test

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"doorward"
)

// What the tokens of these tests are signed with, and when.
const (
	tokenSecret  = "kq3Zt8uJm1Vw5xYc7BnA2sDf4GhK6lPe"
	retireSecret = "R7pWz2Ld9TqVb4Xe6MfNs1Jg8HkYc3Ua"
	tokenSalt    = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
)

var (
	tokenNow  = time.Unix(1_800_000_000, 0)
	tokenUses = [...]doorward.Use{doorward.AccessToken, doorward.RefreshToken, doorward.CookieToken}
)

func tokenRing(t testing.TB, previous ...doorward.SigningKey) *doorward.KeyRing {
	t.Helper()
	k, err := doorward.NewKeyRing([]byte(tokenSalt), doorward.Secret(tokenSecret), previous...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func personClaims() doorward.Claims {
	return doorward.Claims{
		Subject: "usr_0198c2f4a1b27c3d", IssuedAt: tokenNow.Unix(), ExpiresAt: tokenNow.Unix() + 3600,
		ID: "AZjC9KGyfD2On6Cx0tHq8w", Session: "AZjC9KGyfD2On6Cx0tHq8x",
		Kind: doorward.KindUser, Role: doorward.Editor, Org: "default", Workspaces: "default,research", Username: "maria",
	}
}

func machineClaims() doorward.Claims {
	return doorward.Claims{
		Subject: "my-app", IssuedAt: tokenNow.Unix(), ExpiresAt: tokenNow.Unix() + 3600,
		ID: "c2Vjb25kLWFjY2Vzcy1pZA", Session: "dGhlLW1hY2hpbmUtc2Vzcw", Gen: 7, RefreshID: "dGhlLXJlZnJlc2gtdG9rZQ",
		Kind: doorward.KindClient, Role: doorward.Viewer, Org: "acme", Workspaces: "ops",
	}
}

func refreshClaims() doorward.Claims {
	return doorward.Claims{
		IssuedAt: tokenNow.Unix(), ExpiresAt: tokenNow.Unix() + 7*86400,
		ID: "dGhlLXJlZnJlc2gtdG9rZQ", Session: "dGhlLW1hY2hpbmUtc2Vzcw", Gen: 7,
	}
}

// forge makes a compact JWS of any header and payload, with nothing but the standard
// library: what somebody with the key, but not our code, could send.
func forge(key []byte, header, payload string) string {
	b64 := base64.RawURLEncoding
	return forgeEncoded(key, b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(payload)))
}

func forgeEncoded(key []byte, header, payload string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(header + "." + payload))
	return header + "." + payload + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// tokenHeader is the header that the token of this typ has, spelled out.
func tokenHeader(typ string) string {
	return `{"alg":"HS256","typ":"` + typ + `","kid":"` + doorward.KeyID([]byte(tokenSecret)) + `"}`
}

func segments(t testing.TB, token string) (header, payload, mac string) {
	t.Helper()
	s := strings.Split(token, ".")
	if len(s) != 3 {
		t.Fatalf("token has %d segments: %s", len(s), token)
	}
	return s[0], s[1], s[2]
}

func decoded(t testing.TB, segment string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// golden are tokens as clients hold them today. A change here signs everybody out: it
// needs a reason, and a release that still reads the old form. The MACs were computed
// with Python's hmac and hashlib, HKDF (RFC 5869) by hand.
var golden = []struct {
	name    string
	use     doorward.Use
	claims  doorward.Claims
	header  string
	payload string
	mac     string
}{
	{
		"person's access token", doorward.AccessToken, personClaims(),
		`{"alg":"HS256","typ":"at+jwt","kid":"dMIDqzDKVl2DtfYs"}`,
		`{"iss":"doorward","sub":"usr_0198c2f4a1b27c3d","iat":1800000000,"exp":1800003600,"jti":"AZjC9KGyfD2On6Cx0tHq8w","sid":"AZjC9KGyfD2On6Cx0tHq8x",` +
			`"gen":0,"kind":"user","role":"editor","org":"default","ws":"default,research","username":"maria"}`,
		"5spN5e00W5EkeW2JR8VspT7PVCOGQXCReF_ftpfaBZ4",
	},
	{
		"machine's access token", doorward.AccessToken, machineClaims(),
		`{"alg":"HS256","typ":"at+jwt","kid":"dMIDqzDKVl2DtfYs"}`,
		`{"iss":"doorward","sub":"my-app","iat":1800000000,"exp":1800003600,"jti":"c2Vjb25kLWFjY2Vzcy1pZA","sid":"dGhlLW1hY2hpbmUtc2Vzcw",` +
			`"gen":7,"rjti":"dGhlLXJlZnJlc2gtdG9rZQ","kind":"client","role":"viewer","org":"acme","ws":"ops"}`,
		"U7JMEt1xOo2G880fhWpAsOo6eeQulJRlfDcYO-5F_D4",
	},
	{
		"refresh token", doorward.RefreshToken, refreshClaims(),
		`{"alg":"HS256","typ":"rt+jwt","kid":"dMIDqzDKVl2DtfYs"}`,
		`{"iss":"doorward","iat":1800000000,"exp":1800604800,"jti":"dGhlLXJlZnJlc2gtdG9rZQ","sid":"dGhlLW1hY2hpbmUtc2Vzcw","gen":7}`,
		"2yKOT1Sh9tkOkTvnQ5Pt7PIF2vMH9_bKWW0KM2_nxU8",
	},
	{
		"cookie", doorward.CookieToken, personClaims(),
		`{"alg":"HS256","typ":"sc+jwt","kid":"dMIDqzDKVl2DtfYs"}`,
		`{"iss":"doorward","sub":"usr_0198c2f4a1b27c3d","iat":1800000000,"exp":1800003600,"jti":"AZjC9KGyfD2On6Cx0tHq8w","sid":"AZjC9KGyfD2On6Cx0tHq8x",` +
			`"gen":0,"kind":"user","role":"editor","org":"default","ws":"default,research","username":"maria"}`,
		"IX_2Tv6Rj3opU22Fyv4DWgsxlMphjC6JykznuPBFqNs",
	},
}

func TestSignWritesTheGoldenTokens(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for _, g := range golden {
		want := base64.RawURLEncoding.EncodeToString([]byte(g.header)) + "." +
			base64.RawURLEncoding.EncodeToString([]byte(g.payload)) + "." + g.mac
		got := k.Sign(g.use, g.claims)
		if got != want {
			t.Errorf("%s: Sign = %s\nwant %s", g.name, got, want)
			continue
		}
		c, err := k.Verify(g.use, want, tokenNow)
		if err != nil || c != g.claims {
			t.Errorf("%s: Verify = %+v, %v, want %+v", g.name, c, err, g.claims)
		}
	}
}

// The keys of the golden tokens, derived once more from the description alone.
func tokenKey(t testing.TB, typ string) []byte {
	t.Helper()
	if typ == "at+jwt" {
		return []byte(tokenSecret)
	}
	key, err := hkdf.Key(sha256.New, []byte(tokenSecret), []byte(tokenSalt), "doorward "+typ, 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestGoldenTokensPassTwoOtherLibraries(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		token := tokenRing(t).Sign(g.use, g.claims)
		var header struct{ Typ string }
		if err := json.Unmarshal([]byte(g.header), &header); err != nil {
			t.Fatal(err)
		}
		key := tokenKey(t, header.Typ)
		for name, claims := range map[string]map[string]any{
			"golang-jwt": judgeGolang(t, token, key),
			"go-jose":    judgeJose(t, token, key),
		} {
			var want map[string]any
			if err := json.Unmarshal([]byte(g.payload), &want); err != nil {
				t.Fatal(err)
			}
			if !sameClaims(claims, want) {
				t.Errorf("%s: %s reads %v, want %v", g.name, name, claims, want)
			}
		}
		wrong := []byte(retireSecret)
		if _, err := jwt.NewParser(jwt.WithoutClaimsValidation()).Parse(token, func(*jwt.Token) (any, error) { return wrong, nil }); err == nil {
			t.Errorf("%s: golang-jwt accepts it with another key", g.name)
		}
	}
}

func sameClaims(a, b map[string]any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

func judgeGolang(t testing.TB, token string, key []byte) map[string]any {
	t.Helper()
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(doorward.Issuer), jwt.WithIssuedAt(),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return tokenNow }))
	if _, err := parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		t.Errorf("golang-jwt refuses %s: %v", token, err)
	}
	return claims
}

func judgeJose(t testing.TB, token string, key []byte) map[string]any {
	t.Helper()
	parsed, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Errorf("go-jose refuses %s: %v", token, err)
		return nil
	}
	claims := map[string]any{}
	var times josejwt.Claims
	if err := parsed.Claims(key, &claims, &times); err != nil {
		t.Errorf("go-jose refuses %s: %v", token, err)
	}
	if err := times.ValidateWithLeeway(josejwt.Expected{Issuer: doorward.Issuer, Time: tokenNow}, 0); err != nil {
		t.Errorf("go-jose refuses %s: %v", token, err)
	}
	return claims
}

// Whoever shares the secret signs what we would accept, in another form of header: ours is
// the only one, so no other library's choice of bytes comes in.
func TestTokensOfOtherLibrariesWithTheSameSecretAreRefused(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	_, payload, _ := segments(t, k.Sign(doorward.AccessToken, personClaims()))
	var claims jwt.MapClaims
	if err := json.Unmarshal([]byte(decoded(t, payload)), &claims); err != nil {
		t.Fatal(err)
	}

	theirs := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	plain, err := theirs.SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	theirs.Header = map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": k.KeyID()} // ours, but sorted: alg, kid, typ
	sorted, err := theirs.SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte(tokenSecret), KeyID: k.KeyID()}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	joses, err := josejwt.Signed(signer).Claims(map[string]any(claims)).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"golang-jwt": plain, "golang-jwt with our header, sorted": sorted, "go-jose": joses} {
		judgeGolang(t, token, []byte(tokenSecret)) // it is a good JWT
		refused(t, k, name, token)
	}
}

func TestSignRefusesClaimsThatBreakTheRules(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for name, change := range map[string]func(c *doorward.Claims){
		"no subject":      func(c *doorward.Claims) { c.Subject = "" },
		"no id":           func(c *doorward.Claims) { c.ID = "" },
		"no session":      func(c *doorward.Claims) { c.Session = "" },
		"no kind":         func(c *doorward.Claims) { c.Kind = "" },
		"anonymous":       func(c *doorward.Claims) { c.Kind = doorward.KindAnonymous },
		"unknown kind":    func(c *doorward.Claims) { c.Kind = "User" },
		"no role":         func(c *doorward.Claims) { c.Role = "" },
		"unknown role":    func(c *doorward.Claims) { c.Role = "SuperAdmin" },
		"negative iat":    func(c *doorward.Claims) { c.IssuedAt = -1 },
		"negative exp":    func(c *doorward.Claims) { c.ExpiresAt = -1 },
		"negative gen":    func(c *doorward.Claims) { c.Gen = -1 },
		"gen past 2^53-1": func(c *doorward.Claims) { c.Gen = 1 << 53 },
		"quote":           func(c *doorward.Claims) { c.Username = `a"b` },
		"backslash":       func(c *doorward.Claims) { c.Username = `a\b` },
		"newline":         func(c *doorward.Claims) { c.Org = "a\nb" },
		"NUL":             func(c *doorward.Claims) { c.Subject = "a\x00" },
		"DEL":             func(c *doorward.Claims) { c.Session = "\x7f" },
		"not ASCII":       func(c *doorward.Claims) { c.Username = "josé" },
		"not UTF-8":       func(c *doorward.Claims) { c.RefreshID = "\xff" },
		"far too many spaces": func(c *doorward.Claims) {
			c.Workspaces = doorward.Workspaces(strings.Repeat("w,", doorward.MaxTokenLen))
		},
	} {
		for _, use := range []doorward.Use{doorward.AccessToken, doorward.CookieToken} {
			c := personClaims()
			change(&c)
			if got := k.Sign(use, c); got != "" {
				t.Errorf("%s, use %d: Sign = %s", name, use, got)
			}
		}
	}
	for _, use := range []doorward.Use{0, doorward.CookieToken + 1, 255} {
		if got := k.Sign(use, personClaims()); got != "" {
			t.Errorf("use %d: Sign = %s", use, got)
		}
	}
}

func TestSignKeepsToMaxTokenLen(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	c := personClaims()
	longest := 0
	for n := doorward.MaxTokenLen * 2 / 3; n < doorward.MaxTokenLen; n++ {
		c.Workspaces = doorward.Workspaces(strings.Repeat("w", n))
		token := k.Sign(doorward.AccessToken, c)
		if token == "" {
			break
		}
		longest = len(token)
		if got, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil || got != c {
			t.Fatalf("a token of %d bytes: Verify = %v", len(token), err)
		}
	}
	if longest > doorward.MaxTokenLen || longest < doorward.MaxTokenLen-2 {
		t.Errorf("the longest token has %d bytes, want %d or just below", longest, doorward.MaxTokenLen)
	}
}

func TestTF19ClaimInjection(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	for _, name := range []string{
		`maria","role":"superadmin`, `maria","role":"superadmin"}`, `maria\","role":"superadmin`, `\u0022,"role":"superadmin`,
		"maria\",\n\"role\":\"superadmin", `maria","ROLE":"superadmin`, `maria","ſub":"usr_admin`, "maria\u2028", "ｍaria", "\xc0\xa2,\xc0\xa2role",
		`,role:superadmin`, `{}`, `ROLE`, `]}.`, `'superadmin'`,
	} {
		for field, set := range map[string]func(c *doorward.Claims){
			"sub":      func(c *doorward.Claims) { c.Subject = name },
			"username": func(c *doorward.Claims) { c.Username = name },
			"org":      func(c *doorward.Claims) { c.Org = name },
			"ws":       func(c *doorward.Claims) { c.Workspaces = doorward.Workspaces(name) },
			"rjti":     func(c *doorward.Claims) { c.RefreshID = name },
			"jti":      func(c *doorward.Claims) { c.ID = name },
			"sid":      func(c *doorward.Claims) { c.Session = name },
		} {
			c := personClaims()
			set(&c)
			token := k.Sign(doorward.AccessToken, c)
			if strings.ContainsAny(name, "\"\\\n") || strings.ContainsFunc(name, func(r rune) bool { return r > 126 }) {
				if token != "" {
					t.Errorf("%s %q: Sign = %s", field, name, token)
				}
				continue
			}
			if got, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil || got != c {
				t.Errorf("%s %q: Verify = %+v, %v", field, name, got, err)
			}
			claims := judgeGolang(t, token, []byte(tokenSecret))
			if claims["role"] != "editor" || claims[field] != name {
				t.Errorf("%s %q: golang-jwt reads %v", field, name, claims)
			}
		}
	}
}

// claimText is all that may stand in a claim; hostileText may hold anything.
var (
	claimText   = rapid.OneOf(rapid.StringMatching(`[a-z0-9-]{0,20}`), rapid.StringMatching(`[ !#-\[\]-~]{0,40}`))
	hostileText = rapid.OneOf(claimText, rapid.String(),
		rapid.SampledFrom([]string{`,"role":`, `","role":"superadmin`, `\`, "ſub", "\x7f", "}", ".", "\x00", "\xff"}))
)

func fitsClaim(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return true
}

// fitsToken says again what the comment on Claims promises.
func fitsToken(use doorward.Use, c doorward.Claims) bool {
	for _, s := range []string{c.Subject, c.ID, c.Session, c.RefreshID, c.Org, string(c.Workspaces), c.Username} {
		if !fitsClaim(s) {
			return false
		}
	}
	for _, n := range []int64{c.IssuedAt, c.ExpiresAt, c.Gen} {
		if n < 0 || n >= 1<<53 {
			return false
		}
	}
	knownKind := c.Kind == "user" || c.Kind == "key" || c.Kind == "client"
	knownRole := c.Role == "superadmin" || c.Role == "admin" || c.Role == "editor" || c.Role == "viewer"
	if use == doorward.RefreshToken {
		knownKind, knownRole = knownKind || c.Kind == "", knownRole || c.Role == ""
	} else if c.Subject == "" {
		return false
	}
	return knownKind && knownRole && c.ID != "" && c.Session != ""
}

func TestVerifyReturnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	rapid.Check(t, func(r *rapid.T) {
		text, number := claimText, rapid.Int64Range(0, 1<<53-1)
		kinds := []doorward.Kind{doorward.KindUser, doorward.KindKey, doorward.KindClient}
		roles := doorward.Roles[:]
		if rapid.Bool().Draw(r, "hostile") { // in half of the runs, or hardly a token would be signed
			text, number = hostileText, rapid.OneOf(number, number, rapid.Int64())
			kinds = append(kinds, doorward.KindAnonymous, "", "USER")
			roles = append(roles, "", "Admin")
		}
		id := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9_-]{22}`), text)
		use := rapid.SampledFrom(tokenUses[:]).Draw(r, "use")
		c := doorward.Claims{
			Subject: id.Draw(r, "sub"), ID: id.Draw(r, "jti"), Session: id.Draw(r, "sid"), RefreshID: text.Draw(r, "rjti"),
			IssuedAt: number.Draw(r, "iat"), ExpiresAt: number.Draw(r, "exp"), Gen: number.Draw(r, "gen"),
			Kind: rapid.SampledFrom(kinds).Draw(r, "kind"), Role: rapid.SampledFrom(roles).Draw(r, "role"),
			Org: text.Draw(r, "org"), Workspaces: doorward.Workspaces(text.Draw(r, "ws")), Username: text.Draw(r, "username"),
		}
		token := k.Sign(use, c)
		if fits := fitsToken(use, c); fits != (token != "") {
			r.Fatalf("Sign = %q, but fit for a token: %v", token, fits)
		}
		if token == "" {
			return
		}
		now := time.Unix(c.ExpiresAt-1, 0)
		got, err := k.Verify(use, token, now)
		if c.IssuedAt > c.ExpiresAt-1+60 {
			if err != doorward.ErrInvalidToken {
				r.Fatalf("Verify of a token from the future: %v", err)
			}
			return
		}
		if err != nil || got != c {
			r.Fatalf("Verify = %+v, %v", got, err)
		}
		_, payload, _ := segments(t, token)
		if there := readJSON(t, decoded(t, payload)); there != c {
			r.Fatalf("encoding/json reads %+v", there)
		}
	})
}

// readJSON reads claims as a JSON library does.
func readJSON(t testing.TB, payload string) doorward.Claims {
	t.Helper()
	var c struct {
		Iss, Sub, Jti, Sid, Rjti, Kind, Role, Org, Ws, Username string
		Iat, Exp, Gen                                           int64
	}
	d := json.NewDecoder(strings.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatalf("encoding/json refuses %s: %v", payload, err)
	}
	if c.Iss != "doorward" || d.More() {
		t.Fatalf("encoding/json reads another issuer, or more than one value: %s", payload)
	}
	return doorward.Claims{
		Subject: c.Sub, IssuedAt: c.Iat, ExpiresAt: c.Exp, ID: c.Jti, Session: c.Sid, Gen: c.Gen, RefreshID: c.Rjti,
		Kind: doorward.Kind(c.Kind), Role: doorward.Role(c.Role), Org: c.Org, Workspaces: doorward.Workspaces(c.Ws), Username: c.Username,
	}
}
