package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward/gate"
)

// hotPathVariable tells a copy of this test program that it has the process to itself.
const hotPathVariable = "DOORWARD_TEST_HOT_PATH"

// maxHotAllocations is how often a request with a good token may allocate beyond what a
// bare ReverseProxy does.
const maxHotAllocations = 4

// TestHotPath: once a credential has been used, a request with it asks the store nothing
// and allocates next to nothing of its own. What is counted is counted for a whole
// process, so the test runs in one of its own, beside the parallel tests.
func TestHotPath(t *testing.T) {
	if os.Getenv(hotPathVariable) != "" {
		hotPath(t)
		t.Run("signed by key pairs", func(t *testing.T) {
			access, _ := pairPEM(t, "EdDSA")
			assertion, _ := pairPEM(t, "ES256")
			hotPath(t, "jwt.algorithm=EdDSA", "jwt.signing_keys="+access, "assertion=ES256", "assertion_keys="+assertion)
		})
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHotPath$", "-test.v", "-test.timeout=5m")
	// On one core the goroutines of a request always run in the same order, so that whole
	// numbers come out: with more, the transport's timer comes and goes with who wakes first.
	cmd.Env = append(os.Environ(), hotPathVariable+"=1", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}

func hotPath(t *testing.T, settings ...string) {
	service := quietService(t)
	d, store := hotDoor(t, append(settings, "upstream="+service.String())...)
	root := d.setUp()
	_, person, session := d.newUser(root, "ada", "editor")
	machine, refresh := d.exchange(machineToken, "app")
	rotated := machine
	for range 3 { // later generations are remembered by more than the session's id
		a := d.refresh(refresh).want(http.StatusOK)
		rotated, refresh = a.str("access_token"), a.str("refresh_token")
	}
	plain := serveHot(t, &http.Server{Handler: minimalProxy(service)})
	requests := 500
	if raceDetector() {
		requests = 25 // allocations are not judged then, and what the store is asked needs no more
	}
	for _, c := range []struct{ name, credential string }{
		{"a person's access token", "Authorization: Bearer " + person},
		{"a machine's access token", "Authorization: Bearer " + machine},
		{"one of a later generation", "Authorization: Bearer " + rotated},
		{"session cookie", "Cookie: theme=dark; brokoli_session=" + session},
		{"API token", "Authorization: Bearer " + machineToken},
		{"API key as Bearer", "Authorization: Bearer " + machineKey},
		{"API key", "X-API-Key: " + machineKey},
	} {
		for name, shape := range hotRequests {
			t.Run(c.name+", "+name, func(t *testing.T) {
				request := strings.Replace(shape, "CREDENTIAL", c.credential, 1)
				ways := [2]*hotWay{newHotWay(t, plain, request), newHotWay(t, strings.TrimPrefix(d.URL, "http://"), request)}
				for _, w := range ways {
					w.run(t, 50) // the first use of the credential, connections, pools
					w.forget()
				}
				before := store.count()
				for range 4 {
					for _, w := range ways {
						w.run(t, requests)
					}
				}
				if asked := store.count()[len(before):]; len(asked) > 0 {
					t.Errorf("%d requests asked the store %d times, first for %s; want never", ways[1].n, len(asked), asked[0])
				}
				bare, house := ways[0].each(), ways[1].each()
				t.Logf("%.2f allocations a request, of which %.2f are ours", house, house-bare)
				switch {
				case raceDetector():
					t.Log("not judged: the race detector makes sync.Pool forget on purpose")
				case house-bare > maxHotAllocations+.1: // the runtime has its own now and then
					t.Errorf("%.2f allocations of ours a request, want at most %d", house-bare, maxHotAllocations)
				}
			})
		}
	}
}

// hotRequests are what is sent, by who might send it.
var hotRequests = map[string]string{
	"program": "GET /a/b?c=d HTTP/1.1\r\nHost: door.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nCREDENTIAL\r\n\r\n",
	"browser": "GET /a/b?c=d HTTP/1.1\r\nHost: door.example\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nSec-Fetch-Site: none\r\n" +
		"Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nSec-Ch-Ua: \"Chromium\"\r\nSec-Ch-Ua-Mobile: ?0\r\n" +
		"Upgrade-Insecure-Requests: 1\r\nCREDENTIAL\r\n\r\n",
	"upload": "POST /a/b HTTP/1.1\r\nHost: door.example\r\nAccept: */*\r\nSec-Fetch-Site: same-origin\r\n" +
		"Content-Type: application/json\r\nContent-Length: 5\r\nCREDENTIAL\r\n\r\n[1,2]",
}

// hotDoor is a whole server whose store counts what it is asked.
func hotDoor(t *testing.T, settings ...string) (*door, *faultyStore) {
	t.Helper()
	h, log, store := hotHouse(t, settings...)
	d := &door{t: t, house: h, clock: &clock{}, log: log}
	d.URL = "http://" + serveHot(t, newServer(h.handler, h.settings.Limits, h.log))
	return d, store
}

// hotHouse is a server before it listens, with a store that counts what it is asked.
// Nothing runs beside the requests, and the log is at the level that people run it at.
func hotHouse(t testing.TB, settings ...string) (*house, *logBuffer, *faultyStore) {
	t.Helper()
	flags := map[string]string{
		"data_dir": t.TempDir(), "max_staleness": "1h", "api_tokens": machineToken, "api_key": machineKey, "jwt.secret": machineSecret,
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		flags[key] = value
	}
	l := load(sources{flags: flags})
	if err := l.err(); err != nil {
		t.Fatal(err)
	}
	log, counted := new(logBuffer), new(faultyStore) // without a fault
	h := counted.house(t, l.Settings, newLog(l.Settings, log), time.Now)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, log, counted
}

// count returns the calls until now.
func (f *faultyStore) count() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// minimalProxy is the least that a reverse proxy does: it says nothing of who asks. Its
// transport and its buffers are as good as ours.
func minimalProxy(upstream *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(upstream)
			pr.Out.Host = pr.In.Host
		},
		Transport:  &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1024, ResponseHeaderTimeout: 10 * time.Minute},
		BufferPool: new(hotBuffers),
	}
}

