package door_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
	"doorward/door"
	"doorward/doorwardtest"
	"doorward/gate"
)

// said is what is written to a log or a console.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// answer sends a request and returns status, header and body.
func answer(t *testing.T, client *http.Client, method, url, body string, lines ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, strings.TrimSpace(string(b))
}

// is fails the test unless the answer has this status and its body holds these words.
func is(t *testing.T, client *http.Client, request string, status int, words string, lines ...string) http.Header {
	t.Helper()
	method, url, _ := strings.Cut(request, " ")
	got, header, body := answer(t, client, method, url, "", lines...)
	if got != status || !strings.Contains(body, words) {
		t.Errorf("%s: %d %s, want %d %s", request, got, body, status, words)
	}
	return header
}

// TestTheFirstRun of three lines: closed until set up, with a code that the console alone says; then open to who signs in, also after a restart.
func TestTheFirstRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made")
	var log, console said
	config := door.Config{DataDir: dir, Hashing: doorward.HasherConfig{Memory: 64, Time: 1}, Console: &console, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := door.From(r.Context())
		fmt.Fprintf(w, "hello, %s %v %s", id.Username, ok, r.Header.Get("X-Forwarded-User"))
	})
	d, err := door.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(d.Wrap(hello))
	defer s.Close()
	is(t, s.Client(), "GET "+s.URL+"/", http.StatusServiceUnavailable, "setup required")
	code := regexp.MustCompile(`/auth/setup#code=(\S+)`).FindStringSubmatch(console.String())
	if code == nil || code[1] != d.SetupCode() {
		t.Fatalf("the console says %s", console.String())
	}
	if strings.Contains(log.String(), code[1]) {
		t.Errorf("the log says the code: %s", log.String())
	}
	for _, name := range []string{"doorward.db", ".brokoli-jwt-secret"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	post := func(path, body string, want int, lines ...string) map[string]any {
		t.Helper()
		status, _, got := answer(t, s.Client(), "POST", s.URL+path, body, append(lines, "Content-Type: application/json")...)
		if status != want {
			t.Fatalf("POST %s: %d %s", path, status, got)
		}
		var v map[string]any
		_ = json.Unmarshal([]byte(got), &v)
		return v
	}
	const ada = `{"username":"ada","password":"correct horse battery"}`
	post("/api/auth/users", ada, http.StatusUnauthorized)
	post("/api/auth/users", ada, http.StatusCreated, "X-Setup-Code: "+code[1])
	token := fmt.Sprint(post("/api/auth/login", ada, http.StatusOK)["token"])
	is(t, s.Client(), "GET "+s.URL+"/", http.StatusOK, "hello, ada true ada", "Authorization: Bearer "+token)
	is(t, s.Client(), "GET "+s.URL+"/health", http.StatusOK, `"database","status":"ok"`)
	is(t, s.Client(), "GET "+s.URL+"/auth/login", http.StatusOK, "<form")
	is(t, s.Client(), "GET "+s.URL+"/auth/welcome/service", http.StatusOK, "the program that this door is a part of", "Authorization: Bearer "+token)
	is(t, s.Client(), "GET "+s.URL+"/auth/nothing", http.StatusNotFound, "page not found")

	if _, err := door.Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), "another server is running on the database") {
		t.Errorf("a second server on one file: %v", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	again, err := door.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	s2 := httptest.NewServer(again.Wrap(hello))
	defer s2.Close()
	is(t, s2.Client(), "GET "+s2.URL+"/", http.StatusOK, "hello, ada", "Authorization: Bearer "+token)
	if again.SetupCode() != "" {
		t.Error("there is a setup code though there is a user")
	}
}

// TestOpenModeEndsWithoutAUser by a key: the console says then how to make the first one, with the code. So it does
// when Announce is called after Run has begun, and for a door that is not open it is all over at once.
func TestOpenModeEndsWithoutAUser(t *testing.T) {
	t.Parallel()
	coded := regexp.MustCompile(`http://(\S+)/auth/setup#code=(\S+)`)
	hand := doorward.Caller{Identity: doorward.Identity{Role: doorward.Superadmin, Org: doorward.Default, Workspace: doorward.Default}}
	for _, name := range []string{"Open", "New and Run"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log, console said
			open := door.Open
			if name == "New and Run" {
				open = door.New
			}
			d, err := open(t.Context(), door.Config{
				DataDir: t.TempDir(), OpenAllowed: true, Hashing: doorward.HasherConfig{Memory: 64, Time: 1},
				Console: &console, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			if name == "New and Run" {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); d.Run(ctx) }()
				t.Cleanup(func() { cancel(); <-ended })
				d.Announce(t.Context(), &console, "http://there")
			}
			if before := console.String(); !strings.Contains(before, "/auth/setup\n") || coded.MatchString(before) || d.SetupCode() != "" {
				t.Fatalf("in open mode the console says %s", before)
			}
			if _, _, err := d.Authority().CreateKey(t.Context(), hand, doorward.NewKey{Name: "ci", Role: "viewer", Service: true}); err != nil {
				t.Fatal(err)
			}
			var code []string
			for end := time.Now().Add(20 * time.Second); code == nil; <-time.After(time.Millisecond) {
				if code = coded.FindStringSubmatch(console.String()); time.Now().After(end) {
					t.Fatalf("the console says %s", console.String())
				}
			}
			if where := map[string]string{"Open": "HOST:PORT", "New and Run": "there"}[name]; code[1] != where || code[2] != d.SetupCode() {
				t.Errorf("the console says %v, want %s and %s", code, where, d.SetupCode())
			}
			if strings.Contains(log.String(), code[2]) {
				t.Error("the log says the code")
			}
			first := doorward.NewUser{Username: "ada", Password: "correct horse battery"}
			if _, err := d.Authority().CreateFirstUser(t.Context(), doorward.Caller{}, code[2], nil, first); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWhatCannotBeOpenedSaysWhy in one line for each thing, and leaves nothing behind.
func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*door.Config){
		"data_dir: " + file + " is a file":                     func(c *door.Config) { c.DataDir = file },
		"is not a regular file":                                func(c *door.Config) { c.SQLite = filepath.Dir(file) },
		"jwt.secret: has 5 bytes":                              func(c *door.Config) { c.JWTSecret = doorward.Secret("short") },
		"jwt.secret: must be given with a PostgreSQL database": func(c *door.Config) { c.PostgreSQL = doorward.Secret("postgres://localhost:1/x") },
		"jwt.expiry: must be from 1s":                          func(c *door.Config) { c.JWTExpiry = time.Millisecond },
		"lockout.window: must be from":                         func(c *door.Config) { c.LockoutWindow = -1 },
		"lockout.attempts: must be 1 or more":                  func(c *door.Config) { c.LockoutAttempts = -1 },
		"passwords.min_length: must be from 1 to 256":          func(c *door.Config) { c.MinPassword = 257 },
		`paths.prefix: "door" is not a path`:                   func(c *door.Config) { c.Prefix = "door" },
		`paths.health: "/he{alth}" is neither off nor a path`:  func(c *door.Config) { c.HealthPath = "/he{alth}" },
		"public_url: is not a URL":                             func(c *door.Config) { c.PublicURL = &url.URL{Scheme: "ftp", Host: "x"} },
		`forward_credentials: "all" is not one of`:             func(c *door.Config) { c.ForwardCredentials = "all" },
		"names.cookie: \"a b\" is not a cookie name":           func(c *door.Config) { c.CookieName = "a b" },
		"KeyPrefix": func(c *door.Config) { c.KeyPrefix = "a.b" },
		"routes: entry 1 says neither public: true nor which role": func(c *door.Config) { c.Routes = []gate.Route{{Path: "/x"}} },
		"trusted_origins":                                                    func(c *door.Config) { c.TrustedOrigins = []string{"app.example"} },
		"an API key or API token has no role":                                func(c *door.Config) { c.Credentials = []doorward.ConfiguredCredential{{Secret: doorward.Secret("x")}} },
		"trusted_proxies: 0.0.0.0/0 is everyone":                             func(c *door.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		"forward_auth.proxy: needs trusted_proxies: nobody else is believed": func(c *door.Config) { c.ForwardAuthProxy = gate.ProxyNginx },
		`forward_auth.proxy: "apache" is not one of`:                         func(c *door.Config) { c.ForwardAuthProxy = "apache" },
		`cookie.domain: "co.uk" is a public suffix`: func(c *door.Config) {
			c.CookieDomain, c.PublicURL = "co.uk", &url.URL{Scheme: "https", Host: "auth.co.uk"}
		},
		"cookie.domain: needs public_url":     func(c *door.Config) { c.CookieDomain = "example.com" },
		"redirect.allow: needs cookie.domain": func(c *door.Config) { c.RedirectAllow = []string{"app.example.com"} },
		"begins with __Host-": func(c *door.Config) {
			c.CookieName, c.CookieDomain, c.PublicURL = "__Host-x", "example.com", &url.URL{Scheme: "https", Host: "example.com"}
		},
		`names.secret_file: "../x" is not the name of a file`: func(c *door.Config) { c.SecretFile = "../x" },
		"api_tokens: entry 1: the secret must be one or more visible": func(c *door.Config) {
			c.Credentials = []doorward.ConfiguredCredential{{Secret: doorward.Secret("ab c\n"), Role: doorward.Viewer}}
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			c := door.Config{DataDir: t.TempDir(), Console: io.Discard, Log: slog.New(slog.DiscardHandler)}
			right := c
			change(&c)
			d, err := door.Open(t.Context(), c)
			if err == nil {
				t.Fatal(d.Close(), "it opens")
			}
			if said := err.Error(); !strings.Contains(said, want) || strings.Contains(said, "\n") {
				t.Errorf("%q", said)
			}
			d, err = door.Open(t.Context(), right) // no lock is left
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRequire: more than the route asks, refused as the door refuses.
func TestRequire(t *testing.T) {
	t.Parallel()
	var log said
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") })
	mux := http.NewServeMux()
	mux.Handle("/admins", door.Require(doorward.Admin)(ok))
	mux.Handle("/people", door.RequireNeed(doorward.NeedPerson)(ok))
	mux.Handle("/public/admins", door.Require(doorward.Admin)(ok))
	mux.Handle("/forgotten", door.RequireNeed(doorward.Need{})(ok))
	s := doorwardtest.New(t, mux, func(c *door.Config) {
		c.Routes = []gate.Route{{Name: "test", Path: "/public/**", Public: true}}
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	viewer, admin, nobody, key := s.SignedIn(t, doorward.Viewer), s.SignedIn(t, doorward.Admin), s.Nobody(t), s.Key(t, doorward.Admin)
	const forbidden, required = `{"error":"insufficient permissions","status":"error"}`, `{"error":"token required","status":"error"}`
	header := is(t, viewer, "GET "+s.URL+"/admins", http.StatusForbidden, forbidden)
	if line := regexp.MustCompile(`.*msg=refused.*request_id=` + header.Get("X-Request-Id") + `.*`).FindString(log.String()); !strings.Contains(line, `rule="the handler needs admin"`) || !strings.Contains(line, "role=viewer") {
		t.Errorf("the log says %s", log.String())
	}
	is(t, admin, "GET "+s.URL+"/admins", http.StatusOK, "done")
	is(t, viewer, "GET "+s.URL+"/people", http.StatusOK, "done")
	is(t, nobody, "GET "+s.URL+"/people", http.StatusForbidden, forbidden, "X-API-Key: "+key)
	is(t, nobody, "GET "+s.URL+"/admins", http.StatusOK, "done", "X-API-Key: "+key)
	is(t, admin, "GET "+s.URL+"/forgotten", http.StatusForbidden, forbidden)
	// On a public route there is nobody, or who a good credential says.
	header = is(t, nobody, "GET "+s.URL+"/public/admins", http.StatusUnauthorized, required)
	if header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%v", header)
	}
	is(t, nobody, "GET "+s.URL+"/public/admins", http.StatusUnauthorized, required, "X-Auth-Role: superadmin", "X-Auth-Kind: user")
	header = is(t, nobody, "GET "+s.URL+"/public/admins?x=1", http.StatusSeeOther, "", "Sec-Fetch-Mode: navigate")
	if got := header.Get("Location"); got != "/auth/login?next=%2Fpublic%2Fadmins%3Fx%3D1" {
		t.Errorf("a browser is led to %s", got)
	}
	is(t, nobody, "GET "+s.URL+"/public/admins", http.StatusOK, "done", "X-API-Key: "+key)
	is(t, viewer, "GET "+s.URL+"/public/admins", http.StatusForbidden, forbidden)

	// Without a door in front nobody passes.
	bare := httptest.NewServer(mux)
	defer bare.Close()
	is(t, nobody, "GET "+bare.URL+"/admins", http.StatusUnauthorized, required, "X-Auth-Role: superadmin", "X-API-Key: "+key)
	if id, ok := door.From(context.Background()); ok || !id.IsZero() {
		t.Errorf("%v, %v", id, ok)
	}
}

// TestStreamsOfAHandlerEnd with the session: events of a handler that flushes as most do, by http.Flusher, and a WebSocket of one that
// takes the connection over as most do, by http.Hijacker.
func TestStreamsOfAHandlerEnd(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi")
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, conn)
	})
	s := doorwardtest.New(t, mux)
	client := s.SignedIn(t, doorward.Viewer)
	stay := s.SignedIn(t, doorward.Viewer)
	begin := func(client *http.Client) (*bufio.Reader, func()) {
		res, err := client.Get(s.URL + "/events")
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(res.Body)
		if line, err := br.ReadString('\n'); err != nil || line != "data: 1\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return br, func() { res.Body.Close() }
	}
	events, close1 := begin(client)
	defer close1()
	_, close2 := begin(stay)
	defer close2()

	at, _ := url.Parse(s.URL)
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	cookie := client.Jar.Cookies(at)
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: brokoli_session=%s\r\n\r\n", at.Host, s.URL, value(cookie, "brokoli_session"))
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}

	s.SignOut(t, client)
	began := time.Now()
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "\x81\x02hi\x88\x13\x03\xf0token blacklisted" {
		t.Errorf("the WebSocket ends with %q, %v", rest, err)
	}
	if _, err := io.ReadAll(events); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("events end with %v", err)
	}
	if err := <-causes; !errors.Is(err, doorward.ErrTokenBlacklisted) {
		t.Errorf("the handler is told %v", err)
	}
	t.Logf("both have ended after %v", time.Since(began).Round(time.Millisecond))
	select {
	case err := <-causes:
		t.Errorf("another's events have ended: %v", err)
	default:
	}
}

func value(all []*http.Cookie, name string) string {
	for _, c := range all {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// TestAnAssertionForAHandler is verified by the keys that the same door publishes, and says who asks.
func TestAnAssertionForAHandler(t *testing.T) {
	t.Parallel()
	s := doorwardtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Doorward-Assertion"))
	}), func(c *door.Config) { c.Assertion = doorward.ES256 })
	_, _, assertion := answer(t, s.SignedIn(t, doorward.Editor), "GET", s.URL+"/", "")
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("%q", assertion)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(payload), `"aud":"service"`) || !strings.Contains(string(payload), `"role":"editor"`) {
		t.Errorf("%s, %v", payload, err)
	}
	is(t, s.Nobody(t), "GET "+s.URL+"/.well-known/jwks.json", http.StatusOK, `"alg":"ES256"`)
}

// TestTwoHandlersOfOneDoor share who has signed in, and each gets its own requests.
func TestTwoHandlersOfOneDoor(t *testing.T) {
	t.Parallel()
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
	}
	s := doorwardtest.New(t, say("one"))
	other := httptest.NewServer(s.Door.Wrap(say("two")))
	defer other.Close()
	token := "Authorization: Bearer " + s.Token(t, doorward.Viewer)
	is(t, s.Nobody(t), "GET "+s.URL+"/", http.StatusOK, "one", token)
	is(t, s.Nobody(t), "GET "+other.URL+"/", http.StatusOK, "two", token)
	is(t, s.Nobody(t), "POST "+other.URL+"/auth/logout", http.StatusOK, "token invalidated", token)
	is(t, s.Nobody(t), "GET "+s.URL+"/", http.StatusUnauthorized, "token blacklisted", token)
}

// TestAFileIsAllThatIsLeft: what a door keeps is in its directory, and its goroutines end with it.
func TestAFileIsAllThatIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := door.Open(t.Context(), door.Config{DataDir: dir, Console: io.Discard, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if got := strings.Join(names, " "); err != nil || got != ".brokoli-jwt-secret doorward.db doorward.db.lock" {
		t.Errorf("left: %s, %v", got, err)
	}
}

// TestWhatAnEmbeddedDoorBrings: neither the command line nor YAML nor metrics.
func TestWhatAnEmbeddedDoorBrings(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "doorward/door").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "modernc.org/sqlite\n") {
		t.Errorf("go list says %s", out)
	}
	for dep := range strings.Lines(string(out)) {
		for _, not := range []string{"kong", "yaml", "prometheus", "golang.org/x/term", "testing", "doorward/app", "doorward/sample"} {
			if strings.Contains(dep, not) {
				t.Errorf("it brings %s", strings.TrimSpace(dep))
			}
		}
	}
}
