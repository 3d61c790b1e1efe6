package app

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorward/pgtest"
)

// streamService is a service whose requests last; open is how many of them it has.
type streamService struct {
	URL     string
	open    atomic.Int64
	handler http.Handler
}

func newStreamService(t *testing.T) *streamService {
	t.Helper()
	s := new(streamService)
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.open.Add(1)
		defer s.open.Add(-1)
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		switch {
		case strings.HasSuffix(r.URL.Path, "/socket"):
			conn, rw, err := rc.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi")
			_ = rw.Flush()
			_, _ = io.Copy(io.Discard, conn)
		case strings.HasSuffix(r.URL.Path, "/download"):
			w.Header().Set("Content-Length", "1000000000000")
			for buf := make([]byte, 32<<10); ; {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		default: // events, and what comes with a body is read meanwhile
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = rc.Flush()
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}
	})
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// streamKinds are the paths, and how they are asked for.
var streamKinds = []string{"socket", "events", "download", "upload", "HTTP/2 events", "HTTP/2 upload"}

// anOpenStream is a client in the middle of something.
type anOpenStream struct {
	kind  string
	ended chan struct{} // closed when it sees an end
	how   string
	at    time.Time
}

// begin opens a stream of this kind below path, and returns when it is under way.
func (d *door) begin(t *testing.T, kind, path string, asks ...ask) *anOpenStream {
	t.Helper()
	s := &anOpenStream{kind: kind, ended: make(chan struct{})}
	method, name := "GET", strings.TrimPrefix(kind, "HTTP/2 ")
	r, err := http.NewRequestWithContext(t.Context(), method, d.URL+path+"/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range asks {
		a(r)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: d.trusting()}}
	switch {
	case strings.HasPrefix(kind, "HTTP/2 "):
		client = d.newHTTP2(t)
	case kind == "socket":
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Origin", d.URL)
	}
	if name == "upload" {
		body, w := io.Pipe()
		t.Cleanup(func() { w.Close() })
		r.Method, r.Body, r.ContentLength = "POST", body, -1
		go func() { _, _ = io.WriteString(w, "a beginning") }()
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	want, first := http.StatusOK, "data: 1\n\n"
	switch kind {
	case "socket":
		want, first = http.StatusSwitchingProtocols, "\x81\x02hi"
	case "download":
		first = "\x00\x00"
	}
	if res.StatusCode != want {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %d %.200s", kind, res.StatusCode, body)
	}
	br := bufio.NewReader(res.Body)
	got := make([]byte, len(first))
	if _, err := io.ReadFull(br, got); err != nil || string(got) != first {
		t.Fatalf("%s begins with %q, %v", kind, got, err)
	}
	go func() {
		var last tail
		_, err := io.Copy(&last, br)
		s.how, s.at = fmt.Sprintf("%q, %v", last.b, err), time.Now()
		close(s.ended)
	}()
	return s
}

// tail keeps the last bytes that are written to it, if they are not zeros.
type tail struct{ b []byte }

func (l *tail) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] != 0 {
		l.b = append(l.b, p[max(0, len(p)-200):]...)
	}
	return len(p), nil
}

// isOpen fails the test where the stream has ended.
func (s *anOpenStream) isOpen(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
		t.Errorf("%s has ended with %s", s.kind, s.how)
	default:
	}
}

// ends waits for the end, and returns how long after began it came. Under a load that is
// not the test's own it may take longer than is promised.
func (s *anOpenStream) ends(t *testing.T, began time.Time, reason string) time.Duration {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		t.Errorf("%s goes on", s.kind)
		return 0
	}
	want := ", unexpected EOF" // of an answer in chunks, or that says its length
	switch {
	case s.kind == "socket":
		want = fmt.Sprintf("%q, <nil>", string(binary.BigEndian.AppendUint16([]byte{0x88, byte(2 + len(reason))}, 1008))+reason)
	case strings.HasPrefix(s.kind, "HTTP/2 "):
		want = "INTERNAL_ERROR"
	}
	// A cut may be a reset, and over TLS come in the middle of a record that the client was slow to take.
	abrupt := strings.Contains(s.how, "connection reset") || strings.Contains(s.how, "bad record MAC")
	if !strings.Contains(s.how, want) && !(s.kind != "socket" && abrupt) {
		t.Errorf("%s ends with %s, want %s", s.kind, s.how, want)
	}
	return s.at.Sub(began)
}

