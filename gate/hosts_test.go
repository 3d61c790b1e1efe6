package gate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// sharing is a gate whose sign-in is at public and counts for all hosts beneath domain.
func sharing(t *testing.T, public, domain string, allow ...string) *Gate {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	g, _, _ := refusing()
	g.SignInPage, g.SetupPage = "/auth/login", "/auth/setup"
	if g.hosts, err = NewHosts(HostsConfig{PublicURL: u, CookieDomain: domain, Allow: allow}); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestCookieDomain(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"example.com": "example.com", "EXAMPLE.com": "example.com", "a.b.example.co.uk": "a.b.example.co.uk", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"example.123abc": "example.123abc",
	} {
		if got, err := CookieDomain(given); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", given, got, err, want)
		}
	}
	for given, want := range map[string]string{
		"":                    `"" is not a name like example.com`,
		".example.com":        `".example.com" must be a name alone, like example.com: what is beneath it is meant in any case`,
		"*.example.com":       `"*.example.com" must be a name alone, like example.com: what is beneath it is meant in any case`,
		"https://example.com": `"https://example.com" must be a name like example.com, without scheme and port: browsers send a cookie to all of a host's ports`,
		"example.com:8443":    `"example.com:8443" must be a name like example.com, without scheme and port: browsers send a cookie to all of a host's ports`,
		"localhost":           `"localhost" is a single label, for which browsers keep no cookie; it must be a name like example.com`,
		"192.0.2.1":           `"192.0.2.1" is an address, which has no hosts beneath it; leave it out, or give the hosts names`,
		"[2001:db8::1]":       `"[2001:db8::1]" is an address, which has no hosts beneath it; leave it out, or give the hosts names`,
		"2001:db8::1":         `"2001:db8::1" is an address, which has no hosts beneath it; leave it out, or give the hosts names`,
		"192.0.513":           `"192.0.513" ends in a number, which browsers take for an address`,
		"example.0x7f":        `"example.0x7f" ends in a number, which browsers take for an address`,
		"example.08":          `"example.08" ends in a number, which browsers take for an address`,
		"example.com.":        `"example.com." is not a name like example.com`,
		"example..com":        `"example..com" is not a name like example.com`,
		"exam ple.com":        `"exam ple.com" is not a name like example.com`,
		"example.com/x":       `"example.com/x" is not a name like example.com`,
		"user@example.com":    `"user@example.com" is not a name like example.com`,
		"example.com;Path=/":  `"example.com;Path=/" is not a name like example.com`,
		"bücher.example":      `"bücher.example" is not in ASCII; browsers send the form that begins with xn--, so write that`,
	} {
		if got, err := CookieDomain(given); err == nil || err.Error() != want {
			t.Errorf("%s: %q, %v, want %s", given, got, err, want)
		}
	}
}

func TestRedirectHost(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"app.example.com": "app.example.com", "APP.example.com.": "app.example.com", "*.Example.com": "*.example.com",
		"app.example.com:8443": "app.example.com:8443", "*.example.com:443": "*.example.com:443",
	} {
		if got, err := RedirectHost(given); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", given, got, err, want)
		}
	}
	for _, given := range []string{
		"", ":443", "*", "*.", "app.*.com", "app*.example.com", "https://app.example.com", "app.example.com/", "app.example.com:", "app.example.com:0", "app.example.com:0443",
		"app.example.com:99999", "app.example.com:80:80", "u@app.example.com", "[::1]", "::1", "a b", "app..example.com", "äpp.example.com", "app.example.com?x", "app.example.com#x",
	} {
		if got, err := RedirectHost(given); err == nil {
			t.Errorf("%s: %q", given, got)
		}
	}
}

func TestHostsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ public, domain, allow, want string }{
		{"", "", "app.example.com", "redirect.allow: needs cookie.domain: without it a session counts for one host, and who comes back to another has none"},
		{"https://auth.example.com", "", "app.example.com", "redirect.allow: needs cookie.domain: without it a session counts for one host, and who comes back to another has none"},
		{"", "example.com", "", "cookie.domain: needs public_url, the host at which people sign in for all others, such as https://auth.example.com"},
		{"https://auth.example.org", "example.com", "", "cookie.domain: example.com is not above the host of public_url, auth.example.org: browsers would drop the cookie; let it be that host or what is above it"},
		{"https://evilexample.com", "example.com", "", "cookie.domain: example.com is not above the host of public_url, evilexample.com: browsers would drop the cookie; let it be that host or what is above it"},
		{"https://10.0.0.1", "example.com", "", "cookie.domain: example.com is not above the host of public_url, 10.0.0.1: browsers would drop the cookie; let it be that host or what is above it"},
		{"https://example.com", "auth.example.com", "", "cookie.domain: auth.example.com is not above the host of public_url, example.com: browsers would drop the cookie; let it be that host or what is above it"},
		{"https://auth.example.com", "example.com", "app.example.org", "redirect.allow: app.example.org is not beneath cookie.domain example.com: a browser has no cookie there and would be sent to sign in again and again; leave it out"},
		{"https://auth.example.com", "example.com", "*.com", "redirect.allow: *.com is not beneath cookie.domain example.com: a browser has no cookie there and would be sent to sign in again and again; leave it out"},
		{"https://auth.example.com", "example.com", "evilexample.com:8443", "redirect.allow: evilexample.com is not beneath cookie.domain example.com: a browser has no cookie there and would be sent to sign in again and again; leave it out"},
		{"https://auth.example.com", "example.com", "a b", `redirect.allow: "a b" is not a host like app.example.com or *.example.com, with or without a port`},
		{"https://auth.example.com", "localhost", "", `cookie.domain: "localhost" is a single label, for which browsers keep no cookie; it must be a name like example.com`},
	} {
		h := HostsConfig{CookieDomain: c.domain}
		if c.public != "" {
			h.PublicURL, _ = url.Parse(c.public)
		}
		if c.allow != "" {
			h.Allow = []string{c.allow}
		}
		if got, err := NewHosts(h); err == nil || err.Error() != c.want || got != nil {
			t.Errorf("%+v: %v, want %s", c, err, c.want)
		}
	}
	if h, err := NewHosts(HostsConfig{}); h != nil || err != nil {
		t.Errorf("nothing given: %v, %v", h, err)
	}
}

// TestWhoIsSentWhereToSignIn: away to the sign-in host from the others, back to those alone that
// are listed, and never to a name that merely stands in the request.
func TestWhoIsSentWhereToSignIn(t *testing.T) {
	t.Parallel()
	const at = "https://auth.example.com/auth/login"
	back := func(to string) string { return at + "?next=" + url.QueryEscape(to) }
	plain := []string{"app.example.com", "*.apps.example.com", "wiki.example.com:8443"}
	for _, c := range []struct{ host, method, target, want string }{
		{"auth.example.com", "GET", "/x?y", "/auth/login?next=%2Fx%3Fy"},
		{"AUTH.example.com.:443", "GET", "/x", "/auth/login?next=%2Fx"},
		{"auth.example.com", "GET", "/", "/auth/login"},
		{"auth.example.com:8080", "GET", "/x", "/auth/login?next=%2Fx"},
		{"app.example.com", "GET", "/x?y=%2F", back("https://app.example.com/x?y=%2F")},
		{"app.example.com:443", "GET", "/x", back("https://app.example.com/x")},
		{"APP.Example.COM.", "GET", "/x", back("https://app.example.com/x")},
		{"app.example.com", "GET", "/", back("https://app.example.com/")},
		{"app.example.com", "GET", "/a%20b/%C3%A9", back("https://app.example.com/a%20b/%C3%A9")},
		{"app.example.com", "HEAD", "/x", back("https://app.example.com/x")},
		{"app.example.com", "POST", "/x", back("https://app.example.com/")},
		{"app.example.com", "GET", "//evil.test/x", back("https://app.example.com/evil.test/x")},
		{"app.example.com", "GET", "/" + strings.Repeat("x", maxNext-1), back("https://app.example.com/")},
		{"app.example.com:8080", "GET", "/x", at},
		{"deep.in.apps.example.com", "GET", "/x", back("https://deep.in.apps.example.com/x")},
		{"wiki.example.com:8443", "GET", "/x", back("https://wiki.example.com:8443/x")},
		{"wiki.example.com", "GET", "/x", at},
		{"apps.example.com", "GET", "/x", at},
		{"example.com", "GET", "/x", at},
		{"other.example.com", "GET", "/x", at},
		{"app.example.com.evil.test", "GET", "/x", "/auth/login?next=%2Fx"},
		{"evilexample.com", "GET", "/x", "/auth/login?next=%2Fx"},
		{"evil.test", "GET", "/x", "/auth/login?next=%2Fx"},
		{"127.0.0.1:8080", "GET", "/x", "/auth/login?next=%2Fx"},
		{"[::1]", "GET", "/x", "/auth/login?next=%2Fx"},
		{"", "GET", "/x", "/auth/login?next=%2Fx"},
	} {
		g := sharing(t, "https://auth.example.com", "example.com", plain...)
		r := httptest.NewRequest(c.method, "/", nil)
		r.URL, _ = url.ParseRequestURI(c.target)
		p := &Pass{Host: c.host, hosts: g.hosts}
		r, err := g.scope(r, p)
		if err != nil {
			t.Fatal(err)
		}
		got := g.signInTarget(r, p)
		if got != c.want {
			t.Errorf("%s %s at %s: %s, want %s", c.method, c.target, c.host, got, c.want)
		}
		setup := "/auth/setup"
		if strings.HasPrefix(c.want, at) {
			setup = "https://auth.example.com/auth/setup"
		}
		if got := g.setupTarget(p); got != setup {
			t.Errorf("setup at %s: %s, want %s", c.host, got, setup)
		}
		// Where it leads back to is what the page takes.
		u, err := url.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if next := u.Query().Get("next"); next != "" && (&Pass{Host: "auth.example.com", hosts: g.hosts}).Next(next) != next {
			t.Errorf("%s is not taken", next)
		}
	}
	// The port that is not said is the sign-in host's; one that a proxy leaves out is that too.
	g := sharing(t, "http://auth.example.com:8080", "example.com", "app.example.com", "wiki.example.com:80")
	for host, want := range map[string]string{
		"app.example.com": "http://app.example.com:8080", "app.example.com:8080": "http://app.example.com:8080", "app.example.com:80": "",
		"wiki.example.com": "http://wiki.example.com", "wiki.example.com:80": "http://wiki.example.com", "wiki.example.com:8080": "",
	} {
		if at, back := g.hosts.elsewhere(host); back != want || at != "http://auth.example.com:8080" {
			t.Errorf("%s: %s, %s, want %s", host, at, back, want)
		}
	}
}

