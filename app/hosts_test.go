package app

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sharedDoor is a door with one sign-in for all hosts beneath example.com.
func sharedDoor(t *testing.T, settings ...string) *door {
	t.Helper()
	return newDoor(t, append([]string{"public_url=https://auth.example.com", "cookie.domain=example.com", "redirect.allow=app.example.com,*.apps.example.com"}, settings...)...)
}

func onHost(host string) ask { return header("Host", host) }

func TestHostsAtStart(t *testing.T) {
	t.Parallel()
	const public, domain, allow = "public_url", "cookie.domain", "redirect.allow"
	const suffix = "is a public suffix, below which anybody can have a host: browsers drop a cookie for it; it must be your own name below that"
	for name, c := range map[string]struct {
		flags map[string]string
		want  []string
	}{
		"all well":                   {map[string]string{public: "https://auth.example.com", domain: "Example.com", allow: "app.example.com, *.example.com:8443"}, nil},
		"the domain itself":          {map[string]string{public: "https://example.com", domain: "example.com", allow: "app.example.com"}, nil},
		"empty":                      {map[string]string{domain: "", allow: ""}, nil},
		"below a suffix":             {map[string]string{public: "https://auth.me.github.io", domain: "me.github.io", allow: "x.me.github.io"}, nil},
		"no public_url":              {map[string]string{domain: "example.com"}, []string{"cookie.domain (--cookie-domain): needs public_url, the host at which people sign in for all others, such as https://auth.example.com"}},
		"no public_url to lead from": {map[string]string{allow: "app.example.com"}, []string{"redirect.allow (--redirect-allow): needs cookie.domain: without it a session counts for one host, and who comes back to another has none"}},
		"no domain": {map[string]string{public: "https://auth.example.com", allow: "app.example.com"},
			[]string{"redirect.allow (--redirect-allow): needs cookie.domain: without it a session counts for one host, and who comes back to another has none"}},
		"elsewhere": {map[string]string{public: "https://auth.example.org", domain: "example.com"},
			[]string{"cookie.domain (--cookie-domain): example.com is not above the host of public_url, auth.example.org: browsers would drop the cookie; let it be that host or what is above it"}},
		"a host without the cookie": {map[string]string{public: "https://auth.example.com", domain: "example.com", allow: "app.example.com,app.example.org"},
			[]string{"redirect.allow (--redirect-allow): app.example.org is not beneath cookie.domain example.com: a browser has no cookie there and would be sent to sign in again and again; leave it out"}},
		"com":       {map[string]string{public: "https://example.com", domain: "com"}, []string{`cookie.domain (--cookie-domain): "com" is a single label, for which browsers keep no cookie; it must be a name like example.com`}},
		"co.uk":     {map[string]string{public: "https://example.co.uk", domain: "co.uk"}, []string{`cookie.domain (--cookie-domain): "co.uk" ` + suffix}},
		"github.io": {map[string]string{public: "https://me.github.io", domain: "GitHub.io"}, []string{`cookie.domain (--cookie-domain): "GitHub.io" ` + suffix}},
		"any.ck":    {map[string]string{public: "https://me.any.ck", domain: "any.ck"}, []string{`cookie.domain (--cookie-domain): "any.ck" ` + suffix}},
		"an address": {map[string]string{public: "https://192.0.2.1", domain: "192.0.2.1"},
			[]string{`cookie.domain (--cookie-domain): "192.0.2.1" is an address, which has no hosts beneath it; leave it out, or give the hosts names`}},
		"a leading dot": {map[string]string{public: "https://auth.example.com", domain: ".example.com"},
			[]string{`cookie.domain (--cookie-domain): ".example.com" must be a name alone, like example.com: what is beneath it is meant in any case`}},
		"a scheme in a host": {map[string]string{public: "https://auth.example.com", domain: "example.com", allow: "https://app.example.com"},
			[]string{"redirect.allow (--redirect-allow): must be hosts like app.example.com, without a scheme: that of public_url holds for all"}},
		"a cookie of one host": {map[string]string{public: "https://auth.example.com", domain: "example.com", allow: "app.example.com", "names.cookie": "__host-session"},
			[]string{`names.cookie (--names-cookie): "__host-session" begins with __Host-, which says that the cookie is for one host alone, against cookie.domain (--cookie-domain); choose another name`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world{flags: c.flags}.wants(t, c.want...)
		})
	}
	for _, c := range []struct {
		flags map[string]string
		want  []string
	}{
		{map[string]string{public: "https://auth.example.com", domain: "example.com"},
			[]string{"cookie.domain (--cookie-domain): no other host than that of public_url is named in redirect.allow, upstreams or routes: who is sent to sign in from another does not come back to the page"}},
		{map[string]string{public: "https://auth.example.com", domain: "example.com", "upstreams": "app http://localhost:1 app.example.com/**, old http://localhost:2 old.example.org/**, all http://localhost:3 /**"},
			[]string{"upstreams (--upstreams entry 2): old.example.org is not beneath cookie.domain (--cookie-domain) example.com: people sign in there by themselves"}},
		{map[string]string{public: "https://auth.example.com", domain: "example.com", "routes": "app.example.com/** viewer"}, nil},
	} {
		if l := (world{flags: c.flags}).load(t); len(l.problems) > 0 || !slices.Equal(l.warnings, c.want) {
			t.Errorf("problems %v, warnings %q, want %q", l.problems, l.warnings, c.want)
		}
	}
}

