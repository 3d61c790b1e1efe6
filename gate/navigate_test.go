package gate

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"doorward"
)

// htmlFirst is what browsers that know no Fetch Metadata send as Accept.
const htmlFirst = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestNavigates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		method string
		header http.Header
		want   bool
	}{
		{"a navigation", "GET", http.Header{"Sec-Fetch-Mode": {"navigate"}}, true},
		{"a navigation that posts", "POST", http.Header{"Sec-Fetch-Mode": {"navigate"}}, true},
		{"a navigation into a frame", "GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, true},
		{"a navigation to download", "GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Accept": {"*/*"}}, true},
		{"a fetch", "GET", http.Header{"Sec-Fetch-Mode": {"cors"}, "Accept": {htmlFirst}}, false},
		{"an image", "GET", http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}, "Accept": {htmlFirst}}, false},
		{"a WebSocket", "GET", http.Header{"Sec-Fetch-Mode": {"websocket"}}, false},
		{"two modes", "GET", http.Header{"Sec-Fetch-Mode": {"navigate", "navigate"}, "Accept": {htmlFirst}}, false},
		{"two modes in one", "GET", http.Header{"Sec-Fetch-Mode": {"navigate, navigate"}}, false},
		{"an empty mode", "GET", http.Header{"Sec-Fetch-Mode": {""}, "Accept": {htmlFirst}}, false},
		{"other Fetch Metadata alone: site", "GET", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Accept": {htmlFirst}}, false},
		{"other Fetch Metadata alone: destination", "GET", http.Header{"Sec-Fetch-Dest": {"document"}, "Accept": {htmlFirst}}, false},
		{"other Fetch Metadata alone: user", "GET", http.Header{"Sec-Fetch-User": {"?1"}, "Accept": {htmlFirst}}, false},
		{"an older browser", "GET", http.Header{"Accept": {htmlFirst}}, true},
		{"an older browser that posts", "POST", http.Header{"Accept": {htmlFirst}}, false},
		{"an older browser's HEAD", "HEAD", http.Header{"Accept": {htmlFirst}}, false},
		{"curl", "GET", http.Header{"Accept": {"*/*"}}, false},
		{"nothing at all", "GET", http.Header{}, false},
	} {
		r := httptest.NewRequest(c.method, "/x", nil)
		r.Header = c.header
		if got := navigates(r); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestPrefersHTML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		accept []string
		want   bool
	}{
		{[]string{htmlFirst}, true},
		{[]string{"text/html"}, true},
		{[]string{"TEXT/HTML"}, true},
		{[]string{"application/xhtml+xml"}, true},
		{[]string{"application/json", "text/html"}, true}, // as much as anything else
		{[]string{"text/html;q=0.9", "application/json"}, false},
		{[]string{"application/json, text/html;q=0.5"}, false},
		{[]string{"text/html;q=0.5, application/json;q=0.4"}, true},
		{[]string{"text/html ; level=1 ; q=0.5 , */*;q=0.1"}, true},
		{[]string{"text/html;Q=0"}, false},
		{[]string{"text/html;q=0.0, */*;q=0"}, false},
		{[]string{"text/html;q=2"}, false},
		{[]string{"text/html;q=-1"}, false},
		{[]string{"text/html;q=NaN"}, false},
		{[]string{"text/html;q=x"}, false},
		{[]string{"*/*"}, false},
		{[]string{"text/*"}, false},
		{[]string{"text/htmlx"}, false},
		{[]string{""}, false},
		{nil, false},
	} {
		if got := prefersHTML(c.accept); got != c.want {
			t.Errorf("%q: %t, want %t", c.accept, got, c.want)
		}
	}
}