// hostile are targets that lead nowhere but to the host itself, whatever hosts are listed.
var hostile = []string{
	"//e", "/\\e", "\\\\e", "https:e", "/%09/e", "/%2f%2fe", "http://h@e", "javascript:alert(1)", "https:/app.example.com/x", "https:app.example.com/x",
	"https:///app.example.com/x", "https:\\\\app.example.com/x", "https:/\\app.example.com", "//app.example.com/x",
	"http://app.example.com/x", "HTTPS://app.example.com/x", "ftp://app.example.com/x", "wss://app.example.com/x", "https ://app.example.com/x", " https://app.example.com/x", "\thttps://app.example.com/x",
	"ht\ttps://app.example.com/x", "https://u@app.example.com/x", "https://u:p@app.example.com/x", "https://@app.example.com/x", "https://:@app.example.com/x",
	"https://app.example.com@evil.test/x", "https://app.example.com:443@evil.test/x", "https://app.example.com%40evil.test/x", "https://app.example.com\\@evil.test/x", "https://evil.test\\@app.example.com/x",
	"https://app.example.com\\.evil.test/x", "https://evil.test#@app.example.com/x", "https://evil.test?@app.example.com/x", "https://evil.test/@app.example.com/x", "https://evil.test;app.example.com/x",
	"https://app.example.com:8080/x", "https://app.example.com:/x", "https://app.example.com:0/x", "https://app.example.com:00443/x", "https://app.example.com:0443/x", "https://app.example.com:443443/x", "https://app.example.com:x/x",
	"https://app.example.com:-1/x", "https://app.example.com:+443/x", "https://app.example.com:443:443/x",
	"https://app.example.com./x", "https://app.example.com.:443/x", "https://app..example.com/x", "https://.app.example.com/x", "https://.apps.example.com/x", "https://a..apps.example.com/x", "https://a.apps.example.com./x",
	"https://app.example.com.evil.test/x", "https://evilexample.com/x", "https://evilapps.example.com/x", "https://xapp.example.com/x", "https://apps.example.com/x", "https://example.com/x", "https://com/x", "https://*.apps.example.com/x",
	"https://аpp.example.com/x", "https://app。example.com/x", "https://app．example.com/x", "https://ａpp.example.com/x", "https://app.example.cοm/x", "https://xn--pp-7lc.example.com/x", "https://app\u00ad.example.com/x", "https://ſub.apps.example.com/x",
	"https://app%2eexample.com/x", "https://%61pp.example.com/x", "https://app.example.com%00.evil.test/x", "https://app.example.com%2f.evil.test/x", "https://app.example.com%09/x",
	"https://app.exam\tple.com/x", "https://app.exam\nple.com/x", "https://app.example.com\r\nSet-Cookie: x/", "https://app.example.com\x00/x", "https://app.example .com/x",
	"https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://127.0.0.1/x", "https://2130706433/x", "https://0x7f.1/x", "https://[app.example.com]/x", "https://[::1].apps.example.com/x",
	"https://", "https:///", "https:///x", "https://?x", "https://#x", "https://@", "https://:443/x", "https://\\x", "https://app.example.com,evil.test/x", "https://app.example.com&evil.test/x", "https://'app.example.com/x",
	"blob:https://app.example.com/x", "view-source:https://app.example.com/x", "javascript://app.example.com/%0aalert(1)", "data:text/html,https://app.example.com/x", "about:blank", "file://app.example.com/x",
	"https://app.example.com/" + strings.Repeat("x", 64<<10), "https://app.example.com" + strings.Repeat(".a", 4096), "https://" + strings.Repeat("a", 64<<10),
}

// TestCK9NextOnOtherHosts: of whole URLs those are taken whose origin is listed to the letter.
func TestCK9NextOnOtherHosts(t *testing.T) {
	t.Parallel()
	g := sharing(t, "https://auth.example.com", "example.com", "app.example.com", "*.apps.example.com", "wiki.example.com:8443")
	const app = "https://app.example.com"
	for _, c := range []struct{ at, next, want string }{
		{"auth.example.com", app, app + "/"},
		{"auth.example.com", app + "/", app + "/"},
		{"auth.example.com", app + "/x?y=1", app + "/x?y=1"},
		{"auth.example.com", app + "?y", app + "/?y"},
		{"auth.example.com", app + "#y", app + "/"},
		{"auth.example.com", app + "/x#y", app + "/x"},
		{"auth.example.com", app + "/a/../b//", app + "/b/"},
		{"auth.example.com", app + "/..\\x", app + "/"},
		{"auth.example.com", app + "//evil.test/x", app + "/"},
		{"auth.example.com", app + "/\\evil.test", app + "/"},
		{"auth.example.com", app + "/@evil.test", app + "/@evil.test"},
		{"auth.example.com", app + "/x?u=https://evil.test/", app + "/x?u=https://evil.test/"},
		{"auth.example.com", app + "/\r\nSet-Cookie: x", app + "/"},
		{"auth.example.com", app + "/é", app + "/"},
		{"auth.example.com", app + ":443/x", app + "/x"},
		{"auth.example.com", "https://APP.Example.com/X", app + "/X"},
		{"auth.example.com", "https://a.b.apps.example.com/x", "https://a.b.apps.example.com/x"},
		{"auth.example.com", "https://wiki.example.com:8443/x", "https://wiki.example.com:8443/x"},
		{"auth.example.com", "https://wiki.example.com/x", "/"},
		{"auth.example.com", "https://auth.example.com/x", "/x"},
		{"auth.example.com", "https://auth.example.com:443", "/"},
		{"app.example.com", app + "/x", "/x"},
		{"app.example.com", "https://auth.example.com/x", "https://auth.example.com/x"},
		{"app.example.com", "https://wiki.example.com:8443/", "https://wiki.example.com:8443/"},
		{"app.example.com", "/x", "/x"},
		{"evil.test", app + "/x", app + "/x"},
		{"evil.test", "https://evil.test/x", "/"},
		{"auth.example.com", app + "/" + strings.Repeat("x", maxNext-len(app)-1), app + "/" + strings.Repeat("x", maxNext-len(app)-1)},
		{"auth.example.com", app + "/" + strings.Repeat("x", maxNext-len(app)), "/"},
		{"auth.example.com", app + "/" + strings.Repeat(`"`, maxNext/2), app + "/"},
		{"auth.example.com", app + "/" + strings.Repeat(`"`, 680), "/"},
	} {
		if got := (&Pass{Host: c.at, hosts: g.hosts}).Next(c.next); got != c.want {
			t.Errorf("%.60q at %s: %.60q, want %.60q", c.next, c.at, got, c.want)
		}
	}
	for _, next := range hostile {
		for _, at := range []string{"auth.example.com", "app.example.com", "evil.test", "127.0.0.1"} {
			if got := (&Pass{Host: at, hosts: g.hosts}).Next(next); got != "/" {
				t.Errorf("%.60q at %s: %.60q", next, at, got)
			}
		}
	}
	// Without the setting no whole URL is taken at all.
	if got := (&Pass{Host: "app.example.com"}).Next(app + "/x"); got != "/" {
		t.Errorf("without cookie.domain: %q", got)
	}
}

