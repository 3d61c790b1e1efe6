package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the tests of the machine contract configure.
const (
	machineToken  = "ci-8f2c91d07be34a65"
	machineKey    = "brk_2b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfe11223344"
	machineSecret = "an-hmac-secret-for-tests-of-48-bytes-0123456789a"
)

// machineDoor is a server with an API token, an operator's key and a given secret.
func machineDoor(t *testing.T, settings ...string) *door {
	t.Helper()
	return newDoor(t, append([]string{
		"api_tokens=" + machineToken, "api_key=" + machineKey, "jwt.secret=" + machineSecret,
	}, settings...)...)
}

// tokenClaims is what a token of ours says, read without asking the server.
type tokenClaims struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	IssuedAt   int64  `json:"iat"`
	ExpiresAt  int64  `json:"exp"`
	ID         string `json:"jti"`
	Session    string `json:"sid"`
	Gen        int64  `json:"gen"`
	RefreshID  string `json:"rjti"`
	Kind       string `json:"kind"`
	Role       string `json:"role"`
	Org        string `json:"org"`
	Workspaces string `json:"ws"`
}

func claimsOf(t *testing.T, token string) tokenClaims {
	t.Helper()
	var c tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flipped is token with one bit of its MAC flipped.
func flipped(token string) string {
	b := []byte(token)
	i := len(b) - 10
	b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
	return string(b)
}

func TestTokenAnswersExactlyWhatThePageShows(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	a := d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id": "my-app"}`)).want(http.StatusOK)
	shape := regexp.MustCompile(`^\{"access_token":"[\w.-]+","refresh_token":"[\w.-]+","token_type":"Bearer","expires_in":86400\}\n$`)
	if !shape.MatchString(a.body) {
		t.Errorf("the answer is %s", a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: %s", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" { // RFC 6749, section 5.1
		t.Errorf("Cache-Control: %s", got)
	}
	again := d.refresh(a.str("refresh_token")).want(http.StatusOK)
	if !shape.MatchString(again.body) {
		t.Errorf("the answer to a refresh is %s", again.body)
	}

	c := claimsOf(t, a.str("access_token"))
	want := tokenClaims{
		Issuer: "doorward", Subject: "my-app", IssuedAt: c.IssuedAt, ExpiresAt: c.IssuedAt + 86400, ID: c.ID, Session: c.Session,
		RefreshID: claimsOf(t, a.str("refresh_token")).ID, Kind: "client", Role: "editor", Org: "default", Workspaces: "default",
	}
	if c != want || c.ID == "" || c.Session == "" || c.ID == c.RefreshID {
		t.Errorf("the access token says %+v, want %+v", c, want)
	}
	if now := time.Now().Unix(); c.IssuedAt > now || c.IssuedAt < now-60 {
		t.Errorf("iat is %d, now %d", c.IssuedAt, now)
	}
	if r := claimsOf(t, a.str("refresh_token")); r.ExpiresAt-r.IssuedAt != 7*86400 || r.Session != c.Session || r.Gen != 0 {
		t.Errorf("the refresh token says %+v", r)
	}
}

// TestAccessTokensAreVerifiedWithTheSecretItself is what lets a service that shares the
// secret judge for itself; and only access tokens are signed so.
func TestAccessTokensAreVerifiedWithTheSecretItself(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	_, sessionCookie := d.signIn("root", rootPassword)
	access, refresh := d.exchange(machineToken, "app")
	for token, want := range map[string]struct {
		typ    string
		shared bool
	}{
		access: {"at+jwt", true}, root: {"at+jwt", true}, refresh: {"rt+jwt", false}, sessionCookie: {"sc+jwt", false},
	} {
		signed, mac, _ := strings.Cut(token, ".")
		claims, mac, _ := strings.Cut(mac, ".")
		header, err := base64.RawURLEncoding.DecodeString(signed)
		if err != nil {
			t.Fatal(err)
		}
		shape := `^\{"alg":"HS256","typ":"` + regexp.QuoteMeta(want.typ) + `","kid":"[\w-]+"\}$`
		if !regexp.MustCompile(shape).Match(header) {
			t.Errorf("the header is %s, want %s", header, shape)
		}
		h := hmac.New(sha256.New, []byte(machineSecret))
		h.Write([]byte(signed + "." + claims))
		if got := base64.RawURLEncoding.EncodeToString(h.Sum(nil)) == mac; got != want.shared {
			t.Errorf("%s: the secret itself verifies it: %t, want %t", want.typ, got, want.shared)
		}
	}
}

// TestDocumentedVariablesOfTheMachineContract runs the real program with nothing but what
// Stromboli's page exports.
func TestDocumentedVariablesOfTheMachineContract(t *testing.T) {
	t.Parallel()
	p := startProgram(t, t.TempDir(), "STROMBOLI_AUTH_ENABLED=true", "STROMBOLI_JWT_SECRET="+machineSecret,
		"STROMBOLI_API_TOKENS=other-token,"+machineToken+",", "STROMBOLI_JWT_EXPIRY=1h", "STROMBOLI_JWT_REFRESH_EXPIRY=2d")
	d := p.door
	a := d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id": "my-app"}`)).want(http.StatusOK)
	if got := a.field("expires_in"); got != 3600.0 {
		t.Errorf("expires_in is %v", got)
	}
	if c := claimsOf(t, a.str("access_token")); c.ExpiresAt-c.IssuedAt != 3600 {
		t.Errorf("the access token lives %d s", c.ExpiresAt-c.IssuedAt)
	}
	if c := claimsOf(t, a.str("refresh_token")); c.ExpiresAt-c.IssuedAt != 2*86400 {
		t.Errorf("the refresh token lives %d s", c.ExpiresAt-c.IssuedAt)
	}
	if got := d.refresh(a.str("refresh_token")).want(http.StatusOK).field("expires_in"); got != 3600.0 {
		t.Errorf("expires_in of a refresh is %v", got)
	}
	d.do("POST", "/auth/token", bearer("other-token"), formBody(`{"client_id": "my-app"}`)).want(http.StatusOK)
	d.do("POST", "/auth/token", bearer(""), formBody(`{"client_id": "my-app"}`)).refused(http.StatusUnauthorized, "invalid token")
}

func TestClientIDs(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	const signs = "client_id: may hold letters, digits and ._:@/- only"
	const length = "client_id: must have 1 to 128 characters"
	const ours = "client_id: must not begin with usr_ or key_"
	for _, c := range []struct{ id, refusal string }{
		{"my-app", ""},
		{"a", ""},
		{"0", ""},
		{"ABCxyz019._:@/-", ""},
		{"spiffe://example.org/ci", ""},
		{"-", ""},
		{strings.Repeat("x", 128), ""},
		{"usr", ""},
		{"user_1", ""},
		{"my_usr_", ""},
		{strings.Repeat("x", 129), length},
		{"", "client_id: is required"},
		{"usr_", ours},
		{"usr_abc", ours},
		{"key_0123456789abcdef0123", ours},
		{"a b", signs},
		{" a", signs},
		{"a\n", signs},
		{"a\x00", signs},
		{"a,b", signs},
		{`a"b`, signs},
		{`x","role":"superadmin`, signs},
		{"é", signs},
		{"ａ", signs},
		{"a\u202e", signs},
		{"a%2f", signs},
		{"<a>", signs},
	} {
		body, err := json.Marshal(map[string]string{"client_id": c.id})
		if err != nil {
			t.Fatal(err)
		}
		a := d.do("POST", "/auth/token", bearer(machineToken), formBody(string(body)))
		if c.refusal != "" {
			a.refused(http.StatusBadRequest, c.refusal)
			continue
		}
		if got := claimsOf(t, a.want(http.StatusOK).str("access_token")).Subject; got != c.id {
			t.Errorf("sub is %q, want %q", got, c.id)
		}
	}
}

// TestClientIDsOfACredential: a credential may be limited to some, and names what it is
// exchanged for without getting any more by it.
func TestClientIDsOfACredential(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "config="+write(t, "doorward.yaml", `
api_tokens:
  - {token: limited-token-1, role: viewer, client_ids: [web, job/nightly], name: limited}
  - {token: free-token-2, role: admin}
`))
	for _, id := range []string{"web", "job/nightly"} {
		access, _ := d.exchange("limited-token-1", id)
		if c := claimsOf(t, access); c.Subject != id || c.Role != "viewer" {
			t.Errorf("the token says %+v", c)
		}
	}
	for _, id := range []string{"Web", "job", "job/nightly/x", "limited"} {
		d.do("POST", "/auth/token", bearer("limited-token-1"), formBody(`{"client_id":"`+id+`"}`)).refused(http.StatusForbidden, "insufficient permissions")
	}
	access, _ := d.exchange("free-token-2", "web")
	if c := claimsOf(t, access); c.Role != "admin" {
		t.Errorf("the same client id by another credential says %+v", c)
	}
}

// TestMalformedBodies holds the rules for bodies at both doors that read one.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	const notObject, invalid, twice, rest = "body: must be a JSON object", "body: is not valid JSON", "body: gives a field twice", "body: has something after the JSON object"
	for _, door := range []struct {
		path, field, value string
		status             int // for a body that is in order
		message            string
	}{
		{"/auth/token", "client_id", "app", http.StatusOK, ""},
		{"/auth/refresh", "refresh_token", "no-token-of-ours", http.StatusUnauthorized, "invalid token"},
	} {
		post := func(body string, asks ...ask) answer {
			return d.do("POST", door.path, append([]ask{bearer(machineToken), formBody(body)}, asks...)...)
		}
		good := `{"` + door.field + `":"` + door.value + `"}`
		start := `{"` + door.field + `":"` + door.value + `"`
		for _, body := range []string{
			good,
			" \t\r\n" + good + " \t\r\n",
			start + `,"more":[1,2,{"` + door.field + `":"inside"}],"` + strings.ToUpper(door.field) + `":7}`,
			start + `,"deep":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`,
			`{"\u00` + hexOf(door.field[0]) + door.field[1:] + `":"` + door.value + `"}`,
			good + strings.Repeat(" ", 64<<10-len(good)),
		} {
			a := post(body).want(door.status)
			if door.message != "" {
				a.refused(door.status, door.message)
			}
		}
		for _, c := range []struct{ body, message string }{
			{"", notObject},
			{" \n", notObject},
			{"null", notObject},
			{"true", notObject},
			{"7", notObject},
			{`"` + door.value + `"`, notObject},
			{"[]", notObject},
			{"[" + good + "]", notObject},
			{door.field + "=" + door.value, notObject},
			{"\ufeff" + good, notObject},
			{"<a/>", notObject},
			{"\x00", notObject},
			{"{", invalid},
			{start, invalid},
			{start + ",}", invalid},
			{start + ",,}", invalid},
			{start + `,"x":NaN}`, invalid},
			{start + `,"x":01}`, invalid},
			{start + `,"x":}`, invalid},
			{start + `,x:1}`, invalid},
			{start + `,7:1}`, invalid},
			{start + `]`, invalid},
			{`{'` + door.field + `':'x'}`, invalid},
			{`{"` + door.field + `" "x"}`, invalid},
			{"{\"" + door.field + "\":\"a\nb\"}", invalid},
			{start + `,"deep":` + strings.Repeat("[", 31000) + `}`, invalid},
			{start + `,"deep":` + strings.Repeat("[", 31000) + strings.Repeat("]", 31000) + `}`, invalid},
			{start + `,"` + door.field + `":"` + door.value + `"}`, twice},
			{start + `,"` + door.field[:1] + `\u00` + hexOf(door.field[1]) + door.field[2:] + `":"other"}`, twice},
			{`{"x":1,"x":1,` + good[1:], twice},
			{good + "x", rest},
			{good + good, rest},
			{good + "]", rest},
			{good + "\x00", rest},
			{good + "//", rest},
			{"{}", door.field + ": is required"},
			{`{"":"` + door.value + `"}`, door.field + ": is required"},
			{`{"` + door.field + `":""}`, door.field + ": is required"},
			{`{"` + strings.ToUpper(door.field) + `":"` + door.value + `"}`, door.field + ": is required"},
			{`{"` + strings.ReplaceAll(door.field, "_", "") + `":"` + door.value + `"}`, door.field + ": is required"},
			{`{"` + strings.Replace(door.field, "e", "\u0435", 1) + `":"` + door.value + `"}`, door.field + ": is required"},
			{`{"` + door.field + `":null}`, door.field + ": must be a string"},
			{`{"` + door.field + `":7}`, door.field + ": must be a string"},
			{`{"` + door.field + `":true}`, door.field + ": must be a string"},
			{`{"` + door.field + `":["` + door.value + `"]}`, door.field + ": must be a string"},
			{`{"` + door.field + `":{"` + door.field + `":"` + door.value + `"}}`, door.field + ": must be a string"},
			{start[:len(start)-1] + "\xff\"}", "body: is not UTF-8"},
			{start + ",\"x\":\"\xed\xa0\x80\"}", "body: is not UTF-8"},
			{"\xff\xfe{", "body: is not UTF-8"},
		} {
			post(c.body).refused(http.StatusBadRequest, c.message)
		}
		tooLarge := good + strings.Repeat(" ", 64<<10-len(good)+1)
		post(tooLarge).refused(http.StatusRequestEntityTooLarge, "body: must not exceed 64 KiB")
		post("", func(r *http.Request) { // in chunks, of a length that nobody says
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(tooLarge)), -1
		}).refused(http.StatusRequestEntityTooLarge, "body: must not exceed 64 KiB")
		for _, encoding := range []string{"gzip", "deflate", "br", "x-gzip", "gzip, identity"} {
			post(good, header("Content-Encoding", encoding)).refused(http.StatusUnsupportedMediaType, "Content-Encoding: must be absent")
		}
		post(good, header("Content-Encoding", "identity")).want(door.status)
		for _, kind := range []string{"", "application/json", "text/plain", "multipart/form-data; boundary=x", "no type at all"} {
			post(good, func(r *http.Request) { r.Header.Set("Content-Type", kind) }).want(door.status)
		}
	}
}