// every begins one stream of each kind.
func (d *door) every(t *testing.T, asks ...ask) (all []*anOpenStream) {
	t.Helper()
	for _, kind := range streamKinds {
		all = append(all, d.begin(t, kind, "", asks...))
	}
	return all
}

// opensStreams opens a door in front of a streamService.
type opensStreams func(t *testing.T, settings ...string) (*door, *streamService)

// withStreams runs a test of streams in the gateway, on each engine, and in the library.
func withStreams(t *testing.T, test func(t *testing.T, open opensStreams)) {
	onBoth(t, func(t *testing.T, e engine) {
		test(t, func(t *testing.T, settings ...string) (*door, *streamService) {
			s := newStreamService(t)
			return e.machineDoor(t, append(settings, "upstream="+s.URL)...), s
		})
	})
	t.Run("library", func(t *testing.T) {
		t.Parallel()
		test(t, libraryStreams)
	})
}

func libraryStreams(t *testing.T, settings ...string) (*door, *streamService) {
	t.Helper()
	s := newStreamService(t)
	return machineDoor(t, settings...).wraps(s.handler), s
}

// TestStreamsEndWithWhatTheyWereLetInFor: whatever ends a session or a key ends every kind of
// stream that it let in, and no other.
func TestStreamsEndWithWhatTheyWereLetInFor(t *testing.T) {
	withStreams(t, func(t *testing.T, open opensStreams) {
		d, _ := open(t, "max_staleness=1h", "passwords.min_length=8")
		root := d.setUp()
		for name, way := range map[string]func(t *testing.T) (in, other ask, end func(), reason string){
			"machine signs out": func(*testing.T) (ask, ask, func(), string) {
				access, _ := d.exchange(machineToken, "app")
				other, _ := d.exchange(machineToken, "app")
				return bearer(access), bearer(other), func() { d.do("POST", "/auth/logout", bearer(access)).want(200) }, "token blacklisted"
			},
			"person signs out": func(*testing.T) (ask, ask, func(), string) {
				_, _, value := d.newUser(root, "out", "editor")
				other, _ := d.signIn("out", "password of out")
				return cookie(value), bearer(other), func() { d.do("POST", "/api/auth/logout", cookie(value)).want(200) }, "token blacklisted"
			},
			"revoked by the command line": func(t *testing.T) (ask, ask, func(), string) {
				access, _ := d.exchange(machineToken, "app")
				other, _ := d.exchange(machineToken, "app")
				return bearer(access), bearer(other), func() { d.prints("session", "revoke", claimsOf(t, access).Session) }, "token blacklisted"
			},
			"a refresh token used again": func(*testing.T) (ask, ask, func(), string) {
				access, r0 := d.exchange(machineToken, "app")
				other, _ := d.exchange(machineToken, "app")
				_, r1 := d.rotated(r0)
				d.rotated(r1)
				return bearer(access), bearer(other), func() { d.refresh(r0).refused(401, "token blacklisted") }, "token blacklisted"
			},
			"user disabled": func(*testing.T) (ask, ask, func(), string) {
				id, token, _ := d.newUser(root, "dis", "editor")
				return bearer(token), bearer(root), func() { d.change(bearer(root), id, `{"disabled":true}`).want(200) }, "token blacklisted"
			},
			"user deleted": func(*testing.T) (ask, ask, func(), string) {
				id, token, _ := d.newUser(root, "del", "editor")
				return bearer(token), bearer(root), func() { d.remove(bearer(root), id).want(204) }, "token blacklisted"
			},
			"role changed": func(*testing.T) (ask, ask, func(), string) {
				id, token, _ := d.newUser(root, "role", "editor")
				return bearer(token), bearer(root), func() { d.change(bearer(root), id, `{"role":"viewer"}`).want(200) }, "token blacklisted"
			},
			"password changed": func(*testing.T) (ask, ask, func(), string) {
				_, token, _ := d.newUser(root, "pass", "editor")
				own, _ := d.signIn("pass", "password of pass")
				return bearer(token), bearer(own), func() {
					d.do("POST", "/api/auth/change-password", bearer(own), jsonBody(`{"current_password":"password of pass","new_password":"another one of it"}`)).want(200)
				}, "token blacklisted"
			},
			"key removed": func(*testing.T) (ask, ask, func(), string) {
				id, key := d.newKey(root, "editor", "")
				_, other := d.newKey(root, "editor", "")
				return apiKey(key), apiKey(other), func() { d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(204) }, "invalid token"
			},
			"session of a key removed": func(*testing.T) (ask, ask, func(), string) {
				id, key := d.newKey(root, "editor", "")
				access, _ := d.exchange(key, "app")
				return bearer(access), apiKey(machineKey), func() { d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(204) }, "token blacklisted"
			},
			"owner of a key disabled": func(*testing.T) (ask, ask, func(), string) {
				id, token, _ := d.newUser(root, "owner", "editor")
				_, key := d.newKey(token, "editor", "")
				return bearer(key), bearer(machineToken), func() { d.change(bearer(root), id, `{"disabled":true}`).want(200) }, "invalid token"
			},
			"owner of a key has another role": func(*testing.T) (ask, ask, func(), string) {
				id, token, _ := d.newUser(root, "less", "editor")
				_, key := d.newKey(token, "editor", "")
				return bearer(key), bearer(machineToken), func() { d.change(bearer(root), id, `{"role":"viewer"}`).want(200) }, "token blacklisted"
			},
		} {
			t.Run(name, func(t *testing.T) {
				in, others, end, reason := way(t)
				all, stay := d.every(t, in), d.every(t, others)
				end()
				began := time.Now()
				longest := time.Duration(0)
				for _, s := range all {
					longest = max(longest, s.ends(t, began, reason))
				}
				t.Logf("all have ended after %v", longest.Round(time.Millisecond))
				for _, s := range stay {
					s.isOpen(t)
				}
			})
		}
	})
}

