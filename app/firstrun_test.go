package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mirror is a service behind that answers with the headers that it receives.
func mirror(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// received is the headers that the service behind got.
func (a answer) received() http.Header {
	a.t.Helper()
	var h http.Header
	if err := json.Unmarshal([]byte(a.want(http.StatusOK).body), &h); err != nil {
		a.t.Errorf("%s: %v in %s", a.what, err, a.body)
	}
	return h
}

const firstUserBody = `{"username":"root","password":"` + rootPassword + `"}`

// stands says how the door stands, seen from outside.
func (d *door) stands() string {
	d.t.Helper()
	a := d.do("GET", "/api/pipelines")
	switch {
	case a.status == http.StatusOK:
		return "open"
	case a.status == http.StatusUnauthorized:
		a.refused(http.StatusUnauthorized, "token required")
		return "closed"
	}
	a.refused(http.StatusServiceUnavailable, "setup required")
	return "setup"
}

// needsSetup asks the public page.
func (d *door) needsSetup(want bool) {
	d.t.Helper()
	a := d.do("GET", "/api/auth/setup").want(http.StatusOK)
	if got := strings.TrimSpace(a.body); got != `{"needs_setup": `+strconv.FormatBool(want)+`}` {
		d.t.Errorf("setup answers %s", got)
	}
}

func TestHowTheDoorStandsWhileNobodyIsSetUp(t *testing.T) {
	t.Parallel()
	behind := mirror(t)
	for _, c := range []struct {
		settings string
		stands   string
	}{
		// auto: only where nobody else can reach it and nothing is behind.
		{"", "open"},
		{"listen=localhost:8080", "open"},
		{"listen=[::1]:8080", "open"},
		{"listen=127.0.0.2:8080", "open"},
		{"listen=0.0.0.0:8080", "setup"},
		{"listen=:8080", "setup"},
		{"listen=[::]:8080", "setup"},
		{"listen=192.0.2.1:8080", "setup"},
		{"listen=localhost.example.com:8080", "setup"},
		{"upstream=" + behind, "setup"},
		{"public_url=http://localhost:8080", "setup"},
		{"trusted_proxies=127.0.0.1", "setup"},
		{"auth.enabled=true", "setup"},
		{"api_key=" + ownerKey, "closed"},
		{"api_tokens=" + teamToken, "closed"},
		// always: anywhere, until anything is configured.
		{"open_mode=always listen=0.0.0.0:8080", "open"},
		{"open_mode=always upstream=" + behind, "open"},
		{"open_mode=always public_url=http://localhost:8080", "open"},
		{"open_mode=always trusted_proxies=127.0.0.1", "open"},
		{"open_mode=always api_key=" + ownerKey, "closed"},
		{"open_mode=always api_tokens=" + teamToken, "closed"},
		{"open_mode=never", "setup"},
		{"open_mode=never api_tokens=" + teamToken, "closed"},
		{"auth.enabled=false", "open"},
		{"auth.enabled=false open_mode=never upstream=" + behind, "open"},
		{"auth.enabled=false api_key=" + ownerKey, "open"},
	} {
		t.Run(c.settings, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, strings.Fields(c.settings)...)
			if got := d.stands(); got != c.stands {
				t.Errorf("the door is %s, want %s", got, c.stands)
			}
			d.needsSetup(true)
			// Administration is closed however the service stands.
			for _, path := range []string{"GET users", "PATCH users/usr_x", "DELETE users/usr_x", "POST admin-reset-password", "GET me", "POST change-password"} {
				method, p, _ := strings.Cut(path, " ")
				a := d.do(method, "/api/auth/"+p, jsonBody(`{}`))
				if a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable {
					t.Errorf("%s: status %d", path, a.status)
				}
			}
			// The console says how to go on, with the code where one is needed.
			code := d.house.authority.SetupCode()
			openMode := c.stands == "open" && !strings.Contains(c.settings, "auth.enabled=false")
			if openMode != (code == "") {
				t.Errorf("setup code %q where the door is %s", code, c.stands)
			}
			if log := d.log.String(); !strings.Contains(log, "/api/auth/users") || code != "" && !strings.Contains(log, `"X-Setup-Code: `+code+`"`) {
				t.Errorf("the console says %s", log)
			}
		})
	}
}

// TestOpenModeAndThePageBefore: where a browser says neither Sec-Fetch-Site nor Origin, the page that it says counts.
func TestOpenModeAndThePageBefore(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.do("POST", "/run", header("Referer", "http://evil.example/"), jsonBody(`{"prompt":"x"}`)).refused(http.StatusForbidden, "cross-origin request refused")
	d.do("POST", "/run", header("Referer", "%"), jsonBody(`{"prompt":"x"}`)).refused(http.StatusForbidden, "cross-origin request refused")
	d.do("POST", "/run", header("Referer", d.URL+"/"), jsonBody(`{"prompt":"x"}`)).want(http.StatusOK)
	d.do("GET", "/", header("Referer", "https://docs.example/"), header("Sec-Fetch-Site", "none")).want(http.StatusOK)
	code := header("X-Setup-Code", "x")
	closed := newDoor(t, "open_mode=never")
	closed.do("POST", "/api/auth/users", jsonBody(firstUserBody), header("X-Setup-Code", closed.house.authority.SetupCode()), code).refused(http.StatusBadRequest, "X-Setup-Code: must not be given twice")
}

func TestOpenModeNeedsALoopbackHost(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	public := newDoor(t, "open_mode=always", "public_url=https://auth.example.com")
	doors := []string{"GET /api/pipelines", "POST /run", "GET /api/auth/setup", "POST /api/auth/login", "POST /api/auth/users", "GET /api/auth/me", "GET /"}
	for _, host := range []string{
		"localhost", "LocalHost", "localhost:1", "127.0.0.1", "127.0.0.1:65535", "127.1.2.3:80", "[::1]", "[::1]:80",
	} {
		d.do("GET", "/api/pipelines", header("Host", host)).want(http.StatusOK)
	}
	public.do("GET", "/api/pipelines", header("Host", "auth.example.com")).want(http.StatusOK)
	public.do("GET", "/api/pipelines", header("Host", "Auth.Example.COM")).want(http.StatusOK)
	public.do("GET", "/api/pipelines", header("Host", "localhost:1")).want(http.StatusOK)
	public.do("GET", "/api/pipelines", header("Host", "auth.example.com.evil.example")).refused(http.StatusForbidden, crossOrigin)
	for _, host := range []string{ // KM9: a name of somebody else's, made to point here
		"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "localhostevil", "evil.localhost.example:80",
		"auth.example.com", "192.0.2.1", "0.0.0.0", "[::]", "[2001:db8::1]:80", "2130706433", "127.1", "0x7f000001",
	} {
		for _, path := range doors {
			method, p, _ := strings.Cut(path, " ")
			a := d.do(method, p, header("Host", host), jsonBody(firstUserBody))
			a.what += " at " + host
			a.refused(http.StatusForbidden, crossOrigin)
		}
	}
	d.do("GET", "/api/pipelines", header("Host", "localhost:80:80")).want(http.StatusBadRequest) // not a host at all
	d.needsSetup(true)
}

func TestOpenModeRefusesForwardedAndForeignRequests(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "trusted_origins=https://app.example", "lockout.attempts=1000")
	knock := func(what ask, ok bool) {
		t.Helper()
		for path, good := range map[string]int{"GET /api/pipelines": 200, "POST /api/pipelines": 201, "HEAD /": 200, "GET /api/auth/setup": 200, "POST /api/auth/users": 400, "POST /api/auth/login": 401} {
			method, p, _ := strings.Cut(path, " ")
			a := d.do(method, p, jsonBody(`{"name":"p","username":"root","password":"short"}`), what)
			switch {
			case ok:
				a.want(good)
			case method == "HEAD":
				a.want(http.StatusForbidden)
			default:
				a.refused(http.StatusForbidden, crossOrigin)
			}
		}
	}
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Ssl",
		"X-Forwarded-Scheme", "X-Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP", "CF-Connecting-IP", "Via",
		"X_Forwarded_For", "X.Forwarded.For", "X-Forward-For", "Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP", "X-Envoy-External-Address", "X-Originating-IP",
		"CF-Connecting-IPv6", "CF-Pseudo-IPv4", "X-Azure-ClientIP", "X-Original-Host", "X-Host", "X!Real!IP", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Azure-SocketIP",
	} {
		knock(header(name, "127.0.0.1"), false)
		knock(header(name, ""), false)
	}
	for _, o := range origins {
		// Where everybody is let in there is no session that another origin could be trusted with.
		knock(fetch(o.site, o.origin), o.ok && !o.trusted)
	}
	knock(func(r *http.Request) { r.Header["Origin"] = []string{"http://" + r.Host, "https://evil.example"} }, false)
	knock(func(r *http.Request) { r.Header["Sec-Fetch-Site"] = []string{"same-origin", "cross-site"} }, false)
	knock(func(*http.Request) {}, true)
	d.needsSetup(true)
}

// TestOpenDoorsReadAndForwardNoCredential: where all are let in as nobody in particular,
// what somebody shows is no business of ours, and none of the service's.
func TestOpenDoorsReadAndForwardNoCredential(t *testing.T) {
	t.Parallel()
	behind := mirror(t)
	for name, d := range map[string]*door{
		"open_mode=always":   newDoor(t, "open_mode=always", "upstream="+behind),
		"auth.enabled=false": newDoor(t, "auth.enabled=false", "upstream="+behind, "api_key="+ownerKey),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, shown := range [][]ask{
				{bearer("garbage")}, {bearer(ownerKey)}, {apiKey("garbage")}, {cookie("garbage")},
				{cookie("a"), cookie("b")},
				{header("Authorization", "bEARER garbage")},
				{header("Authorization", "Basic Z2FyYmFnZTo="), bearer("garbage")},
				{bearer("garbage"), header("Authorization", "Basic Z2FyYmFnZTo=")},
			} {
				h := d.do("GET", "/anything", shown...).received()
				for _, name := range []string{"Authorization", "X-Api-Key", "Cookie"} {
					for _, v := range h[name] {
						if !strings.HasPrefix(v, "Basic ") {
							t.Errorf("the service got %s: %s", name, v)
						}
					}
				}
				if got := h.Get("X-Auth-Kind"); got != "anonymous" {
					t.Errorf("X-Auth-Kind %q", got)
				}
			}
			// The client's claims never arrive, ours are empty; its own cookies and Basic are the service's affair.
			h := d.do("POST", "/anything", header("Cookie", "app=1; brokoli_session=x; theme=dark"), header("Authorization", "Basic eDp5"),
				header("X-Auth-Role", "superadmin"), header("X-Auth-Kind", "user"), header("X_Auth_User", "root"), header("X-Auth-Subject", "usr_1")).received()
			if got := h.Get("Cookie"); got != "app=1; theme=dark" {
				t.Errorf("Cookie %q", got)
			}
			if got := h.Get("Authorization"); got != "Basic eDp5" {
				t.Errorf("Authorization %q", got)
			}
			for name, want := range map[string]string{"X-Auth-Kind": "anonymous", "X-Auth-Role": "", "X-Auth-Subject": "", "X-Forwarded-User": "", "X-Auth-Organization": "", "X-Auth-Workspace": ""} {
				if got := h[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s %q, want one %q", name, got, want)
				}
			}
			if _, given := h["X_forwarded_user"]; given {
				t.Error("X_Forwarded_User arrived")
			}
		})
	}
}

func TestAuthDisabledKeepsAdministrationClosed(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "auth.enabled=false", "api_key="+ownerKey)
	const warning = "auth.enabled=false"
	if got := strings.Join(load(sources{flags: d.flags}).warnings, "\n"); !strings.Contains(got, "is open to everyone") {
		t.Errorf("the log is to warn of %q", got)
	}
	health := d.do("GET", "/health").want(http.StatusOK)
	if !strings.Contains(health.body, warning) {
		t.Errorf("/health says %s", health.body)
	}
	d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
	root := d.setUp()
	for _, how := range []ask{func(*http.Request) {}, bearer("x"), bearer(root)} {
		d.do("POST", "/api/pipelines", how, jsonBody(`{"name":"p"}`)).want(http.StatusCreated)
	}
	d.do("GET", "/api/auth/users").refused(http.StatusUnauthorized, "token required")
	d.do("GET", "/api/auth/users", bearer("x")).refused(http.StatusUnauthorized, "invalid token")
	d.do("GET", "/api/auth/users", bearer(root)).want(http.StatusOK)
	d.do("POST", "/auth/token", jsonBody(`{"client_id":"a"}`)).refused(http.StatusUnauthorized, "token required")
	d.do("POST", "/auth/token", bearer(ownerKey), jsonBody(`{"client_id":"a"}`)).want(http.StatusOK)

	// Nobody set up changes nothing about it.
	d = newDoor(t, "auth.enabled=false")
	d.do("GET", "/api/auth/users").refused(http.StatusServiceUnavailable, "setup required")
	d.do("GET", "/api/pipelines").want(http.StatusOK)
}

func TestFirstUserEndsOpenModeForGood(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"open_mode=auto", "open_mode=always"} {
		t.Run(settings, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, settings)
			d.do("POST", "/api/pipelines", bearer("garbage"), jsonBody(`{"name":"p"}`)).want(http.StatusCreated)
			d.do("GET", "/api/auth/me", bearer("garbage")).refused(http.StatusUnauthorized, "invalid token")
			// Credentials are not read: neither the garbage nor the code decides anything.
			d.do("POST", "/api/auth/users", bearer("garbage"), header("X-Setup-Code", "garbage"), jsonBody(firstUserBody)).
				want(http.StatusCreated).shape(`{"id":"*","username":"root","role":"superadmin","workspaces":["default"],"disabled":false}`)
			token, value := d.signIn("root", rootPassword)
			check := func(want string) {
				t.Helper()
				if got := d.stands(); got != want {
					t.Fatalf("the door is %s, want %s", got, want)
				}
				d.needsSetup(want == "setup")
			}
			check("closed")
			d.do("GET", "/api/pipelines", bearer("garbage")).refused(http.StatusUnauthorized, "invalid token")
			d.do("GET", "/api/pipelines", header("Host", "anything.example"), cookie(value)).want(http.StatusOK)
			d.restart()
			check("closed")

			// SU5: all users deleted beside us.
			d.exec(`DELETE FROM users`)
			check("closed")
			d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
			d.restart()
			check("setup")
			code := d.house.authority.SetupCode()
			for _, how := range []ask{bearer(token), cookie(value), bearer("x")} {
				d.do("GET", "/api/pipelines", how).refused(http.StatusServiceUnavailable, "setup required")
				d.do("GET", "/api/auth/me", how).refused(http.StatusServiceUnavailable, "setup required")
			}
			d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
			d.do("POST", "/api/auth/users", header("X-Setup-Code", "x"), jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "invalid token")
			check("setup")
			d.do("POST", "/api/auth/users", header("X-Setup-Code", code), jsonBody(firstUserBody)).want(http.StatusCreated)
			check("closed")
			// The sessions of who had that name before stay dead.
			d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusUnauthorized)
			again, _ := d.signIn("root", rootPassword)
			d.do("GET", "/api/pipelines", bearer(again)).want(http.StatusOK)
		})
	}
}

// TestAKeyOnceConfiguredEndsOpenMode: taking the key away again is not a way to open the door.
func TestAKeyOnceConfiguredEndsOpenMode(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"api_key=" + ownerKey, "api_tokens=" + teamToken} {
		d := newDoor(t)
		if got := d.stands(); got != "open" {
			t.Fatalf("the door is %s", got)
		}
		d.restart(setting)
		if got := d.stands(); got != "closed" {
			t.Errorf("with %s the door is %s", setting, got)
		}
		name, _, _ := strings.Cut(setting, "=")
		delete(d.flags, name)
		d.restart("open_mode=always")
		if got := d.stands(); got != "setup" {
			t.Errorf("without %s the door is %s", setting, got)
		}
	}
}

func TestClosedUntilSetUp(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never")
	code := d.house.authority.SetupCode()
	for _, how := range []ask{func(*http.Request) {}, bearer("x"), cookie("x"), header("X-Setup-Code", code), apiKey(ownerKey)} {
		for _, path := range []string{
			"GET /", "POST /run", "GET /api/auth/me", "GET /api/auth/users", "PATCH /api/auth/users/x", "DELETE /api/auth/users/x",
			"POST /api/auth/admin-reset-password", "POST /api/auth/change-password", "POST /auth/token", "GET /auth/validate",
		} {
			method, p, _ := strings.Cut(path, " ")
			a := d.do(method, p, how, jsonBody(`{}`)).refused(http.StatusServiceUnavailable, "setup required")
			if a.header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", path)
			}
		}
	}
	d.login("root", rootPassword).refused(http.StatusUnauthorized, "invalid credentials")
	d.do("GET", "/health").want(http.StatusOK)
	d.do("GET", "/api/auth/none").want(http.StatusNotFound)

	users := func(body string, how ...ask) answer {
		return d.do("POST", "/api/auth/users", append(how, jsonBody(body))...)
	}
	users(firstUserBody).refused(http.StatusUnauthorized, "token required")
	users(firstUserBody, header("X-Setup-Code", "")).refused(http.StatusUnauthorized, "token required")
	for _, wrong := range []string{"x", code[:len(code)-1], code + "x", strings.ToUpper(code) + "x", " "} {
		want := "invalid token"
		if strings.TrimSpace(wrong) == "" {
			want = "token required"
		}
		users(firstUserBody, header("X-Setup-Code", wrong)).refused(http.StatusUnauthorized, want)
	}
	for _, how := range []ask{bearer(code), apiKey(code), cookie(code)} {
		users(firstUserBody, how).want(http.StatusUnauthorized)
	}
	// A body that is refused leaves the place free, and costs the code nothing.
	right := header("X-Setup-Code", code)
	users(`{"username":"root","password":"short"}`, right).want(http.StatusBadRequest)
	users(`{"username":"no name","password":"`+rootPassword+`"}`, right).want(http.StatusBadRequest)
	d.needsSetup(true)
	// Nothing else is read: a stale credential does not lock the operator out.
	users(firstUserBody, right, bearer("stale"), cookie("stale")).want(http.StatusCreated)
	users(strings.Replace(firstUserBody, "root", "eve", 1), right).refused(http.StatusUnauthorized, "token required")
	d.restart()
	if d.house.authority.SetupCode() != "" || d.stands() != "closed" {
		t.Error("a server that is set up has a setup code, or is not closed")
	}
	users(strings.Replace(firstUserBody, "root", "eve", 1), right).refused(http.StatusUnauthorized, "token required")
}

// TestOpenModeEndsWithAKey made on the command line, and no user: a link without a code leads nowhere any more, so the
// console says another one.
func TestOpenModeEndsWithAKey(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "open_mode=always")
		if d.stands() != "open" || strings.Contains(d.log.String(), "X-Setup-Code") {
			t.Fatalf("the door is %s, and the console says %s", d.stands(), d.log)
		}
		d.command("key", "create", "ci", "--role", "viewer", "--service")
		var said []string
		until(t, 20*time.Second, "the console says the setup code", func() bool {
			said = saidSetupCode.FindStringSubmatch(d.log.String())
			return said != nil
		})
		if got := d.stands(); got != "closed" {
			t.Errorf("the door is %s", got)
		}
		if !strings.Contains(d.log.String(), d.URL[:len("http://")]+"localhost"+d.URL[strings.LastIndex(d.URL, ":"):]+"/auth/setup#code="+said[1]) {
			t.Errorf("the console says no link: %s", d.log)
		}
		if page := d.do("GET", "/auth/setup").want(http.StatusOK).body; !strings.Contains(page, "The server prints it on its console") {
			t.Errorf("the page asks for no code: %s", page)
		}
		d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
		d.do("POST", "/api/auth/users", jsonBody(firstUserBody), header("X-Setup-Code", said[1])).want(http.StatusCreated)
		d.needsSetup(false)
		if n := strings.Count(d.log.String(), "X-Setup-Code: "+said[1]); n != 1 {
			t.Errorf("the console says it %d times", n)
		}
	})
}

// TestNoCodeWhereThereIsAUser: open mode ends with a user and a key between two looks, and whoever has a key asks the
// database for no user.
func TestNoCodeWhereThereIsAUser(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.doesTyping(rootPassword, "user", "add", "root", "--role", "superadmin", "--password-stdin")
	d.command("key", "create", "ci", "--role", "viewer", "--service")
	if err := d.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var console logBuffer
	d.house.door.Announce(t.Context(), &console, "")
	if console.String() != "" {
		t.Errorf("the console says %s", console.String())
	}
}

func TestFirstUserByTheOperatorsKey(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]ask{"as Bearer": bearer(ownerKey), "in X-API-Key": apiKey(ownerKey)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, "api_key="+ownerKey, "api_tokens="+teamToken)
			d.needsSetup(true)
			if got := d.stands(); got != "closed" {
				t.Errorf("the door is %s", got)
			}
			for _, how := range []ask{bearer(ownerKey), bearer(teamToken)} {
				d.do("GET", "/api/pipelines", how).want(http.StatusOK)
			}
			access, _ := d.exchange(ownerKey, "deploy")
			for _, wrong := range []ask{bearer(teamToken), apiKey(teamToken), bearer(access), bearer("x"), apiKey(ownerKey + "0")} {
				d.do("POST", "/api/auth/users", wrong, jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "invalid token")
			}
			d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
			d.do("POST", "/api/auth/users", how, jsonBody(firstUserBody)).want(http.StatusCreated).
				shape(`{"id":"*","username":"root","role":"superadmin","workspaces":["default"],"disabled":false}`)
			d.needsSetup(false)
			// From now on it is a key like another: an admin, who must say the role and grants none above.
			d.do("POST", "/api/auth/users", how, jsonBody(`{"username":"eve","password":"password of eve"}`)).want(http.StatusBadRequest)
			d.do("POST", "/api/auth/users", how, jsonBody(`{"username":"eve","password":"password of eve","role":"superadmin"}`)).
				refused(http.StatusForbidden, "insufficient permissions")
			d.do("POST", "/api/auth/users", how, jsonBody(`{"username":"eve","password":"password of eve","role":"admin"}`)).want(http.StatusCreated)
		})
	}
}

func TestSU1OfManyFirstUsersOneIsMade(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"open_mode=auto", "open_mode=never", "api_key=" + ownerKey} {
		t.Run(strings.Split(settings, "=")[0], func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, settings)
			how := header("X-Setup-Code", d.house.authority.SetupCode())
			if strings.HasPrefix(settings, "api_key") {
				how = func(*http.Request) {} // without any right there is none at all
			}
			got := at(200, func(i int) answer {
				return d.do("POST", "/api/auth/users", how, jsonOf(map[string]string{"username": "u" + strconv.Itoa(i), "password": rootPassword}))
			})
			want := map[int]int{http.StatusCreated: 1, http.StatusUnauthorized: 199}
			if strings.HasPrefix(settings, "api_key") {
				want = map[int]int{http.StatusUnauthorized: 200}
			}
			if got[http.StatusCreated] != want[http.StatusCreated] || got[http.StatusUnauthorized] != want[http.StatusUnauthorized] {
				t.Errorf("statuses %v, want %v", got, want)
			}
			if n := d.column(`SELECT count(*) || '' FROM users`); n != strconv.Itoa(want[http.StatusCreated]) {
				t.Errorf("%s users", n)
			}
		})
	}
}

// TestSU3FirstUserOnceOneExists asks again in every state that a server with a user can be in.
func TestSU3FirstUserOnceOneExists(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never")
	code := d.house.authority.SetupCode()
	d.setUpQuietly(t)
	eve := `{"username":"eve","password":"` + strings.Repeat("x", 256) + `"}`
	for _, settings := range []string{
		"", "open_mode=auto", "open_mode=always", "auth.enabled=false", "api_tokens=" + teamToken, "api_key=" + ownerKey,
	} {
		if settings != "" {
			d.restart(settings)
		}
		d.do("POST", "/api/auth/users", jsonBody(eve)).refused(http.StatusUnauthorized, "token required")
		d.do("POST", "/api/auth/users", header("X-Setup-Code", code), jsonBody(eve)).refused(http.StatusUnauthorized, "token required")
		d.do("POST", "/api/auth/users", bearer("x"), jsonBody(eve)).refused(http.StatusUnauthorized, "invalid token")
		d.do("POST", "/api/auth/users", jsonBody("{")).refused(http.StatusUnauthorized, "token required")
		d.needsSetup(false)
	}
	if n := d.column(`SELECT count(*) || '' FROM users`); n != "1" {
		t.Errorf("%s users", n)
	}
}

func TestSU9RoleOfTheFirstUser(t *testing.T) {
	t.Parallel()
	shared := newDoor(t)
	for _, c := range []struct {
		role   string // as JSON, "" for none
		status int
		want   string
	}{
		{"", http.StatusCreated, "superadmin"},
		{`"admin"`, http.StatusCreated, "admin"},
		{`"superadmin"`, http.StatusCreated, "superadmin"},
		{`"viewer"`, http.StatusBadRequest, "role: the first user is superadmin or admin"},
		{`"editor"`, http.StatusBadRequest, "role: the first user is superadmin or admin"},
		{`"SuperAdmin"`, http.StatusBadRequest, "role: the first user is superadmin or admin"},
		{`"admin\u0000"`, http.StatusBadRequest, "role: the first user is superadmin or admin"},
		{`""`, http.StatusBadRequest, "role: must be one of superadmin, admin, editor, viewer"},
		{`null`, http.StatusBadRequest, "role: must be a string"},
		{`["admin"]`, http.StatusBadRequest, "role: must be a string"},
	} {
		t.Run(c.role, func(t *testing.T) {
			d := shared
			if c.status == http.StatusCreated {
				t.Parallel()
				d = newDoor(t)
			}
			body := strings.Replace(firstUserBody, "}", `,"role":`+c.role+`}`, 1)
			if c.role == "" {
				body = firstUserBody
			}
			a := d.do("POST", "/api/auth/users", jsonBody(body)).want(c.status)
			switch {
			case c.status != http.StatusCreated:
				a.refused(c.status, c.want)
				d.needsSetup(true)
			case a.str("role") != c.want:
				t.Errorf("role %s, want %s", a.str("role"), c.want)
			}
		})
	}
}

// TestAnErrorIsNeverEvidence breaks the database under servers in each state: what was
// refused stays refused, and nothing that cannot be read is taken for "no users yet".
func TestAnErrorIsNeverEvidence(t *testing.T) {
	t.Parallel()
	const away = "temporarily unavailable"
	breaks := map[string]func(*door){
		"closed underneath": func(d *door) { _ = d.house.store.Close() },
		"users dropped":     func(d *door) { d.exec(`DROP TABLE users`) },
		"mark deleted":      func(d *door) { d.exec(`DELETE FROM meta`) },
	}
	states := map[string][]string{
		"open": {}, "open always": {"open_mode=always"}, "setup": {"open_mode=never"},
	}
	for how, breakIt := range breaks {
		for state, settings := range states {
			t.Run(how+"/"+state, func(t *testing.T) {
				t.Parallel()
				d := newDoor(t, settings...)
				code := header("X-Setup-Code", d.house.authority.SetupCode())
				breakIt(d)
				for range 2 {
					a := d.do("GET", "/api/pipelines").refused(http.StatusServiceUnavailable, away)
					if a.header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
					d.do("POST", "/api/pipelines", jsonBody(`{"name":"p"}`)).refused(http.StatusServiceUnavailable, away)
					d.do("GET", "/api/auth/setup").refused(http.StatusServiceUnavailable, away)
					d.do("POST", "/api/auth/users", code, jsonBody(firstUserBody)).refused(http.StatusServiceUnavailable, away)
					d.do("GET", "/api/auth/me").refused(http.StatusServiceUnavailable, away)
				}
			})
		}
	}
	t.Run("set up, then closed underneath", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t)
		root := d.setUp()
		_, unseen := d.signIn("root", rootPassword)
		_ = d.house.store.Close()
		d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
		d.do("GET", "/api/pipelines", cookie(unseen)).refused(http.StatusServiceUnavailable, away).cleared(false)
		d.do("GET", "/api/pipelines", bearer(root)).refused(http.StatusServiceUnavailable, away)
		d.login("root", rootPassword).refused(http.StatusServiceUnavailable, away)
		d.login("root", wrongPassword).refused(http.StatusServiceUnavailable, away)
		// A sign-out that is not known to be kept is not acknowledged.
		d.do("POST", "/api/auth/logout", cookie(unseen)).refused(http.StatusServiceUnavailable, away).cleared(false)
		d.do("POST", "/api/auth/logout", bearer(root)).refused(http.StatusServiceUnavailable, away)
		d.do("POST", "/api/auth/users", jsonBody(firstUserBody)).refused(http.StatusUnauthorized, "token required")
		d.do("GET", "/health").want(http.StatusServiceUnavailable)
		d.do("GET", "/health/ready").want(http.StatusServiceUnavailable)
		d.do("GET", "/health/live").want(http.StatusOK)
		if log := d.log.String(); !strings.Contains(log, "store is closed") {
			t.Error("the log does not say why")
		}
	})
	t.Run("set up, then users dropped", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t)
		d.setUpQuietly(t)
		d.exec(`DROP TABLE users`)
		d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
		d.login("root", rootPassword).refused(http.StatusServiceUnavailable, away)
		// Even a server that starts on it, if one can, lets nobody in.
		l := load(sources{flags: d.flags})
		d.stop()
		if h, err := open(t.Context(), l.Settings, d.house.log, d.clock.now); err == nil {
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/api/pipelines", nil))
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("status %d", w.Code)
			}
			_ = h.Close()
		}
	})
}
