package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorward/api"
)

// echoed is a request as the service behind got it.
type echoed struct {
	Method, Target, Host, Body string
	Header, Trailer            http.Header
}

// echoService is a service behind the door that answers with what it received, the target as it came.
type echoService struct {
	URL     string
	calls   atomic.Int64
	handler http.Handler
}

func newEchoService(t *testing.T) *echoService {
	t.Helper()
	e := new(echoService)
	e.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(echoed{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.Trailer})
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the-service's-own") // a handler in the door's own program may say so; a service may not
		e.handler.ServeHTTP(w, r)
	}))
	s.Config.DisableGeneralOptionsHandler = true
	t.Cleanup(s.Close)
	e.URL = s.URL
	return e
}

// gatewayDoor is machineDoor in front of an echo service.
func gatewayDoor(t *testing.T, settings ...string) (*door, *echoService) {
	t.Helper()
	e := newEchoService(t)
	return machineDoor(t, append([]string{"upstream=" + e.URL}, settings...)...), e
}

// libraryDoor is machineDoor around the handler of an echo service, in this process.
func libraryDoor(t *testing.T, settings ...string) (*door, *echoService) {
	t.Helper()
	e := newEchoService(t)
	return machineDoor(t, settings...).wraps(e.handler), e
}

// opensEcho is gatewayDoor or libraryDoor.
type opensEcho func(t *testing.T, settings ...string) (*door, *echoService)