func hexOf(c byte) string { return string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]) }

func TestValidateSaysWhatTheTokenSays(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	access, refresh := d.exchange(machineToken, "my-app")
	next := d.refresh(refresh).want(http.StatusOK).str("access_token")
	byKey, _ := d.exchange(machineKey, "deploy")
	for _, token := range []string{access, next, byKey, root} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		c := claimsOf(t, token)
		expires, err := json.Marshal(c.ExpiresAt)
		if err != nil {
			t.Fatal(err)
		}
		// The claims as the token has them, none more and none less, in its own order.
		want := `{"valid":true,"claims":` + string(raw) + `,"subject":"` + c.Subject + `","expires_at":` + string(expires) + "}\n"
		for _, method := range []string{"GET", "POST"} {
			a := d.do(method, "/auth/validate", bearer(token)).want(http.StatusOK)
			if a.body != want {
				t.Errorf("%s answers\n%s, want\n%s", method, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: %s", got)
			}
		}
		d.do("HEAD", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
	if c := claimsOf(t, byKey); c.Role != "admin" || c.Kind != "client" || c.Subject != "deploy" {
		t.Errorf("a token for the operator's key says %+v", c)
	}
	if c := claimsOf(t, next); c.Gen != 1 || c.Session != claimsOf(t, access).Session {
		t.Errorf("after a refresh the token says %+v", c)
	}
	// A body is not asked for and not read.
	d.do("POST", "/auth/validate", bearer(access), formBody(`{"token":"other"`)).want(http.StatusOK)
}

func TestTokensAreGoodUntilTheSecondInWhichTheyExpire(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "jwt.expiry=1h", "jwt.refresh_expiry=2h")
	d.clock.freeze(time.Now())
	access, refresh := d.exchange(machineToken, "app")
	exp := time.Unix(claimsOf(t, access).ExpiresAt, 0)

	d.clock.freeze(exp.Add(-time.Nanosecond))
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	d.do("GET", "/api/pipelines", bearer(access)).want(http.StatusOK)
	d.clock.freeze(exp)
	d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token expired")
	d.do("POST", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token expired")
	d.do("GET", "/api/auth/me", bearer(access)).refused(http.StatusUnauthorized, "token expired")
	d.do("GET", "/api/pipelines", bearer(access)).refused(http.StatusUnauthorized, "token expired")
	d.do("POST", "/auth/token", bearer(access), formBody(`{"client_id":"app"}`)).refused(http.StatusUnauthorized, "token expired")
	d.do("POST", "/auth/logout", bearer(access)).refused(http.StatusUnauthorized, "token expired")
	// TF13: expired and forged at once is forged.
	d.do("GET", "/auth/validate", bearer(flipped(access))).refused(http.StatusUnauthorized, "invalid token")

	end := time.Unix(claimsOf(t, refresh).ExpiresAt, 0)
	d.clock.freeze(end)
	d.refresh(refresh).refused(http.StatusUnauthorized, "token expired")
	d.clock.freeze(end.Add(-time.Nanosecond))
	d.refresh(refresh).want(http.StatusOK)
}

// TestEveryErrorOfTheMachineDoors gives each sentence of the list of errors that these
// doors can say, to the letter.
func TestEveryErrorOfTheMachineDoors(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "jwt.expiry=1h", "jwt.secret="+machineSecret, "config="+write(t, "doorward.yaml", `
api_tokens:
  - {token: reading-token, role: viewer}
`))
	_, refresh := d.exchange("reading-token", "app")
	ended, endedRefresh := d.exchange("reading-token", "app")
	d.do("POST", "/auth/logout", bearer(ended)).want(http.StatusOK)
	old, _ := d.exchange("reading-token", "app")
	d.clock.advance(2 * time.Hour)
	fresh := d.refresh(refresh).want(http.StatusOK)
	access := fresh.str("access_token")
	refresh = fresh.str("refresh_token")
	ended2, _ := d.exchange("reading-token", "app")
	d.do("POST", "/auth/logout", bearer(ended2)).want(http.StatusOK)

	check := func(a answer, status int, message string) {
		t.Helper()
		a.refused(status, message)
		if got := a.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type: %s", a.what, got)
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control: %s", a.what, got)
		}
		if got := a.header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != (got == "Bearer") {
			t.Errorf("%s: status %d with WWW-Authenticate: %q", a.what, status, got)
		}
		if got := a.header.Get("Retry-After"); (status == http.StatusServiceUnavailable) != (got != "") {
			t.Errorf("%s: status %d with Retry-After: %q", a.what, status, got)
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-ID", a.what)
		}
	}
	client := formBody(`{"client_id":"app"}`)
	for _, c := range []struct {
		method, path string
		asks         []ask
		status       int
		message      string
	}{
		{"POST", "/auth/token", []ask{client}, 401, "token required"},
		{"GET", "/auth/validate", nil, 401, "token required"},
		{"POST", "/auth/validate", nil, 401, "token required"},
		{"POST", "/auth/logout", nil, 401, "token required"},
		{"GET", "/api/auth/me", nil, 401, "token required"},
		{"GET", "/api/pipelines", nil, 401, "token required"},
		{"POST", "/auth/token", []ask{bearer("x"), client}, 401, "invalid token"},
		{"POST", "/auth/token", []ask{bearer(access), client}, 401, "invalid token"},
		{"GET", "/auth/validate", []ask{bearer("reading-token")}, 401, "invalid token"},
		{"POST", "/auth/logout", []ask{bearer("reading-token")}, 401, "invalid token"},
		{"GET", "/api/pipelines", []ask{bearer(refresh)}, 401, "invalid token"},
		{"GET", "/auth/validate", []ask{bearer(old)}, 401, "token expired"},
		{"POST", "/auth/logout", []ask{bearer(old)}, 401, "token expired"},
		{"GET", "/auth/validate", []ask{bearer(ended2)}, 401, "token blacklisted"},
		{"POST", "/auth/refresh", []ask{formBody(`{"refresh_token":"` + endedRefresh + `"}`)}, 401, "token blacklisted"},
		{"POST", "/run", []ask{bearer(access), formBody(`{"prompt":"x"}`)}, 403, "insufficient permissions"},
		{"GET", "/api/auth/users", []ask{bearer(access)}, 403, "insufficient permissions"},
		{"GET", "/api/pipelines", []ask{bearer(access), header("X-Workspace-ID", "other")}, 403, "insufficient permissions"},
		{"POST", "/auth/refresh", []ask{formBody(`{}`)}, 400, "refresh_token: is required"},
		{"GET", "/auth/validate", []ask{bearer(access), bearer(access)}, 400, "Authorization: must not be given twice"},
		{"GET", "/api/auth/me", []ask{apiKey("reading-token"), apiKey("reading-token")}, 400, "X-API-Key: must not be given twice"},
		{"GET", "/auth/", nil, 404, "page not found"},
		{"GET", "/auth/nothing", []ask{bearer(access)}, 404, "page not found"},
		{"POST", "/auth/token/", []ask{bearer("reading-token"), client}, 404, "page not found"},
		{"POST", "/AUTH/token", []ask{bearer(access), client}, 403, "insufficient permissions"}, // not ours: the service's
		{"GET", "/auth/token", []ask{bearer("reading-token")}, 405, "method not allowed"},
		{"GET", "/auth/refresh", nil, 405, "method not allowed"},
		{"PUT", "/auth/validate", []ask{bearer(access)}, 405, "method not allowed"},
		{"GET", "/auth/logout", []ask{bearer(access)}, 405, "method not allowed"},
		{"POST", "/health", nil, 405, "method not allowed"},
	} {
		check(d.do(c.method, c.path, c.asks...), c.status, c.message)
	}
	for path, allow := range map[string]string{
		"/auth/token": "POST", "/auth/refresh": "POST", "/auth/logout": "POST", "/auth/validate": "GET, HEAD, POST", "/health": "GET, HEAD",
	} {
		if got := d.do("DELETE", path).want(http.StatusMethodNotAllowed).header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow: %s, want %s", path, got, allow)
		}
	}

	// What cannot be read is not known, and never taken for anything else.
	unseen, unseenRefresh := d.exchange("reading-token", "app")
	d.restart()
	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	d.clock.advance(6 * time.Second) // past max_staleness
	for _, a := range []answer{
		d.do("POST", "/auth/token", bearer("reading-token"), client),
		d.refresh(unseenRefresh),
		d.do("GET", "/auth/validate", bearer(unseen)),
		d.do("POST", "/auth/logout", bearer(unseen)),
		d.do("GET", "/api/pipelines", bearer(unseen)),
	} {
		check(a, http.StatusServiceUnavailable, "temporarily unavailable")
	}
	d.refresh("no-token").refused(http.StatusUnauthorized, "invalid token") // that much is known

	closed := newDoor(t, "auth.enabled=true")
	for _, a := range []answer{
		closed.do("POST", "/auth/token", bearer("x"), client),
		closed.do("GET", "/auth/validate", bearer(access)),
		closed.do("GET", "/api/auth/me"),
		closed.do("GET", "/api/pipelines"),
	} {
		check(a, http.StatusServiceUnavailable, "setup required")
	}
	closed.refresh("no-token").refused(http.StatusUnauthorized, "invalid token")
}

