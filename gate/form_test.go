package gate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHostsThatAreNone(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{ // canonical form, or - for refused
		"": "", "door.example": "door.example", "DOOR.Example.": "door.example", "door.example:80": "door.example", "door:0080": "door", "d:65535": "d",
		"a_b-c.d": "a_b-c.d", "xn--nxasmq6b": "xn--nxasmq6b", "127.0.0.1:1": "127.0.0.1", "1": "1",
		"[::1]": "::1", "[::1]:8080": "::1", "[0:0::0001]:1": "::1", "[::ffff:1.2.3.4]": "::ffff:1.2.3.4",

		":80": "-", ".": "-", "..": "-", "a..b": "-", ".a": "-", "a..": "-", "a:": "-", "a:b": "-", "a:-1": "-", "a:+1": "-", "a:65536": "-", "a:000080": "-", "a:80:80": "-", "a: 80": "-",
		"[::1": "-", "::1": "-", "[::1]80": "-", "[::1]:": "-", "[::1]:x": "-", "[]": "-", "[a]": "-", "[1.2.3.4]": "-", "[v1.x]": "-", "a]": "-", "[::1]]": "-", "[[::1]]": "-", "[::1%]": "-", "[FE80::1%25eth0]": "-", "[fe80::1%eth0]:1": "-", "[::1%a/b]": "-",
		"root@door": "-", "a b": "-", "a/b": "-", "a,b": "-", "a;b": "-", "a?b": "-", "a#b": "-", "a\\b": "-", "a%41": "-", "a~": "-", "é": "-", "a\x00": "-", "a\r\nb": "-", "a\"": "-", "a'b": "-", "$(x)": "-", "a*": "-",
		strings.Repeat("a", 255): strings.Repeat("a", 255), strings.Repeat("a", 256): "-",
	} {
		if got := validHost(host); got != (want != "-") {
			t.Errorf("%q is valid: %t", host, got)
		} else if got && canonicalHost(host) != want {
			t.Errorf("%q is %q, want %q", host, canonicalHost(host), want)
		}
	}
}

func TestTheCanonicalHostCostsNothing(t *testing.T) {
	for _, host := range []string{"door.example:8080", "door.example.", "127.0.0.1:80"} {
		if n := testing.AllocsPerRun(100, func() { _ = canonicalHost(host) }); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, host := range []string{"", "a.b:80", "[::1%25eth0]:1", "A.", "a:", "[", "]:"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		canonical := canonicalHost(host)
		if !validHost(host) {
			return
		}
		written := canonical
		if strings.Contains(canonical, ":") {
			written = "[" + canonical + "]"
		}
		if !validHost(written) || canonicalHost(written) != canonical {
			t.Errorf("%q becomes %q, which becomes %q", host, canonical, canonicalHost(written))
		}
	})
}

// TestTheFormOfAHead: what is too much and what is ambiguous, each to its last line.
func TestTheFormOfAHead(t *testing.T) {
	t.Parallel()
	g := &Gate{Config: Config{MaxHeaders: 3}}
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"as many as there may be": {http.Header{"A": {"", ""}, "B": {""}}, ""},
		"one more":                {http.Header{"A": {"", ""}, "B": {"", ""}}, "headers: must not be more than 3"},
		"a host twice":            {http.Header{"Host": {"door", "door"}}, "Host: differs from :authority"},
		"another host":            {http.Header{"Host": {"other"}}, "Host: differs from :authority"},
		"an empty host":           {http.Header{"Host": {""}}, "Host: differs from :authority"},
		"the same host":           {http.Header{"Host": {"DOOR"}}, ""},
		"a length":                {http.Header{"Content-Length": {"0"}}, ""},
		"a length that is none":   {http.Header{"Content-Length": {"+0"}}, "Content-Length: is not the length of the body"},
		"a length of another":     {http.Header{"Content-Length": {"1"}}, "Content-Length: is not the length of the body"},
		"a length twice":          {http.Header{"Content-Length": {"0", "0"}}, "Content-Length: is not the length of the body"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.Header, r.ProtoMajor = "door", c.header, 2
		got := ""
		if err := g.checkForm(r); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func BenchmarkCheckForm(b *testing.B) {
	g := &Gate{Config: Config{MaxHeaders: 200}}
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "door.example:8080"
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie", "Referer", "Sec-Fetch-Mode", "User-Agent"} {
		r.Header.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := g.checkForm(r); err != nil {
			b.Fatal(err)
		}
	}
}