// inGatewayAndLibrary runs a test in both placements in which the door is in the way of the requests.
func inGatewayAndLibrary(t *testing.T, test func(t *testing.T, open opensEcho)) {
	t.Parallel()
	for name, open := range map[string]opensEcho{"gateway": gatewayDoor, "library": libraryDoor} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// echoed reads what the service behind got.
func (a answer) echoed() echoed {
	a.t.Helper()
	var e echoed
	if err := json.Unmarshal([]byte(a.want(http.StatusOK).body), &e); err != nil {
		a.t.Errorf("%s: %v in %s", a.what, err, a.body)
	}
	return e
}

// dialDoor connects to the door. Nothing on the connection waits longer than a test may.
func (d *door) dialDoor(t *testing.T, protocols ...string) net.Conn {
	t.Helper()
	_, address, _ := strings.Cut(d.URL, "://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if d.roots != nil {
		conn = tls.Client(conn, d.trusting(protocols...))
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wire sends the bytes of a request as they stand, {door} being the door's own address, and reads the answer.
func (d *door) wire(t *testing.T, request string) answer {
	t.Helper()
	conn := d.dialDoor(t)
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "{door}", strings.TrimPrefix(d.URL, "http://"))); err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(request, "\r\n")
	method, _, _ := strings.Cut(line, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.200q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%.200q: reading the answer: %v", request, err)
	}
	return answer{t, line, res.StatusCode, res.Header, string(body)}
}

// target sends GET with this request target, byte for byte, and these header lines.
func (d *door) target(t *testing.T, target string, lines ...string) answer {
	t.Helper()
	return d.wire(t, "GET "+target+" HTTP/1.1\r\n"+strings.Join(append(lines, "Host: {door}", "Connection: close", "", ""), "\r\n"))
}

const machineKeyLine = "X-API-Key: " + machineKey

// refusedPath fails the test unless a path was refused by the door's judgement of paths.
func (a answer) refusedPath() {
	a.t.Helper()
	a.want(http.StatusBadRequest)
	if !strings.HasPrefix(a.body, `{"error":"path: `) {
		a.t.Errorf("%s: body %s", a.what, a.body)
	}
}

func TestTheServiceReceivesTheCanonicalTarget(t *testing.T) {
	inGatewayAndLibrary(t, testTheServiceReceivesTheCanonicalTarget)
}

func testTheServiceReceivesTheCanonicalTarget(t *testing.T, open opensEcho) {
	d, e := open(t)
	// The library has no base path; the gateway is asked about it in both.
	based := machineDoor(t, "upstream="+e.URL+"/base%20of/x")
	for _, c := range []struct{ target, want string }{
		{"/", "/"},
		{"/public/../admin", "/admin"},
		{"/public/./../admin", "/admin"},
		{"/public/%2e%2e/admin", "/admin"},
		{"/public/.%2E/%2e/admin/", "/admin/"},
		{"//admin", "/admin"},
		{"/public//../admin", "/admin"},
		{"///", "/"},
		{"/../../x", "/x"},
		{"/public?/../admin", "/public?/../admin"},
		{"/public%23/../admin", "/admin"},
		{"/public/%23x", "/public/%23x"},
		{"/%61%2d%7E", "/a-~"},
		{"/a%c3%a9%2b", "/a%C3%A9%2B"},
		{"/é\xff", "/%C3%A9%FF"},
		{"/a;v=1/b%3bc", "/a;v=1/b%3Bc"},
		{"/(a)!*'[b]/%28a%29", "/(a)!*'[b]/%28a%29"},
		{"/a\"<>^`{|}", "/a%22%3C%3E%5E%60%7B%7C%7D"},
		{"/%252e%252e/%252fadmin", "/%252e%252e/%252fadmin"},
		{"/.well-known/x", "/.well-known/x"},
		{"http://other.example/a/../b?c", "/b?c"},
		{"http://other.example", "/"},
		// A query is none of our business, however odd, and arrives byte for byte.
		{"/q?", "/q?"},
		{"/q?a=1;b=2&c=%zz&%&&=&d=+%20%2f//../\\|\"<>{}", "/q?a=1;b=2&c=%zz&%&&=&d=+%20%2f//../\\|\"<>{}"},
		{"/q?x=?&y=é&/./..", "/q?x=?&y=é&/./.."},
		{"/a/../q?a=%2e%2E&b=%61;", "/q?a=%2e%2E&b=%61;"},
		{"/%28?%28", "/%28?%28"},
	} {
		got := d.target(t, c.target, machineKeyLine).echoed()
		if got.Target != c.want {
			t.Errorf("%q arrives as %q, want %q", c.target, got.Target, c.want)
		}
		// The service, asked for what it received, receives the same: one decision for both.
		if again := d.target(t, got.Target, machineKeyLine).echoed(); again.Target != got.Target {
			t.Errorf("%q arrives as %q", got.Target, again.Target)
		}
		if got := based.target(t, c.target, machineKeyLine).echoed(); got.Target != "/base%20of/x"+c.want {
			t.Errorf("below a base path, %q arrives as %q, want %q", c.target, got.Target, "/base%20of/x"+c.want)
		}
	}
	if got := d.target(t, "http://other.example:81/x", machineKeyLine).echoed(); got.Host != "other.example:81" {
		t.Errorf("in absolute form the host is %q", got.Host)
	}
}

func TestPathsThatReadInTwoWaysAreRefused(t *testing.T) {
	inGatewayAndLibrary(t, testPathsThatReadInTwoWaysAreRefused)
}

func testPathsThatReadInTwoWaysAreRefused(t *testing.T, open opensEcho) {
	d, e := open(t)
	for _, target := range []string{
		"/public/..;/admin", "/public/..%3b/admin", "/.;/admin",
		"/public/..%2fadmin", "/public/..%2Fadmin", "/public%2f", "/é/..%2fadmin", "/\"..%2f",
		"/public/..%5cadmin", "/public\\..\\admin",
		"/public#/../admin", "/public?x#/../admin", "/#",
		"/x%00", "/x%0d%0aX-Auth-Role:%20superadmin", "/%7f",
		"*", "mailto:x",
		// the same below what is ours and below what needs no credential
		"/auth/..%2fx", "/health%2flive", "/health/..;/x", "/auth\\token",
	} {
		for _, lines := range [][]string{{machineKeyLine}, nil} {
			d.target(t, target, lines...).refusedPath()
		}
	}
	// "OPTIONS *" asks about the server as a whole: nothing of it is answered past the door.
	a := d.wire(t, "OPTIONS * HTTP/1.1\r\nHost: {door}\r\nConnection: close\r\n\r\n")
	a.refusedPath()
	if a.header.Get("X-Request-Id") == "" {
		t.Error("OPTIONS * was not answered by the door")
	}
	// net/http refuses these before anybody is asked.
	for _, target := range []string{"", "admin", "?x", "/%", "/%zz", "/x\x00", "/x\x7f", "/x y", "/q?a\x01b"} {
		d.target(t, target, machineKeyLine).want(http.StatusBadRequest)
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestWithoutACredentialNoSpellingGetsIn(t *testing.T) {
	inGatewayAndLibrary(t, testWithoutACredentialNoSpellingGetsIn)
}

func testWithoutACredentialNoSpellingGetsIn(t *testing.T, open opensEcho) {
	d, e := open(t)
	for _, target := range []string{
		"/admin", "/health/../admin", "/health/%2e%2e/admin", "//admin", "/health//../admin", "/metrics/./../admin", "/auth/refresh/../../admin",
		"/health/x", "/health/", "/%68ealth/x", "/admin?/health", "/admin?x=/../health", "/healthz", "/Health", "http://other.example/admin",
	} {
		d.target(t, target).refused(http.StatusUnauthorized, "token required")
	}
	for _, target := range []string{"/health", "//health", "/%68ealth", "/x/../health", "/admin/%2e%2e/health", "/./health?x", "http://other.example/health"} {
		if a := d.target(t, target).want(http.StatusOK); !strings.HasPrefix(a.body, `{"name":"doorward"`) {
			t.Errorf("%s: body %s", a.what, a.body)
		}
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestOurPathsAreNeverForwarded(t *testing.T) {
	inGatewayAndLibrary(t, testOurPathsAreNeverForwarded)
}

func testOurPathsAreNeverForwarded(t *testing.T, open opensEcho) {
	d, e := open(t)
	for _, target := range []string{
		"/auth/", "/auth/nothing", "/auth/token/", "/auth/token/x", "/auth/TOKEN", "/auth/forward/x", "/auth//nothing", "/auth/é", "/auth/a;b",
		"/api/auth/", "/api/auth/nothing", "/api/auth/users/", "/api/auth/users/a/b", "/api/auth/me/", "/api/auth/%25",
		// however it is spelled
		"//auth/x", "/./auth/x", "/%2e/auth/x", "/x/../auth/x", "/x/%2e%2E/auth/x", "/%61uth/x", "/a%75%74h//x", "/auth/y/../x",
		"/api//auth/x", "/api/./auth/x", "/api/x/../auth/x", "/%61pi/%61uth/x", "/a/b/../../api/auth/x", "http://other.example/auth/x", "/auth/x?/../../y",
	} {
		d.target(t, target, machineKeyLine).refused(http.StatusNotFound, "page not found")
		d.target(t, target).refused(http.StatusNotFound, "page not found")
	}
	for _, target := range []string{"/%61uth/refresh", "//auth/validate/../refresh", "/x/../api/auth/login"} {
		d.target(t, target, machineKeyLine).refused(http.StatusMethodNotAllowed, "method not allowed")
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	// What only looks like ours is the service's.
	for _, target := range []string{"/auth", "/authx/y", "/api/authx", "/api", "/x/auth/token", "/health/", "/health/other", "/healthz", "/metrics/x", "/auth%20/x"} {
		if got := d.target(t, target, machineKeyLine).echoed(); got.Target != target {
			t.Errorf("%s arrives as %s", target, got.Target)
		}
	}
}

// TestEveryDoorRefusesOtherMethods goes through the table of doors: each path answers its
// methods, HEAD where it answers GET, and says of every other which there are.
func TestEveryDoorRefusesOtherMethods(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	allowed := map[string][]string{}
	for _, door := range api.Doors(api.Config{Health: &api.Health{}, HealthPath: "/health", Metrics: http.NotFoundHandler(), MetricsPath: "/metrics"}) {
		path := strings.ReplaceAll(door.Pattern, "{id}", "usr_x")
		allowed[path] = append(allowed[path], door.Method)
		if door.Method == http.MethodGet {
			allowed[path] = append(allowed[path], http.MethodHead)
		}
	}
	if len(allowed) < 15 {
		t.Fatalf("only %d doors", len(allowed))
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "X"} {
			a := d.do(m, path, apiKey(machineKey))
			if slices.Contains(methods, m) {
				if a.status == http.StatusMethodNotAllowed {
					t.Errorf("%s is refused", a.what)
				}
				continue
			}
			if m == http.MethodHead {
				a.want(http.StatusMethodNotAllowed)
			} else {
				a.refused(http.StatusMethodNotAllowed, "method not allowed")
			}
			if got := a.header.Get("Allow"); got != strings.Join(methods, ", ") {
				t.Errorf("%s: Allow %q, want %q", a.what, got, methods)
			}
		}
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/api/auth/me", "/api/auth/setup", "/x"} {
		get, head := d.do("GET", path, apiKey(machineKey)).want(http.StatusOK), d.do("HEAD", path, apiKey(machineKey)).want(http.StatusOK)
		if get.header.Get("Content-Type") != head.header.Get("Content-Type") || head.body != "" {
			t.Errorf("HEAD %s: %s, body %q", path, head.header.Get("Content-Type"), head.body)
		}
	}
	d.do("HEAD", "/x").want(http.StatusUnauthorized)
	d.do("HEAD", "/auth/refresh").want(http.StatusMethodNotAllowed)
	if n := e.calls.Load(); n != 2 {
		t.Errorf("the service was asked %d times, want 2", n)
	}
}

func TestTraceAndConnectAreRefused(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t, "auth.enabled=false") // even where everybody may
	for _, request := range []string{
		"TRACE /x HTTP/1.1\r\n", "TRACE /auth/token HTTP/1.1\r\n", "TRACE * HTTP/1.1\r\n", "TRACE /a%2fb HTTP/1.1\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\n", "CONNECT /x HTTP/1.1\r\n", "CONNECT http://example.com/ HTTP/1.1\r\n",
	} {
		a := d.wire(t, request+"Host: {door}\r\n"+machineKeyLine+"\r\nConnection: close\r\n\r\n")
		a.refused(http.StatusMethodNotAllowed, "method not allowed")
		allow := "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
		if strings.Contains(request, "/auth/token") {
			allow = "POST"
		}
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%q: Allow is %q, want %q", request, got, allow)
		}
	}
	// h2c is a way past every door that reads HTTP/1.1, and is never taken.
	a := d.wire(t, "GET /x HTTP/1.1\r\nHost: {door}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if got := a.echoed(); got.Header.Get("Upgrade") != "" || got.Header.Get("Http2-Settings") != "" {
		t.Errorf("h2c arrives: %v", got.Header)
	}
	if n := e.calls.Load(); n != 1 {
		t.Errorf("the service was asked %d times, want once", n)
	}
}

func TestOurPathsCanBeMoved(t *testing.T) {
	t.Parallel()
	t.Run("prefix", func(t *testing.T) {
		t.Parallel()
		d, _ := gatewayDoor(t, "paths.prefix=/door/ward")
		for _, path := range []string{"/auth/validate", "/auth/nothing", "/api/auth/me", "/api/auth/nothing", "/door/auth/x", "/door/ward", "/door/ward/x"} {
			if got := d.do("GET", path, apiKey(machineKey)).echoed(); got.Target != path {
				t.Errorf("%s arrives as %s", path, got.Target)
			}
		}
		d.do("GET", "/door/ward/auth/nothing", apiKey(machineKey)).refused(http.StatusNotFound, "page not found")
		d.do("GET", "/door/ward/api/auth/nothing").refused(http.StatusNotFound, "page not found")
		d.target(t, "/door/x/../ward//%61uth/nothing", machineKeyLine).refused(http.StatusNotFound, "page not found")
		d.do("GET", "/door/ward/api/auth/me", apiKey(machineKey)).want(http.StatusOK)
		access := d.do("POST", "/door/ward/auth/token", bearer(machineToken), formBody(`{"client_id":"app"}`)).want(http.StatusOK).str("access_token")
		d.do("GET", "/door/ward/auth/validate", bearer(access)).want(http.StatusOK)
		d.do("GET", "/health").want(http.StatusOK) // has a setting of its own
	})
	t.Run("health and metrics", func(t *testing.T) {
		t.Parallel()
		d, _ := gatewayDoor(t, "paths.health=/-/up", "paths.metrics=/-/numbers")
		for _, path := range []string{"/-/up", "/-/up/live", "/-/up/ready", "/-/numbers"} {
			d.do("GET", path).want(http.StatusOK)
		}
		for _, path := range []string{"/health", "/health/live", "/health/ready", "/metrics", "/-/", "/-/numbers/live"} {
			d.do("GET", path).refused(http.StatusUnauthorized, "token required")
			d.do("GET", path, apiKey(machineKey)).echoed()
		}
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		d, _ := gatewayDoor(t, "paths.health=off", "paths.metrics=off")
		for _, path := range []string{"/health", "/health/live", "/health/ready", "/metrics", "/off"} {
			d.do("GET", path).refused(http.StatusUnauthorized, "token required")
			d.do("GET", path, apiKey(machineKey)).echoed()
		}
	})
}

// identityHeaders are what the service is always told, empty when there is nothing to say.
var identityHeaders = []string{
	"X-Forwarded-User", "X-Auth-Subject", "X-Auth-Kind", "X-Auth-Role", "X-Auth-Organization", "X-Auth-Workspace",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "X-Doorward-Assertion",
}

// spoofed are lines of a client that would like to be somebody else.
var spoofed = []string{
	"X-Forwarded-User: spoofed", "x-auth-subject: spoofed", "X-AUTH-KIND: spoofed", "X-Auth-Role: spoofed", "X-Auth-Role: spoofed",
	"X-Auth-Organization: spoofed", "X-Auth-Workspace: spoofed", "X-Request-ID: spoofed", "X-Forwarded-For: spoofed, 198.51.100.66",
	"X-Forwarded-Host: spoofed.example", "X-Forwarded-Proto: https", "Forwarded: for=198.51.100.66;host=spoofed", "X-Real-IP: 198.51.100.66",
	"X-Forwarded-Prefix: /spoofed", "X-Forwarded-Port: spoofed", "X-Forwarded-Scheme: spoofed", "X-Forwarded-Ssl: spoofed", "X-Forwarded-Path: /spoofed", "X-Forwarded-Server: spoofed",
	"X.Forwarded.Prefix: spoofed", "X!Forwarded!For: spoofed", "X-Scheme: spoofed", "X-Url-Scheme: spoofed", "X-Original-Host: spoofed", "X-Envoy-Original-Path: /spoofed",
	"X-Doorward-Assertion: spoofed", "x_doorward_assertion: spoofed", "X.Doorward-Assertion: spoofed", "X!Doorward!Assertion: spoofed", "X-Doorward-Status: spoofed", "X-Doorward-Other: spoofed",
	"X_Auth_Role: spoofed", "X.Auth.Role: spoofed", "X!Auth!Role: spoofed", "X-Auth_Role: spoofed", "x_forwarded_user: spoofed", "X-Auth-Email: spoofed", "X-Auth--Role: spoofed",
	"X-Original-URL: /spoofed", "X-Rewrite-URL: /spoofed", "X-HTTP-Method-Override: spoofed", "X-HTTP-Method: spoofed", "X-Method-Override: spoofed",
	"Remote-User: spoofed", "X-Remote-User: spoofed", "X-Organization-ID: default", "X_Organization_ID: spoofed", "X-Setup-Code: spoofed", "X_Workspace_ID: spoofed", "X_API_Key: spoofed",
	"Connection: X-Auth-Role, X-Auth-Subject, X-Forwarded-User, X-Forwarded-For, X-Request-ID, Cookie, Authorization",
}

func TestIdentityHeadersOfEveryKindOfCaller(t *testing.T) {
	inGatewayAndLibrary(t, testIdentityHeadersOfEveryKindOfCaller)
}

func testIdentityHeadersOfEveryKindOfCaller(t *testing.T, open opensEcho) {
	d, _ := open(t)
	root := d.setUp()
	_, rootCookie := d.signIn("root", rootPassword)
	adaID, ada, adaCookie := d.newUser(root, "Ada.L", "viewer")
	rootID := claimsOf(t, root).Subject
	access, _ := d.exchange(machineToken, "my-app")
	keyAccess, _ := d.exchange(machineKey, "ci/build@1")
	me := d.do("GET", "/api/auth/me", bearer(machineToken)).want(http.StatusOK)
	tokenID := me.str("id")
	keyID := d.do("GET", "/api/auth/me", apiKey(machineKey)).want(http.StatusOK).str("id")

	free, _ := open(t, "auth.enabled=false")
	for _, c := range []struct {
		name                      string
		d                         *door
		line                      string
		user, subject, kind, role string
		nobody                    bool
	}{
		{"user by token", d, "Authorization: Bearer " + ada, "Ada.L", adaID, "user", "viewer", false},
		{"user by cookie", d, "Cookie: brokoli_session=" + adaCookie, "Ada.L", adaID, "user", "viewer", false},
		{"superadmin by token", d, "Authorization: bearer " + root, "root", rootID, "user", "superadmin", false},
		{"superadmin by cookie", d, "cookie: a=b; brokoli_session=" + rootCookie, "root", rootID, "user", "superadmin", false},
		{"key as X-API-Key", d, machineKeyLine, "", keyID, "key", "admin", false},
		{"key as Bearer", d, "Authorization: Bearer " + machineKey, "", keyID, "key", "admin", false},
		{"API token", d, "Authorization: BEARER  " + machineToken, "", tokenID, "client", "editor", false},
		{"API token as X-API-Key", d, "X-API-Key: " + machineToken, "", tokenID, "client", "editor", false},
		{"client of an API token", d, "Authorization: Bearer " + access, "", "my-app", "client", "editor", false},
		{"client of a key", d, "Authorization: Bearer " + keyAccess, "", "ci/build@1", "client", "admin", false},
		{"anybody where auth is off", free, "Accept: */*", "", "", "anonymous", "", true},
		{"a key where auth is off", free, machineKeyLine, "", "", "anonymous", "", true},
		{"a bad token where auth is off", free, "Authorization: Bearer nonsense", "", "", "anonymous", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			place := "default"
			if c.nobody {
				place = ""
			}
			for _, lines := range [][]string{nil, spoofed} {
				request := "GET /x HTTP/1.1\r\n" + strings.Join(append([]string{"Host: App.Example:8443", c.line}, lines...), "\r\n") + "\r\n\r\n"
				a := c.d.wire(t, request)
				got := a.echoed()
				want := map[string]string{
					"X-Forwarded-User": c.user, "X-Auth-Subject": c.subject, "X-Auth-Kind": c.kind, "X-Auth-Role": c.role,
					"X-Auth-Organization": place, "X-Auth-Workspace": place, "X-Request-Id": a.header.Get("X-Request-Id"),
					"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "App.Example:8443", "X-Forwarded-Proto": "http",
				}
				for name, value := range want {
					if values, there := got.Header[name]; !there || len(values) != 1 || values[0] != value {
						t.Errorf("%s is %q, want one %q", name, values, value)
					}
				}
				if got.Host != "App.Example:8443" {
					t.Errorf("Host is %q", got.Host)
				}
				for name, values := range got.Header {
					if text := name + ": " + strings.Join(values, ", "); strings.Contains(text, "spoofed") || strings.Contains(text, "198.51.100.66") {
						t.Errorf("the client's %s arrives", text)
					}
					plain := strings.NewReplacer("_", "-", ".", "-", "--", "-").Replace(name)
					if name = http.CanonicalHeaderKey(plain); strings.HasPrefix(name, "X-Auth-") && !slices.Contains(identityHeaders, name) {
						t.Errorf("%s arrives", name)
					}
				}
			}
		})
	}
}

// TestIdentityHeadersInTrailers: what is in the trailer is judged by nobody, and goes no further.
func TestIdentityHeadersInTrailers(t *testing.T) {
	inGatewayAndLibrary(t, testIdentityHeadersInTrailers)
}

func testIdentityHeadersInTrailers(t *testing.T, open opensEcho) {
	d, _ := open(t)
	got := d.wire(t, "POST /x HTTP/1.1\r\nHost: {door}\r\n"+machineKeyLine+"\r\nTE: trailers\r\nTrailer: X-Auth-Role\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"2\r\nhi\r\n0\r\nX-Auth-Role: spoofed\r\n\r\n").echoed()
	if got.Body != "hi" || len(got.Trailer) != 0 || got.Header.Get("X-Auth-Role") != "admin" || len(got.Header["Trailer"]) != 0 {
		t.Errorf("body %q, trailer %v, header %v", got.Body, got.Trailer, got.Header)
	}
}

// TestForwardedAddressesBehindTrustedProxies: the service is told what is believed, in order, and the peer last.
func TestForwardedAddressesBehindTrustedProxies(t *testing.T) {
	inGatewayAndLibrary(t, testForwardedAddressesBehindTrustedProxies)
}

func testForwardedAddressesBehindTrustedProxies(t *testing.T, open opensEcho) {
	d, _ := open(t, "trusted_proxies=127.0.0.1,10.0.0.0/8")
	for _, c := range []struct {
		lines           []string
		addrs, proto, h string
	}{
		{nil, "127.0.0.1", "http", "door.example"},
		{[]string{"X-Forwarded-For: 1.1.1.1, 198.51.100.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: app.example"}, "198.51.100.1, 127.0.0.1", "https", "app.example"},
		{[]string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2001:db8::1%eth0, 10.0.0.2"}, "2001:db8::1, 10.0.0.2, 127.0.0.1", "http", "door.example"},
		{[]string{"X-Forwarded-For: 198.51.100.1, nonsense"}, "127.0.0.1", "http", "door.example"},
	} {
		got := d.wire(t, "GET / HTTP/1.1\r\nHost: door.example\r\n"+strings.Join(append(c.lines, machineKeyLine, "", ""), "\r\n")).echoed().Header
		if got.Get("X-Forwarded-For") != c.addrs || got.Get("X-Forwarded-Proto") != c.proto || got.Get("X-Forwarded-Host") != c.h {
			t.Errorf("%q: %s %s %s; want %s %s %s", c.lines, got["X-Forwarded-For"], got["X-Forwarded-Proto"], got["X-Forwarded-Host"], c.addrs, c.proto, c.h)
		}
		a := d.wire(t, "GET / HTTP/1.1\r\nHost: door.example\r\n"+strings.Join(append(c.lines, "", ""), "\r\n")).refused(http.StatusUnauthorized, "token required")
		client, _, _ := strings.Cut(c.addrs, ", ")
		if line := d.logOf(a); !strings.Contains(line, " client="+client+" ") {
			t.Errorf("%q: the log says %s", c.lines, line)
		}
	}
}

func TestCredentialsStayAtTheDoor(t *testing.T) { inGatewayAndLibrary(t, testCredentialsStayAtTheDoor) }

func testCredentialsStayAtTheDoor(t *testing.T, open opensEcho) {
	const basic = "Basic dXNlcjpwYXNz"
	d, _ := open(t)
	asSent, _ := open(t, "forward_credentials=as_sent")
	off, _ := open(t, "auth.enabled=false")
	renamed, _ := open(t, "names.cookie=sid")
	cookies := map[*door]string{}
	for _, d := range []*door{d, asSent} {
		d.setUp()
		_, cookies[d] = d.signIn("root", rootPassword)
	}
	renamed.setUpRenamed(t, "sid", cookies)

	for _, c := range []struct {
		name                  string
		d                     *door
		lines                 []string
		authorization, cookie string
		key                   string
	}{
		{"Bearer", d, []string{"Authorization: Bearer " + machineKey}, "", "", ""},
		{"X-API-Key", d, []string{machineKeyLine}, "", "", ""},
		{"Basic beside a key", d, []string{machineKeyLine, "Authorization: " + basic}, basic, "", ""},
		{"a key beside a Bearer", d, []string{"Authorization: Bearer " + machineToken, machineKeyLine}, "", "", ""},
		{"cookie alone", d, []string{"Cookie: brokoli_session=COOKIE"}, "", "", ""},
		{"cookie among others", d, []string{"Cookie: theme=dark; brokoli_session=COOKIE; lang=\"en\"; x"}, "", "theme=dark; lang=\"en\"; x", ""},
		{"cookie with Basic", d, []string{"Cookie: brokoli_session=COOKIE; a=b", "Authorization: " + basic}, basic, "a=b", ""},
		{"a cookie that did not decide", d, []string{machineKeyLine, "Cookie: brokoli_session=stale; theme=dark"}, "", "theme=dark", ""},
		{"the app's own", d, []string{machineKeyLine, "Cookie: brokoli_sessions=1; xbrokoli_session=2; Brokoli_Session=3"}, "", "brokoli_sessions=1; xbrokoli_session=2; Brokoli_Session=3", ""},
		{"renamed cookie", renamed, []string{"Cookie: brokoli_session=the-apps; sid=COOKIE"}, "", "brokoli_session=the-apps", ""},

		{"as_sent Bearer", asSent, []string{"Authorization: Bearer " + machineKey}, "Bearer " + machineKey, "", ""},
		{"as_sent key", asSent, []string{machineKeyLine, "Authorization: " + basic}, basic, "", machineKey},
		{"as_sent cookie", asSent, []string{"Cookie: a=b; brokoli_session=COOKIE"}, "", "a=b; brokoli_session=COOKIE", ""},

		{"where auth is off, Bearer", off, []string{"Authorization: Bearer " + machineKey}, "", "", ""},
		{"where auth is off, Basic", off, []string{"Authorization: " + basic}, basic, "", ""},
		{"where auth is off, both", off, []string{"Authorization: " + basic, "Authorization: Bearer " + machineKey}, "", "", ""},
		{"where auth is off, key and cookie", off, []string{machineKeyLine, "Cookie: a=b; brokoli_session=x"}, "", "a=b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lines := strings.ReplaceAll(strings.Join(append(c.lines, "Host: {door}", "", ""), "\r\n"), "COOKIE", cookies[c.d])
			got := c.d.wire(t, "GET /x HTTP/1.1\r\n"+lines).echoed().Header
			for name, want := range map[string]string{
				"Authorization": c.authorization, "Cookie": strings.ReplaceAll(c.cookie, "COOKIE", cookies[c.d]), "X-Api-Key": c.key,
			} {
				if values := got[name]; strings.Join(values, "|") != want || (want == "") != (len(values) == 0) {
					t.Errorf("%s arrives as %q, want %q", name, values, want)
				}
			}
		})
	}
}

// setUpRenamed makes the first user of a door whose cookie has another name, and keeps their cookie.
func (d *door) setUpRenamed(t *testing.T, name string, cookies map[*door]string) {
	t.Helper()
	d.setUpQuietly(t)
	a := d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			cookies[d] = c.Value
		}
	}
	if cookies[d] == "" {
		t.Fatalf("no cookie %s in %v", name, a.header)
	}
}

// TestCookiesAreReadAsTheyAreStripped: no pair of our name is overlooked because it, or one beside it,
// is ill-formed; what the door did not read it would have taken from the service all the same.
func TestCookiesAreReadAsTheyAreStripped(t *testing.T) {
	inGatewayAndLibrary(t, testCookiesAreReadAsTheyAreStripped)
}

func testCookiesAreReadAsTheyAreStripped(t *testing.T, open opensEcho) {
	d, e := open(t)
	d.setUp()
	_, good := d.signIn("root", rootPassword)
	ours := "brokoli_session=" + good
	const twice = "Cookie: brokoli_session is given twice with different values"
	for _, lines := range [][]string{
		{"Cookie: " + ours}, {"Cookie: x=\"a b; " + ours + "; y=\""}, {"Cookie: =;;x y; é=1;" + ours}, {"Cookie: a=b", "Cookie: " + ours},
		{"Cookie: " + ours + "; " + ours}, {"Cookie: " + ours, "Cookie: " + ours}, {"Cookie: brokoli_session = " + good},
	} {
		d.target(t, "/x", lines...).echoed()
	}
	calls := e.calls.Load()
	for _, lines := range [][]string{
		{"Cookie: " + ours + "; brokoli_session=x"}, {"Cookie: brokoli_session=x; " + ours}, {"Cookie: " + ours, "Cookie: brokoli_session=x"},
		{"Cookie: brokoli_session=\"a b; " + ours}, {"Cookie: " + ours + "; brokoli_session"}, {"Cookie: " + ours + "; brokoli_session="},
		{"Cookie: " + ours + "; brokoli_session=é"}, {"Cookie: " + ours + "; brokoli_session=" + good + "\""},
	} {
		d.target(t, "/x", lines...).refused(http.StatusBadRequest, twice)
	}
	// Libraries behind the door read none at all of so many.
	many := strings.Repeat("a=b; ", 1000)
	d.target(t, "/x", "Cookie: "+many+ours).refused(http.StatusBadRequest, "Cookie: must not hold more than 1000")
	d.target(t, "/health", "Cookie: "+strings.Repeat("a=b;", 3001)).want(http.StatusBadRequest)
	d.target(t, "/x", "Cookie: "+strings.Repeat("a=bcdefghijk; ", 3001)).want(http.StatusRequestHeaderFieldsTooLarge)
	d.target(t, "/x", append(slices.Repeat([]string{"a: b"}, 10_000), machineKeyLine)...).want(http.StatusRequestHeaderFieldsTooLarge)
	if n := e.calls.Load() - calls; n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	e := newEchoService(t)
	const other = "other-0123456789abcdef"
	file := filepath.Join(t.TempDir(), "doorward.yaml")
	if err := os.WriteFile(file, []byte("api_tokens:\n  - {token: "+machineToken+", name: home}\n  - {token: "+other+", name: away, workspace: lab, role: viewer}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, "config="+file, "upstream="+e.URL)
	for _, c := range []struct {
		token string
		asked []string
		want  string // "" for a refusal
	}{
		{machineToken, nil, "default"},
		{machineToken, []string{""}, "default"},
		{machineToken, []string{"default"}, "default"},
		{other, nil, "lab"},
		{other, []string{"lab"}, "lab"},
		{machineToken, []string{"lab"}, ""},
		{other, []string{"default"}, ""},
		{other, []string{"LAB"}, ""},
		{other, []string{"lab,default"}, ""},
		{other, []string{"*"}, ""},
		{other, []string{"la"}, ""},
	} {
		asks := []ask{bearer(c.token)}
		for _, w := range c.asked {
			asks = append(asks, header("X-Workspace-ID", w))
		}
		for _, path := range []string{"/x", "/api/auth/me"} {
			a := d.do("GET", path, asks...)
			if c.want == "" {
				a.refused(http.StatusForbidden, "insufficient permissions")
				if line := d.logOf(a); !strings.Contains(line, `rule="X-Workspace-ID needs membership"`) || !strings.Contains(line, " subject=") {
					t.Errorf("the log does not say why: %s", line)
				}
				continue
			}
			a.want(http.StatusOK)
			if path == "/x" {
				if h := a.echoed().Header; h.Get("X-Auth-Workspace") != c.want || len(h["X-Workspace-Id"]) != 0 {
					t.Errorf("%q: X-Auth-Workspace %q, X-Workspace-ID %q, want %q", c.asked, h["X-Auth-Workspace"], h["X-Workspace-Id"], c.want)
				}
			}
		}
	}
	d.do("GET", "/x", bearer(other), header("X-Workspace-ID", "lab"), header("X-Workspace-ID", "lab")).refused(http.StatusBadRequest, "X-Workspace-Id: must not be given twice")
	// Which workspace decides nothing for who may not write anyway.
	d.do("POST", "/x", bearer(other), header("X-Workspace-ID", "lab")).refused(http.StatusForbidden, "insufficient permissions")
}

// logOf is the line of the log that an answer's request id finds among the refusals.
func (d *door) logOf(a answer) string {
	a.t.Helper()
	id := a.header.Get("X-Request-Id")
	if !requestID.MatchString(id) {
		a.t.Errorf("%s: X-Request-ID %q", a.what, a.header["X-Request-Id"])
		return ""
	}
	var found []string
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "msg=refused ") && strings.Contains(line, " request_id="+id+" ") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		a.t.Errorf("%s: %d refusals with the request id %s in the log", a.what, len(found), id)
		return ""
	}
	return found[0]
}

var requestID = regexp.MustCompile(`^[0-9a-f]{20}$`)

// TestRefusalsAtTheRealDoor holds every answer that is a no: its body to the letter, its
// headers, and the line of the log that its request id finds.
func TestRefusalsAtTheRealDoor(t *testing.T) {
	t.Parallel()
	e := newEchoService(t)
	const viewer = "viewer-0123456789abcdef"
	file := filepath.Join(t.TempDir(), "doorward.yaml")
	if err := os.WriteFile(file, []byte("api_tokens:\n  - {token: "+viewer+", name: reader, role: viewer}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, "config="+file, "api_key="+machineKey, "upstream="+e.URL)
	closed := newDoor(t, "upstream="+e.URL)
	gone := newDoor(t, "upstream="+e.URL)          // nobody is set up, and whether somebody is cannot be read
	forgetful := machineDoor(t, "upstream="+e.URL) // it has not met the session of a good token, and cannot
	access, _ := forgetful.exchange(machineToken, "app")
	forgetful.restart()
	for _, d := range []*door{gone, forgetful} {
		if err := d.house.store.Close(); err != nil {
			t.Fatal(err)
		}
		d.clock.advance(6 * time.Second) // past max_staleness
	}
	token := machineDoor(t).setUp()
	seen := map[string]bool{}
	for _, c := range []struct {
		d              *door
		method, target string
		asks           []ask
		status         int
		message        string
		rule           string
		level          string
	}{
		{d, "GET", "/x", nil, 401, "token required", `"default: GET needs viewer"`, "INFO"},
		{d, "DELETE", "/x", nil, 401, "token required", `"default: DELETE needs editor"`, "INFO"},
		{d, "GET", "/x", []ask{bearer("nonsense")}, 401, "invalid token", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{bearer("")}, 401, "invalid token", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{apiKey("")}, 401, "invalid token", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{bearer(token)}, 401, "invalid token", `"default: GET needs viewer"`, "INFO"}, // of another server
		{d, "GET", "/x", []ask{bearer("nonsense"), apiKey(machineKey)}, 401, "invalid token", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{bearer(machineKey), bearer(machineKey)}, 400, "Authorization: must not be given twice", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{apiKey(machineKey), apiKey(machineKey)}, 400, "X-API-Key: must not be given twice", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x", []ask{header("Authorization", "Basic x")}, 401, "token required", `"default: GET needs viewer"`, "INFO"},
		{d, "GET", "/x?access_token=" + machineKey + "&api_key=" + machineKey, nil, 401, "token required", `"default: GET needs viewer"`, "INFO"},
		{d, "PUT", "/x", []ask{bearer(viewer)}, 403, "insufficient permissions", `"default: PUT needs editor"`, "INFO"},
		{d, "OPTIONS", "/x", nil, 401, "token required", `"default: OPTIONS needs viewer"`, "INFO"},
		{d, "GET", "/api/auth/users", []ask{bearer(viewer)}, 403, "insufficient permissions", `"door GET /api/auth/users"`, "INFO"},
		{d, "POST", "/auth/validate", []ask{bearer(viewer)}, 401, "invalid token", `"door POST /auth/validate"`, "INFO"},
		{d, "POST", "/api/auth/login", []ask{header("Sec-Fetch-Site", "cross-site"), jsonBody("{}")}, 403, "cross-origin request refused", `"door POST /api/auth/login"`, "INFO"},
		{d, "POST", "/auth/token", []ask{bearer(viewer), formBody(`{}`)}, 400, "", `"door POST /auth/token"`, "INFO"},
		{d, "GET", "/auth/nothing", nil, 404, "page not found", `"our own paths"`, "INFO"},
		{d, "DELETE", "/auth/token", nil, 405, "method not allowed", `"our own paths"`, "INFO"},
		{d, "TRACE", "/x", nil, 405, "method not allowed", `"the form of a request"`, "INFO"},
		{d, "GET", "/a%2fb", nil, 400, "path: holds an encoded slash, a backslash, a control character or a malformed escape", `"the form of a request"`, "INFO"},
		{closed, "GET", "/x", nil, 503, "setup required", `"closed until set up"`, "WARN"},
		{closed, "GET", "/x", []ask{bearer("nonsense")}, 503, "setup required", `"closed until set up"`, "WARN"},
		{closed, "GET", "/api/auth/me", nil, 503, "setup required", `"door GET /api/auth/me"`, "WARN"},
		{gone, "GET", "/x", nil, 503, "temporarily unavailable", `"default: GET needs viewer"`, "WARN"},
		{gone, "GET", "/x", []ask{apiKey(machineKey)}, 503, "temporarily unavailable", `"default: GET needs viewer"`, "WARN"},
		{gone, "GET", "/api/auth/me", []ask{apiKey(machineKey)}, 503, "temporarily unavailable", `"door GET /api/auth/me"`, "WARN"},
		{forgetful, "GET", "/x", []ask{bearer(access)}, 503, "temporarily unavailable", `"default: GET needs viewer"`, "WARN"},
		{forgetful, "GET", "/auth/validate", []ask{bearer(access)}, 503, "temporarily unavailable", `"door GET /auth/validate"`, "WARN"},
	} {
		asks := append(c.asks, header("X-Request-ID", "of-the-client"), header("User-Agent", "agent_of_the_client"))
		a := c.d.do(c.method, c.target, asks...)
		if c.message == "" {
			a.want(c.status)
			c.message = a.str("error")
		}
		a.refused(c.status, c.message)
		if got := a.header.Get("Content-Type") + "; " + a.header.Get("X-Content-Type-Options") + "; " + a.header.Get("Cache-Control"); got != "application/json; nosniff; no-store" {
			t.Errorf("%s: %s", a.what, got)
		}
		if got := a.header.Get("WWW-Authenticate"); got != map[bool]string{true: "Bearer"}[c.status == 401] {
			t.Errorf("%s: WWW-Authenticate %q", a.what, got)
		}
		if got := a.header.Get("Retry-After"); (got != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After %q", a.what, got)
		}
		if seen[a.header.Get("X-Request-Id")] {
			t.Errorf("%s: request id %s was there before", a.what, a.header.Get("X-Request-Id"))
		}
		seen[a.header.Get("X-Request-Id")] = true
		line := c.d.logOf(a)
		for _, want := range []string{
			"level=" + c.level, fmt.Sprintf(" status=%d ", c.status), " method=" + c.method + " ", " client=127.0.0.1", " rule=" + c.rule,
			" error=" + logged(c.message),
		} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: no %s in %s", a.what, want, line)
			}
		}
		if strings.Contains(line, "?") || strings.Contains(line, "of-the-client") {
			t.Errorf("%s: the log repeats the client: %s", a.what, line)
		}
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	d.keepsQuiet(machineKey, viewer, "nonsense")
}

// logged is a text as the log quotes it.
func logged(s string) string {
	if strings.ContainsAny(s, " ") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// TestEveryAnswerHasARequestID: the service is told the same id, and its own does not stand in the way.
func TestEveryAnswerHasARequestID(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t)
	for _, path := range []string{"/x", "/health", "/metrics", "/api/auth/setup", "/api/auth/me"} {
		a := d.do("GET", path, apiKey(machineKey), header("X-Request-ID", "of-the-client")).want(http.StatusOK)
		ids := a.header["X-Request-Id"]
		if len(ids) != 1 || !requestID.MatchString(ids[0]) {
			t.Errorf("%s: X-Request-ID %q", a.what, ids)
		}
		if path == "/x" {
			if got := a.echoed().Header["X-Request-Id"]; !slices.Equal(got, ids) {
				t.Errorf("the service was told %q, the client %q", got, ids)
			}
		} else if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", a.what, got)
		}
		if !strings.Contains(d.log.String(), "request_id="+ids[0]) {
			t.Errorf("%s: %s is not in the log", a.what, ids[0])
		}
	}
}

// nobodyListens is an address where nothing answers.
func nobodyListens(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// silent is a service that takes requests and does not answer before the test ends.
func silent(t *testing.T) (service string, asked <-chan *http.Request) {
	t.Helper()
	requests, over := make(chan *http.Request, 16), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests <- r
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(over)
		s.Close()
	})
	return s.URL, requests
}

func TestServiceDownOrTooSlow(t *testing.T) {
	t.Parallel()
	slow, _ := silent(t)
	for _, c := range []struct {
		name     string
		settings []string
		status   int
		message  string
	}{
		{"down", []string{"upstream=" + nobodyListens(t)}, http.StatusBadGateway, "service unavailable"},
		{"too slow", []string{"upstream=" + slow, "upstream_timeout=300ms"}, http.StatusGatewayTimeout, "service timed out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := machineDoor(t, c.settings...)
			for _, asks := range [][]ask{{}, {jsonBody(`{"prompt":"hello"}`)}} {
				a := d.do("POST", "/run?secret=in_the_query", append(asks, apiKey(machineKey))...).refused(c.status, c.message)
				if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("WWW-Authenticate") != "" {
					t.Errorf("header %v", a.header)
				}
				id := a.header.Get("X-Request-Id")
				if log := d.log.String(); !requestID.MatchString(id) || !strings.Contains(log, `msg="`+c.message+`" request_id=`+id) || strings.Contains(log, "in_the_query") {
					t.Errorf("request id %s in the log:\n%s", id, log)
				}
			}
			// Who may not in does not learn how the service is.
			d.do("POST", "/run").refused(http.StatusUnauthorized, "token required")
			d.do("GET", "/health").want(http.StatusOK)
		})
	}
}

