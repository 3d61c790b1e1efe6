package gate

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"doorward"
)

// request reads a target as the server does; false for one that net/http refuses by itself.
func request(target string) (*http.Request, bool) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: door.example\r\n\r\n")))
	return r, err == nil && r.RequestURI == target
}

func TestCanonicalPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, escaped, decoded string }{
		{"/", "/", "/"},
		{"/a", "/a", "/a"},
		{"/a/b-c_d~e.f/", "/a/b-c_d~e.f/", "/a/b-c_d~e.f/"},
		{"/A/b", "/A/b", "/A/b"}, // case is the service's business
		// dot segments, plain and encoded
		{"/.", "/", "/"},
		{"/..", "/", "/"},
		{"/../../..", "/", "/"},
		{"/a/.", "/a/", "/a/"},
		{"/a/./b", "/a/b", "/a/b"},
		{"/a/..", "/", "/"},
		{"/a/b/..", "/a/", "/a/"},
		{"/a/b/../", "/a/", "/a/"},
		{"/a/../b", "/b", "/b"},
		{"/../a", "/a", "/a"},
		{"/public/../admin", "/admin", "/admin"},
		{"/public/./../admin", "/admin", "/admin"},
		{"/public/%2e%2e/admin", "/admin", "/admin"},
		{"/public/%2E./admin", "/admin", "/admin"},
		{"/public/.%2e/admin", "/admin", "/admin"},
		{"/public/%2e/%2E%2e/admin", "/admin", "/admin"},
		{"/a/%2e", "/a/", "/a/"},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"/...", "/...", "/..."},
		{"/..a/b..", "/..a/b..", "/..a/b.."},
		{"/a/%2e%2e%2e/b", "/a/.../b", "/a/.../b"},
		// double slashes
		{"//", "/", "/"},
		{"///", "/", "/"},
		{"//admin", "/admin", "/admin"},
		{"/a//b///c//", "/a/b/c/", "/a/b/c/"},
		{"/public//../admin", "/admin", "/admin"},
		{"//../x", "/x", "/x"},
		{"/a/.//./b", "/a/b", "/a/b"},
		// a path parameter elsewhere than after dots is a name like any other
		{"/a;v=1/b;c", "/a;v=1/b;c", "/a;v=1/b;c"},
		{"/a..;x", "/a..;x", "/a..;x"},
		{"/...;x", "/...;x", "/...;x"},
		{"/;a", "/;a", "/;a"},
		{"/a%3bb", "/a%3Bb", "/a;b"},
		// escapes of what needs none are undone, others written upper-case
		{"/%61dmin/%7e%2D%5f%30", "/admin/~-_0", "/admin/~-_0"},
		{"/a%c3%a9", "/a%C3%A9", "/aé"},
		{"/%e2%82%ac%20", "/%E2%82%AC%20", "/€ "},
		{"/%41%42/%5A", "/AB/Z", "/AB/Z"},
		{"/a%2Bb+c", "/a%2Bb+c", "/a+b+c"},
		{"/a%3ab:c", "/a%3Ab:c", "/a:b:c"},
		{"/(a)!*'", "/(a)!*'", "/(a)!*'"},
		{"/%28a%29", "/%28a%29", "/(a)"},
		{"/[id]", "/[id]", "/[id]"},
		{"/a@b,c=d&e$", "/a@b,c=d&e$", "/a@b,c=d&e$"},
		// once, never twice
		{"/%252e%252e/admin", "/%252e%252e/admin", "/%2e%2e/admin"},
		{"/%252f", "/%252f", "/%2f"},
		{"/%25", "/%25", "/%"},
		// what should have been escaped
		{"/é", "/%C3%A9", "/é"},
		{"/\xff", "/%FF", "/\xff"},
		{"/a\"<>^`{|}b", "/a%22%3C%3E%5E%60%7B%7C%7Db", "/a\"<>^`{|}b"},
		{"/{%28}", "/%7B%28%7D", "/{(}"},
		{"/é/%2e%2e/x%2D", "/x-", "/x-"},
		// what ends the path
		{"/a/../b?c/../d", "/b", "/b"},
		{"/public?/../admin", "/public", "/public"},
		{"/public%23/../admin", "/admin", "/admin"},
		{"/public/%23%3f", "/public/%23%3F", "/public/#?"},
		{"/a?", "/a", "/a"},
		// the absolute form, which proxies are sent
		{"http://door.example", "/", "/"},
		{"http://door.example/", "/", "/"},
		{"http://door.example?q", "/", "/"},
		{"http://other.example:81/a/../b", "/b", "/b"},
		{"http://door.example//b", "/b", "/b"},
	} {
		r, ok := request(c.target)
		if !ok {
			t.Errorf("net/http refuses %q", c.target)
			continue
		}
		f, err := canonicalPath(r)
		escaped, decoded := f.escaped, f.decoded
		if err != nil || escaped != c.escaped || decoded != c.decoded {
			t.Errorf("%q: %q, %q, %v; want %q, %q", c.target, escaped, decoded, err, c.escaped, c.decoded)
		}
	}
}