// sets is what an answer does to cookies of a name, each as Domain, Max-Age and whether it has a value.
func (a answer) sets(name string) (all []string) {
	a.t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name != name {
			continue
		}
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || !c.Secure || len(c.String()) > 4096 {
			a.t.Errorf("%s: %s", a.what, c)
		}
		what := "set"
		if c.MaxAge < 0 && c.Value == "" {
			what = "cleared"
		}
		all = append(all, strings.TrimSpace(what+" "+c.Domain))
	}
	return all
}

func (a answer) setsExactly(name string, want ...string) answer {
	a.t.Helper()
	if got := a.sets(name); !slices.Equal(got, want) {
		a.t.Errorf("%s: %s is %q, want %q", a.what, name, got, want)
	}
	return a
}

// TestCK1CookiesOfManyHosts: each answer that sets or clears a cookie does so for all hosts, and
// clears that of the one host; where the host is not beneath the domain, for that host alone.
func TestCK1CookiesOfManyHosts(t *testing.T) {
	t.Parallel()
	d := sharedDoor(t)
	d.setUp()
	const session, device = "brokoli_session", "brokoli_session_device"
	good := jsonBody(credentialsJSON("root", rootPassword))
	form := posts(fieldsOf("username", "root", "password", rootPassword))
	for host, domain := range map[string]string{"auth.example.com": "example.com", "app.example.com": "example.com", "APP.example.com:443": "example.com", "other.example.com": "example.com", "app.example.org": "", "127.0.0.1:8080": ""} {
		set, cleared := []string{"cleared", "set " + domain}, []string{"cleared", "cleared " + domain}
		if domain == "" {
			set, cleared = []string{"set"}, []string{"cleared"}
		}
		in := d.do("POST", "/api/auth/login", onHost(host), good).want(http.StatusOK).setsExactly(session, set...).setsExactly(device, set...)
		value := in.sessionCookie()
		if value == in.str("token") {
			t.Error("the cookie is the token of the body")
		}
		d.do("POST", "/auth/login", onHost(host), form, onHost(host)).want(http.StatusSeeOther).setsExactly(session, set...).setsExactly(device, set...)
		d.do("POST", "/api/auth/logout", onHost(host), cookie(value)).want(http.StatusOK).setsExactly(session, cleared...)
		d.do("GET", "/x", onHost(host), cookie(value)).refused(http.StatusUnauthorized, "token blacklisted").setsExactly(session, cleared...)
		d.do("GET", "/x", onHost(host), cookie("x")).refused(http.StatusUnauthorized, "invalid token").setsExactly(session, cleared...)
		d.do("POST", "/api/auth/logout", onHost(host), cookie("x")).want(http.StatusOK).setsExactly(session, cleared...)
		// Ending one's own session elsewhere on the list of sessions is a sign-out.
		other := d.do("POST", "/api/auth/login", onHost(host), good).want(http.StatusOK).sessionCookie()
		ended := 0
		for _, s := range d.do("GET", "/api/auth/sessions", onHost(host), cookie(other)).want(http.StatusOK).field("sessions").([]any) {
			if m := s.(map[string]any); m["current"] == true {
				d.do("DELETE", "/api/auth/sessions/"+m["id"].(string), onHost(host), cookie(other)).want(http.StatusNoContent).setsExactly(session, cleared...)
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("%s: %d sessions are this one", host, ended)
		}
	}
}

// TestOneSignInCountsForAJar: with the cookies of a client that keeps them by RFC 6265, at the
// domain itself and beneath it.
func TestOneSignInCountsForAJar(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "public_url=http://example.com", "cookie.domain=example.com", "redirect.allow=*.example.com")
	d.setUp()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string) *url.URL { return &url.URL{Scheme: "http", Host: host, Path: "/"} }
	carry := func(host string) ask {
		return func(r *http.Request) {
			r.Host = host
			for _, c := range jar.Cookies(at(host)) {
				r.AddCookie(c)
			}
		}
	}
	keep := func(host string, a answer) answer {
		jar.SetCookies(at(host), (&http.Response{Header: a.header}).Cookies())
		return a
	}
	jar.SetCookies(at("example.com"), []*http.Cookie{{Name: "brokoli_session", Value: "from before", Path: "/"}})
	keep("example.com", d.do("POST", "/api/auth/login", carry("example.com"), jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK))
	for _, host := range []string{"example.com", "app.example.com", "a.b.example.com"} {
		d.do("GET", "/api/auth/me", carry(host)).want(http.StatusOK)
	}
	d.do("GET", "/api/auth/me", carry("evilexample.com")).want(http.StatusUnauthorized)
	keep("a.b.example.com", d.do("POST", "/api/auth/logout", carry("a.b.example.com")).want(http.StatusOK))
	d.do("GET", "/api/auth/me", carry("example.com")).refused(http.StatusUnauthorized, "token required")
}

