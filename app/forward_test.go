package app

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"doorward"
	"doorward/gate"
)

// forwardDoor is a machineDoor that a proxy asks, which is whoever is on this machine.
func forwardDoor(t *testing.T, proxy string, settings ...string) *door {
	t.Helper()
	return machineDoor(t, append([]string{"forward_auth.proxy=" + proxy, "trusted_proxies=127.0.0.1"}, settings...)...)
}

// asked asks the door in the proxy's words.
func (d *door) asked(t *testing.T, method, target string, lines ...string) outcome {
	t.Helper()
	return asked(t, d.flags["forward_auth.proxy"], strings.TrimPrefix(d.URL, "http://"), request{method, target, "somebody", lines})
}

// means fails the test unless the outcome is this status and error.
func (o outcome) means(t *testing.T, status int, message string) {
	t.Helper()
	if o.status != status || o.error != message {
		t.Errorf("%d %q, want %d %q", o.status, o.error, status, message)
	}
}

var allProxies = []string{gate.ProxyNginx, gate.ProxyCaddy, gate.ProxyTraefik, gate.ProxyEnvoy}

// startedProxies are those of realProxies that are packaged, and so must be here. The others are held by
// their wire form, and are started where somebody names one.
var startedProxies = []string{gate.ProxyNginx, gate.ProxyCaddy}

// behindEach runs a test behind each of startedProxies in front of d and a service, one after the other.
func behindEach(t *testing.T, d *door, service string, test func(t *testing.T, name, addr string)) {
	t.Helper()
	for _, name := range startedProxies {
		t.Run(name, func(t *testing.T) {
			p := realProxies[name]
			p.found(t)
			d.restart("forward_auth.proxy=" + name)
			test(t, name, p.start(t, d.URL, service))
		})
	}
}

func TestForwardAuthIsOffUnlessAProxyIsNamed(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "trusted_proxies=127.0.0.1")
	for _, path := range []string{"/auth/forward", "/auth/forward/x"} {
		d.do("GET", path, apiKey(machineKey), header("X-Original-Method", "GET"), header("X-Original-Uri", "/x")).
			refused(http.StatusNotFound, d.do("GET", "/auth/unknown").str("error"))
	}
}

