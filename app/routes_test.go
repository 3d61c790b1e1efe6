package app

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"doorward"
	"doorward/gate"
)

// settingsFile writes a file of settings and returns the setting that names it.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "doorward.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "config=" + file
}

const (
	viewerToken = "viewer-0123456789abcdef"
	editorToken = "editor-0123456789abcdef"
	adminToken  = "admin-0123456789abcdefg"
)

const threeTokens = `api_tokens:
  - {token: ` + viewerToken + `, name: reader, role: viewer}
  - {token: ` + editorToken + `, name: writer, role: editor}
  - {token: ` + adminToken + `, name: chief, role: admin}
`

// routedDoor is a door with rules, three machines and an echo service behind it.
func routedDoor(t *testing.T, rules string, settings ...string) (*door, *echoService) {
	t.Helper()
	e := newEchoService(t)
	return newDoor(t, append([]string{settingsFile(t, threeTokens+rules), "upstream=" + e.URL, "api_key=" + machineKey}, settings...)...), e
}

// TestTheFirstRouteThatMatchesDecides goes through the contract's own example and what it says of matching.
func TestTheFirstRouteThatMatchesDecides(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, `routes:
  - {path: /webhooks/**, public: true}
  - {path: /api/pipelines/**, methods: [GET, HEAD], role: viewer}
  - {path: /admin/**, role: admin}
  - {path: /api/run/*, methods: [POST], role: viewer}
  - {path: /exact, role: superadmin}
`)
	const nobody = ""
	for _, c := range []struct {
		method, target string
		passes         []string // of nobody, viewer, editor, admin
		rule           string   // in the log of a refusal
	}{
		{"GET", "/webhooks/x", []string{nobody, viewerToken, editorToken, adminToken}, ""},
		{"POST", "/webhooks", []string{nobody, viewerToken, editorToken, adminToken}, ""},
		{"DELETE", "/webhooks/", []string{nobody, viewerToken, editorToken, adminToken}, ""},
		{"GET", "/Webhooks/x", []string{viewerToken, editorToken, adminToken}, "default: GET needs viewer"}, // public rules match exactly
		{"POST", "/webhooksx", []string{editorToken, adminToken}, "default: POST needs editor"},
		{"GET", "/api/pipelines/x", []string{viewerToken, editorToken, adminToken}, "routes:3"},
		{"HEAD", "/api/pipelines", []string{viewerToken, editorToken, adminToken}, "routes:3"},
		{"POST", "/api/pipelines/x", []string{editorToken, adminToken}, "default: POST needs editor"},
		{"GET", "/admin", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/admin/", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/ADMIN/x", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/aDmIn", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/webhooks/../admin/x", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/webhooks/%2e%2e/%61dmin", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "//admin", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/administrator", []string{viewerToken, editorToken, adminToken}, "default: GET needs viewer"},
		{"POST", "/api/run/1", []string{viewerToken, editorToken, adminToken}, "POST /api/run/* needs viewer"},
		{"POST", "/api/run/1/x", []string{editorToken, adminToken}, "default: POST needs editor"},
		{"post", "/api/run/1", []string{editorToken, adminToken}, "default: post needs editor"},
		{"GET", "/exact", nil, "/exact needs superadmin"},
		{"GET", "/EXACT/", nil, "/exact needs superadmin"},
		{"GET", "/exact/x", []string{viewerToken, editorToken, adminToken}, "default: GET needs viewer"},
		{"OPTIONS", "/x", []string{viewerToken, editorToken, adminToken}, "default: OPTIONS needs viewer"},
		{"PROPFIND", "/x", []string{editorToken, adminToken}, "default: PROPFIND needs editor"},
		// a path parameter hides nothing: some servers take it out before they route
		{"GET", "/admin;x", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/admin;x=1/y", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/;/admin", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/ADMIN%3bx/y", []string{adminToken}, "/admin/** needs admin"},
		{"GET", "/webhooks/a;b", []string{nobody, viewerToken, editorToken, adminToken}, ""},
		{"GET", "/webhooks;a/b", []string{viewerToken, editorToken, adminToken}, "default: GET needs viewer"},
	} {
		for _, token := range []string{nobody, viewerToken, editorToken, adminToken} {
			calls := e.calls.Load()
			lines := []string{"Host: door.example", "Connection: close"}
			if token != nobody {
				lines = append(lines, "Authorization: Bearer "+token)
			}
			a := d.wire(t, c.method+" "+c.target+" HTTP/1.1\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
			asked := e.calls.Load() - calls
			switch {
			case slices.Contains(c.passes, token):
				if a.status != http.StatusOK || asked != 1 {
					t.Errorf("%s %s as %q: %d, service asked %d times", c.method, c.target, token, a.status, asked)
				}
			case token == nobody && a.status != http.StatusUnauthorized, token != nobody && a.status != http.StatusForbidden, asked != 0:
				t.Errorf("%s %s as %q: %d, service asked %d times; want a refusal", c.method, c.target, token, a.status, asked)
			default:
				rule := strings.Replace(c.rule, "routes:3", "/api/pipelines/** needs viewer", 1)
				if line := d.logOf(a); !strings.Contains(line, rule) {
					t.Errorf("%s %s as %q: the log says %s; want rule %s", c.method, c.target, token, line, rule)
				}
			}
		}
	}
}

// TestPublicRoutes: a good credential tells who it is and stays at the door; anything else
// passes untouched, as nobody.
func TestPublicRoutes(t *testing.T) {
	t.Parallel()
	d, _ := routedDoor(t, "routes: [{path: /hook/**, public: true}]\n")
	d.setUp()
	expired, _ := d.exchange(editorToken, "app")
	d.clock.advance(23 * 3600 * 1e9)
	revoked, _ := d.exchange(editorToken, "app")
	d.do("POST", "/auth/logout", bearer(revoked)).want(http.StatusOK)
	fresh, refresh := d.exchange(editorToken, "app")
	root, rootCookie := d.signIn("root", rootPassword)
	d.clock.advance(2 * 3600 * 1e9) // past the end of the first tokens alone
	const foreign = "eyJhbGciOiJIUzI1NiJ9.e30.x"
	for _, c := range []struct {
		name                       string
		lines                      []string
		kind, subject              string
		authorization, key, cookie string // as the service gets them
	}{
		{"nobody", nil, "anonymous", "", "", "", ""},
		{"a user", []string{"Authorization: Bearer " + root}, "user", claimsOf(t, root).Subject, "", "", ""},
		{"a cookie", []string{"Cookie: a=b; brokoli_session=" + rootCookie}, "user", claimsOf(t, root).Subject, "", "", "a=b"},
		{"a client", []string{"Authorization: Bearer " + fresh}, "client", "app", "", "", ""},
		{"an API token", []string{"Authorization: bearer " + editorToken}, "client", "writer", "", "", ""},
		{"a key", []string{"X-API-Key: " + machineKey}, "key", d.do("GET", "/api/auth/me", apiKey(machineKey)).str("id"), "", "", ""},
		{"somebody else's token", []string{"Authorization: Bearer " + foreign}, "anonymous", "", "Bearer " + foreign, "", ""},
		{"somebody else's key", []string{"X-API-Key: theirs"}, "anonymous", "", "", "theirs", ""},
		{"Basic", []string{"Authorization: Basic eDp5"}, "anonymous", "", "Basic eDp5", "", ""},
		{"Basic and a cookie", []string{"Authorization: Basic eDp5", "Cookie: brokoli_session=" + rootCookie}, "user", claimsOf(t, root).Subject, "Basic eDp5", "", ""},
		{"theirs, and ours beside it", []string{"Authorization: Bearer " + foreign, "X-API-Key: " + machineKey}, "anonymous", "", "Bearer " + foreign, "", ""},
		{"an expired one", []string{"Authorization: Bearer " + expired}, "anonymous", "", "", "", ""},
		{"one signed out, which a service that knows the secret would take for good", []string{"Authorization: Bearer " + revoked}, "anonymous", "", "", "", ""},
		{"a refresh token", []string{"Authorization: Bearer " + refresh}, "anonymous", "", "", "", ""},
		{"a refresh token as a key", []string{"X-API-Key: " + refresh}, "anonymous", "", "", "", ""},
		{"a cookie as a token", []string{"Authorization: Bearer " + rootCookie}, "anonymous", "", "", "", ""},
		{"an access token as a key", []string{"X-API-Key: " + fresh}, "anonymous", "", "", "", ""},
		{"one signed out, as a key", []string{"X-API-Key: " + revoked}, "anonymous", "", "", "", ""},
		{"a token behind a tab", []string{"Authorization: Bearer\t" + fresh}, "anonymous", "", "", "", ""},
		{"two tokens in a line", []string{"Authorization: Bearer x, Bearer " + editorToken}, "anonymous", "", "", "", ""},
		{"a token in another scheme", []string{"Authorization: Token token=\"" + fresh + "\""}, "anonymous", "", "", "", ""},
		{"a bad cookie", []string{"Cookie: brokoli_session=nonsense; a=b"}, "anonymous", "", "", "", "a=b"},
		{"two cookies", []string{"Cookie: brokoli_session=" + rootCookie + "; brokoli_session=x; a=b"}, "anonymous", "", "", "", "a=b"},
		{"a cookie from another site", []string{"Cookie: brokoli_session=" + rootCookie, "Sec-Fetch-Site: cross-site"}, "anonymous", "", "", "", ""},
		{"a WebSocket from another site", []string{"Cookie: brokoli_session=" + rootCookie, "Origin: https://evil.example", "Connection: Upgrade", "Upgrade: websocket"}, "anonymous", "", "", "", ""},
	} {
		method := "POST"
		if strings.Contains(c.name, "WebSocket") {
			method = "GET"
		}
		got := d.wire(t, method+" /hook/x HTTP/1.1\r\nHost: {door}\r\n"+strings.Join(append(c.lines, "", ""), "\r\n")).echoed().Header
		if got.Get("X-Auth-Kind") != c.kind || got.Get("X-Auth-Subject") != c.subject {
			t.Errorf("%s: %s %s; want %s %s", c.name, got.Get("X-Auth-Kind"), got.Get("X-Auth-Subject"), c.kind, c.subject)
		}
		if got.Get("Authorization") != c.authorization || got.Get("X-Api-Key") != c.key || got.Get("Cookie") != c.cookie {
			t.Errorf("%s: the service gets %q, %q, %q; want %q, %q, %q", c.name, got["Authorization"], got["X-Api-Key"], got["Cookie"], c.authorization, c.key, c.cookie)
		}
	}
	two := d.wire(t, "GET /hook/x HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n")
	if got := two.echoed().Header; got.Get("X-Auth-Kind") != "anonymous" {
		t.Errorf("two that are none of ours: %v", got)
	}
	if got := d.do("GET", "/hook/x", bearer(root), header("X-Workspace-ID", "nowhere")).echoed().Header; got.Get("X-Auth-Kind") != "anonymous" || got.Get("Authorization") != "" {
		t.Errorf("in a workspace that is not theirs: %v", got)
	}
	d.do("GET", "/hook/x", header("X-Workspace-ID", "nowhere")).want(http.StatusOK)
	// While it cannot be read whether a token is good, it stays here and tells nobody who it is.
	d.restart()
	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := d.do("GET", "/hook/x", bearer(root)).echoed().Header; got.Get("X-Auth-Kind") != "anonymous" || got.Get("Authorization") != "" {
		t.Errorf("in an outage: %v", got)
	}
}

// TestPreflightsCarryNoCredential: refused, unless the route of the request that they ask about says pass.
func TestCK11Preflights(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, `routes:
  - {path: /open/**, methods: [POST], role: editor, preflight: pass}
  - {path: /all/**, role: editor, preflight: pass}
  - {path: /closed/**, role: viewer}
  - {path: /public/**, public: true}
`)
	origin, wants := header("Origin", "https://app.example"), header("Access-Control-Request-Method", "POST")
	for _, path := range []string{"/open/x", "/OPEN/x/", "/all/x", "/public/x"} {
		got := d.do("OPTIONS", path, origin, wants, bearer(adminToken), apiKey(machineKey)).echoed()
		if kind := got.Header.Get("X-Auth-Kind"); kind != "anonymous" && path != "/public/x" || got.Header.Get("Authorization") != "" || got.Header.Get("X-Api-Key") != "" {
			t.Errorf("%s: %v", path, got.Header)
		}
	}
	n := e.calls.Load()
	for _, c := range []struct {
		path string
		asks []ask
	}{
		{"/closed/x", []ask{origin, wants}},
		{"/elsewhere", []ask{origin, wants}},
		{"/elsewhere", []ask{header("Origin", "null"), wants}},
		{"/open/x", []ask{origin, header("Access-Control-Request-Method", "DELETE")}},
		{"/open/x", []ask{origin}},                  // no preflight
		{"/open/x", []ask{wants}},                   // nor this
		{"/open/x", []ask{origin, wants, wants}},    // nor this
		{"/open%2fx", []ask{origin, wants}},         //
		{"/open/../closed/x", []ask{origin, wants}}, //
	} {
		a := d.do("OPTIONS", c.path, c.asks...)
		if a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", c.path, a.status)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s: %s", c.path, name, a.header.Get(name))
			}
		}
		if len(c.asks) == 2 && a.header.Get("Vary") != "Origin" {
			t.Errorf("%s: Vary %q", c.path, a.header.Get("Vary"))
		}
	}
	// A request that is none is not let through by such a route without a credential.
	d.do("POST", "/open/x", origin).refused(http.StatusUnauthorized, "token required")
	d.do("OPTIONS", "/all/x").refused(http.StatusUnauthorized, "token required")
	long := d.wire(t, "OPTIONS /all/x HTTP/1.1\r\nHost: {door}\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: "+strings.Repeat("x,", 1<<19)+"\r\n\r\n")
	long.want(http.StatusRequestHeaderFieldsTooLarge)
	if got := e.calls.Load() - n; got != 0 {
		t.Errorf("the service was asked %d times", got)
	}
}

// TestPT3EncodedSlashes: refused, unless a route lets them through and the path is that route's
// however the service reads it.
func TestPT3EncodedSlashes(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, `routes:
  - {path: /repos/*/secret, role: admin}
  - {path: /repos/**, role: viewer, encoded_slash: pass}
  - {path: /files/*, public: true, encoded_slash: pass}
`)
	for _, c := range []struct{ target, want string }{
		{"/repos/a%2Fb", "/repos/a%2Fb"},
		{"/repos/a%2fb/c", "/repos/a%2Fb/c"},
		{"/repos/x/../a%2fb%20?q=%2f", "/repos/a%2Fb%20?q=%2f"},
		{"/Repos/a%2fb", "/Repos/a%2Fb"},
	} {
		if got := d.target(t, c.target, "Authorization: Bearer "+viewerToken).echoed(); got.Target != c.want {
			t.Errorf("%s arrives as %s, want %s", c.target, got.Target, c.want)
		}
		d.target(t, c.target).refused(http.StatusUnauthorized, "token required")
	}
	n := e.calls.Load()
	for _, target := range []string{
		"/repos/a%2f..%2f..%2fadmin", "/repos/..%2fx", "/repos/a%2f", "/repos/%2fa", "/repos/a%2f%2fb", "/repos/a%2f.%2fb", "/repos/a%2f..;%2fb", "/repos%2fa",
		"/repos/a%2fsecret", // to who takes it for a slash it is the admins'
		"/files/a%2fb",      // to who does not, a public one; to others nobody's
		"/other/a%2fb", "/auth%2fx", "/repos/..%2f..%2fauth%2ftoken", "/repos/a%5cb", "/repos/a%00b",
	} {
		for _, token := range []string{viewerToken, adminToken} {
			d.target(t, target, "Authorization: Bearer "+token).refusedPath()
		}
	}
	if got := e.calls.Load() - n; got != 0 {
		t.Errorf("the service was asked %d times", got)
	}
}

// TestUpstreamsByHostAndPath: the first that matches gets the request, with its prefix taken off; each is in /health.
func TestUpstreamsByHostAndPath(t *testing.T) {
	t.Parallel()
	app, v1, files, rest := newEchoService(t), newEchoService(t), newEchoService(t), newEchoService(t)
	away := nobodyListens(t)
	config := func(more string) string {
		return settingsFile(t, threeTokens+`upstreams:
  - {name: app, url: `+app.URL+`, host: App.example.com}
  - {name: v1, url: `+v1.URL+`/base, path: /v1/**, strip: /v1}
  - {name: files, url: `+files.URL+`, host: "*.files.example", path: /f/*/**, strip: /f}
  - {name: away, url: `+away+`, path: /away/**, timeout: 2s}
`+more)
	}
	d := newDoor(t, config("routes:\n  - {host: app.example.com, path: /admin/**, role: admin}\n  - {path: /v1/x/**, role: viewer, encoded_slash: pass}\n"), "upstream="+rest.URL)
	for _, c := range []struct {
		host, target string
		to           *echoService
		want         string
	}{
		{"app.example.com", "/v1/x", app, "/v1/x"},
		{"APP.EXAMPLE.COM.:8443", "/v1/x", app, "/v1/x"},
		{"other.example", "/v1/x?y=/v1", v1, "/base/x?y=/v1"},
		{"other.example", "/v1", v1, "/base/"},
		{"other.example", "/v1/", v1, "/base/"},
		{"other.example", "/v1/x/a%2Fv1%2Fb", v1, "/base/x/a%2Fv1%2Fb"},
		{"other.example", "/v1/v1/%C3%A9", v1, "/base/v1/%C3%A9"},
		{"other.example", "/x/../v1/%61", v1, "/base/a"},
		{"other.example", "/V1/x", rest, "/V1/x"},
		{"other.example", "/v1x", rest, "/v1x"},
		{"a.files.example", "/f/1/2", files, "/1/2"},
		{"files.example", "/f/1/2", rest, "/f/1/2"},
		{"a.files.example", "/f", rest, "/f"},
	} {
		before := c.to.calls.Load()
		got := d.wire(t, "GET "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\nAuthorization: Bearer "+viewerToken+"\r\nX-Forwarded-Host: app.example.com\r\n\r\n").echoed()
		if got.Target != c.want || c.to.calls.Load() != before+1 || got.Host != c.host {
			t.Errorf("%s%s arrives as %s%s, want %s at that service", c.host, c.target, got.Host, got.Target, c.want)
		}
	}
	d.wire(t, "GET /admin HTTP/1.1\r\nHost: app.example.com\r\nAuthorization: Bearer "+viewerToken+"\r\n\r\n").refused(http.StatusForbidden, "insufficient permissions")
	d.wire(t, "GET /admin HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer "+viewerToken+"\r\n\r\n").want(http.StatusOK)
	d.do("GET", "/away/x", bearer(viewerToken)).refused(http.StatusBadGateway, "service unavailable")

	health := d.do("GET", "/health").want(http.StatusOK).body
	for _, want := range []string{
		`"status":"ok"`, `{"name":"database","status":"ok","error":""}`, `{"name":"upstream app","status":"ok","error":""}`, `{"name":"upstream v1","status":"ok","error":""}`,
		`{"name":"upstream files","status":"ok","error":""}`, `{"name":"upstream away","status":"error","error":"cannot be reached"}`, `{"name":"upstream","status":"ok","error":""}`,
	} {
		if !strings.Contains(health, want) {
			t.Errorf("no %s in %s", want, health)
		}
	}
	d.do("GET", "/health/ready").want(http.StatusOK)

	// With nothing for the rest, the rest is told so, once it is known who asks.
	partial := newDoor(t, config(""))
	partial.do("GET", "/x").refused(http.StatusUnauthorized, "token required")
	partial.do("GET", "/x", bearer(viewerToken)).refused(http.StatusNotFound, "service not found")
	partial.do("GET", "/v1/x", bearer(viewerToken)).want(http.StatusOK)
	if !strings.Contains(d.log.String(), "(v1: /v1/**)") {
		t.Error("the log does not say what is behind")
	}
}

func TestRoutesThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ yaml, want string }{
		{"routes: [{path: /x}]", `routes (F:1): says neither public: true nor which role it needs`},
		{"routes:\n  - {path: /x, public: true, role: viewer}", `routes (F:2): is public and asks for a role; it must be one of the two`},
		{"routes:\n  - {role: viewer}", `routes (F:2): an entry has no path`},
		{"routes:\n  - {path: x, role: viewer}", `routes (F:2): path: "x" must begin with /`},
		{"routes:\n  - {path: /x*, role: viewer}", `routes (F:2): path: "/x*" holds a * that is no whole segment; a star that is meant is written %2A`},
		{"routes:\n  - {path: /**/x, role: viewer}", `routes (F:2): path: "/**/x" holds ** elsewhere than at its end`},
		{"routes:\n  - {path: /a/../b, role: viewer}", `routes (F:2): path: "/a/../b" holds a dot segment, which no request has once its path is clean`},
		{"routes:\n  - {path: /x, role: Viewer}", `routes (F:2): role: "Viewer" is not one of superadmin, admin, editor, viewer; did you mean viewer?`},
		{"routes:\n  - {path: /x, rol: viewer}", `routes (F:2): unknown field rol; did you mean role?`},
		{"routes:\n  - path: /x\n    role: viewer\n    methods: [GET, post]", `routes (F:4): methods: "post" is not a method like GET; they are written in capitals`},
		{"routes:\n  - {path: /x, role: viewer, methods: []}", `routes (F:2): methods: names none; leave it out for all`},
		{"routes:\n  - {path: /x, role: viewer, methods: TRACE}", `routes (F:2): methods: TRACE is never let through`},
		{"routes:\n  - {path: /x, role: viewer, preflight: true}", `routes (F:2): preflight: "true" is not one of pass, refuse`},
		{"routes:\n  - {path: /x, role: viewer, host: 'a:80'}", `routes (F:2): host: "a:80" is not a name like app.example.com or *.example.com, without a port`},
		{"routes:\n  - {path: /x, public: maybe}", `routes (F:2): public: "maybe" is neither true nor false`},
		{"routes: /x viewer admin", `routes (F:1): entry 1: admin is a second role`},
		{"routes: /x viewer /y", `routes (F:1): entry 1: "/y" is a second path; entries are separated by commas`},
		{"routes: /x viwer", `routes (F:1): entry 1: "viwer" is neither a path, nor methods like GET|HEAD, nor public, preflight, encoded_slash or a role; did you mean viewer?`},
		{"routes: get /x viewer", `routes (F:1): entry 1: "get" is neither a path, nor methods like GET|HEAD, nor public, preflight, encoded_slash or a role`},
		{"upstreams: [{url: 'http://a'}]", `upstreams (F:1): name: "" must have 1 to 63 of a-z, 0-9 and -`},
		{"upstreams: [{name: a}]", `upstreams (F:1): an entry has no url`},
		{"upstreams: [{name: a, url: 'ftp://x'}]", `upstreams (F:1): url: is not a URL like http`},
		{"upstreams: [{name: a, url: 'http://x', strip: /v1}]", `upstreams (F:1): strip: "/v1" is not what the path "/**" begins with`},
		{"upstreams: [{name: a, url: 'http://x', path: /v1/**, strip: /v1/}]", `upstreams (F:1): strip: "/v1/" is not a path like /v1`},
		{"upstreams: [{name: a, url: 'http://x'}, {name: a, url: 'http://y', path: /y}]", `upstreams (F:1): two are called a`},
		{"upstreams: [{name: a, url: 'http://127.0.0.1:8080'}]", `upstreams (F:1): a is this server itself; let listen (default) be another address`},
		{"upstream: http://x\nupstreams: [{name: upstream, url: 'http://y', path: /y}]", `upstreams (F:2): one is called upstream, which upstream (F:1) is called in /health`},
		{"upstreams: [{name: a, url: 'http://x', timeout: soon}]", `upstreams (F:1): timeout: "soon" is not a duration; write one like 90s, 24h or 7d`},
	} {
		config := settingsFile(t, c.yaml)
		_, file, _ := strings.Cut(config, "=")
		l := load(sources{flags: map[string]string{"config": file}})
		want := strings.ReplaceAll(c.want, "F:", file+":")
		if len(l.problems) != 1 || !strings.HasPrefix(l.problems[0].Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", c.yaml, l.problems, want)
		}
	}
}