// judgedPath is a request's path once it is known that it may go on.
func judgedPath(doors *Policy, r *http.Request) (form, error) {
	f, err := canonicalPath(r)
	if err != nil {
		return form{}, err
	}
	if _, _, ours, err := doors.find(r, f); ours {
		if f.opaque != "" {
			return form{}, err
		}
		return f, nil
	}
	if _, err := doors.judge(r.Method, "", f); err != nil {
		return form{}, err
	}
	return f, nil
}

func TestCanonicalPathRefuses(t *testing.T) {
	t.Parallel()
	doors := doorsForPaths(t)
	for _, target := range []string{
		// an encoded slash, wherever else something is odd
		"/public/..%2fadmin", "/public/..%2Fadmin", "/%2f", "/%2F/", "/a%2fb", "/%2e%2e%2fadmin",
		"/é/..%2fadmin", "/\"/..%2fadmin", "/a|b%2Fc", "/{x}%2f..%2fadmin", "/\xff%2f", "/a%2fb/..", "/x/%23%2F%23/%2e%2e/y",
		// a backslash
		"/public/..%5cadmin", "/%5C", "/public\\..\\admin", "/\\", "/é\\",
		// control characters
		"/%00", "/a%00.html", "/a%0d%0aX-Auth-Role:%20admin", "/%09", "/%1f", "/%7f", "/é%0a",
		// dots with a parameter, however written
		"/public/..;/admin", "/public/..;x=1/admin", "/.;/a", "/.;", "/..;", "/%2e%2e;/a", "/.%2e;a/b", "/..%3b/admin", "/%2e%3B",
		// a fragment has no place in a request
		"/public#/../admin", "/#", "/a?b#c", "http://door.example/#",
		// what is not a path
		"*", "mailto:root", "http:admin", "urn:x:/admin",
	} {
		r, ok := request(target)
		if !ok {
			t.Errorf("net/http refuses %q", target)
			continue
		}
		f, err := judgedPath(doors, r)
		escaped, decoded := f.escaped, f.decoded
		var e *doorward.Error
		if !errors.As(err, &e) || e.Code != doorward.CodeInvalid || !strings.HasPrefix(e.Message, "path: ") {
			t.Errorf("%q: %q, %q, %v; want a refusal", target, escaped, decoded, err)
		}
	}
	for _, target := range []string{"", "admin", "?a", "/a b", "/a\x00", "/a\nb", "/%", "/%4", "/%zz", "/%g0", "http://%zz/"} {
		if r, ok := request(target); ok {
			t.Errorf("net/http takes %q as path %q: the door must judge it", target, r.URL.Path)
		}
	}
}

// TestCanonicalPathOfWhatAnotherHandlerLeft holds that a handler in front of the door may have
// changed the URL: what is in Path then counts, and a RawPath that says otherwise does not.
func TestCanonicalPathOfWhatAnotherHandlerLeft(t *testing.T) {
	t.Parallel()
	doors := doorsForPaths(t)
	for _, c := range []struct {
		url              url.URL
		escaped, decoded string // empty for a refusal
	}{
		{url.URL{Path: "/a/../b"}, "/b", "/b"},
		{url.URL{Path: "/admin", RawPath: "/public"}, "/admin", "/admin"},
		{url.URL{Path: "/admin", RawPath: "/%zz"}, "/admin", "/admin"},
		{url.URL{Path: "/a b?"}, "/a%20b%3F", "/a b?"},
		{url.URL{Path: "/a(b", RawPath: "/a(b"}, "/a(b", "/a(b"},
		{url.URL{Path: "/a/b", RawPath: "/a%2fb"}, "", ""},
		{url.URL{Path: "/a%"}, "/a%25", "/a%"},
		{url.URL{Path: "/a\x00"}, "", ""},
		{url.URL{Path: "admin"}, "", ""},
		{url.URL{Path: ""}, "", ""},
		{url.URL{Path: "*"}, "", ""},
	} {
		f, err := judgedPath(doors, &http.Request{Method: http.MethodGet, URL: &c.url})
		escaped, decoded := f.escaped, f.decoded
		if escaped != c.escaped || decoded != c.decoded || (err != nil) != (c.escaped == "") {
			t.Errorf("%#v: %q, %q, %v; want %q, %q", c.url, escaped, decoded, err, c.escaped, c.decoded)
		}
	}
}

// doorsForPaths is a table with what is ours, to see that a decision does not depend on the spelling.
func doorsForPaths(t testing.TB) *Policy {
	t.Helper()
	var doors []Door
	for _, p := range []string{"/auth/token", "/api/auth/users", "/api/auth/users/{id}", "/health", "/health/live", "/metrics"} {
		doors = append(doors, Door{
			Method: http.MethodGet, Pattern: p, Reads: ReadsNothing, Need: doorward.NeedNothing,
			Handle: func(http.ResponseWriter, *http.Request, *Pass) error { return nil },
		})
	}
	table, err := NewPolicy(Rules{Doors: doors})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// holdsForPaths fails unless canonicalPath keeps its promises for target.
func holdsForPaths(t failer, doors *Policy, target string) {
	t.Helper()
	r, ok := request(target)
	if !ok {
		return // net/http has answered 400
	}
	if r.URL.User != nil { // "http://name:word@host/": refused whatever its path is
		if d := decision(doors, r); !strings.HasPrefix(d, "refused: ") {
			t.Fatalf("%q is %s", target, d)
		}
		return
	}
	f, err := judgedPath(doors, r)
	escaped, decoded := f.escaped, f.decoded
	if err != nil {
		var e *doorward.Error
		if !errors.As(err, &e) || e.Code != doorward.CodeInvalid || escaped != "" || decoded != "" {
			t.Fatalf("%q: %q, %q, %v", target, escaped, decoded, err)
		}
		return
	}
	// What reads in two ways was never let through.
	written, _, _ := strings.Cut(target, "?")
	if low := strings.ToLower(written); strings.Contains(low, "%2f") || strings.Contains(low, "%5c") || strings.ContainsAny(target, "#") || strings.ContainsAny(written, "\\") {
		t.Fatalf("%q was let through as %q", target, escaped)
	}
	for i := 0; i < len(decoded); i++ {
		if decoded[i] < 0x20 || decoded[i] == 0x7f {
			t.Fatalf("%q: control character in %q", target, decoded)
		}
	}
	for i := 0; i < len(escaped); i++ {
		if escaped[i] <= 0x20 || escaped[i] > 0x7e {
			t.Fatalf("%q: %q cannot stand in a request line", target, escaped)
		}
	}
	// The form is the one that the standard library would clean it to.
	want := path.Clean(r.URL.Path)
	if r.URL.Path == "" {
		want = "/"
	}
	if last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; want != "/" && (last == "" || last == "." || last == "..") {
		want += "/"
	}
	if decoded != want {
		t.Fatalf("%q: decoded %q, want %q", target, decoded, want)
	}
	if strings.Contains(decoded, "//") || strings.Contains(decoded+"/", "/./") || strings.Contains(decoded+"/", "/../") {
		t.Fatalf("%q: %q is not clean", target, decoded)
	}
	// Escaped and decoded name the same, and url.URL, which the request goes on in, writes neither otherwise.
	if plain, err := url.PathUnescape(escaped); err != nil || plain != decoded {
		t.Fatalf("%q: %q means %q, %v; not %q", target, escaped, plain, err, decoded)
	}
	if sent := (&url.URL{Path: decoded, RawPath: escaped}).EscapedPath(); sent != escaped {
		t.Fatalf("%q: judged as %q, would be sent as %q", target, escaped, sent)
	}
	// Once more changes nothing, neither the form nor the decision.
	again, ok := request(escaped)
	if !ok {
		t.Fatalf("%q: net/http refuses the canonical form %q", target, escaped)
	}
	f2, err := judgedPath(doors, again)
	escaped2, decoded2 := f2.escaped, f2.decoded
	if err != nil || escaped2 != escaped || decoded2 != decoded {
		t.Fatalf("%q: %q becomes %q, %q, %v", target, escaped, escaped2, decoded2, err)
	}
	r.Host = again.Host // how a host may be written is another question
	if a, b := decision(doors, r), decision(doors, again); a != b {
		t.Fatalf("%q is %s, its canonical form %q is %s", target, a, escaped, b)
	}
}

// decision names what the door makes of a request's path, and for a path that is nobody's door
// what goes on to the service.
func decision(doors *Policy, r *http.Request) string {
	g, p := new(Gate), new(Pass)
	r, err := g.scope(r, p)
	if err != nil {
		return "refused: " + err.Error()
	}
	if _, err := doors.judge(r.Method, "", p.form); err != nil {
		return "refused: " + err.Error()
	}
	d, _, ours, err := doors.find(r, p.form)
	switch {
	case err != nil:
		return "ours: " + err.Error()
	case ours:
		return "door " + d.Pattern + " id=" + r.PathValue("id")
	case strings.HasPrefix(p.Path, "/auth/"), strings.HasPrefix(p.Path, "/api/auth/"), p.Path == "/health", p.Path == "/metrics":
		return "LEFT TO THE SERVICE: " + p.Path
	}
	return "service " + (&url.URL{Path: p.Path, RawPath: p.RawPath}).EscapedPath()
}

// pieces are what paths that mean to deceive are made of.
var pieces = []string{
	"/", "/", "/", "//", ".", "..", "%2e", "%2E", "%2e%2e", "..;", ";", "%3b", "%2f", "%2F", "%5c", "\\", "#", "%23", "?", "?/../", "%3f",
	"%00", "%0a", "%7f", "%25", "%252e", "%252f", "%zz", "%", "auth", "%61uth", "AUTH", "api", "a%70i", "token", "users", "health", "live", "metrics",
	"admin", "a", "é", "%c3%a9", "\xff", "%ff", "(", "%28", "[", "\"", "|", "+", "%20", ":", "@", "*", "~", "%7e", "-", "http://h",
}

func TestPT17PathsAreDecidedAsTheyAreSent(t *testing.T) {
	t.Parallel()
	doors := doorsForPaths(t)
	rapid.Check(t, func(t *rapid.T) {
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 10), 1, 100).Draw(t, "targets") {
			target := "/" + strings.Join(parts, "")
			holdsForPaths(t, doors, target)
			if strings.HasPrefix(decisionOf(doors, target), "LEFT") {
				t.Fatalf("%q: %s", target, decisionOf(doors, target))
			}
			holdsForPaths(t, doors, target[1:])
		}
	})
}

func decisionOf(doors *Policy, target string) string {
	r, ok := request(target)
	if !ok {
		return ""
	}
	return decision(doors, r)
}

func FuzzCanonicalPath(f *testing.F) {
	for _, p := range pieces {
		f.Add("/" + p)
		f.Add("/a" + p + "/admin" + p)
	}
	f.Add("http://door.example/a/../b")
	doors := doorsForPaths(f)
	f.Fuzz(func(t *testing.T, target string) { holdsForPaths(t, doors, target) })
}

// TestPathsOnTheHotPathCostNothing: a path that is canonical already, as nearly all are, is not written anew.
func TestPathsOnTheHotPathCostNothing(t *testing.T) {
	r, ok := request("/api/pipelines/pl_1a2b/runs?limit=10")
	if !ok {
		t.Fatal("not a request")
	}
	g, p := new(Gate), new(Pass)
	got := testing.AllocsPerRun(100, func() {
		if r2, err := g.scope(r, p); err != nil || r2 != r || p.RawPath != "" {
			t.Fatal("the request was changed")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
