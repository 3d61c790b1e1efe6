package app

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is somebody at a browser that says what today's browsers say, with cookies of its own.
type browser struct {
	d      *door
	client *http.Client
}

func (d *door) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{d, &http.Client{Jar: jar, Transport: oneShot.Transport, CheckRedirect: oneShot.CheckRedirect}}
}

// send makes one navigation, without following where it leads; site is what the browser says of the page before.
func (b *browser) send(method, target, site string, fields url.Values) answer {
	b.d.t.Helper()
	what := method + " " + target
	r, err := http.NewRequest(method, b.d.URL+target, strings.NewReader(fields.Encode()))
	if err != nil {
		b.d.t.Fatal(err)
	}
	navigation(site)(r)
	if fields != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.d.t.Fatal(err)
	}
	return answer{b.d.t, what, resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) load(target string) answer { return b.send("GET", target, "none", nil) }

// submit fills in a page's form and sends it, with what is hidden in it.
func (b *browser) submit(page answer, fields url.Values) answer {
	b.d.t.Helper()
	all := url.Values{"next": {page.hidden("next")}}
	for name, values := range fields {
		all[name] = values
	}
	return b.send("POST", page.formAction(), "same-origin", all)
}

// follow goes where the answer sends the browser.
func (b *browser) follow(a answer) answer {
	b.d.t.Helper()
	return b.send("GET", a.sentTo(), "same-origin", nil)
}

// navigation is what browsers say on their way to a page.
func navigation(site string) ask {
	return func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", site)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		if r.Method == http.MethodPost {
			r.Header.Set("Origin", "http://"+r.Host)
		}
	}
}

// fieldsOf is the body of a form as browsers send it.
func fieldsOf(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// posts is a form posted by a page of ours.
func posts(fields url.Values) ask {
	return func(r *http.Request) {
		formBody(fields.Encode())(r)
		navigation("same-origin")(r)
	}
}

var (
	hiddenField = regexp.MustCompile(`<input name="([a-z]+)" type="hidden" value="([^"]*)">`)
	formTag     = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	problemText = regexp.MustCompile(`<p class="problem" id="problem" role="alert">([^<]*)</p>`)
)

func (a answer) hidden(name string) string {
	a.t.Helper()
	for _, m := range hiddenField.FindAllStringSubmatch(a.body, -1) {
		if m[1] == name {
			return html.UnescapeString(m[2])
		}
	}
	a.t.Errorf("%s: no hidden field %s in %s", a.what, name, a.body)
	return ""
}

func (a answer) formAction() string {
	a.t.Helper()
	m := formTag.FindStringSubmatch(a.body)
	if m == nil {
		a.t.Fatalf("%s: no form in %s", a.what, a.body)
	}
	return html.UnescapeString(m[1])
}

// sentTo is where a 303 sends the browser.
func (a answer) sentTo() string {
	a.t.Helper()
	a.want(http.StatusSeeOther)
	return a.header.Get("Location")
}

// says fails the test unless the answer is a page with this status that says this problem;
// empty for none.
func (a answer) says(status int, problem string) answer {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		a.t.Errorf("%s: Content-Type %q", a.what, got)
	}
	got := ""
	if m := problemText.FindStringSubmatch(a.body); m != nil {
		got = html.UnescapeString(m[1])
	}
	if got != problem {
		a.t.Errorf("%s: the page says %q, want %q", a.what, got, problem)
	}
	if marked := strings.Contains(a.body, "<title>Error: "); marked != (problem != "") {
		a.t.Errorf("%s: the title says that something is wrong: %t", a.what, marked)
	}
	return a
}

const (
	wrongLogin  = "The username or the password is wrong."
	lockedLogin = "There were too many wrong passwords for this username. Try again in about 15 minutes."
	notFromHere = "This did not come from a page of this site, or your browser did not say so. Try again on this page."
)