// TestStreamsEndOnTheOtherNode within a second of a sign-out, and with a key removed.
func TestStreamsEndOnTheOtherNode(t *testing.T) {
	t.Parallel()
	s := newStreamService(t)
	a, b := twoNodes(t, "upstream="+s.URL)
	root := a.setUp()
	for range 3 {
		access, _ := a.exchange(machineToken, "app")
		other, _ := a.exchange(machineToken, "app")
		id, key := a.newKey(root, "editor", "")
		until(t, 10*time.Second, "the other node knows the key", func() bool { return b.me(key).status == 200 })
		signedOut, removed, stay := b.every(t, bearer(access)), b.every(t, apiKey(key)), b.every(t, bearer(other))
		a.do("POST", "/auth/logout", bearer(access)).want(200)
		a.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(204)
		began := time.Now()
		longest := time.Duration(0)
		for _, s := range signedOut {
			longest = max(longest, s.ends(t, began, "token blacklisted"))
		}
		for _, s := range removed {
			longest = max(longest, s.ends(t, began, "invalid token"))
		}
		t.Logf("all have ended after %v", longest.Round(time.Millisecond))
		for _, s := range stay {
			s.isOpen(t)
		}
	}
}

// TestStreamsEndWhenTheTokenExpires, cookie and key too, but for what never expires.
func TestStreamsEndWhenTheTokenExpires(t *testing.T) {
	withStreams(t, func(t *testing.T, open opensStreams) {
		d, _ := open(t, "jwt.expiry=1h", "session.lifetime=1h", "max_staleness=1000h")
		root := d.setUp()
		_, _, value := d.newUser(root, "ada", "editor")
		access, _ := d.exchange(machineToken, "app")
		_, key := d.newKey(root, "editor", `"expires_in":"1h"`)
		stay := append(d.every(t, apiKey(machineKey)), d.every(t, bearer(machineToken))...)
		all := append(append(d.every(t, bearer(access)), d.every(t, cookie(value))...), d.every(t, apiKey(key))...)
		d.clock.advance(59 * time.Minute)
		time.Sleep(2 * time.Second / 4) // two rounds of asking
		for _, s := range all {
			s.isOpen(t)
		}
		d.clock.advance(time.Minute + time.Second)
		began := time.Now()
		for _, s := range all {
			s.ends(t, began, "token expired")
		}
		for _, s := range stay {
			s.isOpen(t)
		}
	})
}

