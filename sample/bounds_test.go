package sample

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// These tests narrow bounds that are too wide to be reached from outside.

func post(t *testing.T, h http.Handler, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", path, strings.NewReader(body)))
	return rec
}

func newCounted(t *testing.T) *Service {
	t.Helper()
	ids := 0
	s, err := New(Config{NewID: func() string { ids++; return fmt.Sprint(ids) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestDefinitionsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := newCounted(t)
	s.book.maxDefined = 10_000
	large := func(n int) string {
		return fmt.Sprintf(`{"name": "x", "steps": ["%s"]}`, strings.Repeat("a", n))
	}
	if got := post(t, s, "/api/pipelines", large(5000)); got.Code != 201 {
		t.Fatal(got.Code)
	}
	if got := post(t, s, "/api/pipelines", large(5000)); got.Code != 409 {
		t.Errorf("a second one: %d", got.Code)
	}
	put := func(body string) int {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest("PUT", "/api/pipelines/pl_1", strings.NewReader(body)))
		return rec.Code
	}
	if got := put(large(10_000)); got != 409 {
		t.Errorf("made larger: %d", got)
	}
	if got := put(large(8000)); got != 200 {
		t.Errorf("made as large as there is room: %d", got)
	}
	if got := put(large(100)); got != 200 {
		t.Errorf("made smaller: %d", got)
	}
	if got := post(t, s, "/api/pipelines", large(5000)); got.Code != 201 {
		t.Errorf("after that, a second one: %d", got.Code)
	}
	rec := httptest.NewRecorder()
	for _, id := range []string{"pl_1", "pl_3"} {
		s.ServeHTTP(rec, httptest.NewRequest("DELETE", "/api/pipelines/"+id, nil))
	}
	if s.book.defined != 0 || len(s.book.entries) != 0 || len(s.book.order) != 0 {
		t.Errorf("all deleted, %d bytes counted", s.book.defined)
	}
}

func TestEndedRunsMakeRoomForNewerOnes(t *testing.T) {
	t.Parallel()
	s := newCounted(t)
	for range 2 {
		post(t, s, "/api/pipelines", `{"name": "x", "steps": ["Hello"]}`)
	}
	start := func(pipeline string) string {
		got := post(t, s, "/api/pipelines/"+pipeline+"/run", "")
		if got.Code != 202 {
			t.Fatal(got.Code)
		}
		s.work.Wait()
		return strings.TrimPrefix(got.Header().Get("Location"), "/api/pipelines/"+pipeline+"/runs/")
	}
	first := start("pl_1")
	s.book.mu.Lock()
	one := s.book.kept
	s.book.maxKept = 3*one + 10
	s.book.mu.Unlock()
	second, third, fourth := start("pl_2"), start("pl_1"), start("pl_2")
	for _, c := range []struct {
		pipeline, run string
		kept          bool
	}{{"pl_1", first, false}, {"pl_2", second, true}, {"pl_1", third, true}, {"pl_2", fourth, true}} {
		if _, err := s.book.run(c.pipeline, c.run); (err == nil) != c.kept {
			t.Errorf("run %s: %v, to be kept: %t", c.run, err, c.kept)
		}
	}
	if err := s.book.remove("pl_2"); err != nil {
		t.Fatal(err)
	}
	if s.book.kept != one || len(s.book.ended) != 1 || s.book.active != 0 {
		t.Errorf("after a deletion: %d bytes of %d runs, %d active", s.book.kept, len(s.book.ended), s.book.active)
	}
}

func TestRunsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	s := newCounted(t)
	post(t, s, "/api/pipelines", `{"name": "x"}`)
	s.book.active = maxActive
	if got := post(t, s, "/api/pipelines/pl_1/run", ""); got.Code != 503 {
		t.Errorf("one too many: %d", got.Code)
	}
	s.book.active = 0
	s.asking.Store(maxAsking)
	if got := post(t, s, "/run", `{"prompt": "x"}`); got.Code != 503 {
		t.Errorf("one asking too many: %d", got.Code)
	}
	if s.asking.Load() != maxAsking {
		t.Error("who was refused is still counted")
	}
}

// held is a service whose runs wait until release is closed.
func held(t *testing.T) (s *Service, release chan struct{}) {
	t.Helper()
	s = newCounted(t)
	release = make(chan struct{})
	s.answer = func(_ context.Context, prompt string, _ int64) (string, error) { <-release; return prompt, nil }
	return s, release
}

func TestQuietStreamsShowSignsOfLife(t *testing.T) {
	t.Parallel()
	s, release := held(t)
	s.beat = time.Millisecond
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	post(t, s, "/api/pipelines", `{"name": "x", "steps": ["Hello"]}`)
	events := post(t, s, "/api/pipelines/pl_1/run", "").Header().Get("Location") + "/events"
	res, err := srv.Client().Get(srv.URL + events)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for beats := 0; beats < 2; {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text == ": still running\n" {
			beats++
		}
	}
	close(release)
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), `"status":"completed"`) {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func TestWhoHasSeenAllIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	s, release := held(t)
	defer close(release)
	s.beat = time.Hour // so that nothing but the headers can come
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	post(t, s, "/api/pipelines", `{"name": "x", "steps": ["Hello"]}`)
	url := srv.URL + post(t, s, "/api/pipelines/pl_1/run", "").Header().Get("Location") + "/events"
	follow := func(after string) *http.Response {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Last-Event-ID", after)
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	for r := bufio.NewReader(follow("0").Body); ; {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text == "id: 2\n" {
			break
		}
	}
	if res := follow("2"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

// A pipe listener hands out connections without any buffer.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestReaderWhoTakesNothingIsLetGo(t *testing.T) {
	t.Parallel()
	s, release := held(t)
	defer close(release)
	s.stall = 20 * time.Millisecond
	post(t, s, "/api/pipelines", `{"name": "x", "steps": ["Hello"]}`)
	events := post(t, s, "/api/pipelines/pl_1/run", "").Header().Get("Location") + "/events"

	returned := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		s.ServeHTTP(w, r)
	})}
	l := pipeListener{make(chan net.Conn, 1)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { close(l.conns); srv.Close() })
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	l.conns <- there
	if _, err := fmt.Fprintf(here, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", events); err != nil {
		t.Fatal(err)
	}
	select {
	case <-returned: // though nothing was read and the run goes on
	case <-time.After(30 * time.Second):
		t.Fatal("the handler still waits for the reader")
	}
}