// TestCK3TwoCookiesOfManyHosts: two that differ are a 400 that takes both away.
func TestCK3TwoCookiesOfManyHosts(t *testing.T) {
	t.Parallel()
	const twice = "Cookie: brokoli_session is given twice with different values"
	d := sharedDoor(t)
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	for _, asks := range [][]ask{{cookie(value), cookie("planted")}, {cookie("planted"), cookie(value)}, {header("Cookie", "brokoli_session=a; brokoli_session=b")}} {
		at := func(host string, more ...ask) []ask { return append(append([]ask{onHost(host)}, asks...), more...) }
		for _, host := range []string{"auth.example.com", "app.example.com", "other.example.com"} {
			d.do("GET", "/x", at(host)...).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session", "cleared", "cleared example.com")
			d.do("GET", "/x", at(host, navigation("none"))...).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session", "cleared", "cleared example.com")
			d.do("GET", "/api/auth/me", at(host)...).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session", "cleared", "cleared example.com")
			d.do("POST", "/api/auth/logout", at(host)...).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session", "cleared", "cleared example.com")
			d.do("GET", "/auth/login", at(host, navigation("none"))...).says(http.StatusOK, "").setsExactly("brokoli_session")
			d.do("GET", "/api/auth/unknown", at(host)...).want(http.StatusNotFound).setsExactly("brokoli_session")
			// Who shows a key is judged by the key.
			d.do("GET", "/x", at(host, bearer("x"))...).refused(http.StatusUnauthorized, "invalid token").setsExactly("brokoli_session")
		}
		// Of another host we do not know whose they are.
		d.do("GET", "/x", at("app.example.org")...).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session")
	}
	d.do("GET", "/x", onHost("app.example.com"), cookie(value), cookie(value)).want(http.StatusNotFound).setsExactly("brokoli_session")
	d.do("GET", "/x", onHost("app.example.com"), cookie(value)).want(http.StatusNotFound)
	plain := newDoor(t, "open_mode=never")
	plain.setUp()
	plain.do("GET", "/x", cookie("a"), cookie("b")).refused(http.StatusBadRequest, twice).setsExactly("brokoli_session")
}

