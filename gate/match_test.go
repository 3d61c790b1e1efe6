package gate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newMatcher(t testing.TB, patterns ...Pattern) *Matcher {
	t.Helper()
	m, err := NewMatcher(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMatching(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern  Pattern
		yes, not []string
	}{
		{Pattern{Path: "/x"}, []string{"/x"}, []string{"/", "/x/", "/X", "/x/y", "/xy"}},
		{Pattern{Path: "/x/"}, []string{"/x/"}, []string{"/x", "/x/y"}},
		{Pattern{Path: "/"}, []string{"/"}, []string{"/x"}},
		{Pattern{Path: "/x/**"}, []string{"/x", "/x/", "/x/y", "/x/y/z/"}, []string{"/", "/X", "/xy", "/y/x"}},
		{Pattern{Path: "/**"}, []string{"/", "/x", "/x/y/"}, nil},
		{Pattern{Path: "/x/*"}, []string{"/x/y", "/x/**"}, []string{"/x", "/x/", "/x/y/", "/x/y/z"}},
		{Pattern{Path: "/x/*/z"}, []string{"/x/y/z", "/x/z/z"}, []string{"/x//z", "/x/z", "/x/y/z/"}},
		{Pattern{Path: "/x/*/**"}, []string{"/x/y", "/x/y/", "/x/y/z"}, []string{"/x", "/x/"}},
		{Pattern{Path: "/%61%20b/%2A"}, []string{"/a b/*"}, []string{"/a b/c"}},
		{Pattern{Path: "/é"}, []string{"/é"}, []string{"/É"}},
		{Pattern{Path: "/x", Fold: true}, []string{"/x", "/x/", "/X", "/X/"}, []string{"/x/y", "/"}},
		{Pattern{Path: "/x/", Fold: true}, []string{"/x", "/x/", "/X"}, []string{"/x/y"}},
		{Pattern{Path: "/Admin/**", Fold: true}, []string{"/admin", "/ADMIN/", "/aDmin/x"}, []string{"/administer", "/é"}},
		{Pattern{Path: "/x/*", Fold: true}, []string{"/x/y", "/X/Y/"}, []string{"/x", "/x/", "/x/y/z"}},
		{Pattern{Path: "/É", Fold: true}, []string{"/É", "/É/"}, []string{"/é"}},
		{Pattern{Path: "/" + strings.Repeat("a", 300), Fold: true}, []string{"/" + strings.Repeat("A", 300)}, []string{"/" + strings.Repeat("a", 299)}},
	} {
		m := newMatcher(t, c.pattern)
		for _, path := range c.yes {
			if _, ok := m.Match("GET", "", path); !ok {
				t.Errorf("%+v does not match %q", c.pattern, path)
			}
		}
		for _, path := range c.not {
			if _, ok := m.Match("GET", "", path); ok {
				t.Errorf("%+v matches %q", c.pattern, path)
			}
		}
	}
}

func TestMatchingHostsAndMethods(t *testing.T) {
	t.Parallel()
	m := newMatcher(t,
		Pattern{Host: "App.example.com.", Path: "/x", Methods: []string{"POST"}},
		Pattern{Host: "*.example.com", Path: "/x", Methods: []string{"POST", "GET"}},
		Pattern{Host: "*.com", Path: "/x"},
		Pattern{Path: "/x", Methods: []string{"GET"}},
		Pattern{Host: "0:0::1", Path: "/**"},
	)
	for _, c := range []struct {
		method, host, path string
		want               int
	}{
		{"POST", "app.example.com", "/x", 0},
		{"GET", "app.example.com", "/x", 1},
		{"POST", "a.b.example.com", "/x", 1},
		{"POST", "example.com", "/x", 2},
		{"PUT", "app.example.com", "/x", 2},
		{"post", "app.example.com", "/x", 2},
		{"GET", "com", "/x", 3},
		{"GET", "", "/x", 3},
		{"GET", "example.org", "/x", 3},
		{"POST", "example.org", "/x", -1},
		{"POST", "", "/x", -1},
		{"POST", "::1", "/x", 4},
		{"GET", "::1", "/x", 3},
	} {
		got, ok := m.Match(c.method, c.host, c.path)
		if !ok {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s %s%s: pattern %d, want %d", c.method, c.host, c.path, got, c.want)
		}
	}
}

func TestPatternsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	for _, p := range []Pattern{
		{}, {Path: "x"}, {Path: "/x//y"}, {Path: "//"}, {Path: "/**/x"}, {Path: "/x*"}, {Path: "/*.css"}, {Path: "/***"}, {Path: "/x?y"}, {Path: "/x#y"},
		{Path: "/x/../y"}, {Path: "/."}, {Path: "/%2e%2e/x"}, {Path: "/..;/x"}, {Path: "/a%2fb"}, {Path: "/a\\b"}, {Path: "/%zz"}, {Path: "/a b"}, {Path: "/a\x00"},
		{Path: "/x", Host: "a:80"}, {Path: "/x", Host: "*"}, {Path: "/x", Host: "a.*"}, {Path: "/x", Host: "http://a"}, {Path: "/x", Host: "a.."}, {Path: "/x", Host: "bücher.example"}, {Path: "/x", Host: "::1::"}, {Path: "/x", Host: "[::1]"}, {Path: "/x", Host: "u@a"}, {Path: "/x", Host: "*."},
	} {
		if _, err := NewMatcher([]Pattern{{Path: "/ok"}, p}); err == nil || !strings.HasPrefix(err.Error(), "pattern 1: ") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// slowMatch is the promise, written without a tree: pattern after pattern, segment after segment.
func slowMatch(patterns []Pattern, method, host, path string) int {
	for i, p := range patterns {
		if len(p.Methods) > 0 && !slices.Contains(p.Methods, method) {
			continue
		}
		if below, wild := strings.CutPrefix(p.Host, "*."); wild && !strings.HasSuffix(host, "."+below) || !wild && p.Host != "" && p.Host != host {
			continue
		}
		want, got := p.Path, path
		if p.Fold {
			want, got = strings.TrimSuffix(strings.ToLower(want), "/"), strings.TrimSuffix(strings.ToLower(got), "/")
		}
		w, g := strings.Split(want, "/")[1:], strings.Split(got, "/")[1:]
		if want == "" || want == "/" {
			w = nil
		}
		if got == "" || got == "/" {
			g = nil
		}
		for len(w) > 0 && w[0] != "**" && len(g) > 0 && (w[0] == g[0] || w[0] == "*" && g[0] != "") {
			w, g = w[1:], g[1:]
		}
		if len(w) == 0 && len(g) == 0 || len(w) == 1 && w[0] == "**" {
			return i
		}
	}
	return -1
}

func drawPatterns(t *rapid.T) []Pattern {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Pattern {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "A", "b", "*", "é"}), 0, 3).Draw(t, "segments")
		path := "/" + strings.Join(parts, "/")
		switch rapid.IntRange(0, 3).Draw(t, "end") {
		case 0:
			path = strings.TrimSuffix(path, "/") + "/**"
		case 1:
			path = strings.TrimSuffix(path, "/") + "/"
		}
		return Pattern{
			Host: rapid.SampledFrom([]string{"", "", "", "h.x", "*.x"}).Draw(t, "host"), Path: path,
			Methods: rapid.SampledFrom([][]string{nil, nil, {"GET"}, {"GET", "PUT"}, {"PUT"}}).Draw(t, "methods"),
			Fold:    rapid.Bool().Draw(t, "fold"),
		}
	}), 1, 8).Draw(t, "patterns")
}

