package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
	frontdoor "doorward/door"
	"doorward/sample"
)

// door is a whole server under test: all its rooms, real SQLite in a directory of its
// own, real HTTP on a free port. Only its clock is ours, so that nobody waits.
type door struct {
	t     *testing.T
	URL   string
	dir   string
	house *house
	clock *clock
	log   *logBuffer
	flags map[string]string // settings by key
	// hashing is cheap, since most tests are about anything but what a password costs; "hashing=real" among the settings makes it what it is.
	hashing doorward.HasherConfig
	wrapped http.Handler // behind the door in this process, as a program that embeds Doorward has it; nil for what the settings say
	judge   *judge
	http    *http.Server
	still   func()         // stops what runs beside the requests
	roots   *x509.CertPool // whom a client trusts where the server speaks HTTPS
}

// clock is a clock that runs, and that a test may set forward or back.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	still  time.Time // not zero: the clock stands
	moved  func()    // told when it was set; may be nil
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still.IsZero() {
		return c.still.Add(c.offset)
	}
	return time.Now().Add(c.offset)
}

// freeze stops the clock at the time at; from there it moves by advance alone.
func (c *clock) freeze(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still, c.offset = at, 0
	c.tell()
}

// tell lets who goes by the clock know that it was set. It is called with mu held.
func (c *clock) tell() {
	if c.moved != nil {
		moved := c.moved
		c.mu.Unlock()
		defer c.mu.Lock()
		moved()
	}
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	c.tell()
}

// logBuffer is what the server logs and prints on its console.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newDoor starts a server with settings given as "key=value". It listens on loopback.
func newDoor(t *testing.T, settings ...string) *door {
	t.Helper()
	d := &door{t: t, dir: t.TempDir(), clock: &clock{}, log: &logBuffer{}, flags: map[string]string{}, hashing: doorward.HasherConfig{Memory: 64, Time: 1}}
	d.flags["data_dir"] = d.dir
	d.flags["log.level"] = "debug"
	d.set(settings...)
	d.start()
	t.Cleanup(d.stop)
	return d
}

// set changes settings; they count from the next start.
func (d *door) set(settings ...string) {
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			d.t.Fatalf("setting %q is not key=value", s)
		}
		if key == "hashing" {
			d.hashing = doorward.HasherConfig{}
			continue
		}
		d.flags[key] = value
	}
}

func (d *door) start() {
	d.t.Helper()
	l := load(sources{flags: d.flags})
	if err := l.err(); err != nil {
		d.t.Fatal(err)
	}
	h, err := openWith(context.Background(), l.Settings, slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})), d.clock.now,
		func(c *frontdoor.Config) { c.Hashing = d.hashing })
	if err != nil {
		d.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	if d.wrapped != nil {
		h.handler = h.door.Wrap(d.wrapped)
	}
	in := h.entrance(listener)
	d.house, d.judge = h, judged(h)
	in.Server.Handler = d.judge
	d.http, d.URL = in.Server, h.settings.scheme()+"://"+listener.Addr().String()
	h.announce(context.Background(), listener.Addr(), d.log)
	d.still = h.runBeside(context.Background())
	d.clock.moved = d.clockSet
	go func() { _ = in.serve() }()
}

func (d *door) stop() {
	if d.http == nil {
		return
	}
	_ = d.http.Close()
	d.still()
	if err := d.house.Close(); err != nil {
		d.t.Errorf("closing the server: %v", err)
	}
	d.judge.report(d.t)
	d.http = nil
}

// restart stops the server and starts it on the same directory.
func (d *door) restart(settings ...string) {
	d.t.Helper()
	d.stop()
	d.set(settings...)
	d.start()
}

// wraps puts h behind the door in place of what was there.
func (d *door) wraps(h http.Handler) *door {
	d.t.Helper()
	d.stop()
	d.wrapped = h
	d.start()
	return d
}

// inProgramAndLibrary runs a test with the sample service behind the program's door, and behind
// that of a program which embeds it.
func inProgramAndLibrary(t *testing.T, test func(t *testing.T, open func(t *testing.T, settings ...string) *door)) {
	t.Parallel()
	t.Run("program", func(t *testing.T) {
		t.Parallel()
		test(t, newDoor)
	})
	t.Run("library", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T, settings ...string) *door {
			t.Helper()
			service, err := sample.New(sample.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = service.Close() })
			return newDoor(t, settings...).wraps(service)
		})
	})
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
}

// ask changes a request before it is sent.
type ask func(*http.Request)

func bearer(token string) ask { return header("Authorization", "Bearer "+token) }
func apiKey(key string) ask   { return header("X-API-Key", key) }
func header(name, value string) ask {
	return func(r *http.Request) {
		if name == "Host" {
			r.Host = value
			return
		}
		r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], value)
	}
}
func cookie(value string) ask { return header("Cookie", "brokoli_session="+value) }

