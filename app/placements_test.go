package app

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	frontdoor "doorward/door"
)

// toldHeaders are those by which a service is told who asks.
var toldHeaders = []string{
	"X-Forwarded-User", "X-Auth-Subject", "X-Auth-Kind", "X-Auth-Role", "X-Auth-Organization", "X-Auth-Workspace", "X-Request-Id",
}

// credentialHeaders are those of which a service gets what is none of ours.
var credentialHeaders = []string{"Authorization", "Cookie", "X-Api-Key"}

// mirrored is a request as a mirror got it.
type mirrored struct {
	Method, Host string
	Target       []byte
	Header       http.Header
}

// tellsAll is a handler that says in a header what it received, to HEAD as well.
var tellsAll = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, _ := json.Marshal(mirrored{r.Method, r.Host, []byte(r.RequestURI), r.Header})
	w.Header().Set("Mirror", base64.StdEncoding.EncodeToString(b))
})

// newMirror is a service behind that does so.
func newMirror(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(tellsAll)
	s.Config.DisableGeneralOptionsHandler = true
	t.Cleanup(s.Close)
	return s.URL
}

// request is one for any placement: the client's, before a proxy has made anything of it.
type request struct {
	method, target string
	who            string   // who asks, for people
	lines          []string // header lines
}

const placementHost = "app.example"

func (q request) String() string { return q.who + ": " + q.method + " " + q.target }

// bytes is the request as a client sends it, to a gateway and to a proxy.
func (q request) bytes() string {
	connection := "close"
	if slices.Contains(q.lines, "Upgrade: websocket") {
		connection = "Upgrade"
	}
	return q.method + " " + q.target + " HTTP/1.1\r\n" + strings.Join(append([]string{"Host: " + placementHost, "Connection: " + connection}, q.lines...), "\r\n") + "\r\n\r\n"
}

// wireForms are how each proxy words its question about a request, by its documentation and
// its code, with every header that the client sent: what a sample configuration takes out of them
// first another may forget. Which of them Envoy shows is in its file. What is for one connection does not
// reach the door.
var wireForms = map[string]func(q request) string{
	"nginx": func(q request) string {
		return question("GET", "/auth/forward", q, "Host: "+placementHost, "X-Original-Method: "+q.method, "X-Original-URI: "+q.target)
	},
	"caddy": func(q request) string {
		return question("GET", "/auth/forward", q, "Host: "+placementHost, "X-Forwarded-Method: "+q.method, "X-Forwarded-Uri: "+q.target, "X-Forwarded-Host: "+placementHost)
	},
	"traefik": func(q request) string {
		return question("GET", "/auth/forward", q, "Host: door.internal:8081", "X-Forwarded-Method: "+q.method, "X-Forwarded-Uri: "+q.target, "X-Forwarded-Host: "+placementHost, "X-Forwarded-Port: 80")
	},
	"envoy": func(q request) string {
		q.lines = slices.DeleteFunc(slices.Clone(q.lines), func(line string) bool {
			name, _, _ := strings.Cut(line, ":")
			return !theEnvoyFile().shows(name)
		})
		return question(q.method, "/auth/forward"+q.target, q, "Host: "+placementHost, "Content-Length: 0", "X-Envoy-Internal: true")
	},
}