// TestStreamsMayOutliveTheirToken but not their session: its end by sign-out, however long
// after the last token has expired, its absolute end, or a key's.
func TestStreamsMayOutliveTheirToken(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		s := newStreamService(t)
		d := e.machineDoor(t, "upstream="+s.URL, "jwt.expiry=1h", "session.max_age=100h", "max_staleness=1000h", "streams.outlive_token=true")
		root := d.setUp()
		access, _ := d.exchange(machineToken, "app")
		ended, refresh := d.exchange(machineToken, "app")
		revoked, _ := d.exchange(machineToken, "app")
		_, key := d.newKey(root, "editor", `"expires_in":"1h"`)
		all, signedOut, byHand, keys := d.every(t, bearer(access)), d.every(t, bearer(ended)), d.every(t, bearer(revoked)), d.every(t, apiKey(key))
		stay := func(streams ...*anOpenStream) {
			t.Helper()
			time.Sleep(2 * time.Second / 4) // two rounds of asking
			for _, s := range streams {
				s.isOpen(t)
			}
		}
		gone := func(reason string, streams ...*anOpenStream) {
			t.Helper()
			began := time.Now()
			for _, s := range streams {
				s.ends(t, began, reason)
			}
		}
		d.clock.advance(2 * time.Hour)
		gone("token expired", keys...)
		stay(append(append(all[:len(all):len(all)], signedOut...), byHand...)...)
		fresh, _ := d.rotated(refresh)
		d.do("POST", "/auth/logout", bearer(fresh)).want(200)
		gone("token blacklisted", signedOut...)

		d.clock.advance(90 * time.Hour)
		if err := d.house.authority.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		stay(append(all[:len(all):len(all)], byHand...)...)
		d.prints("session", "revoke", claimsOf(t, revoked).Session)
		if err := d.house.authority.CatchUp(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := d.house.authority.Sweep(context.Background()); err != nil { // does not forget it before it was seen
			t.Fatal(err)
		}
		gone("token blacklisted", byHand...)
		stay(all...)
		d.clock.advance(9 * time.Hour)
		gone("token expired", all...)
	})
}

// TestStreamsOfNobodyStay on a public route, whatever ends; but what was said to be
// somebody's there is not theirs any more.
func TestStreamsOfNobodyStay(t *testing.T) {
	t.Parallel()
	s := newStreamService(t)
	d := machineDoor(t, "upstream="+s.URL, "routes=/pub/** public, /** viewer")
	access, _ := d.exchange(machineToken, "app")
	var nobodys, theirs []*anOpenStream
	for _, kind := range streamKinds {
		nobodys = append(nobodys, d.begin(t, kind, "/pub"))
		theirs = append(theirs, d.begin(t, kind, "/pub", bearer(access)))
	}
	d.prints("session", "revoke", "--all")
	began := time.Now()
	for _, s := range theirs {
		s.ends(t, began, "token blacklisted")
	}
	for _, s := range nobodys {
		s.isOpen(t)
	}
}