func TestHealthAndMetricsArePublic(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	const ok = `{"name":"doorward","status":"ok","version":`
	a := d.do("GET", "/health").want(http.StatusOK)
	if !strings.HasPrefix(a.body, ok) || !strings.HasSuffix(a.body, `,"components":[{"name":"database","status":"ok","error":""}]}`+"\n") {
		t.Errorf("health answers %s", a.body)
	}
	d.do("GET", "/health/live").want(http.StatusOK)
	d.do("GET", "/health/ready").want(http.StatusOK)
	d.do("GET", "/auth/validate", bearer("x")).want(http.StatusUnauthorized)
	a = d.do("GET", "/metrics").want(http.StatusOK)
	if !strings.Contains(a.body, `doorward_refusals_total{code="401",error="invalid token"} 1`) {
		t.Errorf("metrics do not count the refusal:\n%s", a.body)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("metrics are %s", a.header.Get("Content-Type"))
	}

	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	a = d.do("GET", "/health").want(http.StatusServiceUnavailable)
	if !strings.HasPrefix(a.body, `{"name":"doorward","status":"error","version":`) ||
		!strings.HasSuffix(a.body, `,"components":[{"name":"database","status":"error","error":"cannot be read"}]}`+"\n") {
		t.Errorf("health answers %s", a.body)
	}
	d.do("GET", "/health/live").want(http.StatusOK)
	d.do("GET", "/health/ready").refused(http.StatusServiceUnavailable, "temporarily unavailable")
	d.do("GET", "/metrics").want(http.StatusOK)
}