// formBody gives a body without a content type of JSON, as curl -d does.
func formBody(body string) ask {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
}

// jsonBody gives a body that says it is JSON.
func jsonBody(body string) ask {
	return func(r *http.Request) {
		formBody(body)(r)
		r.Header.Set("Content-Type", "application/json")
	}
}

// oneShot is the client: where browsers keep connections, here each request has its own, so that none outlives a restart.
var oneShot = &http.Client{
	Transport:     judgingTransport{&http.Transport{DisableKeepAlives: true, DisableCompression: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request and reads the whole answer. It may be called from any goroutine.
func (d *door) do(method, path string, asks ...ask) answer {
	r, err := http.NewRequest(method, d.URL+path, nil)
	if err != nil {
		d.t.Error(err)
		return answer{t: d.t, what: method + " " + path}
	}
	for _, a := range asks {
		a(r)
	}
	client := oneShot
	if d.roots != nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: d.trusting()}, CheckRedirect: oneShot.CheckRedirect}
	}
	resp, err := client.Do(r)
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
		return answer{t: d.t, what: method + " " + path}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Errorf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{d.t, method + " " + path, resp.StatusCode, resp.Header, string(body)}
}

// want fails the test unless the status is this one.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Errorf("%s: status %d, want %d; body %s", a.what, a.status, status, a.body)
	}
	return a
}

// refused fails the test unless the answer is exactly this error.
func (a answer) refused(status int, message string) answer {
	a.t.Helper()
	a.want(status)
	want, _ := json.Marshal(map[string]string{"error": message, "status": "error"})
	if got := strings.TrimSpace(a.body); got != string(want) {
		a.t.Errorf("%s: body %s, want %s", a.what, got, want)
	}
	return a
}

// field reads one field of a JSON answer, "a.b" for one inside another.
func (a answer) field(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Errorf("%s: %v in %s", a.what, err, a.body)
		return nil
	}
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			a.t.Errorf("%s: no %s in %s", a.what, path, a.body)
			return nil
		}
		v = m[name]
	}
	return v
}

// str is field for a string.
func (a answer) str(path string) string {
	a.t.Helper()
	s, ok := a.field(path).(string)
	if !ok {
		a.t.Errorf("%s: %s is no string in %s", a.what, path, a.body)
	}
	return s
}

// sessionCookie is the value of the session cookie that the answer sets.
func (a answer) sessionCookie() string {
	a.t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "brokoli_session" && c.MaxAge >= 0 {
			return c.Value
		}
	}
	a.t.Errorf("%s: no session cookie in %v", a.what, a.header)
	return ""
}

const rootPassword = "correct horse battery"

// setUp makes the first user, root, with the setup code if one is asked for, and signs in.
func (d *door) setUp() (token string) {
	d.t.Helper()
	asks := []ask{jsonBody(`{"username":"root","password":"` + rootPassword + `"}`)}
	if code := d.house.authority.SetupCode(); code != "" {
		asks = append(asks, header("X-Setup-Code", code))
	}
	d.do("POST", "/api/auth/users", asks...).want(http.StatusCreated)
	token, _ = d.signIn("root", rootPassword)
	return token
}

// signIn signs in and returns the token and the cookie.
func (d *door) signIn(username, password string) (token, cookie string) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/login", jsonBody(credentialsJSON(username, password))).want(http.StatusOK)
	return a.str("token"), a.sessionCookie()
}

func credentialsJSON(username, password string) string {
	b, _ := json.Marshal(map[string]string{"username": username, "password": password})
	return string(b)
}

// newUser makes a user as the holder of token and signs them in; the password is
// "password of NAME".
func (d *door) newUser(token, username, role string) (id, userToken, cookie string) {
	d.t.Helper()
	b, _ := json.Marshal(map[string]string{"username": username, "password": "password of " + username, "role": role})
	id = d.do("POST", "/api/auth/users", bearer(token), jsonBody(string(b))).want(http.StatusCreated).str("id")
	userToken, cookie = d.signIn(username, "password of "+username)
	return id, userToken, cookie
}

// exchange gets the first tokens for an API token or key.
func (d *door) exchange(secret, client string) (access, refresh string) {
	d.t.Helper()
	a := d.do("POST", "/auth/token", bearer(secret), formBody(`{"client_id": "`+client+`"}`)).want(http.StatusOK)
	return a.str("access_token"), a.str("refresh_token")
}

// refresh presents a refresh token.
func (d *door) refresh(token string) answer {
	return d.do("POST", "/auth/refresh", formBody(`{"refresh_token": "`+token+`"}`))
}