// TestMN3StreamsEndWhenNobodyKnowsWhoWasSignedOut: past max_staleness nobody is let in, and
// who was let in before does not stay; but for keys of the settings, which nothing ends.
func TestMN3StreamsEndWhenNobodyKnowsWhoWasSignedOut(t *testing.T) {
	t.Parallel()
	s := newStreamService(t)
	cluster := pgtest.Start(t, pgtest.Config{})
	d := machineDoor(t, "database="+cluster.Database(t), "upstream="+s.URL, "max_staleness=2s")
	access, _ := d.exchange(machineToken, "app")
	socket, events := d.begin(t, "socket", "", bearer(access)), d.begin(t, "events", "", bearer(access))
	stay := d.every(t, apiKey(machineKey))
	cluster.Kill(t)
	began := time.Now()
	t.Logf("ended after %v", events.ends(t, began, "").Round(time.Millisecond))
	select {
	case <-socket.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the WebSocket goes on")
	}
	if want := fmt.Sprintf("%q, <nil>", "\x88\x19\x03\xf5temporarily unavailable"); socket.how != want {
		t.Errorf("the WebSocket ends with %s, want %s", socket.how, want)
	}
	for _, s := range stay {
		s.isOpen(t)
	}
}

// TestTheSampleServicesStreamsEnd as well: it runs in this process.
func TestTheSampleServicesStreamsEnd(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "sample_command=sleep 60")
	access, _ := d.exchange(machineToken, "app")
	id := d.do("POST", "/api/pipelines", bearer(access), jsonBody(`{"name":"x","steps":[{"name":"x","prompt":"x"}]}`)).want(201).str("id")
	run := d.do("POST", "/api/pipelines/"+id+"/run", bearer(access)).want(202).str("id")
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.URL+"/api/pipelines/"+id+"/runs/"+run+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	bearer(access)(r)
	res, err := oneShot.Do(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v", res, err)
	}
	defer res.Body.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, res.Body)
		ended <- err
	}()
	d.do("POST", "/auth/logout", bearer(access)).want(200)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("what was broken off looks complete")
		}
	case <-time.After(20 * time.Second):
		t.Error("events go on")
	}
}

// TestAThousandStreamsEnd at once, and leave nothing behind.
func TestAThousandStreamsEnd(t *testing.T) { //nolint:paralleltest // it measures the whole process
	if testing.Short() || raceDetector() {
		t.Skip("measures memory")
	}
	t.Run("gateway", func(t *testing.T) {
		s := newStreamService(t)
		aThousandStreamsEnd(t, machineDoor(t, "upstream="+s.URL), s)
	})
	t.Run("library", func(t *testing.T) {
		d, s := libraryStreams(t)
		aThousandStreamsEnd(t, d, s)
	})
}

func aThousandStreamsEnd(t *testing.T, d *door, s *streamService) {
	measure := func() (goroutines int, heap uint64) {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
			time.Sleep(20 * time.Millisecond)
		}
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse
	}
	round := func(n int) {
		access, _ := d.exchange(machineToken, "app")
		var all []*anOpenStream
		t.Run("streams", func(t *testing.T) { // whose clean-up takes the clients away
			for i := range n {
				all = append(all, d.begin(t, []string{"socket", "events"}[i%2], "", bearer(access)))
			}
			if got := s.open.Load(); got != int64(n) {
				t.Fatalf("the service has %d", got)
			}
			d.do("POST", "/auth/logout", bearer(access)).want(200)
			began := time.Now()
			longest := time.Duration(0)
			for _, s := range all {
				longest = max(longest, s.ends(t, began, "token blacklisted"))
			}
			t.Logf("%d have ended after %v", n, longest.Round(time.Millisecond))
		})
		until(t, 20*time.Second, "the service has none left", func() bool { return s.open.Load() == 0 })
	}
	round(1000) // tables that have grown stay so, and so do the runtime's
	goroutines, heap := measure()
	round(1000)
	var after int
	var kept uint64
	until(t, 20*time.Second, "goroutines are back", func() bool {
		after, kept = measure()
		return after <= goroutines+10
	})
	t.Logf("before %d goroutines and %d KiB, after %d and %d KiB", goroutines, heap>>10, after, kept>>10)
	if kept > heap+4<<20 {
		t.Errorf("%d KiB more than before", (kept-heap)>>10)
	}
}