type drawnRequest struct{ method, host, path string }

// requestsOfPatterns are all requests that patterns of drawPatterns can tell apart.
func requestsOfPatterns() (all []drawnRequest) {
	paths := []string{"/"}
	for depth, before := 0, []string{""}; depth < 4; depth++ {
		var next []string
		for _, p := range before {
			segments := []string{"a", "A", "b", "B", "é", "z"}
			if depth == 3 { // no pattern has more literal ones
				segments = segments[5:]
			}
			for _, s := range segments {
				next = append(next, p+"/"+s)
			}
		}
		for _, p := range next {
			paths = append(paths, p, p+"/")
		}
		before = next
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "PUT", "X"} {
			for _, host := range []string{"", "h.x", "i.x", "x"} {
				all = append(all, drawnRequest{method, host, path})
			}
		}
	}
	return all
}

// TestTheFirstPatternDecides compares the tree with the promise written plainly, and what is
// said never to match with every request there is.
func TestTheFirstPatternDecides(t *testing.T) {
	t.Parallel()
	requests := requestsOfPatterns()
	rapid.Check(t, func(t *rapid.T) {
		patterns := drawPatterns(t)
		m, err := NewMatcher(patterns)
		if err != nil {
			t.Fatal(err)
		}
		reached := map[int]bool{}
		for _, r := range requests {
			method, host, path := r.method, r.host, r.path
			want := slowMatch(patterns, method, host, path)
			got, ok := m.Match(method, host, path)
			if !ok {
				got = -1
			}
			if got != want {
				t.Fatalf("%s %s%s: pattern %d, want %d", method, host, path, got, want)
			}
			reached[got] = true
		}
		dead := m.Unreachable(nil)
		for i := range patterns {
			by, isDead := dead[i]
			if isDead == reached[i] {
				t.Fatalf("pattern %d: said to be unreachable: %t, reached: %t", i, isDead, reached[i])
			}
			if isDead && (by < 0 || by >= i) {
				t.Fatalf("pattern %d is said to be taken by %d", i, by)
			}
		}
	})
}