func TestForwardAuthNeedsTrustedProxies(t *testing.T) {
	t.Parallel()
	const want = "forward_auth.proxy (--forward-auth-proxy): needs trusted_proxies (default): what nginx says about requests is believed from there alone"
	if err := load(sources{flags: map[string]string{"forward_auth.proxy": "nginx"}}).err(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := load(sources{flags: map[string]string{"forward_auth.proxy": "nginx", "trusted_proxies": "10.0.0.1"}}).err(); err != nil {
		t.Error(err)
	}
	if err := load(sources{flags: map[string]string{"forward_auth.proxy": "apache", "trusted_proxies": "10.0.0.1"}}).err(); err == nil {
		t.Error("apache is no proxy that we know the words of")
	}
}

// TestPX7OnlyTheProxyIsBelieved: who is none of trusted_proxies gets nothing from forward auth, whatever it shows.
func TestPX7OnlyTheProxyIsBelieved(t *testing.T) {
	t.Parallel()
	for _, proxy := range allProxies {
		d := machineDoor(t, "forward_auth.proxy="+proxy, "trusted_proxies=192.0.2.1")
		d.asked(t, "GET", "/x", machineKeyLine).means(t, http.StatusForbidden, "insufficient permissions")
		d.asked(t, "GET", "/x").means(t, http.StatusForbidden, "insufficient permissions")
		if log := d.log.String(); !strings.Contains(log, "forward auth is for trusted_proxies") {
			t.Errorf("the log does not say why: %s", log)
		}
	}
}

// TestPX7TheWordsOfOtherProxiesAreIgnored: a client may send them through a proxy that knows nothing of them.
func TestPX7TheWordsOfOtherProxiesAreIgnored(t *testing.T) {
	t.Parallel()
	rules := settingsFile(t, `routes:
  - {path: /public/**, public: true}
  - {path: /x, host: other.example, public: true}
  - {path: /x, methods: [PUT], public: true}
`)
	words := map[string][]string{
		"nginx":   {"X-Original-Method: PUT", "X-Original-URI: /public/x", "X-Original-Uri: /public/x"},
		"caddy":   {"X-Forwarded-Method: PUT", "X-Forwarded-Uri: /public/x"},
		"host":    {"X-Forwarded-Host: other.example"},
		"generic": {"X-Forwarded-Path: /public/x", "X-Forwarded-Prefix: /public", "X-Envoy-Original-Path: /public/x", "X-Forwarded-Server: other.example", "Forwarded: host=other.example"},
	}
	for proxy, others := range map[string][]string{
		"nginx": {"caddy", "host", "generic"}, "caddy": {"nginx", "generic"}, "traefik": {"nginx", "generic"}, "envoy": {"nginx", "caddy", "host", "generic"},
	} {
		d := forwardDoor(t, proxy, rules)
		for _, other := range others {
			d.asked(t, "GET", "/x", words[other]...).means(t, http.StatusUnauthorized, "token required")
			if got := d.asked(t, "GET", "/public/x", append(words[other], machineKeyLine)...); got.status != http.StatusOK || !strings.Contains(got.identity, "X-Auth-Role=admin ") {
				t.Errorf("%s with the words of %s: %+v", proxy, other, got)
			}
		}
	}
}

// TestPX9WhatAProxyIsToldStandsInTheAnswer compares the answer with the identity, header by header.
func TestPX9WhatAProxyIsToldStandsInTheAnswer(t *testing.T) {
	t.Parallel()
	d := forwardDoor(t, "caddy", settingsFile(t, "routes:\n  - {path: /public, public: true}\n"))
	root := d.setUp()
	id, _, value := d.newUser(root, "Ada.L", "viewer")
	question := func(asks ...ask) answer {
		t.Helper()
		a := d.do("PROPFIND", "/auth/forward/any/thing?at=all", append(asks, header("X-Forwarded-Host", "x"))...).want(http.StatusOK)
		if a.body != "" || a.header.Get("Content-Length") != "0" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q, %v", a.body, a.header)
		}
		return a
	}
	for _, c := range []struct {
		uri  string
		asks []ask
		want map[string]string
	}{
		{"/x?y", []ask{cookie(value), header("Cookie", "theme=dark")}, map[string]string{
			"X-Forwarded-User": "Ada.L", "X-Auth-Subject": id, "X-Auth-Kind": "user", "X-Auth-Role": "viewer", "X-Auth-Organization": "default",
			"X-Auth-Workspace": "default", "Authorization": "", "Cookie": "theme=dark", "X-Api-Key": ""}},
		{"/public", []ask{header("Authorization", "Basic dTpw"), header("X-API-Key", "the-service's")}, map[string]string{
			"X-Forwarded-User": "", "X-Auth-Subject": "", "X-Auth-Kind": "anonymous", "X-Auth-Role": "", "X-Auth-Organization": "",
			"X-Auth-Workspace": "", "Authorization": "Basic dTpw", "Cookie": "", "X-Api-Key": "the-service's"}},
	} {
		a := question(append(c.asks, header("X-Forwarded-Method", "GET"), header("X-Forwarded-Uri", c.uri))...)
		for name, want := range c.want {
			if got := a.header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want one %q", c.uri, name, got, want)
			}
		}
		if !requestID.MatchString(a.header.Get("X-Request-Id")) || len(a.header["X-Request-Id"]) != 1 {
			t.Errorf("X-Request-Id %q", a.header["X-Request-Id"])
		}
	}
}

// TestPX13CredentialsBehindForwardAuth: the service gets of them what it would from the gateway.
func TestPX13CredentialsBehindForwardAuth(t *testing.T) {
	t.Parallel()
	d := forwardDoor(t, "nginx", "forward_credentials=bearer")
	if got := d.asked(t, "GET", "/x", machineKeyLine); !strings.HasPrefix(got.left, "Authorization=Bearer eyJ") || strings.Contains(got.left, machineKey) {
		t.Errorf("bearer: %q", got.left)
	}
	d.restart("forward_credentials=as_sent")
	if got := d.asked(t, "GET", "/x", machineKeyLine, "Cookie: brokoli_session=x"); got.left != "Authorization= Cookie=brokoli_session=x X-Api-Key="+machineKey+" " {
		t.Errorf("as_sent: %q", got.left)
	}
}