type hotBuffers struct{ sync.Pool }

func (p *hotBuffers) Get() []byte {
	if b, ok := p.Pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *hotBuffers) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }

func serveHot(t testing.TB, s *http.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// hotWay is a kept connection, and what the requests on it have cost the process. It
// allocates nothing itself.
type hotWay struct {
	conn    net.Conn
	request []byte
	answer  [4096]byte
	spent   time.Duration
	mallocs uint64
	n       int
}

func newHotWay(t testing.TB, addr, request string) *hotWay {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &hotWay{conn: conn, request: []byte(request)}
}

// run sends the request n times, one after the other, while no garbage is collected: that
// would empty the pools.
func (w *hotWay) run(t testing.TB, n int) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for range n {
		if _, err := w.conn.Write(w.request); err != nil {
			t.Fatal(err)
		}
		for got := 0; !bytes.HasSuffix(w.answer[:got], hotBody); {
			n, err := w.conn.Read(w.answer[got:])
			if err != nil {
				t.Fatalf("%v after %q", err, w.answer[:got])
			}
			got += n
		}
		if !bytes.HasPrefix(w.answer[:], hotStatus) {
			t.Fatalf("the answer is %.300q", w.answer[:])
		}
	}
	w.spent += time.Since(start)
	runtime.ReadMemStats(&after)
	w.mallocs += after.Mallocs - before.Mallocs
	w.n += n
}

func (w *hotWay) forget() { w.spent, w.mallocs, w.n = 0, 0, 0 }

func (w *hotWay) each() float64 { return float64(w.mallocs) / float64(w.n) }