func TestRoutesInTheirTwoForms(t *testing.T) {
	t.Parallel()
	inFile := settingsFile(t, `routes:
  - {path: /webhooks/**, public: true}
  - {host: app.example.com, path: /api/*, methods: GET, role: viewer, preflight: pass}
  - path: /repos/**
    methods: [GET, HEAD]
    role: editor
    encoded_slash: pass
    preflight: refuse
  - /admin/** admin
upstreams:
  - {name: a, url: http://a:1/b, host: h.example, path: /v1/**, strip: /v1}
  - b http://b
`)
	_, file, _ := strings.Cut(inFile, "=")
	listed := load(sources{flags: map[string]string{"config": file}})
	written := load(sources{
		flags:   map[string]string{"routes": "/webhooks/** public, GET app.example.com/api/* viewer preflight,editor encoded_slash GET|HEAD /repos/**,\n/admin/** admin"},
		environ: []string{"DOORWARD_UPSTREAMS=a http://a:1/b h.example/v1/** strip=/v1, b http://b,"},
	})
	for _, l := range []*loaded{listed, written} {
		if len(l.problems) > 0 || len(l.Routes) != 4 || len(l.Upstreams) != 2 {
			t.Fatal(l.problems, l.Routes, l.Upstreams)
		}
		if got, want := l.showRoutes(), "/webhooks/** public, GET app.example.com/api/* viewer preflight, GET|HEAD /repos/** editor encoded_slash, /admin/** admin"; got != want {
			t.Errorf("routes %s\nwant   %s", got, want)
		}
		if got, want := l.showUpstreams(), "a http://a:1/b h.example/v1/** strip=/v1, b http://b /**"; got != want {
			t.Errorf("upstreams %s\nwant      %s", got, want)
		}
	}
	if got := listed.Routes[2].Name; got != file+":4" {
		t.Errorf("the third route stands at %s", got)
	}
	if got := written.Routes[2].Name; got != "--routes entry 3" {
		t.Errorf("the third route stands at %s", got)
	}
}