// TestMatchingOnTheHotPathCostsNothing whatever the request and the patterns.
func TestMatchingOnTheHotPathCostsNothing(t *testing.T) {
	m := newMatcher(t, manyPatterns(1000)...)
	for _, r := range []drawnRequest{
		{"GET", "app.example.com", "/api/v1/things7/42"}, {"POST", "", "/API/v1/Things999/42/parts/"}, {"GET", "a.b.c", "/nowhere/at/all"}, {"PUT", "", "/"},
	} {
		if n := testing.AllocsPerRun(100, func() { m.Match(r.method, r.host, r.path) }); n != 0 {
			t.Errorf("%+v: %v allocations", r, n)
		}
	}
}

// manyPatterns are n routes as services have them: some by method, some with a wild
// segment, some public, a few by host.
func manyPatterns(n int) []Pattern {
	var all []Pattern
	for i := range n {
		p := Pattern{Path: fmt.Sprintf("/api/v%d/things%d/*/parts/**", i%3, i), Fold: true}
		switch i % 5 {
		case 1:
			p = Pattern{Path: fmt.Sprintf("/hooks/%d/**", i)}
		case 2:
			p.Methods = []string{"GET", "HEAD"}
		case 3:
			p.Path = fmt.Sprintf("/api/v1/things%d/*", i)
		case 4:
			p.Host = fmt.Sprintf("app%d.example.com", i%7)
		}
		all = append(all, p)
	}
	return append(all, Pattern{Path: "/**", Fold: true})
}

// BenchmarkMatch finds a route among 10 to 10,000: what it costs must not grow with their
// number. "linear" is the same asked of each route in turn, for comparison in the same run.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		patterns := manyPatterns(n)
		m := newMatcher(b, patterns...)
		var requests []drawnRequest
		for i := range 64 {
			k := i * n / 64
			requests = append(requests,
				drawnRequest{"GET", "app.example.com", fmt.Sprintf("/api/v%d/things%d/17/parts/3", k%3, k)},
				drawnRequest{"POST", "app3.example.com", fmt.Sprintf("/hooks/%d/event", k)},
				drawnRequest{"DELETE", "", fmt.Sprintf("/elsewhere/%d", k)},
			)
		}
		b.Run(fmt.Sprintf("tree/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := &requests[i%len(requests)]
				if _, ok := m.Match(r.method, r.host, r.path); !ok {
					b.Fatal("no route")
				}
			}
		})
		b.Run(fmt.Sprintf("linear/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := &requests[i%len(requests)]
				if slowMatch(patterns, r.method, r.host, r.path) < 0 {
					b.Fatal("no route")
				}
			}
		})
	}
}

// BenchmarkMatchHosts is one rule a host, all for the same path.
func BenchmarkMatchHosts(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		patterns := []Pattern{{Host: "*.example.com", Path: "/admin/**", Fold: true}}
		for i := range n {
			patterns = append(patterns, Pattern{Host: fmt.Sprintf("app%d.example.com", i), Path: "/**", Fold: true})
		}
		m := newMatcher(b, patterns...)
		host := fmt.Sprintf("app%d.example.com", n-1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if i, _ := m.Match("GET", host, "/pages/17"); i != n {
					b.Fatal(i)
				}
			}
		})
	}
}
