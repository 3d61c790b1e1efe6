package app

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// setupFields is what the page's form sends.
func setupFields(code, username, password string) url.Values {
	v := fieldsOf("username", username, "password", password, "password_again", password)
	if code != "" {
		v.Set("code", code)
	}
	return v
}

// never is a door that is closed until set up.
func never(e engine, t *testing.T, settings ...string) *door {
	return e.door(t, append([]string{"open_mode=never"}, settings...)...)
}

// TestSU1SetupByThePage is the way of somebody with a browser, from the service to the page and back.
func TestSU1SetupByThePage(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := never(e, t)
		code := d.house.authority.SetupCode()
		if link := d.URL[:strings.LastIndex(d.URL, ":")]; !strings.Contains(d.log.String(), "/auth/setup#code="+code+"\n") || !strings.HasPrefix(link, "http://") {
			t.Errorf("the console says %s", d.log)
		}
		b := d.browser(t)
		refused := b.load("/api/pipelines?x=1")
		if got := refused.sentTo(); got != "/auth/setup" {
			t.Fatalf("sent to %s", got)
		}
		form := b.follow(refused).says(http.StatusOK, "")
		for _, field := range []string{"code", "username", "password", "password_again"} {
			if !strings.Contains(form.body, ` name="`+field+`" `) {
				t.Errorf("no field %s in %s", field, form.body)
			}
		}
		if strings.Contains(form.body, code) {
			t.Error("the page shows the code")
		}
		if login := b.load("/auth/login").says(http.StatusOK, ""); !strings.Contains(login.body, `<a href="/auth/setup">`) {
			t.Errorf("the sign-in page: %s", login.body)
		}
		send := func(fields url.Values) answer { return b.send("POST", form.formAction(), "same-origin", fields) }
		const own = "a password of one's own"
		send(setupFields("", "root", own)).says(http.StatusUnauthorized, "The setup code is missing.")
		wrong := send(setupFields("wrong", "root", own)).says(http.StatusUnauthorized, "The setup code is wrong.")
		if strings.Contains(wrong.body, own) || strings.Contains(wrong.body, `value="wrong"`) || !strings.Contains(wrong.body, `value="root"`) {
			t.Errorf("the form comes back as %s", wrong.body)
		}
		for _, c := range []struct {
			fields  url.Values
			problem string
		}{
			{setupFields(code, "root", "short"), "The password must have at least 8 characters."},
			{setupFields(code, "no name", own), "The username must have 1 to 64 of ASCII letters, digits and ._@+-."},
			{fieldsOf("code", code, "username", "root", "password", own, "password_again", own+"x"), "The repeated password is not the same as the password."},
			{fieldsOf("code", code, "username", "root", "password", own), "The repeated password is missing."},
			{fieldsOf("code", code, "username", "root", "username", "eve", "password", own), "The form gives a field twice."},
		} {
			again := send(c.fields).says(http.StatusBadRequest, c.problem)
			if c.fields.Has("password_again") && !strings.Contains(again.body, `value="`+code+`"`) || strings.Contains(again.body, own) {
				t.Errorf("%s: the form comes back as %s", c.problem, again.body)
			}
		}
		d.needsSetup(true)
		in := send(setupFields(code, "root", own))
		if got := in.sentTo(); got != "/auth/welcome" || in.sessionCookie() == "" {
			t.Errorf("sent to %s", got)
		}
		b.follow(in).want(http.StatusOK)
		if got := b.load("/api/auth/me").want(http.StatusOK).str("role"); got != "superadmin" {
			t.Errorf("made %s", got)
		}
		d.needsSetup(false)
		// What was done is on record: somebody was made, and signed in, and nothing failed.
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE request_id = ?`, in.header.Get("X-Request-Id")); n != 2 {
			t.Errorf("%d entries, want 2", n)
		}
		// And now the page says where to go on.
		if done := b.load("/auth/setup").says(http.StatusOK, ""); !strings.Contains(done.body, `<a href="/auth/login">Sign in</a>`) || strings.Contains(done.body, "<form") {
			t.Errorf("the page: %s", done.body)
		}
		if login := b.load("/auth/login").says(http.StatusOK, ""); strings.Contains(login.body, "/auth/setup") {
			t.Errorf("the sign-in page: %s", login.body)
		}
		d.login("root", own).want(http.StatusOK)
	})
}

// TestNobodySetUpIsSaidToTheRightCaller: a person is led to the page, a program is told.
func TestNobodySetUpIsSaidToTheRightCaller(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never", "paths.prefix=/door")
	mode := func(m string) ask { return header("Sec-Fetch-Mode", m) }
	for name, c := range map[string]struct {
		method, path string
		asks         []ask
		page         bool
	}{
		"a navigation":                 {"GET", "/x?y=1", []ask{mode("navigate")}, true},
		"a navigation with a cookie":   {"GET", "/x", []ask{mode("navigate"), cookie("x")}, true},
		"a navigation to a door":       {"GET", "/door/api/auth/me", []ask{mode("navigate")}, true},
		"a navigation that posts":      {"POST", "/x", []ask{mode("navigate")}, true},
		"an older browser":             {"GET", "/x", []ask{header("Accept", "text/html,*/*;q=0.8")}, true},
		"a fetch":                      {"GET", "/x", []ask{mode("cors")}, false},
		"curl":                         {"GET", "/x", []ask{header("Accept", "*/*")}, false},
		"a key":                        {"GET", "/x", []ask{mode("navigate"), apiKey("x")}, false},
		"a token":                      {"GET", "/x", []ask{mode("navigate"), bearer("x")}, false},
		"a navigation to no door":      {"GET", "/door/auth/nothing", []ask{mode("navigate")}, false},
		"an exchange":                  {"POST", "/door/auth/token", []ask{bearer("x"), formBody(`{}`)}, false},
		"an older browser's other way": {"POST", "/x", []ask{header("Accept", "text/html,*/*;q=0.8")}, false},
	} {
		a := d.do(c.method, c.path, c.asks...)
		a.what = name
		switch {
		case c.page:
			if got := a.sentTo(); got != "/door/auth/setup" || a.header.Get("Retry-After") != "" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: sent to %s, %v", name, got, a.header)
			}
		case strings.Contains(c.path, "nothing"):
			a.want(http.StatusNotFound)
		default:
			a.refused(http.StatusServiceUnavailable, "setup required")
		}
	}
}

func TestTheSetupPageIsGuarded(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never", "paths.prefix=/door")
	a := d.do("GET", "/door/auth/setup", cookie("stale"), bearer("stale")).says(http.StatusOK, "")
	const policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; script-src 'self'"
	if got := a.header.Get("Content-Security-Policy"); got != policy {
		t.Errorf("Content-Security-Policy %q", got)
	}
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s %q", name, got)
		}
	}
	link := regexp.MustCompile(`<script src="(/door/auth/page\.js\?v=[0-9a-f]{16})" defer></script>`).FindStringSubmatch(a.body)
	if link == nil || strings.Count(a.body, "<script") != 1 || regexp.MustCompile(` on[a-z]+=| style=`).MatchString(a.body) {
		t.Fatalf("the page: %s", a.body)
	}
	script := d.do("GET", link[1]).want(http.StatusOK)
	if script.header.Get("Content-Type") != "text/javascript; charset=utf-8" || script.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("header %v", script.header)
	}
	for _, other := range []string{"/door/auth/login", "/door/auth/style.css", link[1]} {
		if got := d.do("GET", other).header.Get("Content-Security-Policy"); strings.Contains(got, "script-src") {
			t.Errorf("%s: %s", other, got)
		}
	}
	// A form of another site's, or of nobody's.
	code := d.house.authority.SetupCode()
	fields := setupFields(code, "eve", rootPassword)
	for name, from := range map[string]ask{
		"cross-site": header("Sec-Fetch-Site", "cross-site"), "same-site": header("Sec-Fetch-Site", "same-site"),
		"another origin": header("Origin", "https://evil.example"), "no origin": header("Origin", "null"), "says nothing": func(*http.Request) {},
	} {
		a := d.do("POST", "/door/auth/setup", formBody(fields.Encode()), from)
		a.what = name
		a.says(http.StatusForbidden, notFromHere)
	}
	d.do("POST", "/door/auth/setup", jsonBody(`{}`), navigation("same-origin")).want(http.StatusUnsupportedMediaType)
	// The code anywhere but in the form is not read.
	d.do("POST", "/door/auth/setup?code="+code, posts(setupFields("", "eve", rootPassword)), header("X-Setup-Code", code)).
		says(http.StatusUnauthorized, "The setup code is missing.")
	if got := d.do("GET", "/door/api/auth/setup").body; !strings.Contains(got, "true") {
		t.Error(got)
	}
}

// TestOpenModeEndsByThePage: no code is asked for, and none of what open mode refuses gets in.
func TestOpenModeEndsByThePage(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "open_mode=always")
		if !strings.Contains(d.log.String(), "/auth/setup\n") || strings.Contains(d.log.String(), "#code") {
			t.Errorf("the console says %s", d.log)
		}
		b := d.browser(t)
		form := b.load("/auth/setup").says(http.StatusOK, "")
		if strings.Contains(form.body, `name="code"`) || strings.Contains(form.body, "<script") {
			t.Errorf("the page: %s", form.body)
		}
		fields := setupFields("", "root", rootPassword)
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
			d.do("POST", "/auth/setup", posts(fields), header(name, "127.0.0.1")).says(http.StatusForbidden, notFromHere)
		}
		for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "192.0.2.1", "0x7f000001"} {
			d.do("GET", "/auth/setup", navigation("none"), header("Host", host)).says(http.StatusForbidden, notFromHere)
			d.do("POST", "/auth/setup", header("Host", host), posts(fields)).says(http.StatusForbidden, notFromHere)
			d.do("GET", "/auth/login", navigation("none"), header("Host", host)).says(http.StatusForbidden, notFromHere)
			d.do("GET", "/auth/password", navigation("none"), header("Host", host)).says(http.StatusForbidden, notFromHere)
		}
		b.send("POST", "/auth/setup", "cross-site", fields).says(http.StatusForbidden, notFromHere)
		d.needsSetup(true)
		in := b.send("POST", form.formAction(), "same-origin", fields)
		if got := in.sentTo(); got != "/auth/welcome" {
			t.Errorf("sent to %s", got)
		}
		b.follow(in).want(http.StatusOK)
		if got := d.stands(); got != "closed" {
			t.Errorf("the door is %s", got)
		}
		d.restart("open_mode=always")
		if got := d.stands(); got != "closed" {
			t.Errorf("the door is %s", got)
		}
	})
}

// TestSU1ThePageAndTheAPIOnTwoServers: of all that try at once, by the page and by the API, on
// both servers with each one's own code, one is made.
func TestSU1ThePageAndTheAPIOnTwoServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) [2]*door{
		"one server": func(t *testing.T) [2]*door { d := newDoor(t, "open_mode=never"); return [2]*door{d, d} },
		"two servers": func(t *testing.T) [2]*door {
			settings := append(onPostgres.settings(t), "open_mode=never")
			return [2]*door{newDoor(t, settings...), newDoor(t, settings...)}
		},
		"two open servers": func(t *testing.T) [2]*door {
			settings := append(onPostgres.settings(t), "open_mode=always")
			return [2]*door{newDoor(t, settings...), newDoor(t, settings...)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doors := start(t)
			got := at(100, func(i int) answer {
				d, name := doors[i%2], fmt.Sprint("u", i)
				code := d.house.authority.SetupCode()
				if i%4 < 2 {
					return d.do("POST", "/auth/setup", posts(setupFields(code, name, rootPassword)))
				}
				return d.do("POST", "/api/auth/users", header("X-Setup-Code", code), jsonBody(credentialsJSON(name, rootPassword)))
			})
			if made := got[http.StatusCreated] + got[http.StatusSeeOther]; made != 1 || got[http.StatusUnauthorized] != 99 {
				t.Errorf("statuses %v", got)
			}
			if n := doors[0].sqlNumber(`SELECT count(*) FROM users`); n != 1 {
				t.Errorf("%d users", n)
			}
			for _, d := range doors {
				d.needsSetup(false)
				if got := d.stands(); got != "closed" {
					t.Errorf("a door is %s", got)
				}
			}
		})
	}
}

// TestSU3ThePageOnceOneExists asks again in every state that a server with a user can be in.
// What it sends is not even a form: nothing is read, so nothing is hashed.
func TestSU3ThePageOnceOneExists(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := never(e, t)
		code := d.house.authority.SetupCode()
		d.setUpQuietly(t)
		for _, settings := range []string{"", "open_mode=auto", "open_mode=always", "auth.enabled=false", "api_tokens=" + teamToken, "api_key=" + ownerKey} {
			if settings != "" {
				d.restart(settings)
			}
			for _, body := range []ask{posts(setupFields(code, "eve", rootPassword)), posts(setupFields("", "eve", rootPassword)), posts(fieldsOf("x", "y"))} {
				a := d.do("POST", "/auth/setup", body).says(http.StatusUnauthorized, "Somebody is set up here already.")
				if !strings.Contains(a.body, `<a href="/auth/login">`) || strings.Contains(a.body, "<form") {
					t.Errorf("the page: %s", a.body)
				}
			}
			d.do("GET", "/auth/setup", navigation("none")).says(http.StatusOK, "")
		}
		if n := d.sqlNumber(`SELECT count(*) FROM users`); n != 1 {
			t.Errorf("%d users", n)
		}
	})
}

// TestSU5UsersEmptiedUnderAServer: it stays closed, and the code on the console of the next
// start makes a first user again; on two servers too.
func TestSU5UsersEmptiedUnderAServer(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "open_mode=always")
		d.setUpQuietly(t)
		_, value := d.signIn("root", rootPassword)
		d.sqlExec(`DELETE FROM users`)
		d.do("POST", "/auth/setup", posts(setupFields("", "eve", rootPassword))).want(http.StatusUnauthorized)
		if got := d.stands(); got != "closed" {
			t.Errorf("the door is %s", got)
		}
		d.restart()
		if got := d.stands(); got != "setup" {
			t.Errorf("the door is %s", got)
		}
		b := d.browser(t)
		form := b.follow(b.load("/")).says(http.StatusOK, "")
		if !strings.Contains(form.body, `name="code"`) {
			t.Errorf("the page asks for no code: %s", form.body)
		}
		d.do("POST", "/auth/setup", posts(setupFields("", "eve", rootPassword))).says(http.StatusUnauthorized, "The setup code is missing.")
		code := d.house.authority.SetupCode()
		if !strings.Contains(d.log.String(), "/auth/setup#code="+code) {
			t.Error("the console does not say how to go on")
		}
		b.send("POST", "/auth/setup", "same-origin", setupFields(code, "root", rootPassword)).want(http.StatusSeeOther)
		d.do("GET", "/api/auth/me", cookie(value)).want(http.StatusUnauthorized) // of who had the name before
		b.load("/api/auth/me").want(http.StatusOK)
	})
}

func TestSU9RoleOfTheFirstUserByThePage(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := never(e, t)
		fields := setupFields(d.house.authority.SetupCode(), "root", rootPassword)
		for _, role := range []string{"viewer", "editor", "", "SuperAdmin", "admin\x00"} {
			fields.Set("role", role)
			d.do("POST", "/auth/setup", posts(fields)).want(http.StatusBadRequest)
		}
		d.needsSetup(true)
		fields.Set("role", "admin")
		a := d.do("POST", "/auth/setup", posts(fields)).want(http.StatusSeeOther)
		if got := d.do("GET", "/api/auth/me", cookie(a.sessionCookie())).str("role"); got != "admin" {
			t.Errorf("made %s", got)
		}
	})
}

// TestTheSetupPageInTrouble: what cannot be read is never "nobody yet".
func TestTheSetupPageInTrouble(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"open_mode=never", "open_mode=always"} {
		d := newDoor(t, settings)
		code := d.house.authority.SetupCode()
		_ = d.house.store.Close()
		const away = "That cannot be done at the moment. Try again in a few seconds."
		for _, a := range []answer{d.do("GET", "/auth/setup", navigation("none")), d.do("POST", "/auth/setup", posts(setupFields(code, "root", rootPassword)))} {
			if a.says(http.StatusServiceUnavailable, away); strings.Contains(a.body, "<form") {
				t.Errorf("the page: %s", a.body)
			}
		}
		if a := d.do("GET", "/", navigation("none")); a.status != http.StatusServiceUnavailable {
			t.Errorf("status %d", a.status)
		}
	}
}

// TestKM9OpenModeOverTheWire: what no client library would send is judged as it stands.
func TestKM9OpenModeOverTheWire(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		s := newEchoService(t)
		d := e.door(t, "open_mode=always", "upstream="+s.URL)
		const socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		for name, c := range map[string]struct {
			request string
			status  int
		}{
			"this machine":                    {"GET /x HTTP/1.1\r\nHost: {door}\r\n\r\n", 200},
			"no host":                         {"GET /x HTTP/1.0\r\n\r\n", 400},
			"an empty host":                   {"GET /x HTTP/1.1\r\nHost:\r\n\r\n", 400},
			"two hosts":                       {"GET /x HTTP/1.1\r\nHost: {door}\r\nHost: evil.example\r\n\r\n", 400},
			"another host in the target":      {"GET http://evil.example/x HTTP/1.1\r\nHost: {door}\r\n\r\n", 403},
			"a user before the host":          {"GET http://localhost@evil.example/x HTTP/1.1\r\nHost: {door}\r\n\r\n", 400},
			"a zone":                          {"GET /x HTTP/1.1\r\nHost: [::1%25lo]\r\n\r\n", 400},
			"a dot after the name":            {"GET /x HTTP/1.1\r\nHost: localhost.\r\n\r\n", 403},
			"a WebSocket of another site":     {"GET /x HTTP/1.1\r\nHost: {door}\r\nOrigin: https://evil.example\r\n" + socket + "\r\n", 403},
			"a WebSocket of no site":          {"GET /x HTTP/1.1\r\nHost: {door}\r\nOrigin: null\r\n" + socket + "\r\n", 403},
			"a WebSocket of a rebound name":   {"GET /x HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n" + socket + "\r\n", 403},
			"a form of another site":          {"POST /x HTTP/1.1\r\nHost: {door}\r\nOrigin: https://evil.example\r\nContent-Length: 3\r\n\r\na=b", 403},
			"an old browser's form":           {"POST /x HTTP/1.1\r\nHost: evil.example\r\nReferer: http://evil.example/\r\nContent-Length: 3\r\n\r\na=b", 403},
			"a preflight":                     {"OPTIONS /x HTTP/1.1\r\nHost: {door}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n", 403},
			"through a proxy":                 {"GET /x HTTP/1.1\r\nHost: {door}\r\nx-forwarded-for: 127.0.0.1\r\n\r\n", 403},
			"through a proxy, in a new way":   {"GET /x HTTP/1.1\r\nHost: {door}\r\nX-Forwarded-Anything: 1\r\n\r\n", 403},
			"a picture on another site":       {"GET /x HTTP/1.1\r\nHost: {door}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n\r\n", 403},
			"a navigation from another site":  {"GET /x HTTP/1.1\r\nHost: {door}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n\r\n", 403},
			"the first user, by another site": {"POST /api/auth/users HTTP/1.1\r\nHost: {door}\r\nOrigin: https://evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 403},
			"the page, from another site":     {"GET /auth/setup HTTP/1.1\r\nHost: {door}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n\r\n", 403},
		} {
			a := d.wire(t, c.request)
			if a.status != c.status {
				t.Errorf("%s: status %d, want %d; %s", name, a.status, c.status, a.body)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s: Access-Control-Allow-Origin %s", name, got)
			}
		}
		if n := s.calls.Load(); n != 1 {
			t.Errorf("the service was asked %d times, want once", n)
		}
		d.needsSetup(true)
	})
}