// TestSignInByForm is the way of somebody with a browser, from the page they asked for and
// back to it.
func TestSignInByForm(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/door"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			t.Parallel()
			e := newEchoService(t)
			d := newDoor(t, "upstream="+e.URL, "paths.prefix="+prefix)
			code := header("X-Setup-Code", d.house.authority.SetupCode())
			d.do("POST", prefix+"/api/auth/users", code, jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusCreated)
			d.keepsQuiet(wrongPassword)
			b := d.browser(t)

			const asked = "/reports/2026%20q1?from=1&to=%2F2"
			refused := b.load(asked)
			if got, want := refused.sentTo(), prefix+"/auth/login?next="+url.QueryEscape(asked); got != want {
				t.Errorf("sent to %s, want %s", got, want)
			}
			form := b.follow(refused).says(http.StatusOK, "")
			if got, want := form.formAction(), prefix+"/auth/login"; got != want {
				t.Errorf("the form goes to %s, want %s", got, want)
			}
			again := b.submit(form, fieldsOf("username", "root", "password", wrongPassword)).says(http.StatusUnauthorized, wrongLogin)
			if !strings.Contains(again.body, ` value="root" `) || strings.Contains(again.body, wrongPassword) {
				t.Errorf("the form comes back as %s", again.body)
			}
			in := b.submit(again, fieldsOf("username", "ROOT", "password", rootPassword))
			if got := in.sentTo(); got != asked {
				t.Errorf("sent to %s, want %s", got, asked)
			}
			got := b.follow(in).echoed()
			if got.Target != asked || got.Header.Get("X-Forwarded-User") != "root" || got.Header.Get("Cookie") != "" {
				t.Errorf("the service got %+v", got)
			}

			// The cookie is the JSON door's to the letter, but for its value.
			byAPI := d.do("POST", prefix+"/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK)
			cut := func(a answer) string {
				_, attributes, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
				return attributes
			}
			if cut(in) != cut(byAPI) || len(in.header["Set-Cookie"]) != 2 || cut(in) == "" {
				t.Errorf("Set-Cookie %q, by the JSON door %q", in.header["Set-Cookie"], byAPI.header["Set-Cookie"])
			}
			// The page stays open to whoever is signed in, and to a stale cookie.
			b.load(prefix+"/auth/login").says(http.StatusOK, "")
			d.do("GET", prefix+"/auth/login", cookie("stale"), bearer("stale")).says(http.StatusOK, "").cleared(false)
			d.do("POST", prefix+"/auth/login", cookie("stale"), bearer("stale"), posts(fieldsOf("username", "root", "password", rootPassword))).want(http.StatusSeeOther)
		})
	}
}

// TestRefusalsToTheRightCaller: a person is led to the sign-in page, a program is told.
func TestRefusalsToTheRightCaller(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_key="+ownerKey)
	d.setUpQuietly(t)
	const htmlFirst = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	mode := func(m string) ask { return header("Sec-Fetch-Mode", m) }
	accept := func(a string) ask { return header("Accept", a) }
	_, value := d.signIn("root", rootPassword)
	d.do("POST", "/api/auth/logout", cookie(value)).want(http.StatusOK)
	dead := cookie(value)

	const page, required, invalid, over = "", "token required", "invalid token", "token blacklisted"
	for _, c := range []struct {
		name    string
		method  string
		path    string
		asks    []ask
		message string // of the JSON; page for the sign-in page
		next    string
		cleared bool
	}{
		{"a navigation", "GET", "/x?y=1", []ask{mode("navigate")}, page, "/x?y=1", false},
		{"a navigation to the front page", "GET", "/", []ask{mode("navigate")}, page, "", false},
		{"a navigation to a download", "GET", "/x", []ask{mode("navigate"), accept("*/*")}, page, "/x", false},
		{"a navigation into a frame", "GET", "/x", []ask{mode("navigate"), header("Sec-Fetch-Dest", "iframe")}, page, "/x", false},
		{"a navigation that posts", "POST", "/x", []ask{mode("navigate")}, page, "", false},
		{"a navigation's HEAD", "HEAD", "/x", []ask{mode("navigate")}, page, "/x", false},
		{"a navigation to a door of ours", "GET", "/api/auth/me", []ask{mode("navigate")}, page, "/api/auth/me", false},
		{"a navigation to a page of ours", "GET", "/auth/password", []ask{mode("navigate")}, page, "/auth/password", false},
		{"a form of ours whose session is over", "POST", "/auth/password", []ask{posts(fieldsOf("a", "b")), dead}, page, "", true},
		{"from another site", "GET", "/x", []ask{mode("navigate"), header("Sec-Fetch-Site", "cross-site")}, page, "/x", false},
		{"an older browser", "GET", "/x", []ask{accept(htmlFirst)}, page, "/x", false},
		{"an older browser with another's credential", "GET", "/x", []ask{accept(htmlFirst), header("Authorization", "Basic eDp5")}, page, "/x", false},
		{"with a dead cookie", "GET", "/x", []ask{mode("navigate"), dead}, page, "/x", true},
		{"with a bad cookie", "GET", "/x", []ask{mode("navigate"), cookie("x")}, page, "/x", true},
		{"a page of ours with a bad cookie", "GET", "/auth/password?next=%2Fy", []ask{mode("navigate"), cookie("x")}, page, "/auth/password?next=%2Fy", true},
		{"a path that reads like another host", "GET", "//evil.example/x", []ask{mode("navigate")}, page, "/evil.example/x", false},

		{"a fetch", "GET", "/x", []ask{mode("cors"), accept(htmlFirst)}, required, "", false},
		{"a fetch with a dead cookie", "GET", "/x", []ask{mode("same-origin"), dead}, over, "", true},
		{"a fetch of a page of ours", "GET", "/auth/password", []ask{mode("cors")}, required, "", false},
		{"an image", "GET", "/x", []ask{mode("no-cors"), header("Sec-Fetch-Dest", "image")}, required, "", false},
		{"half of what browsers say", "GET", "/x", []ask{header("Sec-Fetch-Dest", "document"), accept(htmlFirst)}, required, "", false},
		{"curl", "GET", "/x", []ask{accept("*/*")}, required, "", false},
		{"curl at a page of ours", "GET", "/auth/password", []ask{accept("*/*")}, required, "", false},
		{"nothing said", "GET", "/x", nil, required, "", false},
		{"JSON wanted", "GET", "/x", []ask{accept("application/json")}, required, "", false},
		{"JSON wanted more", "GET", "/x", []ask{accept("text/html;q=0.8, application/json")}, required, "", false},
		{"HTML not wanted", "GET", "/x", []ask{accept("text/html;q=0")}, required, "", false},
		{"an older browser that posts", "POST", "/x", []ask{accept(htmlFirst)}, required, "", false},
		{"an older browser's HEAD", "HEAD", "/x", []ask{accept(htmlFirst)}, required, "", false},
		{"a bad token", "GET", "/x", []ask{mode("navigate"), bearer("x")}, invalid, "", false},
		{"an empty token", "GET", "/x", []ask{mode("navigate"), header("Authorization", "Bearer")}, invalid, "", false},
		{"a bad key", "GET", "/x", []ask{mode("navigate"), apiKey("x")}, invalid, "", false},
		{"a bad key, older browser", "GET", "/x", []ask{accept(htmlFirst), apiKey("x")}, invalid, "", false},
		{"a bad key beside a bad cookie", "GET", "/x", []ask{mode("navigate"), apiKey("x"), cookie("x")}, invalid, "", false},
		{"a bad token at a page of ours", "GET", "/auth/password", []ask{mode("navigate"), bearer("x")}, invalid, "", false},
		{"a dead session's token", "GET", "/x", []ask{mode("navigate"), bearer(value)}, invalid, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := d.do(c.method, c.path, c.asks...)
			a.t = t
			a.cleared(c.cleared)
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			if c.message == page {
				want := "/auth/login"
				if c.next != "" {
					want += "?next=" + url.QueryEscape(c.next)
				}
				if got := a.sentTo(); got != want {
					t.Errorf("sent to %s, want %s", got, want)
				}
				return
			}
			if c.method == "HEAD" {
				a.want(http.StatusUnauthorized)
			} else {
				a.refused(http.StatusUnauthorized, c.message)
			}
			if got := a.header.Get("WWW-Authenticate"); got != "Bearer" {
				t.Errorf("WWW-Authenticate %q", got)
			}
		})
	}
	// A key is nobody who could have a password, and a program: JSON again.
	d.do("GET", "/auth/password", apiKey(ownerKey), mode("navigate")).refused(http.StatusForbidden, "insufficient permissions")
	// Two cookies that differ are for the page to say, and it offers a way on.
	d.do("GET", "/auth/password", cookie("a"), cookie("b"), mode("navigate")).want(http.StatusBadRequest)
	d.do("GET", "/auth/login", cookie("a"), cookie("b"), mode("navigate")).says(http.StatusOK, "")
}