func TestHangingUpReachesTheService(t *testing.T) {
	t.Parallel()
	service, asked := silent(t)
	d := machineDoor(t, "upstream="+service)
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", d.URL+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	apiKey(machineKey)(r)
	failed := make(chan error, 1)
	go func() {
		res, err := oneShot.Do(r)
		if err == nil {
			err = res.Body.Close()
		}
		failed <- err
	}()
	behind := <-asked
	hangUp()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	select {
	case <-behind.Context().Done():
	case <-time.After(30 * time.Second):
		t.Error("the service still works for a client that is gone")
	}
}

// TestEventsArriveAsTheyAreSent: an event is with the client before the next is made.
func TestEventsArriveAsTheyAreSent(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	d := machineDoor(t, "upstream="+s.URL)
	conn := d.dialDoor(t)
	if _, err := fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", machineKeyLine); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%+v, %v", res, err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 5 {
		event, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || event != want {
			t.Fatalf("event %q, %v; want %q", event, err, want)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestWebSocketsGoThroughTheWholeDoor(t *testing.T) {
	t.Parallel()
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		heads := make(chan http.Header, 1)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			heads <- r.Header
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello\n")
			_ = rw.Flush()
			for {
				line, err := rw.ReadString('\n')
				if err != nil || line == "bye\n" {
					return
				}
				_, _ = rw.WriteString("you said " + line)
				_ = rw.Flush()
			}
		}))
		t.Cleanup(s.Close)
		d := trust(machineDoor(t, append(settings, "upstream="+s.URL, "trusted_proxies=127.0.0.1")...))
		conn := d.dialDoor(t)
		_, err := fmt.Fprintf(conn, "GET /chat/../socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\nX-Auth-Role: superadmin\r\n%s\r\n\r\n", machineKeyLine)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Protocol") != "chat" || !requestID.MatchString(res.Header.Get("X-Request-Id")) {
			t.Fatalf("%+v, %v", res, err)
		}
		h := <-heads
		if h.Get("X-Auth-Role") != "admin" || h.Get("X-Api-Key") != "" || h.Get("Upgrade") != "websocket" || h.Get("Sec-Websocket-Protocol") != "chat" {
			t.Errorf("the handshake arrives as %v", h)
		}
		expect := func(want string) {
			t.Helper()
			if got, err := br.ReadString('\n'); err != nil || got != want+"\n" {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
		expect("hello")
		for _, m := range []string{"one", strings.Repeat("x", 100_000), "\x00\xff"} {
			if _, err := io.WriteString(conn, m+"\n"); err != nil {
				t.Fatal(err)
			}
			expect("you said " + m)
		}
		if _, err := io.WriteString(conn, "bye\n"); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(br); err != nil || len(rest) != 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

// blob is a body of a known sum, made as it is read.
type blob struct {
	left int
	part []byte // of which it is made
	sum  hash.Hash
}

const blobSize = 64 << 20

func newBlob() *blob {
	return &blob{left: blobSize, part: bytes.Repeat([]byte("some part of a big body "), 1000), sum: sha256.New()}
}

func (b *blob) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.part[:min(len(b.part), b.left)])
	b.left -= n
	b.sum.Write(p[:n])
	return n, nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func TestBigBodiesStreamThrough(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	sums := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "POST":
			h := sha256.New()
			if _, err := io.CopyN(h, r.Body, 1); err != nil {
				t.Error(err)
			}
			began <- struct{}{}
			n, err := io.Copy(h, r.Body)
			if err != nil || n+1 != blobSize {
				t.Errorf("%d bytes, %v", n+1, err)
			}
			_, _ = io.WriteString(w, hexSum(h))
		case "GET":
			b := newBlob()
			_, _ = io.Copy(w, b)
			sums <- hexSum(b.sum)
		}
	}))
	t.Cleanup(s.Close)
	d := machineDoor(t, "upstream="+s.URL)

	t.Run("up", func(t *testing.T) {
		t.Parallel()
		b := newBlob()
		pr, pw := io.Pipe()
		go func() {
			_, err := io.CopyN(pw, b, 1<<16)
			<-began // the service has the beginning before the client has made the rest
			if err == nil {
				_, err = io.Copy(pw, b)
			}
			pw.CloseWithError(err)
		}()
		a := d.do("POST", "/up", bearer(machineToken), func(r *http.Request) { r.Body = pr }).want(http.StatusOK)
		if a.body != hexSum(b.sum) {
			t.Errorf("sum %s, want %s", a.body, hexSum(b.sum))
		}
	})
	t.Run("down", func(t *testing.T) {
		t.Parallel()
		r, err := http.NewRequest("GET", d.URL+"/down", nil)
		if err != nil {
			t.Fatal(err)
		}
		bearer(machineToken)(r)
		res, err := oneShot.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		h := sha256.New()
		if n, err := io.Copy(h, res.Body); err != nil || n != blobSize {
			t.Errorf("%d bytes, %v", n, err)
		}
		if got, want := hexSum(h), <-sums; got != want {
			t.Errorf("sum %s, want %s", got, want)
		}
	})
}