// TestCK5NeighboursMayNotAct: a page acts on its own host with the cookie that all share, and no page of
// a neighbour does, whatever the browser's age.
func TestCK5NeighboursMayNotAct(t *testing.T) {
	t.Parallel()
	d := sharedDoor(t, "upstream="+upgrades(t).URL)
	d.setUp()
	_, value := d.signIn("root", rootPassword)
	const refused, passes = http.StatusForbidden, http.StatusOK
	for _, c := range []struct {
		host, site, origin string
		status             int
	}{
		{"app.example.com", "same-origin", "https://app.example.com", passes},
		{"app.example.com", "", "https://app.example.com", passes},
		{"app.example.com", "same-site", "https://auth.example.com", refused},
		{"app.example.com", "", "https://auth.example.com", refused},
		{"app.example.com", "same-site", "https://wiki.example.com", refused},
		{"app.example.com", "", "https://wiki.example.com", refused},
		{"app.example.com", "", "https://app.example.com:8443", refused},
		{"app.example.com", "", "https://example.com", refused},
		{"app.example.com", "", "https://app.example.com.evil.test", refused},
		{"auth.example.com", "same-origin", "https://auth.example.com", passes},
		{"auth.example.com", "same-site", "https://app.example.com", refused},
		{"auth.example.com", "", "https://app.example.com", refused},
		{"auth.example.com", "same-site", "", refused},
		{"auth.example.com", "", "null", refused},
		// A proxy in between that puts another Host: the page is ours all the same.
		{"door.internal:8081", "", "https://auth.example.com", passes},
		{"door.internal:8081", "", "https://app.example.com", refused},
	} {
		what := fmt.Sprintf("%+v", c)
		for path, body := range map[string]ask{"/x": formBody("x"), "/api/auth/logout": formBody("")} {
			_, fresh := d.signIn("root", rootPassword)
			a := d.do("POST", path, onHost(c.host), cookie(fresh), body, fetch(c.site, c.origin))
			if a.what = what; c.status == refused {
				a.refused(refused, crossOrigin)
				continue
			}
			a.want(c.status)
		}
		want := http.StatusForbidden
		if c.status == passes && c.host != "door.internal:8081" || c.host == "door.internal:8081" && c.origin == "https://auth.example.com" {
			want = http.StatusSwitchingProtocols
		}
		a := d.do("GET", "/socket", onHost(c.host), cookie(value), handshake, fetch(c.site, c.origin))
		a.what = "a WebSocket " + what
		a.want(want)
	}
	// Reached by HTTPS, a page that came in clear is not theirs.
	d.do("GET", "/socket", onHost("app.example.com"), cookie(value), handshake, fetch("", "http://app.example.com")).refused(refused, crossOrigin)
	// A header is nobody's ambient authority.
	token, _ := d.signIn("root", rootPassword)
	d.do("POST", "/x", onHost("app.example.com"), bearer(token), fetch("same-site", "https://wiki.example.com")).want(passes)
	// CK11: nor is a neighbour told that it may ask.
	pre := d.do("OPTIONS", "/x", onHost("app.example.com"), header("Origin", "https://wiki.example.com"), header("Access-Control-Request-Method", "POST")).refused(http.StatusUnauthorized, "token required")
	if pre.header.Get("Access-Control-Allow-Origin") != "" || pre.header.Get("Vary") != "Origin" {
		t.Errorf("%v", pre.header)
	}
	// The form of an older browser, by its Referer.
	d.do("POST", "/auth/login", onHost("auth.example.com"), formBody(fieldsOf("username", "root", "password", rootPassword).Encode()), header("Referer", "https://auth.example.com/auth/login")).want(http.StatusSeeOther)
	d.do("POST", "/auth/login", onHost("auth.example.com"), formBody(fieldsOf("username", "root", "password", rootPassword).Encode()), header("Referer", "https://app.example.com/")).want(refused)
}