// landsOn is the origin to which a browser at base goes for a Location, as the WHATWG URL standard
// reads it (sections 4.4 and 4.5); "elsewhere" for a URL that is of no host.
func landsOn(base *url.URL, location string) string {
	s := strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	scheme := base.Scheme
	if m := regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*):`).FindStringSubmatch(s); m != nil {
		scheme, s = strings.ToLower(m[1]), s[len(m[0]):]
		switch {
		case scheme == base.Scheme && !strings.HasPrefix(s, "//"):
		case scheme == "http" || scheme == "https" || scheme == "ws" || scheme == "wss" || scheme == "ftp":
			s = "//" + s
		default:
			return "elsewhere"
		}
	}
	path, _, _ := strings.Cut(s, "?")
	path, _, _ = strings.Cut(path, "#")
	path = strings.ReplaceAll(path, `\`, "/")
	if !strings.HasPrefix(path, "//") {
		return scheme + "://" + base.Host
	}
	authority, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return scheme + "://" + authority[strings.LastIndex(authority, "@")+1:]
}

func TestTheJudgeOfLocationsKnowsOpenRedirects(t *testing.T) {
	t.Parallel()
	base := &url.URL{Scheme: "http", Host: "h:1"}
	for location, want := range map[string]string{
		"/x": "http://h:1", "x": "http://h:1", "?x": "http://h:1", "": "http://h:1", "http:x": "http://h:1", "/.//e": "http://h:1",
		"//e/x": "http://e", "/\\e": "http://e", "\\\\e": "http://e", "\t//e": "http://e", "/\t/e": "http://e", "///e": "http://e",
		"http://h:1@e/": "http://e", "https:e": "https://e", "http://e?x": "http://e", "javascript:alert(1)": "elsewhere", "HTTPS:\\e": "https://e",
	} {
		if got := landsOn(base, location); got != want {
			t.Errorf("%q lands on %s, want %s", location, got, want)
		}
	}
}

func TestCK9AfterSigningInABrowserStaysHere(t *testing.T) {
	inProgramAndLibrary(t, afterSigningInABrowserStaysHere)
}

func afterSigningInABrowserStaysHere(t *testing.T, open func(t *testing.T, settings ...string) *door) {
	d := open(t)
	d.setUp()
	base, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, value := d.signIn("root", rootPassword)
	leave := regexp.MustCompile(`<a href="([^"]*)">Leave it as it is</a>`)
	for _, c := range []struct{ next, want string }{
		{"/x?y=1", "/x?y=1"},
		{"//evil.example", "/"},
		{"///evil.example", "/"},
		{`/\evil.example`, "/"},
		{`\\evil.example`, "/"},
		{`\/evil.example`, "/"},
		{"https:evil.example", "/"},
		{"https://evil.example", "/"},
		{"http:evil.example", "/"},
		{"/%09/evil.example", "/"},
		{"/%2f%2fevil.example", "/"},
		{"/%5cevil.example", "/"},
		{"http://" + base.Host + "@evil.example", "/"},
		{"http://" + base.Host + ".evil.example", "/"},
		{"http://" + base.Host + "/x", "/"}, // ours, but not how we write it
		{"//" + base.Host + "/x", "/"},
		{"@evil.example", "/"},
		{".evil.example", "/"},
		{":80@evil.example", "/"},
		{"javascript:alert(1)", "/"},
		{"JaVaScRiPt:alert(1)", "/"},
		{"data:text/html,<script>alert(1)</script>", "/"},
		{"/x\r\nLocation: https://evil.example", "/"},
		{"/x\r\n\r\n<script>alert(1)</script>", "/"},
		{"/%0d%0aLocation:%20https://evil.example", "/"},
		{"/x?y=%0d%0aLocation:%20https://evil.example", "/x?y=%0d%0aLocation:%20https://evil.example"},
		{"/" + strings.Repeat("x", 16<<10), "/"},
		{"//" + strings.Repeat("x", 16<<10), "/"},
		{"/.//evil.example", "/evil.example"},
		{"/x/..//evil.example", "/evil.example"},
		{"/%2e//evil.example", "/evil.example"},
		{"/%2e/%2fevil.example", "/"},
		{"/..;//evil.example", "/"},
		{"/\t/evil.example", "/"},
		{"\t//evil.example", "/"},
		{"/\n/evil.example", "/"},
		{"\x00//evil.example", "/"},
		{" //evil.example", "/"},
		{"/#//evil.example", "/"},
		{"/?//evil.example", "/?//evil.example"},
		{"", "/"},
	} {
		got := map[string]string{}
		query := "?next=" + url.QueryEscape(c.next)
		got["the form"] = d.do("GET", "/auth/login"+query).says(http.StatusOK, "").hidden("next")
		got["the sign-in"] = d.do("POST", "/auth/login", posts(fieldsOf("username", "root", "password", rootPassword, "next", c.next))).sentTo()
		page := d.do("GET", "/auth/password"+query, cookie(value)).says(http.StatusOK, "")
		got["the form for a password"] = page.hidden("next")
		if m := leave.FindStringSubmatch(page.body); m != nil {
			got["the way out"] = html.UnescapeString(m[1])
		}
		for where, target := range got {
			// html/template writes what is none of a URL's in its own way; it means the same.
			if target != c.want && !(where == "the way out" && strings.EqualFold(target, c.want)) {
				t.Errorf("%.60q: %s leads to %.60q, want %q", c.next, where, target, c.want)
			}
			if on := landsOn(base, target); on != d.URL {
				t.Errorf("%.60q: %s leads a browser to %s", c.next, where, on)
			}
		}
		if len(got) != 4 {
			t.Errorf("%.60q: %v", c.next, got)
		}
	}
	// At most as long as a request may be.
	long := "/" + strings.Repeat("x", 60<<10)
	if got := d.do("POST", "/auth/login", posts(fieldsOf("username", "root", "password", rootPassword, "next", long))).sentTo(); got != "/" {
		t.Errorf("sent to %.60s", got)
	}
	if got := d.do("GET", "/auth/login?next=/x&next=//evil.example").hidden("next"); got != "/" {
		t.Errorf("of two, %s", got)
	}
	// The query of a POST has no say.
	if got := d.do("POST", "/auth/login?next=/y&username=eve", posts(fieldsOf("username", "root", "password", rootPassword))).sentTo(); got != "/" {
		t.Errorf("sent to %s", got)
	}
}

func TestCK13PagesAreGuarded(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		d := newDoor(t, "trusted_proxies=127.0.0.1", "open_mode=never")
		d.setUp()
		_, value := d.signIn("root", rootPassword)
		proto := header("X-Forwarded-Proto", map[bool]string{false: "http", true: "https"}[secure])
		good := fieldsOf("username", "root", "password", rootPassword)
		for _, c := range []struct {
			a     answer
			cache string
		}{
			{d.do("GET", "/auth/login", proto).want(http.StatusOK), "no-store"},
			{d.do("HEAD", "/auth/login", proto).want(http.StatusOK), "no-store"},
			{d.do("POST", "/auth/login", proto, posts(good)).want(http.StatusSeeOther), "no-store"},
			{d.do("POST", "/auth/login", proto, posts(fieldsOf("username", "x", "password", "x"))).want(http.StatusUnauthorized), "no-store"},
			{d.do("POST", "/auth/login", proto, posts(good), header("Sec-Fetch-Site", "x"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }).want(http.StatusForbidden), "no-store"},
			{d.do("GET", "/auth/password", proto, cookie(value)).want(http.StatusOK), "no-store"},
			{d.do("POST", "/auth/password", proto, cookie(value), posts(fieldsOf("a", "b"))).want(http.StatusBadRequest), "no-store"},
			{d.do("GET", "/auth/password", proto, cookie("a"), cookie("b")).want(http.StatusBadRequest), "no-store"},
			{d.do("GET", "/auth/style.css", proto).want(http.StatusOK), "no-cache"},
		} {
			want := map[string]string{
				"Content-Security-Policy":    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
				"X-Content-Type-Options":     "nosniff",
				"X-Frame-Options":            "DENY",
				"Referrer-Policy":            "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin",
				"Cache-Control":              c.cache,
				"Strict-Transport-Security":  map[bool]string{true: "max-age=31536000"}[secure],
			}
			for name, value := range want {
				if got := strings.Join(c.a.header[http.CanonicalHeaderKey(name)], ", "); got != value {
					t.Errorf("%s: %s %q, want %q", c.a.what, name, got, value)
				}
			}
			if strings.Contains(c.a.body, "<script") || strings.Contains(c.a.body, "style=") || regexp.MustCompile(`(?:href|src|action)="[^/]`).MatchString(c.a.body) {
				t.Errorf("%s: the page holds a script, a style or an address that is not ours: %s", c.a.what, c.a.body)
			}
		}
	}
}

// TestCK5FormsNeedOurPage: of a form a browser that says nothing else must say by its Referer which page it
// comes from.
func TestCK5FormsNeedOurPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "trusted_origins=https://app.example")
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	judge := func(name string, ok bool, said ask) {
		t.Helper()
		in := d.do("POST", "/auth/login", formBody(fieldsOf("username", "root", "password", rootPassword).Encode()), said)
		changed := d.do("POST", "/auth/password", cookie(value), formBody(""), said)
		if ok {
			in.want(http.StatusSeeOther)
			changed.says(http.StatusBadRequest, "The current password is missing.")
			return
		}
		for _, a := range []answer{in, changed} {
			a.what += ", " + name
			a.says(http.StatusForbidden, notFromHere).cleared(false)
			if len(a.header["Set-Cookie"]) > 0 {
				t.Errorf("%s: Set-Cookie %q", a.what, a.header["Set-Cookie"])
			}
		}
	}
	for _, o := range origins {
		ok := o.ok && (o.site != "" || o.origin != "")
		judge(o.name, ok, fetch(o.site, o.origin))
		// A Referer decides only where the browser says nothing better.
		judge(o.name+", with a Referer of ours", o.ok, func(r *http.Request) {
			fetch(o.site, o.origin)(r)
			r.Header.Set("Referer", d.URL+"/auth/login")
		})
	}
	for referer, ok := range map[string]bool{
		"":                                  false,
		"HERE/auth/login?next=%2Fx":         true,
		"HERE":                              true,
		"https://app.example/form":          true,
		"http://app.example/form":           false,
		"https://evil.example/":             false,
		"https://evil.example/?HERE":        false,
		"HERE.evil.example/":                false,
		"HERE@evil.example/":                false,
		"http://127.0.0.1:1/":               false,
		"/auth/login":                       false,
		"about:blank":                       false,
		"https://app.example.evil.example/": false,
	} {
		judge("Referer "+referer, ok, header("Referer", strings.ReplaceAll(referer, "HERE", d.URL)))
	}
	// What a page of another site can send without asking is no form of ours, wherever it says it comes from.
	for _, kind := range []string{"text/plain", "multipart/form-data; boundary=x", "application/json", ""} {
		for _, path := range []string{"/auth/login", "/auth/password"} {
			d.do("POST", path, cookie(value), posts(fieldsOf("username", "root", "password", rootPassword)), func(r *http.Request) {
				r.Header.Del("Content-Type")
				if kind != "" {
					r.Header.Set("Content-Type", kind)
				}
			}).says(http.StatusUnsupportedMediaType, "Content-Type: must be application/x-www-form-urlencoded.")
		}
	}
}

// TestFormBody holds what a form must be. What was typed as a name comes back, a password never.
func TestFormBody(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	d.keepsQuiet("s3cret-in-a-bad-form")
	const secret = "s3cret-in-a-bad-form"
	good := fieldsOf("username", "root", "password", rootPassword).Encode()
	raw := func(body string) ask {
		return func(r *http.Request) { formBody(body)(r); navigation("same-origin")(r) }
	}
	for _, path := range []string{"/auth/login", "/auth/password"} {
		for _, c := range []struct {
			name   string
			ask    ask
			status int
			says   string
		}{
			{"a half escape", raw("username=%4&password=" + secret), 400, "The form is not a well-formed form."},
			{"a semicolon", raw("username=root;password=" + secret), 400, "The form is not a well-formed form."},
			{"a name twice", raw("username=a&password=" + secret + "&username=root"), 400, "The form gives a field twice."},
			{"a name twice, alike", raw(good + "&password=" + secret), 400, "The form gives a field twice."},
			{"a name twice in disguise", raw(good + "&%75sername=root"), 400, "The form gives a field twice."},
			{"next twice", raw(good + "&next=/x&next=/y"), 400, "The form gives a field twice."},
			{"not UTF-8", raw("username=%ff&password=" + secret), 400, "The form is not UTF-8."},
			{"a name that is not UTF-8", raw(good + "&%ff=1"), 400, "The form is not UTF-8."},
			{"compressed", func(r *http.Request) { raw(good)(r); header("Content-Encoding", "gzip")(r) }, 415, "Content-Encoding: must be absent."},
			{"two types", func(r *http.Request) { raw(good)(r); header("Content-Type", "text/plain")(r) }, 415, "Content-Type: must be application/x-www-form-urlencoded."},
			{"65 KiB", raw(good + "&x=" + strings.Repeat("x", 64<<10)), 413, "The form must not exceed 64 KiB."},
		} {
			a := d.do("POST", path, cookie(value), c.ask)
			a.what += ", " + c.name
			a.says(c.status, c.says)
			if strings.Contains(a.body, secret) || strings.Contains(a.body, rootPassword) {
				t.Errorf("%s: the page holds a password", a.what)
			}
		}
	}
	for body, says := range map[string]string{
		"":                           "The username is missing.",
		"password=x":                 "The username is missing.",
		"username=root":              "The password is missing.",
		"USERNAME=root&Password=x":   "The username is missing.",
		"username=root&password[]=x": "The password is missing.",
	} {
		d.do("POST", "/auth/login", raw(body)).says(http.StatusBadRequest, says)
	}
	d.do("POST", "/auth/login", raw("username=&password=")).says(http.StatusUnauthorized, wrongLogin)
	for _, as := range []ask{
		raw(good + "&remember=on&submit=Sign+in"),
		func(r *http.Request) {
			raw(good)(r)
			r.Header.Set("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
		},
	} {
		d.do("POST", "/auth/login", as).want(http.StatusSeeOther)
	}
	for _, m := range []string{"PUT", "DELETE", "OPTIONS"} {
		if got := d.do(m, "/auth/login").want(http.StatusMethodNotAllowed).header.Get("Allow"); got != "GET, HEAD, POST" {
			t.Errorf("%s: Allow %q", m, got)
		}
	}
}

// TestPagesEscapeWhatTheyRepeat, and stay small whatever they repeat.
func TestPagesEscapeWhatTheyRepeat(t *testing.T) {
	t.Parallel()
	const most = 20 << 10
	d := newDoor(t)
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	evil := `"><script>alert(1)</script><a b='` + "\u2028{{.}}`"
	a := d.do("POST", "/auth/login", posts(fieldsOf("username", evil, "password", evil, "next", "/x?"+evil))).says(http.StatusUnauthorized, wrongLogin)
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "'") || !strings.Contains(a.body, html.EscapeString(evil)[:20]) {
		t.Error(a.body)
	}
	worst := "/?" + strings.Repeat(`"`, 2046)
	for _, a := range []answer{
		d.do("POST", "/auth/login", posts(fieldsOf("username", strings.Repeat(`"`, 256), "password", "x", "next", worst))).want(http.StatusUnauthorized),
		d.do("POST", "/auth/login", posts(fieldsOf("username", strings.Repeat(`"`, 15000), "password", "x", "next", worst))).want(http.StatusUnauthorized),
		d.do("GET", "/auth/login?next="+url.QueryEscape(worst)).want(http.StatusOK),
		d.do("GET", "/auth/password?next="+url.QueryEscape(worst), cookie(value)).want(http.StatusOK),
		d.do("GET", "/auth/style.css").want(http.StatusOK),
	} {
		if len(a.body) > most {
			t.Errorf("%.40s: %d bytes", a.what, len(a.body))
		}
	}
	if got := len(d.do("GET", "/auth/login").body) + len(d.do("GET", "/auth/style.css").body); got > 12<<10 {
		t.Errorf("the sign-in page and its style take %d bytes", got)
	}
}

// TestLK3FormsShareTheCounter with the JSON doors, each with the others.
func TestLK3FormsShareTheCounter(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.keepsQuiet(wrongPassword, "a new one of hers")
	_, token, value := d.newUser(root, "ann", "viewer")
	form := func(name, password string) answer {
		return d.do("POST", "/auth/login", posts(fieldsOf("username", name, "password", password)))
	}
	change := func(current string) answer {
		return d.do("POST", "/auth/password", cookie(value), posts(fieldsOf("current_password", current, "new_password", "a new one of hers", "new_password_again", "a new one of hers")))
	}
	form("ann", wrongPassword).says(http.StatusUnauthorized, wrongLogin)
	d.guess("ann", 1)
	change(wrongPassword).says(http.StatusBadRequest, "The current password is wrong.")
	d.changePassword(bearer(token), wrongPassword, "a new one of hers").refused(http.StatusBadRequest, "current_password: is wrong")
	form("ANN", wrongPassword).says(http.StatusUnauthorized, wrongLogin)

	d.login("ann", "password of ann").locked(freshLock, 15*time.Minute)
	a := form("ann", "password of ann").says(http.StatusTooManyRequests, lockedLogin)
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "password of ann") || len(a.header["Set-Cookie"]) > 0 {
		t.Errorf("header %v, body %s", a.header, a.body)
	}
	change("password of ann").says(http.StatusTooManyRequests, lockedLogin)
	// A name that is nobody's is told the same.
	for range 5 {
		form("nobody", wrongPassword).says(http.StatusUnauthorized, wrongLogin)
	}
	form("nobody", wrongPassword).says(http.StatusTooManyRequests, lockedLogin)

	d.clock.advance(14*time.Minute + 30*time.Second)
	form("ann", "password of ann").says(http.StatusTooManyRequests, strings.Replace(lockedLogin, "15 minutes", "a minute", 1))
	d.clock.advance(time.Minute)
	form("ann", "password of ann").want(http.StatusSeeOther)
}

// TestSeveralTabs: each form works, whenever it was loaded and whoever has signed in since.
func TestSeveralTabs(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.newUser(d.setUp(), "ann", "viewer")
	b := d.browser(t)
	first, second := b.load("/auth/login?next=%2Fa"), b.load("/auth/login?next=%2Fb")
	if got := b.submit(second, fieldsOf("username", "ann", "password", "password of ann")).sentTo(); got != "/b" {
		t.Errorf("the second tab goes to %s", got)
	}
	if got := b.submit(first, fieldsOf("username", "root", "password", rootPassword)).sentTo(); got != "/a" {
		t.Errorf("the first tab goes to %s", got)
	}
	if got := b.load("/api/auth/me").want(http.StatusOK).str("username"); got != "root" {
		t.Errorf("signed in as %s", got)
	}
}

// TestWhoMayNotSeeAPageIsToldSo by a page, which says by what id an administrator finds out why.
func TestWhoMayNotSeeAPageIsToldSo(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settingsFile(t, "routes:\n  - {path: /secret, role: admin}\n"))
	root := d.setUp()
	d.newUser(root, "ann", "viewer")
	ann := d.signedIn(t, "ann", "password of ann")
	a := ann.load("/secret").says(http.StatusForbidden, "You may not do that.")
	id := a.header.Get("X-Request-Id")
	if !strings.Contains(a.body, "<code>"+id+"</code>") || !strings.Contains(a.body, `<a href="/auth/account">`) {
		t.Errorf("the page says neither the request id nor where to go: %s", a.body)
	}
	if found := d.signedIn(t, "root", rootPassword).lookUp(id).want(http.StatusOK); !strings.Contains(found.body, "insufficient permissions") {
		t.Errorf("an administrator finds %s", found.body)
	}
	if own := ann.load("/auth/admin/users").says(http.StatusForbidden, "You may not do that."); !strings.Contains(own.body, own.header.Get("X-Request-Id")) {
		t.Errorf("our own page does not say the request id: %s", own.body)
	}
	d.do("GET", "/secret", apiKey("brk_none")).want(http.StatusUnauthorized)
	d.do("GET", "/secret", bearer(root)).want(http.StatusNotFound) // the sample has no such page
}

// TestPasswordPage: who must choose a password is led to where it is done, and then on.
func TestPasswordPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.keepsQuiet("chosen by root", "chosen by herself", "her third one")
	id, _, _ := d.newUser(root, "ann", "viewer")
	d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
	choose := func(current, next, again string) url.Values {
		return fieldsOf("username", "root", "current_password", current, "new_password", next, "new_password_again", again)
	}
	b := d.browser(t)
	in := b.submit(b.follow(b.load("/api/pipelines?x=1")), fieldsOf("username", "ann", "password", "chosen by root"))
	if got := in.sentTo(); got != "/auth/password?next=%2Fapi%2Fpipelines%3Fx%3D1" {
		t.Errorf("sent to %s", got)
	}
	if a := b.load("/api/pipelines?x=1").want(http.StatusSeeOther); a.header.Get("Location") != "/auth/password?next=%2Fapi%2Fpipelines%3Fx%3D1" {
		t.Errorf("to see a page she is sent to %s", a.header.Get("Location"))
	}
	script := func(r *http.Request) { // gets JSON, as programs do
		for _, c := range b.client.Jar.Cookies(r.URL) {
			r.AddCookie(c)
		}
		r.Header.Set("Sec-Fetch-Mode", "cors")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	d.do("GET", "/api/pipelines", script).refused(http.StatusForbidden, "password change required")
	form := b.follow(in).says(http.StatusOK, "")
	for _, want := range []string{"<strong>ann</strong>", "Choose your own before you go on", "At least 8 characters", `autocomplete="new-password"`, `autocomplete="current-password"`} {
		if !strings.Contains(form.body, want) {
			t.Errorf("no %s in %s", want, form.body)
		}
	}
	if strings.Contains(form.body, "Leave it as it is") {
		t.Error("who must change it may leave it")
	}
	for _, c := range []struct {
		fields url.Values
		says   string
		field  string
	}{
		{choose("chosen by root", "short", "short"), "The new password must have at least 8 characters.", "new_password"},
		{choose("chosen by root", "password", "password"), "The new password is one of the most common passwords; choose another.", "new_password"},
		{choose("chosen by root", "chosen by root", "chosen by root"), "The new password must not be the one that somebody else has chosen.", "new_password"},
		{choose("chosen by root", "chosen by herself", "chosen by  herself"), "The repeated password is not the same as the new password.", "new_password_again"},
		{choose("", "chosen by herself", "chosen by herself"), "The current password is missing.", "current_password"},
		{choose(wrongPassword, "chosen by herself", "chosen by herself"), "The current password is wrong.", "current_password"},
	} {
		a := b.submit(form, c.fields).says(http.StatusBadRequest, c.says)
		if a.hidden("next") != "/api/pipelines?x=1" || strings.Contains(a.body, "chosen by") {
			t.Errorf("%s: the form comes back as %s", c.says, a.body)
		}
		if invalid := regexp.MustCompile(`<input id="([a-z_]+)"[^>]*aria-invalid="true"`).FindAllStringSubmatch(a.body, -1); len(invalid) != 1 || invalid[0][1] != c.field {
			t.Errorf("%s: marked is %q, want %s", c.says, invalid, c.field)
		}
		if n := strings.Count(a.body, " autofocus"); n != 1 {
			t.Errorf("%s: %d fields have the focus", c.says, n)
		}
	}
	b.submit(form, choose("chosen by root", "chosen by herself", "chosen by herself"))
	b.load("/api/pipelines").want(http.StatusOK) // the same session, free now
	d.login("ann", "chosen by root").refused(http.StatusUnauthorized, "invalid credentials")

	// By choice: the other sessions end, this one lives on.
	token, other := d.signIn("ann", "chosen by herself")
	form = b.load("/auth/password").says(http.StatusOK, "")
	if got := b.submit(form, choose("chosen by herself", "her third one", "her third one")).sentTo(); got != "/" {
		t.Errorf("sent to %s", got)
	}
	b.load("/api/pipelines").want(http.StatusOK)
	d.do("GET", "/api/pipelines", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
	d.do("GET", "/auth/password", cookie(other), navigation("none")).cleared(true).want(http.StatusSeeOther)
	d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK) // the name in the form is nobody's say

	// Sent to this page by signing in, nobody is sent to it twice.
	d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
	b = d.browser(t)
	in = b.submit(b.follow(b.load("/auth/password?next=%2Fx")), fieldsOf("username", "ann", "password", "chosen by root"))
	if got := in.sentTo(); got != "/auth/password?next=%2Fx" {
		t.Errorf("sent to %s", got)
	}
}

func TestPagesInTrouble(t *testing.T) {
	t.Parallel()
	e := newEchoService(t)
	closed := newDoor(t, "upstream="+e.URL) // nobody is set up
	closed.do("GET", "/auth/login", navigation("none")).says(http.StatusOK, "")
	if got := closed.do("GET", "/auth/password?next=%2Fx", navigation("none")).sentTo(); got != "/auth/setup" {
		t.Errorf("sent to %s", got)
	}

	open := newDoor(t)
	open.do("GET", "/auth/login", navigation("none")).says(http.StatusOK, "")
	open.do("GET", "/auth/login", navigation("none"), header("Host", "rebound.example")).says(http.StatusForbidden, notFromHere)

	d := newDoor(t, "upstream="+e.URL)
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	d.do("GET", "/auth/password", cookie(value)).want(http.StatusOK)
	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	const away = "That cannot be done at the moment. Try again in a few seconds."
	a := d.do("POST", "/auth/login", posts(fieldsOf("username", "root", "password", rootPassword, "next", "/x"))).says(http.StatusServiceUnavailable, away)
	if a.header.Get("Retry-After") == "" || a.hidden("next") != "/x" || !strings.Contains(a.body, ` value="root" `) || strings.Contains(a.body, rootPassword) {
		t.Errorf("header %v, body %s", a.header, a.body)
	}
	d.do("POST", "/auth/password", cookie(value), posts(fieldsOf("current_password", rootPassword, "new_password", "another one of his", "new_password_again", "another one of his"))).
		says(http.StatusServiceUnavailable, away)
}

func TestTheStylesheetMayBeKept(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "paths.prefix=/door")
	link := regexp.MustCompile(`<link rel="stylesheet" href="(/door/auth/style\.css\?v=[0-9a-f]{16})">`).FindStringSubmatch(d.do("GET", "/door/auth/login").body)
	if link == nil {
		t.Fatal("the page names no stylesheet")
	}
	a := d.do("GET", link[1], cookie("stale")).want(http.StatusOK)
	if a.header.Get("Content-Type") != "text/css; charset=utf-8" || a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || a.header.Get("ETag") == "" {
		t.Errorf("header %v", a.header)
	}
	if strings.Contains(a.body, "url(") || strings.Contains(a.body, "@import") {
		t.Error("the stylesheet asks for something else")
	}
	if got := d.do("GET", link[1], header("If-None-Match", a.header.Get("ETag"))).want(http.StatusNotModified).body; got != "" {
		t.Errorf("body %q", got)
	}
	if got := d.do("GET", "/door/auth/style.css?v=older").want(http.StatusOK).header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control %q", got)
	}
	if got := d.do("HEAD", link[1]).want(http.StatusOK); got.body != "" || got.header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %v %q", got.header, got.body)
	}
	d.do("POST", "/door/auth/style.css").want(http.StatusMethodNotAllowed)
	d.do("GET", "/auth/login", navigation("none")).refused(http.StatusNotFound, "path not found") // the sample's: no door of ours
}