func TestRulesThatCanNeverMatchAreWarnings(t *testing.T) {
	t.Parallel()
	config := settingsFile(t, `routes:
  - {path: /a/**, role: viewer}
  - {path: /A/b, role: admin}
  - {path: /c/*, methods: [GET, POST], role: admin}
  - {path: /c/d, methods: [GET], role: admin}
  - {path: /c/d, role: admin}
  - {path: /auth/token, public: true}
  - {path: /health/**, public: true}
  - {path: /e, host: '*.x.example', role: admin}
  - {path: /e, host: a.x.example, role: admin}
  - {path: /e, role: admin}
  - {path: /p/**, public: true}
  - {path: /p/secret/**, role: admin}
  - {path: /q, public: true}
  - {path: /q/**, role: admin}
  - {path: /r/, methods: [GET], public: true}
  - {path: /r/, methods: [GET], role: admin}
  - {path: /r/, role: admin}
upstreams:
  - {name: one, url: http://one, path: /x/**}
  - {name: two, url: http://two, path: /x/y}
  - {name: three, url: http://three, path: /api/auth/**}
`)
	_, file, _ := strings.Cut(config, "=")
	l := load(sources{flags: map[string]string{"config": file}})
	want := []string{
		"routes (F:3): /A/b can never match: /a/** (F:2) takes its requests before it",
		"routes (F:5): /c/d can never match: /c/* (F:4) takes its requests before it",
		"routes (F:7): /auth/token can never match: it is answered by this server itself",
		"routes (F:10): /e can never match: /e (F:9) takes its requests before it",
		"routes (F:13): /p/secret/** is public as it is written: /p/** (F:12) takes its requests before it",
		"routes (F:17): /r/ is public as it is written: /r/ (F:16) takes its requests before it",
		"upstreams (F:21): two can never be asked: one takes its requests before it",
	}
	var got []string
	for _, w := range l.warnings {
		got = append(got, strings.ReplaceAll(w, file, "F"))
	}
	if len(l.problems) > 0 || !slices.Equal(got, want) {
		t.Errorf("problems %v, warnings\n%s\nwant\n%s", l.problems, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestExplainSaysWhatTheDoorDoes asks the door and explain the same, for drawn requests and every
// kind of caller, and compares the outcome and the rule that is named.
func TestExplainSaysWhatTheDoorDoes(t *testing.T) {
	t.Parallel()
	const rules = `routes:
  - {path: /hook/**, public: true}
  - {path: /hook/x, methods: [POST], role: admin}
  - {path: /api/**, methods: [GET], role: viewer, preflight: pass}
  - {path: /repos/**, role: editor, encoded_slash: pass}
  - {host: app.example, path: /a, role: viewer}
  - {path: /a/**, role: admin}
upstreams:
  - {name: hooks, url: URL, path: /hook/**}
  - {name: app, url: URL, host: app.example}
  - {name: api, url: URL, path: /api/**}
  - {name: a, url: URL, path: /a/**}
  - {name: repos, url: URL, path: /repos/**}
`
	e := newEchoService(t)
	d := newDoor(t, settingsFile(t, threeTokens+strings.ReplaceAll(rules, "URL", e.URL)), "api_key="+machineKey)
	s := d.house.settings
	policy, err := gate.NewPolicy(gate.Rules{Doors: doorsOf(s), Routes: s.Routes, Upstreams: patternsOf(s.behind())})
	if err != nil {
		t.Fatal(err)
	}
	pieces := []string{"/hook", "/x", "/api", "/auth", "/me", "/users", "/health", "/repos", "/a", "/A", "/", "/..", "/.", "/%2e%2e", "%2f", ";v", "/%61", "é", "%5c", "/setup"}
	rapid.Check(t, func(rt *rapid.T) {
		target := "/" + strings.TrimPrefix(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 5).Draw(rt, "path"), ""), "/")
		method := rapid.SampledFrom([]string{"GET", "POST", "OPTIONS", "DELETE", "TRACE"}).Draw(rt, "method")
		host := rapid.SampledFrom([]string{"door.example", "App.example:81"}).Draw(rt, "host")
		as := rapid.SampledFrom([]string{"", "reader", "writer", "chief", "operator"}).Draw(rt, "as")
		lines := "Host: " + host + "\r\nConnection: close\r\n"
		var id doorward.Identity
		if as != "" {
			id, _ = configuredIdentity(s, as)
			lines += "Authorization: Bearer " + map[string]string{"reader": viewerToken, "writer": editorToken, "chief": adminToken, "operator": machineKey}[as] + "\r\n"
		}
		if method == "OPTIONS" {
			lines += "Origin: https://x.example\r\nAccess-Control-Request-Method: GET\r\n"
		} else {
			lines += "Sec-Fetch-Site: same-origin\r\n" // the form of the first user is for this site's own pages
		}
		request := method + " " + target + " HTTP/1.1\r\n" + lines + "\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		if err != nil {
			return // net/http has refused it
		}
		got := policy.Explain(r, id, doorward.Asked{}, nil, doorward.ModeClosed)
		calls := e.calls.Load()
		a := d.wire(t, request)
		asked := e.calls.Load() - calls
		switch {
		case got.Refusal != nil:
			if a.status != got.Status || asked != 0 || method != "HEAD" && a.str("error") != got.Refusal.Message {
				rt.Fatalf("%s: the door says %d %s; explain %d %s by %s", request, a.status, a.body, got.Status, got.Refusal.Message, got.Rule)
			}
			if line := d.logOf(a); !strings.Contains(line, " rule="+logged(got.Rule)) {
				rt.Fatalf("%s: explain says %s, the log %s", request, got.Rule, line)
			}
		case got.Ours:
			if asked != 0 || a.status == http.StatusNotFound || a.status == http.StatusForbidden {
				rt.Fatalf("%s: explain says it is answered here; %d", request, a.status)
			}
		default:
			if asked != 1 || a.echoed().Header.Get("X-Auth-Kind") != string(got.Identity.Kind) || a.echoed().Header.Get("X-Auth-Role") != string(got.Identity.Role) {
				rt.Fatalf("%s: explain lets %+v through; the service was asked %d times: %d %s", request, got.Identity, asked, a.status, a.body)
			}
		}
	})
}