// TestABodyOfARefusedRequestIsNotTakenForARequest: what was pipelined behind a refusal is
// never run under the identity of what was refused, nor is a body read as a request.
func TestABodyOfARefusedRequestIsNotTakenForARequest(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	inner := "GET /inner HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\n\r\n"
	conn := d.dialDoor(t)
	if _, err := fmt.Fprintf(conn, "POST /outer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%sGET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", len(inner), inner); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	for range 2 {
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%+v, %v", res, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	for _, head := range []string{
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: xchunked",
		"Transfer-Encoding: chunked, identity", "Transfer-Encoding : chunked", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: +5", "X-A: b\r\n c: d\r\nTransfer-Encoding: identity",
	} {
		a := d.wire(t, "POST /x HTTP/1.1\r\nHost: {door}\r\n"+machineKeyLine+"\r\n"+head+"\r\n\r\n0\r\n\r\n")
		if a.status != http.StatusBadRequest && a.status != http.StatusNotImplemented {
			t.Errorf("%q: status %d", head, a.status)
		}
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	// Of two lengths net/http takes the chunks and forgets the other (RFC 9112, section 6.3), so the
	// service behind cannot be told both and read the next request elsewhere than the door did.
	got := d.wire(t, "POST /x HTTP/1.1\r\nHost: {door}\r\n"+machineKeyLine+"\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").echoed()
	if got.Body != "hello" || got.Header.Get("Content-Length") != "" {
		t.Errorf("body %q, header %v", got.Body, got.Header)
	}
}

// TestOddHostsAreNotAnotherDoor: no rule depends on the name that the client asked for.
func TestOddHostsAreNotAnotherDoor(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	for _, host := range []string{"DOOR.EXAMPLE", "door.example.", "door.example:80", "[::1]", "xn--nxasmq6b", "localhost", ""} {
		for _, target := range []string{"/x", "/api/auth/me"} {
			if host == "" && target == "/x" {
				continue // see TestPT11WhatTheServiceIsAskedByWasJudged
			}
			d.wire(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n").refused(http.StatusUnauthorized, "token required")
		}
	}
	for _, lines := range []string{"Host: a\r\nHost: b\r\n", "Host: root@door\r\n", "Host: a b\r\n", "Host: [::1%25eth0]\r\n", ""} {
		d.wire(t, "GET /x HTTP/1.1\r\n"+lines+machineKeyLine+"\r\n\r\n").want(http.StatusBadRequest)
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}