// TestPT13OriginalsThatAreNone: what a proxy does not say, or says in a way that no proxy does, is refused.
func TestPT13OriginalsThatAreNone(t *testing.T) {
	t.Parallel()
	for proxy, names := range map[string][]string{
		"nginx":   {"X-Original-Method", "X-Original-URI"},
		"caddy":   {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
		"traefik": {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
	} {
		d := forwardDoor(t, proxy)
		good := map[string]string{names[0]: "GET", names[1]: "/x"}
		if len(names) > 2 {
			good[names[2]] = placementHost
		}
		try := func(what string, change func(map[string][]string)) (status int) {
			t.Helper()
			lines := map[string][]string{}
			for name, value := range good {
				lines[name] = []string{value}
			}
			change(lines)
			request := "GET /auth/forward HTTP/1.1\r\nHost: " + placementHost + "\r\nConnection: close\r\n" + machineKeyLine + "\r\n"
			for name, values := range lines {
				for _, v := range values {
					request += name + ": " + v + "\r\n"
				}
			}
			res, _ := send(t, strings.TrimPrefix(d.URL, "http://"), request+"\r\n")
			for _, name := range append(toldHeaders, credentialHeaders...) {
				if _, there := res.Header[name]; there && res.StatusCode != http.StatusOK && name != "X-Request-Id" {
					t.Errorf("%s, %s: %d with %s", proxy, what, res.StatusCode, name)
				}
			}
			return res.StatusCode
		}
		if got := try("as it should be", func(map[string][]string) {}); got != http.StatusOK {
			t.Errorf("%s: %d to a good question", proxy, got)
		}
		refused := func(what string, change func(map[string][]string)) {
			t.Helper()
			want := http.StatusBadRequest
			if proxy == "nginx" {
				want = http.StatusForbidden
			}
			if got := try(what, change); got != want && got != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s, %s: %d, want %d", proxy, what, got, want)
			}
		}
		for _, name := range names {
			refused("without "+name, func(h map[string][]string) { delete(h, name) })
			refused("empty "+name, func(h map[string][]string) { h[name] = []string{""} })
			refused("twice "+name, func(h map[string][]string) { h[name] = append(h[name], h[name]...) })
			refused("twice, differing "+name, func(h map[string][]string) { h[name] = append(h[name], "/public/x") })
		}
		for _, uri := range []string{
			"x", "../x", "?x", "*", "http://" + placementHost + "/x", "https:/x", "javascript:x", "//other.example/x", "/x y", "/x\tHTTP/1.1", "/x?a b",
			"/x#y", "/%", "/%zz", "/x%00", "/x, /y", "/x\\y", "\\x", "/..%2fx", "/x/..;/y", "/\xff", "/" + strings.Repeat("a", 64<<10),
		} {
			refused(fmt.Sprintf("%.40q", uri), func(h map[string][]string) { h[names[1]] = []string{uri} })
		}
		for _, method := range []string{"GET POST", "GET,POST", "G\x80T", "GET /x HTTP/1.1"} {
			refused(fmt.Sprintf("method %q", method), func(h map[string][]string) { h[names[0]] = []string{method} })
		}
		for _, method := range []string{"CONNECT", "TRACE"} {
			if got := try(method, func(h map[string][]string) { h[names[0]] = []string{method} }); got != http.StatusMethodNotAllowed && got != http.StatusForbidden {
				t.Errorf("%s, %s: %d", proxy, method, got)
			}
		}
		if len(names) > 2 {
			for _, host := range []string{"a b", "user@host", "a/b", "a, b", "[::1", "x:port"} {
				refused("host "+host, func(h map[string][]string) { h[names[2]] = []string{host} })
			}
		}
	}
	d := forwardDoor(t, "envoy")
	for _, tail := range []string{"", "?x", "//x", "/../token", "/x/../y", "/..%2fx", "/x#y", "/%2e%2e/%2e%2e/x", "/x%00"} {
		res, _ := send(t, strings.TrimPrefix(d.URL, "http://"), "GET /auth/forward"+tail+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+machineKeyLine+"\r\n\r\n")
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("envoy, %q: %d", tail, res.StatusCode)
		}
	}
	// Near it is nothing of ours.
	for _, path := range []string{"/auth/forwards", "/auth/forwardx/x", "/auth//forward/x", "/auth/%66orward/x", "/x/../auth/forward/x"} {
		res, _ := send(t, strings.TrimPrefix(d.URL, "http://"), "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+machineKeyLine+"\r\n\r\n")
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// TestPX3AliasesBehindForwardAuth: what a proxy's copying of our headers leaves in place is refused.
func TestPX3AliasesBehindForwardAuth(t *testing.T) {
	t.Parallel()
	for _, proxy := range allProxies {
		d := forwardDoor(t, proxy)
		for _, line := range []string{
			"X_Auth_Role: superadmin", "X.Auth.Role: superadmin", "X-Auth_Role: superadmin", "x_forwarded_user: root", "X-Auth--Role: superadmin", "X_Request_ID: x",
			"X-Auth-Email: root@x", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X_Method_Override: DELETE", "Remote-User: root", "HTTP2-Settings: AAMAAABk",
			"X!Auth!Role: superadmin", "X_Doorward_Assertion: x", "X!Doorward!Assertion: x", "X-Doorward-Other: x", "X-Doorward-Status: 200", "X.Forwarded.For: 10.0.0.1", "X_Forwarded_Prefix: /admin", "X.Real.IP: 10.0.0.1",
		} {
			if got := d.asked(t, "GET", "/x", machineKeyLine, line); got.status != http.StatusBadRequest {
				t.Errorf("%s, %s: %+v", proxy, line, got)
			}
		}
	}
}

// TestPX5NothingOfAClientsArrivesBehindARealProxy sends all that a client may try through each, with and
// without a credential.
func TestPX5NothingOfAClientsArrivesBehindARealProxy(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx", "upstream="+service, settingsFile(t, "routes:\n  - {path: /public, public: true}\n"))
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		gateway := strings.TrimPrefix(d.URL, "http://")
		passed, refused := 0, 0
		for _, credential := range []string{machineKeyLine, "Authorization: Bearer " + machineToken, "Accept: */*"} {
			for _, line := range append([]string{"Connection: X-Auth-Role, X-Auth-Kind, X-Auth-Subject, X-Request-ID, X-Forwarded-For", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "TE: trailers", "Trailer: X-Auth-Role"}, spoofed...) {
				for _, target := range []string{"/public", "/x"} {
					q := request{"GET", target, credential + " with " + line, []string{credential}}
					want := carried(t, gateway, q)
					q.lines = append(q.lines, line)
					got := carried(t, addr, q)
					if got.status == http.StatusBadRequest { // by the door or by the proxy
						refused++
						continue
					}
					if why := agree(q, want, got, true); why != "" {
						t.Errorf("%s: %v: %s", name, q, why)
					}
					if got.status == http.StatusOK {
						passed++
					}
					for header, values := range got.got {
						if text := header + ": " + strings.Join(values, ", "); strings.Contains(text, "spoofed") || strings.Contains(text, "198.51.100.66") || header == "Upgrade" || header == "Trailer" || header == "Http2-Settings" {
							t.Errorf("%s: %v: the client's %s arrives", name, q, text)
						}
					}
				}
			}
		}
		t.Logf("%s: %d passed, %d were a 400", name, passed, refused)
		if passed < 100 {
			t.Errorf("%s: a test that shows little", name)
		}
	})
}

// isOurDoor reports whether GET of a target, in its one form, is for one of our own doors to answer.
func isOurDoor(t *testing.T, policy *gate.Policy, target string) bool {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + placementHost + "\r\n\r\n")))
	if err != nil {
		return false // net/http refuses it before anybody is asked
	}
	e := policy.Explain(r, doorward.Identity{}, doorward.Asked{}, nil, doorward.ModeClosed)
	return e.Ours && strings.HasPrefix(e.Rule, "door ")
}