// FuzzNext: whatever is asked for, what comes out is on this site or on a listed origin, by net/url's reading
// and by the letter, and is taken again as it is.
func FuzzNext(f *testing.F) {
	for _, next := range append([]string{"", "/", "/e?x=1#y", "https://app.example.com/x?y#z", "https://a.apps.example.com:443/.//x"}, hostile...) {
		if len(next) < maxNext*2 {
			f.Add(next)
		}
	}
	public := &url.URL{Scheme: "https", Host: "auth.example.com"}
	hosts, err := NewHosts(HostsConfig{PublicURL: public, CookieDomain: "example.com", Allow: []string{"app.example.com", "*.apps.example.com", "wiki.example.com:8443"}})
	if err != nil {
		f.Fatal(err)
	}
	p := &Pass{Host: "auth.example.com", hosts: hosts}
	base := &url.URL{Scheme: "https", Host: "auth.example.com", Path: "/auth/login"}
	f.Fuzz(func(t *testing.T, next string) {
		got := p.Next(next)
		if len(got) > maxNext {
			t.Errorf("%q: %d bytes", next, len(got))
		}
		for i := range len(got) {
			if c := got[i]; c < 0x21 || c > 0x7e || c == '\\' {
				t.Errorf("%q: %q holds %#x", next, got, c)
			}
		}
		u, err := base.Parse(got)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" {
			t.Fatalf("%q: %q leads to %v, %v", next, got, u, err)
		}
		switch rest, away := strings.CutPrefix(got, "https://"); {
		case !away:
			if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || u.Host != "auth.example.com" {
				t.Errorf("%q: %q", next, got)
			}
		case !strings.HasPrefix(rest, u.Host+"/") || !strings.HasPrefix(next, "https://"):
			t.Errorf("%q: %q, whose host is not %q", next, got, u.Host)
		case u.Host != "app.example.com" && u.Host != "wiki.example.com:8443":
			if label, ok := strings.CutSuffix(u.Host, ".apps.example.com"); !ok || label == "" || strings.ContainsAny(label, ":@/%[]") {
				t.Errorf("%q: %q is on no listed host", next, got)
			}
		}
		if again := p.Next(got); again != got {
			t.Errorf("%q: %q, and that is %q", next, got, again)
		}
	})
}

// TestCookiesOfManyHosts: the Domain is given where the host is beneath it, and the host's own cookie
// of that name goes.
func TestCookiesOfManyHosts(t *testing.T) {
	t.Parallel()
	g := sharing(t, "https://example.com", "example.com")
	for host, want := range map[string]string{
		"example.com": "example.com", "APP.example.com:443": "example.com", "app.example.com.": "example.com",
		"evilexample.com": "", "example.com.evil.test": "", "127.0.0.1": "", "[::1]:80": "", "": "",
	} {
		for _, maxAge := range []int{60, -1} {
			w := httptest.NewRecorder()
			SetCookie(w, &Pass{Host: host, Secure: true, hosts: g.hosts}, "c", "v", maxAge)
			var got []string
			for _, c := range w.Result().Cookies() {
				if c.Path != "/" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Name != "c" {
					t.Errorf("%s: %s", host, c)
				}
				got = append(got, fmt.Sprintf("%q %q %d", c.Domain, c.Value, c.MaxAge))
			}
			all := []string{fmt.Sprintf("%q %q %d", want, "v", maxAge)}
			if want != "" {
				all = []string{`"" "" -1`, all[0]}
			}
			if strings.Join(got, ", ") != strings.Join(all, ", ") {
				t.Errorf("%s, %d: %q, want %q", host, maxAge, got, all)
			}
		}
	}
}