func question(method, target string, q request, lines ...string) string {
	lines = append(lines, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "Connection: close")
	for _, l := range q.lines {
		if !strings.HasPrefix(l, "Upgrade:") && !strings.HasPrefix(l, "Connection:") {
			lines = append(lines, l)
		}
	}
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// outcome is what became of a request, in any placement.
type outcome struct {
	status    int
	error     string
	location  string
	cleared   bool        // our cookie was
	target    string      // that the service got
	identity  string      // that the service got
	left      string      // of the credentials
	requestID bool        // the answer, or the request at the service, has one of ours
	raw       http.Header // of the answer
	got       http.Header // that the service got; nil where the question alone was asked
}

// send sends bytes and reads the answer.
func send(t *testing.T, addr, bytes string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(bytes, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.300q: %v", bytes, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("reading the answer to %.300q: %v", bytes, err)
	}
	return res, string(body)
}

func refusalOf(o *outcome, method string, res *http.Response, body string) {
	o.status, o.raw, o.location = res.StatusCode, res.Header, res.Header.Get("Location")
	o.requestID = requestID.MatchString(res.Header.Get("X-Request-Id"))
	for _, c := range res.Cookies() {
		o.cleared = o.cleared || c.Name == "brokoli_session" && c.MaxAge < 0
	}
	var e struct{ Error string }
	// People in a browser are told by a page, but behind nginx, which has what is told from a header.
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && strings.Contains(body, "You may not do that.") {
		o.error = "insufficient permissions"
	}
	if json.Unmarshal([]byte(body), &e) == nil && method != http.MethodHead {
		o.error = e.Error // an answer to HEAD has no body, one to a question about it may
	}
}

// carried asks the gateway, or a proxy, which carry the request to a mirror.
func carried(t *testing.T, addr string, q request) (o outcome) {
	t.Helper()
	res, body := send(t, addr, q.bytes())
	refusalOf(&o, q.method, res, body)
	m := res.Header.Get("Mirror")
	if m == "" {
		return o
	}
	var got mirrored
	b, err := base64.StdEncoding.DecodeString(m)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil {
		t.Errorf("%v: %v", q, err)
	}
	o.target, o.got = string(got.Target), got.Header
	o.requestID = requestID.MatchString(got.Header.Get("X-Request-Id"))
	o.told(t, q, got.Header)
	if got.Method != q.method || got.Host != placementHost {
		t.Errorf("%v arrives as %s to %s", q, got.Method, got.Host)
	}
	// Of what a client says in these classes nothing arrives, however it is spelled.
	for name := range got.Header {
		plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
		switch {
		case slices.Contains(toldHeaders, name):
		case strings.HasPrefix(plain, "x-auth-"), strings.HasPrefix(plain, "x-http-method"), strings.HasPrefix(plain, "x-rewrite"),
			strings.HasPrefix(plain, "x-original"), plain == "x-workspace-id", plain == "x-method-override":
			t.Errorf("%v: %s arrives: %q", q, name, got.Header[name])
		}
	}
	return o
}

// told notes what a service was told.
func (o *outcome) told(t *testing.T, q request, h http.Header) {
	for _, name := range toldHeaders {
		if len(h[name]) > 1 {
			t.Errorf("%v: %s is there %d times: %q", q, name, len(h[name]), h[name])
		}
		if name != "X-Request-Id" {
			o.identity += name + "=" + h.Get(name) + " "
		}
	}
	for _, name := range credentialHeaders {
		o.left += name + "=" + strings.Join(h[name], ", ") + " "
	}
}

// asked asks as a proxy does, and makes of the answer what the proxy would.
func asked(t *testing.T, proxy, addr string, q request) (o outcome) {
	t.Helper()
	res, body := send(t, addr, wireForms[proxy](q))
	refusalOf(&o, q.method, res, body)
	if !o.requestID && (o.status == http.StatusBadRequest || o.status == http.StatusRequestHeaderFieldsTooLarge) {
		return o // by net/http, before anybody was asked
	}
	if proxy == "nginx" {
		if s := res.StatusCode; s != http.StatusOK && s != http.StatusUnauthorized && s != http.StatusForbidden {
			t.Errorf("%v: nginx gets %d", q, s)
		}
		_, _ = fmt.Sscan(res.Header.Get("X-Doorward-Status"), &o.status)
		if (o.status == http.StatusOK) != (res.StatusCode == http.StatusOK) {
			t.Errorf("%v: nginx gets %d for %d", q, res.StatusCode, o.status)
		}
	}
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%v: Cache-Control %q", q, got)
	}
	for _, name := range append(toldHeaders, credentialHeaders...) {
		_, there := res.Header[name]
		if want := o.status == http.StatusOK || name == "X-Request-Id"; there != want {
			t.Errorf("%v: status %d, and %s is there: %v", q, o.status, name, there)
		}
	}
	if o.status == http.StatusOK {
		o.target = q.target
		o.told(t, q, res.Header)
	}
	return o
}