// TestForwardBearer: the service gets an access token of the session, whatever the client
// used, that it can verify with the shared secret, and that dies with what it stands for.
func TestForwardBearer(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		e := newEchoService(t)
		settings := append(on.settings(t), "config="+strings.TrimPrefix(settingsFile(t, threeTokens+"routes: [{path: /hook, public: true}]\n"), "config="),
			"upstream="+e.URL, "api_key="+machineKey, "jwt.secret="+machineSecret, "forward_credentials=bearer", "jwt.expiry=1h")
		d := newDoor(t, settings...)
		root := d.setUp()
		_, rootCookie := d.signIn("root", rootPassword)
		access, _ := d.exchange(editorToken, "app")
		forwarded := func(path string, asks ...ask) string {
			t.Helper()
			h := d.do("GET", path, asks...).echoed().Header
			if len(h["Authorization"]) > 1 || h.Get("X-Api-Key") != "" || h.Get("Cookie") != "" {
				t.Errorf("the service gets %v", h)
			}
			token, _ := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
			return token
		}
		if got := forwarded("/x", bearer(root)); got != root {
			t.Errorf("for an access token the service gets %q", got)
		}
		if got := forwarded("/x", bearer(access)); got != access {
			t.Errorf("for a client's access token the service gets %q", got)
		}
		if got := forwarded("/hook"); got != "" {
			t.Errorf("for nobody the service gets %q", got)
		}
		if got := d.do("GET", "/hook", bearer("theirs")).echoed().Header.Get("Authorization"); got != "Bearer theirs" {
			t.Errorf("of somebody else's token the service gets %q", got)
		}
		byCookie := forwarded("/x", cookie(rootCookie), header("Authorization", "Basic eDp5"))
		d.do("GET", "/auth/validate", bearer(byCookie)).want(http.StatusOK)
		if c := claimsOf(t, byCookie); c.Kind != "user" || c.Role != "superadmin" || c.Subject != claimsOf(t, root).Subject || c.ExpiresAt-c.IssuedAt != 3600 {
			t.Errorf("for a cookie the service gets %+v", c)
		}
		byKey, byToken := forwarded("/x", apiKey(machineKey)), forwarded("/x", bearer(viewerToken))
		for token, want := range map[string]tokenClaims{byKey: {Kind: "key", Role: "admin"}, byToken: {Kind: "client", Role: "viewer", Subject: "reader"}} {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
			if c := claimsOf(t, token); c.Kind != want.Kind || c.Role != want.Role || want.Subject != "" && c.Subject != want.Subject {
				t.Errorf("for a secret the service gets %+v, want %+v", c, want)
			}
		}
		// One session for all requests of a key, made anew when its token has lived half its life, or has been ended.
		if again := forwarded("/y", apiKey(machineKey)); again != byKey {
			t.Error("a second request made a second session")
		}
		d.clock.advance(31 * 60 * 1e9)
		renewed := forwarded("/y", apiKey(machineKey))
		if renewed == byKey {
			t.Error("the token was not renewed")
		}
		d.do("POST", "/auth/logout", bearer(renewed)).want(http.StatusOK)
		if after := forwarded("/y", apiKey(machineKey)); after == renewed {
			t.Error("a token of an ended session goes on to the service")
		}
		// What ends the session ends the token.
		d.do("POST", "/api/auth/logout", cookie(rootCookie)).want(http.StatusOK)
		d.do("GET", "/auth/validate", bearer(byCookie)).refused(http.StatusUnauthorized, "token blacklisted")
		d.restart("api_key=" + strings.Replace(machineKey, "11223344", "11223345", 1))
		d.do("GET", "/auth/validate", bearer(byKey)).refused(http.StatusUnauthorized, "token blacklisted")
		d.keepsQuiet(byCookie, byKey, byToken, machineKey)
	})
}

// TestForwardBearerForManyAtOnce: callers of one key who come together share one session.
func TestForwardBearerForManyAtOnce(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "forward_credentials=bearer")
	tokens := make(chan string)
	for range 64 {
		go func() { tokens <- d.do("GET", "/x", apiKey(machineKey)).echoed().Header.Get("Authorization") }()
	}
	seen := map[string]bool{}
	for range 64 {
		seen[<-tokens] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d sessions were made", len(seen))
	}
	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	d.do("GET", "/x", apiKey(machineKey)).want(http.StatusOK)
	d.do("GET", "/x", bearer(machineToken)).refused(http.StatusServiceUnavailable, "temporarily unavailable")
}

// TestExplain runs the command beside a server.
func TestExplain(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, "routes:\n  - {path: /admin/**, role: admin}\n  - {path: /hook/**, public: true}\n")
	root := d.setUp()
	d.newUser(root, "ada", "viewer")
	id, _, _ := d.newUser(root, "eve", "editor")
	d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(`{"disabled":true}`)).want(http.StatusOK)
	file := d.flags["config"]
	args := []string{"explain", "--config", file, "--data-dir", d.dir, "--upstream", e.URL, "--api-key", machineKey}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--as", "Ada", "GET", "/admin/x"}, "403 insufficient permissions: Ada (viewer) asks for GET /admin/x; F:6: /admin/** needs admin"},
		{[]string{"--as", "root", "GET", "/x/../ADMIN"}, "let through to U: root (superadmin) asks for GET /ADMIN; F:6: /admin/** needs admin"},
		{[]string{"--as", "chief", "POST", "/admin"}, "let through to U: chief (admin) asks for POST /admin; F:6: /admin/** needs admin"},
		{[]string{"--as", "operator", "POST", "/y"}, "let through to U: operator (admin) asks for POST /y; default: POST needs editor"},
		{[]string{"GET", "/y"}, "401 token required: nobody asks for GET /y; default: GET needs viewer"},
		{[]string{"GET", "/hook/y"}, "let through to U as anonymous: nobody asks for GET /hook/y; F:7: /hook/** is public"},
		{[]string{"--as", "reader", "GET", "/api/auth/users"}, "403 insufficient permissions: reader (viewer) asks for GET /api/auth/users; door GET /api/auth/users"},
		{[]string{"--as", "root", "GET", "/api/auth/users"}, "answered here: root (superadmin) asks for GET /api/auth/users; door GET /api/auth/users"},
		{[]string{"--as", "ada", "--workspace", "lab", "GET", "/y"}, "403 insufficient permissions: ada (viewer) asks for GET /y; X-Workspace-ID needs membership"},
		{[]string{"--role", "editor", "GET", "/a%2fb"}, "400 path: holds an encoded slash, a backslash, a control character or a malformed escape: a caller with role editor asks for GET /a%2Fb; the form of a request"},
	} {
		status, stdout, stderr := runProgram(t, nil, append(slices.Clone(args), c.args...)...)
		want := strings.NewReplacer("F:", file+":", "U", e.URL).Replace(c.want) + "\n"
		if status != 0 || stdout != want || strings.Contains(stderr, "explain") {
			t.Errorf("%v: %d %s\n got %s\nwant %s", c.args, status, stderr, stdout, want)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--as", "nobody-at-all", "GET", "/y"}, "doorward: --as: there is no user and no API token of that name\n"},
		{[]string{"--as", "eve", "GET", "/y"}, "doorward: --as: eve is disabled: no credential of theirs is accepted (401)\n"},
		{[]string{"--role", "king", "GET", "/y"}, "doorward: --role: \"king\" is not one of superadmin, admin, editor, viewer\n"},
		{[]string{"GET", "/a b"}, "doorward: METHOD, PATH and HOST are one word each; a space in a path is written %20\n"},
		{[]string{"GET", "y"}, "doorward: GET y is no request: it would be refused with 400\n"},
	} {
		status, stdout, stderr := runProgram(t, nil, append(slices.Clone(args), c.args...)...)
		if status != 1 || stdout != "" || !strings.HasSuffix(stderr, c.want) {
			t.Errorf("%v: %d %s %s", c.args, status, stdout, stderr)
		}
	}
	_, stdout, _ := runProgram(t, nil, append(slices.Clone(args), "--as", "ada", "--json", "POST", "/x")...)
	var body map[string]any
	if err := json.Unmarshal([]byte(stdout), &body); err != nil || body["allowed"] != false || body["status"] != 403.0 || body["rule"] != "default: POST needs editor" || body["role"] != "viewer" {
		t.Errorf("%v %s", err, stdout)
	}
	// Before anybody is set up.
	fresh := newDoor(t)
	_, stdout, _ = runProgram(t, nil, "explain", "--data-dir", fresh.dir, "GET", "/x")
	if want := "let through to the sample service as anonymous: nobody asks for GET /x; open mode\n"; stdout != want {
		t.Errorf("got %s", stdout)
	}
	_, stdout, _ = runProgram(t, nil, "explain", "--data-dir", fresh.dir, "--open-mode", "never", "GET", "/x")
	if want := "503 setup required: nobody asks for GET /x; closed until set up\n"; stdout != want {
		t.Errorf("got %s", stdout)
	}
}

// TestPT11WhatTheServiceIsAskedByWasJudged: the method, whatever its case, and the host, under each
// name that it may have been asked by.
func TestPT11WhatTheServiceIsAskedByWasJudged(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, `routes:
  - {path: /items/**, methods: [DELETE, POST], role: admin}
  - {path: /items/**, role: viewer}
  - {path: /read/**, methods: [GET], role: admin}
  - {path: /by-host/**, host: "127.0.0.1", role: admin}
  - {path: /by-host/**, host: "::1", role: admin}
  - {path: /named/**, host: app.example.com, role: admin}
  - {path: /named/**, host: pub.example.com, public: true}
`, "trusted_proxies=127.0.0.1")
	ask := func(line, host string, lines ...string) answer {
		t.Helper()
		if host != "-" {
			lines = append(lines, "Host: "+host)
		}
		return d.wire(t, line+"\r\n"+strings.Join(append(lines, "Authorization: Bearer "+viewerToken, "Connection: close", "", ""), "\r\n"))
	}
	for _, method := range []string{"DELETE", "delete", "Delete", "dELETE", "post"} {
		ask(method+" /items/7 HTTP/1.1", "x").refused(http.StatusForbidden, "insufficient permissions")
	}
	ask("GET /items/7 HTTP/1.1", "x").want(http.StatusOK)
	ask("GET /read/7 HTTP/1.1", "x").want(http.StatusForbidden)
	ask("HEAD /read/7 HTTP/1.1", "x").want(http.StatusForbidden)
	n := e.calls.Load()
	for _, host := range []string{"127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80", "[0:0:0:0:0:0:0:1]"} {
		ask("GET /by-host/x HTTP/1.1", host).want(http.StatusForbidden)
	}
	const none = "Host: must be given"
	ask("GET /by-host/x HTTP/1.1", "").refused(http.StatusBadRequest, none)
	ask("GET /by-host/x HTTP/1.0", "-").refused(http.StatusBadRequest, none)
	ask("GET http:///by-host/x HTTP/1.1", "").want(http.StatusBadRequest)
	ask("GET /by-host/x HTTP/1.1", "[::1%25lo]").want(http.StatusBadRequest)
	// A proxy that is trusted may still pass on what a client said.
	for _, c := range []struct{ host, said string }{{"app.example.com", "pub.example.com"}, {"pub.example.com", "app.example.com"}, {"app.example.com", "app.example.com"}} {
		ask("GET /named/x HTTP/1.1", c.host, "X-Forwarded-Host: "+c.said).refused(http.StatusForbidden, "insufficient permissions")
	}
	if got := e.calls.Load() - n; got != 0 {
		t.Errorf("the service was asked %d times", got)
	}
	ask("GET /named/x HTTP/1.1", "pub.example.com", "X-Forwarded-Host: pub.example.com").want(http.StatusOK)
	ask("GET /health HTTP/1.0", "-").want(http.StatusOK) // as old load balancers ask
}

// TestNoTypeIsMadeUp: what the service has left open stays open, so that nosniff means something.
func TestNoTypeIsMadeUp(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte("<html><script>alert(1)</script>"))
	}))
	t.Cleanup(s.Close)
	d := machineDoor(t, "upstream="+s.URL)
	if a := d.do("GET", "/upload", apiKey(machineKey)).want(http.StatusOK); len(a.header["Content-Type"]) != 0 {
		t.Errorf("Content-Type %q", a.header["Content-Type"])
	}
}