// TestRefusalsAtAPageLeadToWhoCanHelp: who must sign in goes to the sign-in page, programs
// get JSON, and the rest is for the page to say, even a 401 that is about its form.
func TestRefusalsAtAPageLeadToWhoCanHelp(t *testing.T) {
	t.Parallel()
	const page, redirect, program = "page", "redirect", "JSON"
	browser := http.Header{"Sec-Fetch-Mode": {"navigate"}}
	withKey := http.Header{"Sec-Fetch-Mode": {"navigate"}, "X-Api-Key": {"brk_x"}}
	for _, c := range []struct {
		name   string
		reads  Reads
		header http.Header
		status int
		want   string
	}{
		{"nobody is signed in", ReadsAll, browser, 401, redirect},
		{"nobody is signed in, no browser", ReadsAll, http.Header{}, 401, program},
		{"a bad key", ReadsAll, withKey, 401, program},
		{"a key that may not", ReadsAll, withKey, 403, program},
		{"somebody who may not", ReadsAll, browser, 403, page},
		{"a form that is wrong", ReadsAll, browser, 400, page},
		{"a wrong password", ReadsNothing, browser, 401, page},
		{"a wrong password, no browser", ReadsNothing, http.Header{}, 401, page},
		{"a wrong password beside a key that nobody reads", ReadsNothing, withKey, 401, page},
		{"somebody locked out", ReadsNothing, browser, 429, page},
	} {
		g, _, _ := refusing()
		g.SignInPage = "/auth/login"
		d := &Door{Reads: c.reads}
		shown := ""
		d.Refused = shows(&shown)
		r := httptest.NewRequest("GET", "/auth/page?a=b", nil)
		r.Header = c.header
		w := httptest.NewRecorder()
		g.refuse(w, r, &Pass{Path: "/auth/page", door: d}, refusalOf(c.status))
		switch {
		case shown != "":
		case w.Code == http.StatusSeeOther && w.Header().Get("Location") == "/auth/login?next=%2Fauth%2Fpage%3Fa%3Db":
			shown = redirect
		case w.Code == c.status && w.Header().Get("Content-Type") == "application/json":
			shown = program
		}
		if shown != c.want {
			t.Errorf("%s: %s, want %s", c.name, shown, c.want)
		}
		if asked := w.Header().Get("WWW-Authenticate") != ""; asked != (c.status == 401 && c.want != redirect) {
			t.Errorf("%s: WWW-Authenticate %q", c.name, w.Header().Get("WWW-Authenticate"))
		}
	}
}

// TestSignInTarget: what a browser is told to come back to is what it asked for, if it can
// merely be looked at.
func TestSignInTarget(t *testing.T) {
	t.Parallel()
	g, _, _ := refusing()
	g.SignInPage = "/door/auth/login"
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/", ""},
		{"GET", "/?a=b", "/?a=b"},
		{"GET", "/a%20b/c?x=1&y=%2F#", "/a%20b/c?x=1&y=%2F"},
		{"HEAD", "/reports", "/reports"},
		{"POST", "/reports", ""},
		{"DELETE", "/reports", ""},
		{"GET", "//evil.example", "/evil.example"},
		{"GET", "/.//evil.example", "/evil.example"},
		{"GET", "/" + strings.Repeat("x", maxNext), ""},
	} {
		u, err := url.ParseRequestURI(strings.TrimSuffix(c.target, "#"))
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: c.method, URL: u}
		p := &Pass{}
		r, err = g.scope(r, p)
		if err != nil {
			t.Fatal(err)
		}
		got, want := g.signInTarget(r, p), g.SignInPage
		if c.want != "" {
			want += "?next=" + url.QueryEscape(c.want)
		}
		if got != want {
			t.Errorf("%s %s: %s, want %s", c.method, c.target, got, want)
		}
	}
}

func TestCK9SameSite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ next, want string }{
		{"", "/"},
		{"/", "/"},
		{"/e", "/e"},
		{"/reports?from=1&to=2", "/reports?from=1&to=2"},
		{"/reports?", "/reports?"},
		{"/reports#part", "/reports"}, // what stands after # is the browser's own
		{"/a%20b", "/a%20b"},
		{"/a/../b/./c", "/b/c"},
		{"/~user/%7Euser", "/~user/~user"},
		{"/?next=//e", "/?next=//e"},
		{"/x?u=https://e/", "/x?u=https://e/"},
		{"/:80/x", "/:80/x"},
		{"/javascript:alert(1)", "/javascript:alert(1)"},
		{"//e", "/"},
		{"///e", "/"},
		{"/\\e", "/"},
		{"\\\\e", "/"},
		{"\\/e", "/"},
		{"/x\\..\\\\e", "/"},
		{"https:e", "/"},
		{"https://e", "/"},
		{"http:/e", "/"},
		{"http://h@e", "/"},
		{"h.e", "/"},
		{"@e", "/"},
		{":@e", "/"},
		{"javascript:alert(1)", "/"},
		{"data:text/html,x", "/"},
		{"e", "/"},
		{"?x", "/"},
		{"#x", "/"},
		{"/%09/e", "/"},
		{"/%2f%2fe", "/"},
		{"/%2fe", "/"},
		{"/%5ce", "/"},
		{"/%0d%0aSet-Cookie:x", "/"},
		{"/\r\nSet-Cookie: x", "/"},
		{"/\t/e", "/"},
		{"\t//e", "/"},
		{" /e", "/"},
		{" //e", "/"},
		{"/\n/e", "/"},
		{"/x y", "/"},
		{"/\x00/e", "/"},
		{"/\x7f", "/"},
		{"/é", "/"},
		{"/\u2028", "/"},
		{"/.//e", "/e"},
		{"/x/..//e", "/e"},
		{"/%2e/%2fe", "/"},
		{"/%2e//e", "/e"},
		{"/%2e%2e//e", "/e"},
		{"/..//e", "/e"},
		{"/x/%2e%2E//e", "/e"},
		{"/..;//e", "/"},
		{"/%zz", "/"},
		{"/%", "/"},
		{"/" + strings.Repeat("x", maxNext-1), "/" + strings.Repeat("x", maxNext-1)},
		{"/" + strings.Repeat("x", maxNext), "/"},
		{"/" + strings.Repeat(`"`, maxNext/2), "/"}, // longer once it is escaped
		{"/" + strings.Repeat("x", 64<<10), "/"},
	} {
		if got := SameSite(c.next); got != c.want {
			t.Errorf("%.60q: %.60q, want %.60q", c.next, got, c.want)
		}
	}
}

// FuzzSameSite: whatever is asked for, a browser that is sent there stays here.
func FuzzSameSite(f *testing.F) {
	for _, next := range []string{
		"", "/", "/e?x=1#y", "//e", "/\\e", "/.//e", "/x/..//e", "/%2e/%2fe", "/%09/e", "https:e", "/;//e", "/..;/x", "/a?//e", "/?\\e", "/%25%32%66", "/[x]:1",
	} {
		f.Add(next)
	}
	base := &url.URL{Scheme: "https", Host: "h", Path: "/auth/login"}
	f.Fuzz(func(t *testing.T, next string) {
		got := SameSite(next)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || len(got) > maxNext {
			t.Errorf("%q: %q", next, got)
		}
		for i := range len(got) {
			if c := got[i]; c < 0x21 || c > 0x7e || c == '\\' {
				t.Errorf("%q: %q holds %#x", next, got, c)
			}
		}
		u, err := base.Parse(got)
		if err != nil || u.Scheme != "https" || u.Host != "h" || u.User != nil || u.Opaque != "" {
			t.Errorf("%q: %q leads to %v, %v", next, got, u, err)
		}
		if again := SameSite(got); again != got {
			t.Errorf("%q: %q, and that is %q", next, got, again)
		}
	})
}

// shows is a door's way to show refusals that says it was asked.
func shows(what *string) func(http.ResponseWriter, *http.Request, *Pass, int, *doorward.Error) {
	return func(w http.ResponseWriter, _ *http.Request, _ *Pass, status int, _ *doorward.Error) {
		*what = "page"
		w.WriteHeader(status)
	}
}

func refusalOf(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return doorward.ErrTokenRequired
	case http.StatusForbidden:
		return doorward.ErrForbidden
	case http.StatusTooManyRequests:
		return doorward.ErrAccountLocked
	}
	return doorward.Invalid("body", "is wrong")
}