// agree says how an answer differs from the gateway's, where it must not. A proxy that does
// not change the target may only carry one that is in its one form; another is refused, or a
// browser sent there. real says that somebody else's server answered, which may refuse by itself what
// the gateway refuses, or would have cleaned.
func agree(q request, gateway, got outcome, real bool) string {
	// A client may write what is the same to us, and a proxy that carries it as it came must not.
	clean := gateway.target == q.target
	switch {
	case got.status == http.StatusOK:
		switch {
		case gateway.status != http.StatusOK:
			return "it passes"
		case got.target != gateway.target:
			return fmt.Sprintf("the service gets %q, and from the gateway %q", got.target, gateway.target)
		case got.identity != gateway.identity:
			return fmt.Sprintf("the service is told %q, and by the gateway %q", got.identity, gateway.identity)
		case got.left != gateway.left:
			return fmt.Sprintf("the service gets credentials %q, and from the gateway %q", got.left, gateway.left)
		case !got.requestID:
			return "there is no request id"
		}
		return ""
	case gateway.status == http.StatusOK && gateway.target == "" && got.status == http.StatusNotFound:
		return "" // answered by the gateway itself, and nobody's to carry to a service
	case gateway.status == http.StatusOK && !clean && got.status == http.StatusBadRequest:
		return ""
	case gateway.status == http.StatusOK && !clean && got.status == http.StatusTemporaryRedirect && got.location == gateway.target:
		return ""
	case real && !got.requestID && (!clean || q.who == "two Authorizations") && got.status >= 400 && got.status < 500:
		return "" // by the proxy's own judgement
	case got.status != gateway.status || got.error != gateway.error || got.location != gateway.location || got.cleared != gateway.cleared:
		return fmt.Sprintf("%d %q %q cleared %v, and the gateway %d %q %q cleared %v",
			got.status, got.error, got.location, got.cleared, gateway.status, gateway.error, gateway.location, gateway.cleared)
	case !got.requestID:
		return "there is no request id"
	}
	return ""
}

// same says how an answer of the middleware differs from the gateway's. It has a request in
// its hands as the gateway has, so there is nothing in which it may.
func same(gateway, got outcome) string {
	of := func(o outcome) string {
		return fmt.Sprintf("%d %q, to %q, cleared %v; the service gets %q, is told %q, with credentials %q; request id %v",
			o.status, o.error, o.location, o.cleared, o.target, o.identity, o.left, o.requestID)
	}
	if a, b := of(gateway), of(got); a != b {
		return b + ", and the gateway: " + a
	}
	return ""
}