// TestPX7WhoSaysWhichHostIsAskedFor: in the gateway the client's Host and a trusted proxy's word; in forward
// auth the asking proxy's. Whoever says it, a name that is not on the list is not repeated.
func TestPX7WhoSaysWhichHostIsAskedFor(t *testing.T) {
	t.Parallel()
	const page = "/auth/login"
	at := "https://auth.example.com" + page
	back := at + "?next=" + url.QueryEscape("https://app.example.com/x?y")
	d := sharedDoor(t)
	d.setUp()
	nav := navigation("none")
	said := header("X-Forwarded-Host", "app.example.com")
	for host, want := range map[string]string{
		"app.example.com": back, "APP.EXAMPLE.com.": back, "app.example.com:443": back, "auth.example.com": page + "?next=%2Fx%3Fy", "evil.example.com": at, "evil.test": page + "?next=%2Fx%3Fy",
		"a.apps.example.com": at + "?next=" + url.QueryEscape("https://a.apps.example.com/x?y"),
	} {
		if got := d.do("GET", "/x?y", onHost(host), nav).sentTo(); got != want {
			t.Errorf("%s: sent to %s, want %s", host, got, want)
		}
		// Nobody here is a proxy.
		if got := d.do("GET", "/x?y", onHost(host), nav, said).sentTo(); got != want {
			t.Errorf("%s, and another said: sent to %s, want %s", host, got, want)
		}
	}
	for _, host := range []string{"app.example.com@evil.test", "app.example.com/evil.test", "[app.example.com]", "app..example.com", "app.example.com:x", "app.example.com, evil.test"} {
		res, _ := send(t, strings.TrimPrefix(d.URL, "http://"), "GET /x HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nSec-Fetch-Mode: navigate\r\n\r\n")
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", host, res.StatusCode)
		}
	}
	d.restart("trusted_proxies=127.0.0.1")
	if got := d.do("GET", "/x?y", onHost("door.internal"), nav, said).sentTo(); got != back {
		t.Errorf("a proxy's word: sent to %s", got)
	}
	for _, proxy := range allProxies {
		d.restart("trusted_proxies=127.0.0.1", "forward_auth.proxy="+proxy)
		addr := strings.TrimPrefix(d.URL, "http://")
		ask := func(host, target string, lines ...string) outcome {
			t.Helper()
			q := strings.ReplaceAll(wireForms[proxy](request{"GET", target, "somebody", append(lines, "Sec-Fetch-Mode: navigate")}), placementHost, host)
			res, body := send(t, addr, q)
			var o outcome
			refusalOf(&o, "GET", res, body)
			return o
		}
		for host, want := range map[string]string{"app.example.com": back, "app.example.com:443": back, "evil.example.com": at, "evil.test": page + "?next=%2Fx%3Fy", "auth.example.com": page + "?next=%2Fx%3Fy"} {
			if got := ask(host, "/x?y"); got.location != want {
				t.Errorf("%s, %s: sent to %q, want %q", proxy, host, got.location, want)
			}
		}
		// What the proxy does not say in its own words says nothing.
		if proxy == "nginx" || proxy == "envoy" {
			if got := ask("auth.example.com", "/x?y", "X-Forwarded-Host: app.example.com"); got.location != page+"?next=%2Fx%3Fy" {
				t.Errorf("%s: sent to %q", proxy, got.location)
			}
		}
		// PT13: what is no target of a request leads nowhere.
		for _, target := range []string{"x", "https://app.example.com/x", "//evil.test/x", "/" + strings.Repeat("x", 64<<10)} {
			if got := ask("app.example.com", target); strings.Contains(got.location, "evil.test") && !strings.Contains(got.location, url.QueryEscape("https://app.example.com/evil.test")) || got.status == http.StatusOK {
				t.Errorf("%s, %.40s: %d %q", proxy, target, got.status, got.location)
			}
		}
		// A bad cookie goes, under both names of the host, and nginx hears of both.
		q := strings.ReplaceAll(wireForms[proxy](request{"GET", "/x", "somebody", []string{"Cookie: brokoli_session=x"}}), placementHost, "app.example.com")
		res, _ := send(t, addr, q)
		lines := append(res.Header["X-Doorward-Set-Cookie"], res.Header["Set-Cookie"]...)
		if len(lines) != 2 || strings.Contains(lines[0], "Domain") || !strings.Contains(lines[1], "Domain=example.com") {
			t.Errorf("%s: %q", proxy, lines)
		}
	}
	// Who asks that is no proxy is told nothing.
	d.restart("trusted_proxies=192.0.2.1", "forward_auth.proxy=nginx")
	res, body := send(t, strings.TrimPrefix(d.URL, "http://"), strings.ReplaceAll(wireForms["nginx"](request{"GET", "/x", "somebody", []string{"Sec-Fetch-Mode: navigate"}}), placementHost, "app.example.com"))
	var o outcome
	refusalOf(&o, "GET", res, body)
	o.means(t, http.StatusForbidden, "insufficient permissions")
	if o.location != "" {
		t.Errorf("sent to %s", o.location)
	}
}

// TestPT11RulesOfOneHostDecideForNoOther: the example of docs/hosts.md, by each spelling of a host.
func TestPT11RulesOfOneHostDecideForNoOther(t *testing.T) {
	t.Parallel()
	for heading, settings := range blocksOf(t, "docs/hosts.md", "yaml") {
		service := newMirror(t)
		edit := strings.NewReplacer("http://127.0.0.1:3000", service, "http://127.0.0.1:3001", service)
		d := newDoor(t, settingsFile(t, edit.Replace(settings)), "api_tokens="+machineToken)
		if heading != "Gateway" {
			d.restart("upstream="+service, "forward_auth.proxy=nginx")
		}
		token, _ := d.exchange(machineToken, "ci") // an editor
		for host, wiki := range map[string]bool{
			"wiki.example.com": true, "WIKI.example.COM": true, "wiki.example.com.": true, "wiki.example.com:443": true, "wiki.example.com:8443": true, "Wiki.Example.Com.:1": true,
			"app.example.com": false, "app.example.com:443": false,
		} {
			want := http.StatusOK
			if wiki {
				want = http.StatusForbidden
			}
			for _, path := range []string{"/admin/users", "/admin", "/ADMIN/x", "/x/../admin"} {
				a := d.do("GET", path, onHost(host), bearer(token))
				a.what = heading + ": " + host + path
				a.want(want)
			}
			d.do("GET", "/x", onHost(host), bearer(token)).want(http.StatusOK)
			d.do("POST", "/x", onHost(host), bearer(token)).want(http.StatusOK)
		}
	}
}

// TestExplainNamesTheHost runs the example of docs/hosts.md.
func TestExplainNamesTheHost(t *testing.T) {
	t.Parallel()
	block := blocksOf(t, "docs/hosts.md", "console")["Rules by host"]
	command, want, _ := strings.Cut(strings.TrimPrefix(block, "$ doorward "), "\n")
	args := strings.Fields(command)
	file := write(t, "doorward.yaml", blocksOf(t, "docs/hosts.md", "yaml")["Gateway"])
	for i := range args {
		if args[i] == "doorward.yaml" {
			args[i] = file
		}
	}
	status, stdout, stderr := runProgram(t, nil, args...)
	if got := strings.ReplaceAll(stdout, filepath.Dir(file)+"/", ""); status != 0 || got != want || want == "" {
		t.Errorf("%d, %q, %s, want %q", status, got, stderr, want)
	}
}
