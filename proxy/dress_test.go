package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"doorward"
	"doorward/proxy"

	"pgregory.net/rapid"
)

// wears fails unless h has each identity header exactly once, as want says.
func wears(t interface {
	Helper()
	Errorf(string, ...any)
}, h http.Header, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if !slices.Equal(h[name], []string{value}) {
			t.Errorf("%s = %q, want it once and %q", name, h[name], value)
		}
	}
}

// claims are spellings of what only the door may say.
func claims() []string {
	var all []string
	for name := range worn {
		all = append(all, name)
	}
	all = append(all,
		"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Port",
		"X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Scheme",
		"X-Forwarded-Ssl", "X-Forwarded", "X-Forward-For", "Forwarded", "X-Auth-User", "X-Auth-Request-User",
		"X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host",
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-HTTP-Host-Override", "X-Host",
		"X-Real-IP", "True-Client-IP", "X-Client-IP", "Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "X-Cluster-Client-IP",
		"X-Workspace-ID", "X-Organization-ID", "X-Setup-Code", "Remote-User", "X-Remote-User", "Remote-Groups",
		"Proxy", "X-API-Key", "HTTP2-Settings", "Front-End-Https", "X-Script-Name",
	)
	return all
}

func spellings(name string) []string {
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name),
		strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.ReplaceAll(name, "-", "--"),
		strings.Replace(name, "-", "_", 1), name + "-", name + "_", "_" + name, name + "'", "!" + name + "~",
		strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
	}
}

// squash is this test's own reading of "the same name for a forgiving service".
func squash(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9')
	}), "-")
}

func TestPX1PX3ClientsSayNothingInTheDoorsName(t *testing.T) {
	t.Parallel()
	forbidden := map[string]bool{}
	for _, name := range claims() {
		forbidden[squash(name)] = true
	}
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nobody := map[string]string{}
			for name := range worn {
				nobody[name] = ""
			}
			nobody["X-Forwarded-For"] = "127.0.0.1"
			for who, want := range map[string]map[string]string{"ada": worn, "nobody": nobody} {
				addr := place(t, "", func(r *http.Request) proxy.Passage {
					if who == "ada" {
						return passage(r)
					}
					return proxy.Passage{Path: r.URL.Path}
				})
				for _, claim := range claims() {
					var request strings.Builder
					request.WriteString("GET / HTTP/1.1\r\nHost: door.example\r\nX-App: mine\r\n")
					for _, s := range spellings(claim) {
						fmt.Fprintf(&request, "%s: forged\r\n%s: forged again\r\n", s, s)
					}
					got := asks(t, addr, request.String()+"\r\n")
					wears(t, got.Header, want)
					if got.Header.Get("X-App") != "mine" {
						t.Errorf("%s: the app's own header is gone: %v", claim, got.Header)
					}
					for name, values := range got.Header {
						if _, wears := want[name]; !wears && forbidden[squash(name)] {
							t.Errorf("%s arrived: %q", name, values)
						}
						if slices.Contains(values, "forged") {
							t.Errorf("%s: %q", name, values)
						}
					}
				}
			}
		})
	}
}

func TestPX3NamesThatAreNoTokensAreRefused(t *testing.T) {
	t.Parallel()
	addr := placements["gateway"](t, "", passage)
	for _, line := range []string{"X-Auth-Role : admin", "X-Auth-Role\t: admin", "X-Auth-R\xc3\xb6le: admin", "X-Auth-Role,: admin", " X-Auth-Role: admin"} {
		res, body, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n"+line+"\r\n\r\n")
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s %s, want 400", line, res.Status, body)
		}
	}
}

// Whatever a client sends changes nothing of what the service hears about who it is.
func TestPX3HeadersNeverWiden(t *testing.T) {
	t.Parallel()
	forbidden := map[string]bool{}
	for _, name := range claims() {
		forbidden[squash(name)] = true
	}
	const visible = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[]^_`abcxyz{|}~"
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := place(t, "", passage)
			anyName := rapid.StringOfN(rapid.SampledFrom([]rune(token)), 1, 80, -1)
			alias := rapid.Custom(func(t *rapid.T) string {
				b := []byte(rapid.SampledFrom(claims()).Draw(t, "claim"))
				for i, c := range b {
					switch {
					case c == '-':
						b[i] = rapid.SampledFrom([]byte("-_.!~|")).Draw(t, "separator")
					case rapid.Bool().Draw(t, "upper"):
						b[i] = strings.ToUpper(string(c))[0]
					}
				}
				return string(b)
			})
			option := rapid.OneOf(rapid.SampledFrom(claims()), rapid.SampledFrom([]string{"close", "keep-alive", "Upgrade", "TE", "Cookie", "Authorization"}))
			rapid.Check(t, func(rt *rapid.T) {
				var request strings.Builder
				request.WriteString("GET /x?q HTTP/1.1\r\nHost: h\r\n")
				fmt.Fprintf(&request, "Connection: %s\r\n", strings.Join(rapid.SliceOfN(option, 0, 6).Draw(rt, "options"), ", "))
				for range rapid.IntRange(0, 12).Draw(rt, "headers") {
					name := rapid.OneOf(anyName, alias, alias).Draw(rt, "name")
					value := rapid.StringOfN(rapid.RuneFrom([]rune(visible)), 0, 30, -1).Draw(rt, "value")
					switch squash(name) {
					case "host", "content-length", "transfer-encoding", "expect", "upgrade", "connection":
						continue // the server's own business, tried elsewhere
					}
					fmt.Fprintf(&request, "%s: %s\r\n", name, value)
				}
				got := asks(t, addr, request.String()+"\r\n")
				wears(rt, got.Header, worn)
				for name, values := range got.Header {
					if _, ok := worn[name]; !ok && (forbidden[squash(name)] || strings.HasPrefix(squash(name), "x-auth-") || strings.HasPrefix(squash(name), "x-forwarded-")) {
						rt.Errorf("%s arrived: %q", name, values)
					}
				}
				if got.Target != "/x?q" || got.Host != "h" || got.Method != "GET" {
					rt.Errorf("arrived as %s %s at %s", got.Method, got.Target, got.Host)
				}
			})
		})
	}
}

func TestPX5ConnectionTakesNothingOfOursOut(t *testing.T) {
	t.Parallel()
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := place(t, "", passage)
			for _, line := range []string{
				"Connection: X-Auth-Role, X-Forwarded-User, X-Auth-Kind, X-Auth-Subject, X-Auth-Workspace, X-Auth-Organization, X-Request-ID",
				"Connection: Authorization, Cookie, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto",
				"Connection: keep-alive\r\nConnection: x-auth-role,x-forwarded-for",
				"Connection: close, X-Auth-Role, TE\r\nTE: X-Auth-Role, trailers",
				"Connection: Upgrade, X-Auth-Role\r\nUpgrade: websocket",
				"Connection: Upgrade, X-Auth-Role\r\nUpgrade: h2c",
				"Proxy-Connection: X-Auth-Role\r\nKeep-Alive: X-Auth-Role",
			} {
				if name == "gateway to h2c" && strings.Contains(line, "websocket") {
					continue // never carried there
				}
				got := asks(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n"+line+"\r\n\r\n")
				wears(t, got.Header, worn)
				if c := got.Header.Get("Connection"); c != "" && c != "Upgrade" {
					t.Errorf("%q: Connection: %s goes on", line, c)
				}
			}
		})
	}
}

func TestPX5TrailersNeverArrive(t *testing.T) {
	t.Parallel()
	const request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Role, X-App\r\nTE: trailers\r\n\r\n" +
		"5\r\nhello\r\n0\r\nX-Auth-Role: superadmin\r\nX-App: 1\r\n\r\n"
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := asks(t, place(t, "", passage), request)
			wears(t, got.Header, worn)
			if len(got.Trailer) > 0 || got.Header["Trailer"] != nil || got.Body != "hello" {
				t.Errorf("trailer %v, Trailer %q, body %q", got.Trailer, got.Header["Trailer"], got.Body)
			}
		})
	}
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		service, seen := witness(t)
		send(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage), request)
		bytes := <-seen
		if !strings.HasSuffix(bytes, "\r\n\r\n5\r\nhello\r\n0\r\n\r\n") || strings.Contains(bytes, "superadmin") || strings.Contains(bytes, "Trailer") {
			t.Errorf("the service received %q", bytes)
		}
	})
}

func TestEmptyHeadersAreSent(t *testing.T) {
	t.Parallel()
	service, seen := witness(t)
	addr := gateway(t, proxy.Config{Upstream: parse(t, service)}, func(*http.Request) proxy.Passage { return proxy.Passage{Identity: doorward.Anonymous} })
	send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	head := <-seen
	for name := range worn {
		want := "\r\n" + name + ": \r\n"
		switch name {
		case "X-Forwarded-For":
			want = "\r\nX-Forwarded-For: 127.0.0.1\r\n"
		case "X-Auth-Kind":
			want = "\r\nX-Auth-Kind: anonymous\r\n"
		}
		if strings.Count(head, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, head)
		}
	}
	if strings.Contains(head, "User-Agent") || strings.Contains(head, "Accept-Encoding") {
		t.Errorf("headers were invented:\n%s", head)
	}
}

func TestOnlyPeopleHaveUserNames(t *testing.T) {
	t.Parallel()
	for _, kind := range []doorward.Kind{doorward.KindKey, doorward.KindClient, doorward.KindAnonymous, ""} {
		id := ada
		id.Kind = kind
		h := proxy.Dress(httptest.NewRequest("GET", "/", nil), proxy.Passage{Identity: id}, ours, "").Header
		wears(t, h, map[string]string{"X-Forwarded-User": "", "X-Auth-Kind": string(kind), "X-Auth-Subject": "usr_1"})
	}
}

func TestPX15ValuesThatDoNotFitAreNotSaid(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a\r\nX-Auth-Role: superadmin", "a\x00", "a\n", "\u00e9lan", "a\x7f"} {
		id := ada
		id.Username, id.Org = bad, bad
		addr := placements["gateway"](t, "", func(r *http.Request) proxy.Passage {
			p := passage(r)
			p.Identity, p.RequestID = id, bad
			return p
		})
		got := asks(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		wears(t, got.Header, map[string]string{"X-Forwarded-User": "", "X-Auth-Organization": "", "X-Request-Id": "", "X-Auth-Role": "admin", "X-Auth-Subject": "usr_1"})
	}
}

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		peer, client string
		before       []string
		want         string
	}{
		{"192.0.2.1:5000", "192.0.2.1", nil, "192.0.2.1"},
		{"[2001:db8::1]:5000", "2001:db8::1", nil, "2001:db8::1"},
		{"[::ffff:192.0.2.1]:5000", "192.0.2.1", nil, "192.0.2.1"},
		{"[fe80::1%eth0]:5000", "fe80::1", nil, "fe80::1"},
		{"10.0.0.1:5000", "192.0.2.1", []string{"192.0.2.1"}, "192.0.2.1, 10.0.0.1"},
		{"10.0.0.1:5000", "192.0.2.1", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1, 10.0.0.2, 10.0.0.1"},
		{"10.0.0.1:5000", "192.0.2.1", nil, "192.0.2.1, 10.0.0.1"},
		{"10.0.0.1:5000", "10.0.0.1", []string{"10.0.0.1"}, "10.0.0.1, 10.0.0.1"},
		{"10.0.0.1:5000", "", nil, "10.0.0.1"},
		{"@", "192.0.2.1", nil, "192.0.2.1"},
		{"@", "192.0.2.1", []string{"192.0.2.1"}, "192.0.2.1"},
		{"", "", nil, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		pass := proxy.Passage{Forwarded: c.before}
		if c.client != "" {
			pass.Client = netip.MustParseAddr(c.client)
		}
		if got := proxy.Dress(r, pass, ours, "").Header["X-Forwarded-For"]; !slices.Equal(got, []string{c.want}) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestDressLeavesTheRequestAsItIs(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/a/../b?x;y", nil)
	r.Header = http.Header{"Cookie": {session + "=1; a=2"}, "X-Auth-Role": {"admin"}, "Authorization": {"Bearer t"}, "Accept": {"a", "b"}}
	out := proxy.Dress(r, proxy.Passage{Path: "/b", DropAuthorization: true}, ours, "")
	if r.URL.Path != "/a/../b" || r.Header.Get("X-Auth-Role") != "admin" || r.Header.Get("Cookie") != session+"=1; a=2" || r.Header.Get("Authorization") == "" {
		t.Errorf("the request changed: %v %v", r.URL, r.Header)
	}
	if out.URL.Path != "/b" || out.RequestURI != "/b?x;y" || out.URL.RawQuery != "x;y" {
		t.Errorf("dressed: %v, %s", out.URL, out.RequestURI)
	}
	out.Header["Accept"][0] = "changed"
	if r.Header["Accept"][0] != "a" {
		t.Error("the copy shares the values of headers")
	}
}