var (
	hotStatus = []byte("HTTP/1.1 200 OK\r\n")
	hotBody   = []byte("\r\n\r\nok")
	hotAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")

	hotHead     = []byte("\r\n\r\n")
	hotUpload   = []byte("POST ")
	hotUploaded = []byte("\r\n\r\n[1,2]")
)

// quietService answers every request with ok and allocates nothing for it.
func quietService(t *testing.T) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 16<<10)
				for got := 0; ; {
					n, err := conn.Read(buf[got:])
					if err != nil {
						return
					}
					got += n
					end := hotHead
					if bytes.HasPrefix(buf[:got], hotUpload) {
						end = hotUploaded
					}
					if bytes.HasSuffix(buf[:got], end) {
						got = 0
						if _, err := conn.Write(hotAnswer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	u, err := url.Parse(fmt.Sprintf("http://%s", l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// BenchmarkDoor is what admission costs by itself: the gate with its whole table of doors,
// before a handler that says ok. "call" calls it. "connection" sends requests by turns to
// the handler behind the door and to the handler alone, and reports how they compare.
func BenchmarkDoor(b *testing.B) {
	h, _, _ := hotHouse(b, "upstream=http://localhost:1")
	ok := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "ok") }
	g, err := gate.New(gate.Config{
		Authority: h.authority, Log: h.log,
		Rules: gate.Rules{Doors: doorsOf(h.settings)},
		Carry: func(w http.ResponseWriter, _ *http.Request, _ *gate.Pass) { ok(w) },
	})
	if err != nil {
		b.Fatal(err)
	}
	asked := func(method, path, body string, want int) *http.Response {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {machineKey}}
		if g.ServeHTTP(w, r); w.Code != want {
			b.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return w.Result()
	}
	const who = `{"username":"root","password":"` + rootPassword + `"}`
	asked("POST", "/api/auth/users", who, http.StatusCreated)
	signedIn := asked("POST", "/api/auth/login", who, http.StatusOK)
	var answer struct{ Token string }
	if err := json.NewDecoder(signedIn.Body).Decode(&answer); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, field, value string }{
		{"access token", "Authorization", "Bearer " + answer.Token},
		{"session cookie", "Cookie", "theme=dark; brokoli_session=" + signedIn.Cookies()[0].Value},
		{"API token", "Authorization", "Bearer " + machineToken},
		{"API key", "X-Api-Key", machineKey},
	} {
		b.Run("call/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("GET", "/a/b?c=d", nil)
			r.Header = http.Header{"User-Agent": {"curl/8.5.0"}, "Accept": {"*/*"}, c.field: {c.value}}
			w := &discarded{header: http.Header{}}
			for b.Loop() {
				clear(w.header)
				if g.ServeHTTP(w, r); w.status != 0 {
					b.Fatal(w.status)
				}
			}
		})
		b.Run("connection/"+c.name, func(b *testing.B) {
			request := strings.Replace(hotRequests["program"], "CREDENTIAL", c.field+": "+c.value, 1)
			alone := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ok(w) })
			ways := [2]*hotWay{
				newHotWay(b, serveHot(b, &http.Server{Handler: alone}), request),
				newHotWay(b, serveHot(b, &http.Server{Handler: g}), request),
			}
			for _, w := range ways {
				w.run(b, 100)
				w.forget()
			}
			for b.Loop() {
				for _, w := range ways {
					w.run(b, 50)
				}
			}
			b.ReportMetric(0, "ns/op") // of both: means nothing
			b.ReportMetric(float64(ways[1].spent)/float64(ways[0].spent), "ratio")
			b.ReportMetric(ways[1].each()-ways[0].each(), "extra-allocs/req")
			b.ReportMetric(float64(ways[0].spent.Nanoseconds())/float64(ways[0].n), "alone-ns/req")
			b.ReportMetric(float64(ways[1].spent.Nanoseconds())/float64(ways[1].n), "door-ns/req")
		})
	}
}

// discarded is an answer that nobody reads; status is 0 for the 200 that goes without saying.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }
