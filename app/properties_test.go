package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// howMany is how often a property is tried: n, or what the variable says.
func howMany(t *testing.T, variable string, n int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s: %q is no number", variable, text)
	}
	return n
}

// keptLine is a kept connection to a door, on which requests follow each other.
type keptLine struct {
	addr string
	conn net.Conn
	br   *bufio.Reader
}

func (d *door) keep() *keptLine { return &keptLine{addr: strings.TrimPrefix(d.URL, "http://")} }

func (l *keptLine) close() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// ask sends one request as it stands and reads the answer; closed connections are made anew.
func (l *keptLine) ask(request string) (status int, header http.Header, body []byte, err error) {
	for try := 0; ; try++ {
		if l.conn == nil {
			if l.conn, err = net.Dial("tcp", l.addr); err != nil {
				return 0, nil, nil, err
			}
			l.br = bufio.NewReader(l.conn)
		}
		status, header, body, err = l.once(request)
		if err == nil {
			return status, header, body, nil
		}
		_ = l.conn.Close()
		l.conn = nil
		if try == 1 {
			return 0, nil, nil, err
		}
	}
}

func (l *keptLine) once(request string) (status int, header http.Header, body []byte, err error) {
	if err := l.conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return 0, nil, nil, err
	}
	if _, err := io.WriteString(l.conn, request); err != nil {
		return 0, nil, nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(l.br, &http.Request{Method: method})
	if err != nil {
		return 0, nil, nil, err
	}
	body, err = io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.Close && l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
	return res.StatusCode, res.Header, body, err
}

// targetPieces are what targets that mean to deceive are made of.
var targetPieces = []string{
	"/", "/", "/", "//", ".", "..", "%2e", "%2E", "%2e%2e", "..;", ";", ";x=1", "%3b", "%2f", "%2F", "%5c", "\\", "#", "%23", "?", "?/../", "%3f",
	"%00", "%0a", "%7f", "%25", "%252e", "%252f", "%zz", "%", "auth", "%61uth", "AUTH", "api", "token", "health", "public", "PUBLIC", "pub%6Cic", "public/", "/public/", "/admin/",
	"admin", "%61dmin", "ADMIN", "Admin", "a", "é", "%c3%a9", "\xff", "%ff", "(", "[", "\"", "|", "+", "%20", ":", "@", "*", "~", "repos/", "repos",
}

// TestPT17DecisionsAreAboutTheTargetThatTheServiceGets sends targets of all sorts as raw bytes. Whatever
// reaches the service is canonical, and decided as what it says would be; what is refused
// is refused in its canonical form as well. DOORWARD_TEST_TARGETS says how many are sent.
func TestPT17DecisionsAreAboutTheTargetThatTheServiceGets(t *testing.T) {
	t.Parallel()
	d, e := routedDoor(t, `routes:
  - {path: /public/**, public: true}
  - {path: /admin/**, role: admin}
  - {path: /repos/**, role: viewer, encoded_slash: pass}
`, "log.level=error")
	n, workers := howMany(t, "DOORWARD_TEST_TARGETS", 6000), 4
	reached := make([]int, workers)
	var all sync.WaitGroup
	for w := range workers {
		seed := rand.Uint64()
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			l := d.keep()
			defer l.close()
			for range n / workers {
				target := "/"
				for range random.IntN(9) {
					target += targetPieces[random.IntN(len(targetPieces))]
				}
				got, err := judgedTarget(l, target)
				if err == nil {
					reached[w] += got
					continue
				}
				t.Errorf("seed %d: %v", seed, err)
				return
			}
		})
	}
	all.Wait()
	sum := 0
	for _, r := range reached {
		sum += r
	}
	if sum < n/20 {
		t.Errorf("of %d targets only %d reached the service", n, sum)
	}
	_ = e
}

// judgedTarget checks what becomes of one target as nobody and as a viewer; reached is 1
// when the viewer's reached the service.
func judgedTarget(l *keptLine, target string) (reached int, err error) {
	as := func(target, credential string) (status int, got string, err error) {
		status, _, body, err := l.ask("GET " + target + " HTTP/1.1\r\nHost: door.example\r\n" + credential + "\r\n")
		if err != nil || status != http.StatusOK {
			return status, "", err
		}
		var e echoed
		if json.Unmarshal(body, &e) != nil || e.Target == "" {
			return status, "", nil // one of our own doors
		}
		return status, e.Target, nil
	}
	const viewer = "Authorization: Bearer " + viewerToken + "\r\n"
	nobodyStatus, nobodyGot, err := as(target, "")
	if err != nil {
		return 0, fmt.Errorf("%q: %w", target, err)
	}
	viewerStatus, viewerGot, err := as(target, viewer)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", target, err)
	}
	if nobodyStatus >= 500 || viewerStatus >= 500 {
		return 0, fmt.Errorf("%q: %d and %d", target, nobodyStatus, viewerStatus)
	}
	// What nobody reaches is public, exactly; what a viewer reaches is not the admins', however read.
	for who, got := range map[string]string{"nobody": nobodyGot, "viewer": viewerGot} {
		if got == "" {
			continue
		}
		plain, readings, err := readingsOf(got)
		if err != nil {
			return 0, fmt.Errorf("%q: %s reached the service as %q: %w", target, who, got, err)
		}
		for _, r := range readings {
			if low := strings.ToLower(r); low == "/admin" || strings.HasPrefix(low, "/admin/") || strings.HasPrefix(r, "/auth/") || strings.HasPrefix(r, "/api/auth/") {
				return 0, fmt.Errorf("%q: %s reached %q, which may be read as %q", target, who, got, r)
			}
			if who == "nobody" && r != "/public" && !strings.HasPrefix(r, "/public/") {
				return 0, fmt.Errorf("%q: nobody reached %q, which may be read as %q", target, got, r)
			}
		}
		if strings.Contains(strings.ToLower(strings.SplitN(got, "?", 2)[0]), "%2f") && !strings.HasPrefix(strings.ToLower(plain), "/repos/") {
			return 0, fmt.Errorf("%q: an encoded slash reached the service as %q", target, got)
		}
	}
	if viewerGot == "" {
		return 0, nil
	}
	// Its canonical form is decided alike, and is its own canonical form.
	status, got, err := as(viewerGot, viewer)
	if err != nil || status != viewerStatus || got != viewerGot {
		return 0, fmt.Errorf("%q arrives as %q, which gets %d and arrives as %q: %v", target, viewerGot, status, got, err)
	}
	status, got, err = as(viewerGot, "")
	if err != nil || status != nobodyStatus || got != nobodyGot {
		return 0, fmt.Errorf("%q as nobody is %d %q, its canonical form %q is %d %q: %v", target, nobodyStatus, nobodyGot, viewerGot, status, got, err)
	}
	return 1, nil
}

// readingsOf are the ways in which a service may read a target that it got, by means other
// than the door's own: decoded, with an encoded slash as a slash or as data, with and
// without path parameters. A target that is not clean in one of them is an error.
func readingsOf(target string) (plain string, readings []string, err error) {
	raw, _, _ := strings.Cut(target, "?")
	if plain, err = url.PathUnescape(raw); err != nil {
		return "", nil, err
	}
	data, err := url.PathUnescape(strings.NewReplacer("%2f", "%01", "%2F", "%01").Replace(raw))
	if err != nil {
		return "", nil, err
	}
	for _, r := range []string{plain, data} {
		var segments []string
		for s := range strings.SplitSeq(r, "/") {
			s, _, _ = strings.Cut(s, ";")
			segments = append(segments, s)
		}
		clean := path.Clean(r)
		if strings.HasSuffix(r, "/") && clean != "/" {
			clean += "/"
		}
		if clean != r || strings.ContainsAny(r, "\\\x00\r\n\x7f") {
			return "", nil, fmt.Errorf("%q is not clean", r)
		}
		readings = append(readings, r, path.Clean(strings.Join(segments, "/")))
	}
	return plain, readings, nil
}

// extraHeaders are names by which clients would like to be somebody else or elsewhere;
// credentials, and what the contract lets a client choose with, aside.
var extraHeaders = []string{
	"X-Forwarded-User", "X-Auth-Subject", "X-Auth-Kind", "X-Auth-Role", "X-Auth-Organization", "X-Auth-Workspace", "X-Auth-Email", "X-Request-ID",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded", "Forwarded", "Via",
	"X-Real-IP", "True-Client-IP", "X-Client-IP", "Client-IP", "CF-Connecting-IP", "X-Cluster-Client-IP", "X-Originating-IP", "Fastly-Client-IP",
	"X-Original-URL", "X-Rewrite-URL", "X-Original-Method", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Host", "X-Host", "X-Forwarded-Server",
	"Remote-User", "X-Remote-User", "X-User", "X-Username", "X-Role", "Role", "X-Admin", "X-WEBAUTH-USER", "X-Internal", "X-Doorward-Status", "X-Doorward-Assertion",
	"Proxy-Authorization", "Upgrade-Insecure-Requests", "Referer", "User-Agent", "If-None-Match", "Range", "Cache-Control", "Pragma", "Accept-Language", "TE", "Trailer", "Via", "Date", "From", "DNT",
	"X-CSRF-Token", "X-Requested-With", "Content-Language", "Content-Location", "X-Envoy-Original-Path", "X-Script-Name", "X-Scheme", "Front-End-Https", "X-Amzn-Trace-Id", "Sec-GPC", "Priority", "Early-Data",
}

// TestHeadersNeverWiden is the second of the four properties: added headers never turn a refusal
// into an admission, and never change who a request comes from, in which role and tenant,
// or from which address.
func TestHeadersNeverWiden(t *testing.T) {
	t.Parallel()
	d, _ := routedDoor(t, "routes:\n  - {path: /public/**, public: true}\n  - {path: /admin/**, role: admin}\n", "log.level=error")
	root := d.setUp()
	_, rootCookie := d.signIn("root", rootPassword)
	adaID, ada, _ := d.newUser(root, "ada", "viewer")
	values := []string{
		"superadmin", "root", "usr_root", adaID, "127.0.0.1", "10.0.0.1, 127.0.0.1", "198.51.100.7", "for=127.0.0.1;proto=https;host=admin.example", "https", "443", "/admin/x", "/public/x", "GET", "POST", "DELETE",
		"default", "*", "", "1", "true", "admin.example", "localhost", "Basic cm9vdDpyb290", "chunked", "trailers", "x, y", "X-Auth-Role", "\"x\"", "a;b=c", strings.Repeat("x", 300),
	}
	callers := []string{
		"", "Authorization: Bearer " + ada, "Cookie: brokoli_session=" + rootCookie, "Authorization: Bearer " + editorToken, "X-API-Key: " + machineKey, "X-API-Key: nonsense", "Authorization: Bearer nonsense",
	}
	targets := []string{"/x", "/public/x", "/admin/x", "/api/auth/me", "/api/auth/users", "/auth/validate", "/health"}
	rapid.Check(t, func(t *rapid.T) {
		caller := rapid.SampledFrom(callers).Draw(t, "caller")
		target := rapid.SampledFrom(targets).Draw(t, "target")
		method := rapid.SampledFrom([]string{"GET", "GET", "POST", "DELETE"}).Draw(t, "method")
		var added []string
		for range rapid.IntRange(1, 8).Draw(t, "headers") {
			name := spelled(t, rapid.SampledFrom(extraHeaders).Draw(t, "name"))
			added = append(added, name+": "+rapid.SampledFrom(values).Draw(t, "value"))
		}
		if rapid.IntRange(0, 3).Draw(t, "connection") == 0 {
			added = append(added, "Connection: "+rapid.SampledFrom(extraHeaders).Draw(t, "named")+", Authorization, Cookie, X-Api-Key, X-Auth-Role")
		}
		l := d.keep()
		defer l.close()
		ask := func(lines []string) (int, echoed, []byte) {
			if caller != "" {
				lines = append([]string{caller}, lines...)
			}
			// Where the added lines stand must not matter.
			if rapid.Bool().Draw(t, "before") {
				slices.Reverse(lines)
			}
			status, _, body, err := l.ask(method + " " + target + " HTTP/1.1\r\nHost: door.example\r\n" + strings.Join(append(lines, "", ""), "\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			var e echoed
			_ = json.Unmarshal(body, &e)
			return status, e, body
		}
		plainStatus, plain, plainBody := ask(nil)
		status, got, body := ask(added)
		if status == http.StatusBadRequest || status == http.StatusExpectationFailed || status == http.StatusNotImplemented {
			return // refused for its form
		}
		if status != plainStatus && status < 300 {
			t.Fatalf("%s %s as %q is %d, and with %q %d: %s", method, target, caller, plainStatus, added, status, body)
		}
		if status != plainStatus {
			t.Fatalf("%s %s as %q is %d %s, and with %q %d: %s", method, target, caller, plainStatus, plainBody, added, status, body)
		}
		for _, name := range identityHeaders {
			if name != "X-Request-Id" && !slices.Equal(plain.Header[name], got.Header[name]) {
				t.Fatalf("%s %s as %q: with %q %s is %q, without %q", method, target, caller, added, name, got.Header[name], plain.Header[name])
			}
		}
		if target == "/api/auth/me" && string(body) != string(plainBody) {
			t.Fatalf("as %q: with %q I am %s, without %s", caller, added, body, plainBody)
		}
		for name, values := range got.Header {
			if stated := squeezed(name); strings.HasPrefix(stated, "x-auth-") && !slices.Contains(identityHeaders, name) || stated == "x-original-url" || stated == "x-rewrite-url" || strings.HasPrefix(stated, "x-http-method") {
				t.Fatalf("%s: %q arrives", name, values)
			}
		}
	})
}

// spelled writes a header's name in one of the ways that somebody may read as the same.
func spelled(t *rapid.T, name string) string {
	switch rapid.IntRange(0, 6).Draw(t, "spelling") {
	case 0:
		return strings.ToLower(name)
	case 1:
		return strings.ToUpper(name)
	case 2:
		return strings.ReplaceAll(name, "-", "_")
	case 3:
		return strings.ReplaceAll(name, "-", ".")
	case 4:
		return strings.Replace(name, "-", "--", 1)
	case 5:
		return strings.Replace(name, "-", "_", 1)
	}
	return name
}

// squeezed is a header's name as the most forgiving service reads it.
func squeezed(name string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}), "-"))
}

// TestEveryEchoCarriesItsOwnCaller sends requests of many callers mixed over connections that are
// kept: none is ever taken for another. DOORWARD_TEST_MIXED says how many are sent.
func TestEveryEchoCarriesItsOwnCaller(t *testing.T) {
	t.Parallel()
	var tokens strings.Builder
	tokens.WriteString("api_tokens:\n")
	for i := range 20 {
		fmt.Fprintf(&tokens, "  - {token: token-number-%04d-0123456789, name: machine-%d, role: %s}\n", i, i, []string{"viewer", "editor", "admin"}[i%3])
	}
	e := newEchoService(t)
	d := newDoor(t, settingsFile(t, tokens.String()), "upstream="+e.URL, "api_key="+machineKey, "log.level=error")
	type who struct{ line, subject, kind, user, role string }
	var callers []who
	for i := range 20 {
		token, name, role := fmt.Sprintf("token-number-%04d-0123456789", i), fmt.Sprintf("machine-%d", i), []string{"viewer", "editor", "admin"}[i%3]
		callers = append(callers, who{"Authorization: Bearer " + token, name, "client", "", role}, who{"X-API-Key: " + token, name, "client", "", role})
		access, _ := d.exchange(token, fmt.Sprintf("app-%d", i))
		callers = append(callers, who{"authorization: bearer " + access, fmt.Sprintf("app-%d", i), "client", "", role})
	}
	root := d.setUp()
	for i, role := range []string{"viewer", "editor", "admin", "superadmin"} {
		id, token, cookie := d.newUser(root, fmt.Sprintf("person%d", i), role)
		callers = append(callers, who{"Authorization: Bearer " + token, id, "user", fmt.Sprintf("person%d", i), role},
			who{"Cookie: a=b; brokoli_session=" + cookie + "; c=d", id, "user", fmt.Sprintf("person%d", i), role})
	}
	n, lines := howMany(t, "DOORWARD_TEST_MIXED", 8000), 64
	var all sync.WaitGroup
	for w := range lines {
		all.Go(func() {
			random := rand.New(rand.NewPCG(rand.Uint64(), uint64(w)))
			l := d.keep()
			defer l.close()
			for i := range n / lines {
				c := callers[random.IntN(len(callers))]
				mark := fmt.Sprintf("/%d/%d", w, i)
				body, request := "", "GET "
				if random.IntN(3) == 0 && c.role != "viewer" {
					body, request = mark, "POST "
				}
				request += mark + " HTTP/1.1\r\nHost: x\r\n" + c.line + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nX-Auth-Subject: usr_spoofed\r\n\r\n" + body
				status, _, answer, err := l.ask(request)
				var got echoed
				if err != nil || status != http.StatusOK || json.Unmarshal(answer, &got) != nil {
					t.Errorf("%s: %d %s %v", mark, status, answer, err)
					return
				}
				h := got.Header
				if got.Target != mark || got.Body != body || h.Get("X-Auth-Subject") != c.subject || h.Get("X-Auth-Kind") != c.kind || h.Get("X-Forwarded-User") != c.user || h.Get("X-Auth-Role") != c.role || len(h["X-Auth-Subject"]) != 1 {
					t.Errorf("%s of %+v arrives as %+v", mark, c, got)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestPX11ARequestFromTheServiceIsNobodys: what comes back to the door from the service behind, by
// loopback and with the headers that it was given, is judged as anybody's.
func TestPX11ARequestFromTheServiceIsNobodys(t *testing.T) {
	t.Parallel()
	var d *door
	answers := make(chan answer, 2)
	service := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			return
		}
		for _, path := range []string{"/back", "/api/auth/me"} {
			answers <- d.do("GET", path, func(back *http.Request) { back.Header = r.Header.Clone() })
		}
	})
	s := httptest.NewServer(service)
	t.Cleanup(s.Close)
	d = machineDoor(t, "upstream="+s.URL)
	d.do("GET", "/there", apiKey(machineKey)).want(http.StatusOK)
	for range 2 {
		(<-answers).refused(http.StatusUnauthorized, "token required")
	}
}