// TestPT17ForwardAuthDecidesLikeTheGateway sends targets of all sorts as raw bytes to the gateway, to forward
// auth and to real proxies that ask it: nothing passes that the gateway does not let pass, and the service gets
// what was judged.
func TestPT17ForwardAuthDecidesLikeTheGateway(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := newDoor(t, settingsFile(t, threeTokens+placementRules), "upstream="+service, "trusted_proxies=127.0.0.1", "log.level=error", "forward_auth.proxy=nginx")
	ours, err := gate.NewPolicy(gate.Rules{Doors: doorsOf(d.house.settings)})
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for _, name := range allProxies {
		d.restart("forward_auth.proxy=" + name)
		gateway, real := strings.TrimPrefix(d.URL, "http://"), ""
		if p := realProxies[name]; p.find() != "" {
			real = p.start(t, d.URL, service)
		}
		passed := 0
		for range howMany(t, "DOORWARD_TEST_TARGETS", 400) {
			target := "/"
			for range random.IntN(7) {
				target += targetPieces[random.IntN(len(targetPieces))]
			}
			q := request{"GET", target, fmt.Sprintf("seed %d, %s", seed, name), nil}
			if random.IntN(3) > 0 {
				q.lines = []string{"Authorization: Bearer " + []string{viewerToken, adminToken}[random.IntN(2)]}
			}
			want := carried(t, gateway, q)
			if want.status == http.StatusOK {
				passed++
			}
			if !want.requestID { // net/http has refused it before anybody was asked
				want.requestID, want.error = true, ""
			}
			if isOurDoor(t, ours, target) {
				// It is answered here and reaches no service, so there is nothing that a proxy could be let have.
				want = outcome{status: http.StatusNotFound, error: "page not found", requestID: true}
			}
			got := asked(t, name, gateway, q)
			if want.error == "" && want.status == http.StatusBadRequest && got.status == http.StatusBadRequest {
				continue
			}
			if why := agree(q, want, got, false); why != "" {
				t.Errorf("%v: %s", q, why)
			}
			if real == "" {
				continue
			}
			// A proxy cleans and refuses in its own ways; it must never get more, or another target, through.
			if got := carried(t, real, q); got.status == http.StatusOK && got.target != "" {
				alone := request{"GET", got.target, q.who, q.lines}
				if why := agree(alone, carried(t, gateway, alone), got, true); why != "" {
					t.Errorf("%v by %s arrives as %q: %s", q, name, got.target, why)
				}
			}
		}
		t.Logf("%s: %d passed the gateway", name, passed)
	}
}