// library opens the door's database as a program does that embeds Doorward, around h, and
// returns where that listens, on a server of its own. The door itself stops.
func (d *door) library(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	d.stop()
	c := d.settings().doorConfig()
	c.Hashing, c.Now, c.Console, c.Log = d.hashing, d.clock.now, d.log, slog.New(slog.NewTextHandler(d.log, nil))
	embedded, err := frontdoor.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(embedded.Wrap(h))
	t.Cleanup(func() {
		s.Close()
		if err := embedded.Close(); err != nil {
			t.Error(err)
		}
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// placementRules are routes with each kind of rule.
const placementRules = `routes:
  - {path: /public/**, public: true}
  - {path: /admin/**, role: admin}
  - {path: /repos/**, role: viewer, encoded_slash: pass}
  - {path: /open/**, role: editor, preflight: pass}
  - {path: /elsewhere/**, host: other.example, public: true}
`

// placementDoor is a door with people and machines, and requests of all kinds of callers for
// all kinds of targets.
func placementDoor(t *testing.T) (d *door, service string, all []request) {
	t.Helper()
	service = newMirror(t)
	d = newDoor(t, settingsFile(t, threeTokens+placementRules), "rate_limits.enabled=false", "upstream="+service, "api_key="+machineKey,
		"trusted_proxies=127.0.0.1", "open_mode=never", "log.level=error", "forward_auth.proxy=nginx")
	root := d.setUp()
	_, viewer, viewerCookie := d.newUser(root, "vera", "viewer")
	_, _, rootCookie := d.newUser(root, "anna", "admin")
	id, _, _ := d.newUser(root, "max", "editor")
	d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
	mustChange, _ := d.signIn("max", "chosen by root")
	gone, goneCookie := d.signIn("vera", "password of vera")
	d.do("POST", "/auth/logout", bearer(gone)).want(http.StatusOK)
	access, _ := d.exchange(editorToken, "ci")

	const session = "Cookie: brokoli_session="
	callers := map[string][]string{
		"nobody":                     nil,
		"superadmin":                 {"Authorization: Bearer " + root},
		"viewer":                     {"Authorization: bearer  " + viewer},
		"client":                     {"Authorization: Bearer " + access},
		"client, raw token":          {"Authorization: Bearer " + viewerToken},
		"operator's key":             {machineKeyLine},
		"operator's key as Bearer":   {"Authorization: Bearer " + machineKey},
		"cookie":                     {session + viewerCookie},
		"cookie of an admin":         {session + rootCookie, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"},
		"cookie among the service's": {"Cookie: a=1; brokoli_session=" + viewerCookie + "; b=\"x\""},
		"cookie twice":               {"Cookie: brokoli_session=" + viewerCookie + "; brokoli_session=" + viewerCookie},
		"two cookies":                {"Cookie: brokoli_session=" + viewerCookie + "; brokoli_session=" + rootCookie},
		"cookie, foreign page":       {session + rootCookie, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"},
		"cookie, own page":           {session + rootCookie, "Origin: http://" + placementHost},
		"cookie, foreign socket":     {session + rootCookie, "Origin: https://evil.example", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
		"signed out":                 {"Authorization: Bearer " + gone},
		"signed out, cookie":         {session + goneCookie},
		"signed out, in a browser":   {session + goneCookie, "Sec-Fetch-Mode: navigate"},
		"browser":                    {"Sec-Fetch-Mode: navigate"},
		"browser, cookie":            {session + viewerCookie, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none"},
		"old browser":                {"Accept: text/html,application/xhtml+xml,*/*;q=0.8"},
		"garbage":                    {"Authorization: Bearer x.y.z"},
		"garbage key":                {"X-API-Key: nonsense"},
		"two Authorizations":         {"Authorization: Bearer " + root, "Authorization: Bearer " + viewer},
		"Basic":                      {"Authorization: Basic dTpw"},
		"Basic and a key":            {"Authorization: Basic dTpw", machineKeyLine},
		"Bearer and a cookie":        {"Authorization: Bearer " + viewer, session + rootCookie},
		"must change":                {"Authorization: Bearer " + mustChange},
		"workspace":                  {"Authorization: Bearer " + viewer, "X-Workspace-ID: default"},
		"workspace of others":        {"Authorization: Bearer " + viewer, "X-Workspace-ID: nowhere"},
		"two workspaces":             {"Authorization: Bearer " + viewer, "X-Workspace-ID: default", "X-Workspace-ID: nowhere"},
		"token in the query's place": {"X-Access-Token: " + root},
		"forger": {"X-Forwarded-User: root", "X-Auth-Subject: usr_1", "X-Auth-Kind: user", "X-Auth-Role: superadmin",
			"X-Auth-Organization: o", "X-Auth-Workspace: w", "X-Request-ID: mine"},
		"forger with a token": {"X-Forwarded-User: root", "x-auth-role: superadmin", "X-AUTH-KIND: user", "X-Request-ID: mine", "Authorization: Bearer " + viewer},
	}
	targets := []string{
		"GET /x", "POST /x", "DELETE /x", "HEAD /x", "OPTIONS /x", "PATCH /x", "REPORT /x",
		"GET /", "GET /x/", "GET /x?", "GET /x?a=%zz&b=/../admin&c=é", "GET /public/x", "POST /public/x", "GET /Public/x",
		"GET /admin/x", "GET /ADMIN/", "GET /admin;x=1", "GET /repos/a%2Fb", "GET /x%2Fy", "GET /x%2fy", "GET /a%20b",
		"GET /public/../admin", "GET /public/%2e%2e/admin", "GET /public/..;/admin", "GET /public/..%2fadmin", "GET /public%5c..%5cadmin",
		"GET //admin", "GET /public//../admin", "GET ///", "GET /./x", "GET /%61dmin", "GET /caf%c3%a9", "GET /caf%C3%A9", "GET /é",
		"GET /auth/unknown", "GET /api/auth/unknown", "GET /AUTH/unknown", "GET /authority", "GET /auth", "GET /auth/../x", "GET /elsewhere/x",
	}
	for who, lines := range callers {
		for _, target := range targets {
			method, path, _ := strings.Cut(target, " ")
			all = append(all, request{method, path, who, lines})
		}
	}
	for _, path := range []string{"/open/x", "/x", "/public/x", "/admin/x"} {
		all = append(all, request{"OPTIONS", path, "a preflight", []string{"Origin: https://evil.example", "Access-Control-Request-Method: DELETE"}})
	}
	return d, service, all
}

// TestPlacementsAgree is the fourth property: one table of requests through the gateway, through forward
// auth in each proxy's words and through each real proxy that is here has one decision, and the
// service is told of one identity.
func TestPlacementsAgree(t *testing.T) {
	t.Parallel()
	d, service, all := placementDoor(t)
	gateway := make([]outcome, len(all))
	passed := 0
	for i, q := range all {
		gateway[i] = carried(t, strings.TrimPrefix(d.URL, "http://"), q)
		if gateway[i].status == http.StatusOK {
			passed++
		}
	}
	t.Logf("%d requests, of which the gateway lets %d pass", len(all), passed)
	if passed < len(all)/5 || passed > len(all)*4/5 {
		t.Errorf("a table that shows little")
	}
	for _, name := range []string{"nginx", "caddy", "traefik", "envoy"} {
		d.restart("forward_auth.proxy=" + name)
		addr := strings.TrimPrefix(d.URL, "http://")
		t.Run(name+" wire form", func(t *testing.T) {
			for i, q := range all {
				if why := agree(q, gateway[i], asked(t, name, addr, q), false); why != "" {
					t.Errorf("%v: %s", q, why)
				}
			}
		})
		p := realProxies[name]
		if p.find() == "" && !slices.Contains(startedProxies, name) {
			t.Logf("by its wire form alone: the real one %s", p.what) // it is not to be had everywhere
			continue
		}
		t.Run(name, func(t *testing.T) {
			proxy := p.start(t, d.URL, service)
			for i, q := range all {
				if why := agree(q, gateway[i], carried(t, proxy, q), true); why != "" {
					t.Errorf("%v: %s", q, why)
				}
			}
		})
	}
	t.Run("middleware", func(t *testing.T) {
		addr := d.library(t, tellsAll)
		for i, q := range all {
			if why := same(gateway[i], carried(t, addr, q)); why != "" {
				t.Errorf("%v: %s", q, why)
			}
		}
	})
}

// TestMN15DecisionsAreIndependent of each other, in every placement: the same token asked at two routes and in two
// workspaces, by many at once; and a password that is right for one user is right for no other.
func TestMN15DecisionsAreIndependent(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := newDoor(t, settingsFile(t, threeTokens+placementRules), "rate_limits.enabled=false", "upstream="+service, "open_mode=never",
		"trusted_proxies=127.0.0.1", "log.level=error", "forward_auth.proxy=nginx", "lockout.attempts=1000")
	root := d.setUp()
	for _, id := range []string{"red", "blue"} {
		d.do("POST", "/api/auth/workspaces", bearer(root), jsonBody(`{"id":"`+id+`"}`)).want(http.StatusCreated)
	}
	const shared = "the password of two people"
	for _, u := range []string{
		`{"username":"ann","password":"` + shared + `","role":"viewer","workspaces":["red"]}`,
		`{"username":"bob","password":"` + shared + `","role":"admin","workspaces":["blue","red"]}`,
		`{"username":"cyd","password":"another password","role":"admin","workspaces":["blue"]}`,
	} {
		d.do("POST", "/api/auth/users", bearer(root), jsonBody(u)).want(http.StatusCreated)
	}
	for _, placement := range []string{"gateway", "nginx", "caddy", "traefik", "envoy", "middleware"} {
		ask := func(t *testing.T, addr string, q request) outcome { return carried(t, addr, q) }
		addr := strings.TrimPrefix(d.URL, "http://")
		switch placement {
		case "gateway":
		case "middleware":
			addr = d.library(t, tellsAll)
			d.URL = "http://" + addr
		default:
			d.restart("forward_auth.proxy=" + placement)
			addr = strings.TrimPrefix(d.URL, "http://")
			ask = func(t *testing.T, addr string, q request) outcome { return asked(t, placement, addr, q) }
		}
		t.Run(placement, func(t *testing.T) {
			for _, name := range []string{"ann", "bob"} { // one after the other, and the other way round
				d.signIn(name, shared)
				d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("cyd", shared))).refused(http.StatusUnauthorized, "invalid credentials")
			}
			ann, _ := d.signIn("ann", shared)
			bob, _ := d.signIn("bob", shared)
			rows := []struct {
				token, target, workspace string
				status                   int
				told                     string
			}{
				{ann, "GET /x", "red", http.StatusOK, "X-Forwarded-User=ann"},
				{ann, "GET /x", "blue", http.StatusForbidden, ""},
				{ann, "GET /admin/x", "red", http.StatusForbidden, ""},
				{ann, "POST /x", "red", http.StatusForbidden, ""},
				{bob, "GET /x", "red", http.StatusOK, "X-Forwarded-User=bob"},
				{bob, "GET /admin/x", "blue", http.StatusOK, "X-Auth-Workspace=blue"},
				{bob, "POST /x", "red", http.StatusOK, "X-Auth-Workspace=red"},
				{bob, "GET /x", "default", http.StatusForbidden, ""},
			}
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					for j := range 3 * len(rows) {
						row := rows[(j+i*3)%len(rows)]
						method, path, _ := strings.Cut(row.target, " ")
						q := request{method, path, row.workspace, []string{"Authorization: Bearer " + row.token, "X-Workspace-ID: " + row.workspace}}
						if got := ask(t, addr, q); got.status != row.status || !strings.Contains(got.identity, row.told+" ") && row.told != "" {
							t.Errorf("%v: %d, told %q; want %d, %s", q, got.status, got.identity, row.status, row.told)
						}
					}
				})
			}
			all.Wait()
		})
	}
}