// TestNoSecretIsLoggedOrKept tells a whole story at level debug and then looks for every
// secret in it, in the log and in the database.
func TestNoSecretIsLoggedOrKept(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	secrets := map[string]string{
		"API token": machineToken, "operator's key": machineKey, "jwt.secret": machineSecret,
		"password": rootPassword, "wrong password": "a wrong guess of 2026", "new password": "a better password, 42",
		"unknown key": "brk_" + strings.Repeat("0f", 32) + "deadbeef", "Basic": "dXNlcjpwYXNz",
	}
	keepTokens := func(name, token string) {
		secrets[name] = token
		for i, part := range strings.Split(token, ".")[1:] {
			secrets[name+", part "+string(rune('2'+i))] = part
		}
	}
	code := d.house.authority.SetupCode()
	root := d.setUp()
	keepTokens("user's token", root)
	_, sessionCookie := d.signIn("root", rootPassword)
	keepTokens("cookie", sessionCookie)
	d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", secrets["wrong password"]))).want(http.StatusUnauthorized)

	access, refresh := d.exchange(machineToken, "app")
	keepTokens("access token", access)
	keepTokens("refresh token", refresh)
	a := d.refresh(refresh).want(http.StatusOK)
	keepTokens("second access token", a.str("access_token"))
	keepTokens("second refresh token", a.str("refresh_token"))
	a = d.refresh(a.str("refresh_token")).want(http.StatusOK)
	keepTokens("third refresh token", a.str("refresh_token"))
	for _, asks := range [][]ask{
		{bearer(access)}, {bearer(refresh)}, {bearer(flipped(access))}, {bearer(machineToken)}, {apiKey(machineKey)},
		{bearer(secrets["unknown key"])}, {apiKey(secrets["unknown key"])}, {cookie(sessionCookie)}, {cookie(flipped(sessionCookie))},
		{header("Authorization", "Basic "+secrets["Basic"])}, {bearer(access), bearer(access)}, {cookie(sessionCookie), cookie("x")},
		{header("X-Workspace-ID", "other"), bearer(access)}, {header("User-Agent", "curl/8.5")},
	} {
		for _, path := range []string{"/api/auth/me", "/", "/auth/validate", "/nothing?access_token=" + access + "&api_key=" + machineKey, "/a%2fb?token=" + access} {
			d.do("GET", path, asks...)
		}
		d.do("POST", "/auth/token", append(asks, formBody(`{"client_id":"app"}`))...)
		d.do("POST", "/auth/token", append(asks, formBody(`{"client_id":"`+machineKey+" "+machineToken+`"}`))...)
	}
	d.do("POST", "/api/auth/change-password", cookie(sessionCookie), jsonBody(`{"current_password":"`+rootPassword+`","new_password":"`+secrets["new password"]+`"}`)).want(http.StatusOK)
	d.refresh(flipped(refresh)).refused(http.StatusUnauthorized, "invalid token")
	d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted") // reuse, which is logged
	d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)

	down := machineDoor(t, "upstream=http://127.0.0.1:1")
	down.do("GET", "/x?access_token="+access, apiKey(machineKey), header("Authorization", "Basic "+secrets["Basic"])).refused(http.StatusBadGateway, "service unavailable")

	d.stop()
	kept, err := os.ReadFile(filepath.Join(d.dir, "doorward.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(kept, []byte(claimsOf(t, access).Session)) {
		t.Fatal("the database file does not hold the session: the test looks at the wrong file")
	}
	log := d.log.String() + down.log.String()
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "refresh token reused") {
		t.Fatalf("the story is not in the log:\n%s", log)
	}
	for name, secret := range secrets {
		if i := strings.Index(log, secret); i >= 0 {
			t.Errorf("the log holds the %s: %s", name, log[max(0, i-200):min(len(log), i+len(secret)+100)])
		}
		if bytes.Contains(kept, []byte(secret)) {
			t.Errorf("the database holds the %s", name)
		}
	}
	if n := strings.Count(log, code); code == "" || n != 2 { // the console shows it in two commands, which the test has in the same place
		t.Errorf("the setup code is there %d times, want twice, on the console", n)
	}
}

// running is the real program as a process of its own.
type running struct {
	door *door  // to ask with: it has no house of its own
	kill func() // kill -9, and wait until it is gone
}

// startProgram starts the program on dir with these variables and waits until it listens.
func startProgram(t *testing.T, dir string, environ ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, "doorward", "serve", "--listen", "127.0.0.1:0", "--data-dir", dir)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	var said strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
			if _, rest, ok := strings.Cut(lines.Text(), "msg=listening addr="); ok {
				a, _, _ := strings.Cut(rest, " ")
				address <- a
			}
		}
	}()
	p := &running{kill: sync.OnceFunc(func() {
		cancel() // kills
		<-read
		_ = cmd.Wait() // it was killed, which is no news
	})}
	t.Cleanup(p.kill)
	select {
	case a := <-address:
		p.door = &door{t: t, URL: "http://" + a, dir: dir}
	case <-read:
		t.Fatalf("the program did not start: %s", said.String())
	case <-ctx.Done():
		t.Fatal("the program did not start in time")
	}
	return p
}