// TestRV1BehindEachProxy: who signs out through the proxy is out at once, at the proxy and at the door.
func TestRV1BehindEachProxy(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx")
	d.setUp()
	for _, name := range allProxies {
		d.restart("forward_auth.proxy=" + name)
		for range 3 {
			token, value := d.signIn("root", rootPassword)
			for _, line := range []string{"Authorization: Bearer " + token, "Cookie: brokoli_session=" + value} {
				d.asked(t, "GET", "/x", line).means(t, http.StatusOK, "")
			}
			d.do("POST", "/auth/logout", bearer(token)).want(http.StatusOK)
			for _, line := range []string{"Authorization: Bearer " + token, "Cookie: brokoli_session=" + value} {
				got := d.asked(t, "GET", "/x", line)
				got.means(t, http.StatusUnauthorized, "token blacklisted")
				if got.cleared != strings.HasPrefix(line, "Cookie") {
					t.Errorf("%s: the cookie is cleared: %v", line, got.cleared)
				}
			}
		}
	}
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		token, value := d.signIn("root", rootPassword)
		ask := func(line string) outcome { return carried(t, addr, request{"GET", "/x", name, []string{line}}) }
		for _, line := range []string{"Authorization: Bearer " + token, "Cookie: brokoli_session=" + value} {
			ask(line).means(t, http.StatusOK, "")
		}
		if res, body := send(t, addr, "POST /auth/logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nAuthorization: Bearer "+token+"\r\n\r\n"); res.StatusCode != http.StatusOK {
			t.Errorf("%s: signing out: %d %s", name, res.StatusCode, body)
		}
		for _, line := range []string{"Authorization: Bearer " + token, "Cookie: brokoli_session=" + value} {
			got := ask(line)
			got.means(t, http.StatusUnauthorized, "token blacklisted")
			if got.raw.Get("Www-Authenticate") != "Bearer" || len(got.raw["Www-Authenticate"]) != 1 {
				t.Errorf("%s: WWW-Authenticate %q", name, got.raw["Www-Authenticate"])
			}
		}
	})
}

// TestCK9SigningInFromBehindAProxyStaysOnTheSite: where a browser is sent, and where it goes on to.
func TestCK9SigningInFromBehindAProxyStaysOnTheSite(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx")
	check := func(name, target string, got outcome) {
		t.Helper()
		u, err := url.Parse(got.location)
		if got.status != http.StatusSeeOther {
			if got.status != http.StatusBadRequest && got.status != http.StatusRequestHeaderFieldsTooLarge && got.status != http.StatusRequestURITooLong {
				t.Errorf("%s, %.80q: %d", name, target, got.status)
			}
			return
		}
		if err != nil || u.Host != "" || u.Path != "/auth/login" {
			t.Errorf("%s, %.80q is sent to %q", name, target, got.location)
			return
		}
		if next := u.Query().Get("next"); next != "" && (gate.SameSite(next) != next || strings.HasPrefix(next, "//")) {
			t.Errorf("%s, %.80q goes on to %q", name, target, next)
		}
	}
	targets := []string{
		"/", "/x?a=b&next=//evil.example", "//evil.example", "//evil.example/..", "/\\evil.example", "\\\\evil.example", "/%5cevil.example", "/%09/evil.example", "/%2f%2fevil.example",
		"/.//evil.example", "/x/..//evil.example", "/%2e//evil.example", "/x%0d%0aSet-Cookie:%20a=b", "/javascript:alert(1)", "/?next=javascript:x", "/" + strings.Repeat("a", 60<<10),
	}
	for _, name := range allProxies {
		d.restart("forward_auth.proxy=" + name)
		for _, target := range targets {
			check(name, target, d.asked(t, "GET", target, "Sec-Fetch-Mode: navigate", "X-Forwarded-Server: evil.example"))
		}
		// Who is in is sent to the one form of a target, and no further.
		for _, target := range []string{"//evil.example", "/.//evil.example?x=%zz", "/x/..//evil.example", "/%61"} {
			got := d.asked(t, "GET", target, "Sec-Fetch-Mode: navigate", machineKeyLine)
			if want := map[string]string{"/%61": "/a", "/.//evil.example?x=%zz": "/evil.example?x=%zz"}[target]; got.status != http.StatusTemporaryRedirect ||
				got.location != want && (want != "" || got.location != "/evil.example") {
				t.Errorf("%s, %q: %d to %q", name, target, got.status, got.location)
			}
		}
	}
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		for _, target := range targets[:len(targets)-1] {
			check("real "+name, target, carried(t, addr, request{"GET", target, name, []string{"Sec-Fetch-Mode: navigate"}}))
		}
		// The way to the sign-in page is open.
		if res, body := send(t, addr, "GET /auth/login?next=%2Fx HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); res.StatusCode != http.StatusOK || !strings.Contains(body, "<form") {
			t.Errorf("%s: the sign-in page: %d %.200s", name, res.StatusCode, body)
		}
	})
}

// TestMN15OneTokenAtManyRoutes: no answer about one request is used for another.
func TestMN15OneTokenAtManyRoutes(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := newDoor(t, settingsFile(t, threeTokens+placementRules), "forward_auth.proxy=nginx", "trusted_proxies=127.0.0.1")
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		for range 3 {
			for _, c := range []struct {
				method, target, token string
				status                int
			}{
				{"GET", "/admin/x", adminToken, 200}, {"GET", "/admin/x", viewerToken, 403}, {"GET", "/x", viewerToken, 200}, {"POST", "/x", viewerToken, 403},
				{"POST", "/x", editorToken, 200}, {"GET", "/admin/x", editorToken, 403}, {"GET", "/admin/x", "", 401}, {"GET", "/public/x", "", 200},
			} {
				q := request{c.method, c.target, c.token, nil}
				if c.token != "" {
					q.lines = []string{"Authorization: Bearer " + c.token}
				}
				if got := carried(t, addr, q); got.status != c.status {
					t.Errorf("%s: %v: %d, want %d", name, q, got.status, c.status)
				}
				if got := d.asked(t, c.method, c.target, q.lines...); got.status != c.status {
					t.Errorf("%s, asked: %v: %d, want %d", name, q, got.status, c.status)
				}
			}
		}
	})
}

// TestRefusalsAtForwardAuthAreLogged with what was asked about, and which rule decided.
func TestRefusalsAtForwardAuthAreLogged(t *testing.T) {
	t.Parallel()
	for _, proxy := range allProxies {
		d := newDoor(t, settingsFile(t, threeTokens+placementRules), "forward_auth.proxy="+proxy, "trusted_proxies=127.0.0.1")
		d.asked(t, "DELETE", "/admin/x?secret", "Authorization: Bearer "+viewerToken, "X-Forwarded-For: 203.0.113.9").means(t, http.StatusForbidden, "insufficient permissions")
		d.asked(t, "PATCH", "/a/../b", "Authorization: Bearer "+editorToken)
		log := d.log.String()
		for _, want := range []string{"method=DELETE path=/admin/x", "rule=\"", "/admin/** needs admin", "subject=", "method=PATCH path=/b", "must come in its one form"} {
			if !strings.Contains(log, want) {
				t.Errorf("%s: the log does not hold %q: %s", proxy, want, log)
			}
		}
		if strings.Contains(log, "secret") {
			t.Errorf("%s: the query is logged", proxy)
		}
		if page := d.do("GET", "/metrics").body; !strings.Contains(page, `doorward_refusals_total{code="403",error="insufficient permissions"} 1`) {
			t.Errorf("%s: the refusal is not counted", proxy)
		}
	}
}

// TestForwardAuthInEveryMode: closed until set up, open to all, and never by open mode.
func TestForwardAuthInEveryMode(t *testing.T) {
	t.Parallel()
	for _, proxy := range allProxies {
		trusted := []string{"forward_auth.proxy=" + proxy, "trusted_proxies=127.0.0.1"}
		newDoor(t, trusted...).asked(t, "GET", "/x").means(t, http.StatusServiceUnavailable, "setup required")
		d := newDoor(t, append(trusted, "open_mode=always")...)
		d.asked(t, "GET", "/x").means(t, http.StatusForbidden, crossOrigin)
		if proxy == "nginx" { // which need not show in any header that there is a proxy
			res, body := send(t, strings.TrimPrefix(d.URL, "http://"), "GET /auth/forward HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Original-Method: GET\r\nX-Original-URI: /x\r\n\r\n")
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, crossOrigin) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		}
		d = newDoor(t, append(trusted, "auth.enabled=false")...)
		if got := d.asked(t, "POST", "/x", machineKeyLine); got.status != http.StatusOK || got.left != "Authorization= Cookie= X-Api-Key= " || !strings.Contains(got.identity, "X-Auth-Kind=anonymous ") {
			t.Errorf("%+v", got)
		}
		// Our own paths are nobody's to carry to a service.
		d = forwardDoor(t, proxy)
		for _, path := range []string{"/auth/token", "/api/auth/users", "/health", "/metrics", "/auth/forward", "/auth/login"} {
			if got := d.asked(t, "GET", path, machineKeyLine); got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: %s: %+v", proxy, path, got)
			}
		}
	}
}

// TestABodyOfAQuestionIsNotRead: a proxy that sends the client's along is answered all the same.
func TestABodyOfAQuestionIsNotRead(t *testing.T) {
	t.Parallel()
	d := forwardDoor(t, "nginx")
	conn := d.dialDoor(t)
	if _, err := fmt.Fprintf(conn, "POST /auth/forward HTTP/1.1\r\nHost: x\r\nX-Original-Method: POST\r\nX-Original-URI: /x\r\n%s\r\nContent-Length: 1000000\r\n\r\nsome", machineKeyLine); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%v %v", res, err)
	}
}

// TestStreamsBehindForwardAuth: a WebSocket and a large upload go through each real proxy, once the door has
// let them pass, and no others do.
func TestStreamsBehindForwardAuth(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			sum := sha256.New()
			n, err := io.Copy(sum, r.Body)
			fmt.Fprintf(w, "%d %s %s %v", n, hex.EncodeToString(sum.Sum(nil)), r.Header.Get("X-Auth-Role"), err)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello %s\n", r.Header.Get("X-Auth-Role"))
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("you said " + line)
		_ = rw.Flush()
	}))
	t.Cleanup(service.Close)
	d := forwardDoor(t, "nginx")
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	behindEach(t, d, service.URL, func(t *testing.T, name, addr string) {
		open := func(lines ...string) (*bufio.Reader, net.Conn, *http.Response) {
			t.Helper()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
			fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade, X-Auth-Role\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n\r\n",
				placementHost, strings.Join(lines, "\r\n"))
			br := bufio.NewReader(conn)
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return br, conn, res
		}
		for _, lines := range [][]string{{machineKeyLine}, {"Cookie: brokoli_session=" + value, "Origin: http://" + placementHost}} {
			br, conn, res := open(lines...)
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%s: %d", name, res.StatusCode)
			}
			hello, _ := br.ReadString('\n')
			fmt.Fprintln(conn, "something")
			said, _ := br.ReadString('\n')
			if !strings.HasSuffix(hello, "admin\n") || said != "you said something\n" {
				t.Errorf("%s: %q, %q", name, hello, said)
			}
		}
		for status, lines := range map[int][]string{
			http.StatusUnauthorized: {"Accept: */*"},
			http.StatusForbidden:    {"Cookie: brokoli_session=" + value, "Origin: https://evil.example"},
		} {
			if _, _, res := open(lines...); res.StatusCode != status {
				t.Errorf("%s, %q: %d, want %d", name, lines, res.StatusCode, status)
			}
		}

		const size = 64 << 20
		sum := sha256.New()
		body := io.TeeReader(io.LimitReader(&counter{}, size), sum)
		r, err := http.NewRequest("POST", "http://"+addr+"/upload", io.NopCloser(body))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = size
		r.Header.Set("X-API-Key", machineKey)
		res, err := oneShot.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := fmt.Sprintf("%d %s admin <nil>", size, hex.EncodeToString(sum.Sum(nil))); string(got) != want {
			t.Errorf("%s: %d %.200s, want %s", name, res.StatusCode, got, want)
		}
	})
}

// counter is a body whose bytes are not all the same.
type counter struct{ n uint64 }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n = c.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(c.n >> 56)
	}
	return len(p), nil
}

// TestWithoutTheDoorNobodyPasses: a proxy whose question is not answered lets nothing through.
func TestWithoutTheDoorNobodyPasses(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx")
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		q := request{"GET", "/x", name, []string{machineKeyLine}}
		carried(t, addr, q).means(t, http.StatusOK, "")
		d.stop()
		if got := carried(t, addr, q); got.status < 500 || got.target != "" {
			t.Errorf("%s: %+v", name, got)
		} else if again := got.raw.Get("Retry-After"); name == gate.ProxyNginx && again != "1" {
			t.Errorf("%s: to be asked again: %q", name, again)
		}
	})
}

// TestClientsCannotAskThroughAProxy: the question's place is closed to them, however it is written.
func TestClientsCannotAskThroughAProxy(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx")
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		for _, target := range []string{"/auth/forward", "/auth/forward/", "/auth/forward/x", "/auth//forward", "/auth/%66orward", "/x/../auth/forward", "/auth/./forward", "/auth/forward?x", "/api/../auth/forward"} {
			got := carried(t, addr, request{"GET", target, name, []string{machineKeyLine, "X-Original-Method: GET", "X-Original-URI: /x", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /x"}})
			if got.status < 400 || got.raw.Get("X-Auth-Kind") != "" {
				t.Errorf("%s, %s: %d %v", name, target, got.status, got.raw)
			}
		}
	})
}

// TestEachConfigurationNamesEveryHeaderOfAnAnswer: one that is not copied is the client's to say.
func TestEachConfigurationNamesEveryHeaderOfAnAnswer(t *testing.T) {
	t.Parallel()
	d := forwardDoor(t, "caddy")
	a := d.do("GET", "/auth/forward", apiKey(machineKey), header("X-Forwarded-Method", "GET"), header("X-Forwarded-Uri", "/x"), header("X-Forwarded-Host", "x")).want(http.StatusOK)
	for _, file := range []string{"nginx-guard.conf", "Caddyfile", "traefik-routers.yml", "envoy.yaml"} {
		text := strings.ToLower(documented(t, file))
		for name := range a.header {
			switch name {
			case "Date", "Cache-Control", "Content-Length", "Connection":
				continue
			}
			want := strings.ToLower(name)
			if file == "nginx-guard.conf" {
				want = "$upstream_http_" + strings.ReplaceAll(want, "-", "_") + ";"
			}
			if !strings.Contains(text, want) {
				t.Errorf("%s does not copy %s", file, name)
			}
		}
	}
}

// TestQuestionsOverHTTP2 are judged as those over HTTP/1.1.
func TestQuestionsOverHTTP2(t *testing.T) {
	t.Parallel()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	t.Cleanup(client.CloseIdleConnections)
	for _, proxy := range []string{"envoy", "traefik"} {
		d := forwardDoor(t, proxy)
		for target, status := range map[string]int{"/x?y": http.StatusOK, "/x/../y": http.StatusBadRequest, "/auth/token": http.StatusMethodNotAllowed} {
			path := "/auth/forward"
			if proxy == "envoy" {
				path += target
			}
			r, err := http.NewRequest("GET", d.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-API-Key", machineKey)
			if proxy == "traefik" {
				r.Header.Set("X-Forwarded-Method", "GET")
				r.Header.Set("X-Forwarded-Host", "app.example")
				r.Header.Set("X-Forwarded-Uri", target)
			}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.ProtoMajor != 2 || res.StatusCode != status || (status == http.StatusOK) != (res.Header.Get("X-Auth-Role") == "admin") {
				t.Errorf("%s, %s: %s %d %v", proxy, target, res.Proto, res.StatusCode, res.Header)
			}
		}
	}
}
