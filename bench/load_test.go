package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLoad: every connection is kept and used, and each answer is counted once.
func TestLoad(t *testing.T) {
	t.Parallel()
	var answered atomic.Int64
	var mu sync.Mutex
	conns := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answered.Add(1)
		mu.Lock()
		conns[r.RemoteAddr] = true
		mu.Unlock()
		w.Header().Set("Content-Length", "5000")
		fmt.Fprint(w, strings.Repeat("x", 5000)) // more than comes in one piece
	}))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	l, err := newLoad(addr, 7, []byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var sum result
	for range 2 {
		r, err := l.run(20 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		sum.add(r)
	}
	if n := int64(len(sum.latencies)); n != answered.Load() || n < 14 || len(conns) != 7 {
		t.Errorf("%d requests counted, %d answered, on %d connections, want 7", n, answered.Load(), len(conns))
	}
	if sum.took < 40*time.Millisecond || sum.rate() <= 0 {
		t.Errorf("took %v, %v a second", sum.took, sum.rate())
	}
	if p50, p99 := sum.percentile(50), sum.percentile(99); p50 <= 0 || p99 < p50 || sum.percentile(100) < p99 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}

	refused, err := newLoad(addr, 2, []byte("GET /no HTTP/1.1\r\nHost: h\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer refused.close()
	if _, err := refused.run(time.Millisecond); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a refusal is counted as an answer: %v", err)
	}
}

func TestAnswerEnd(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok": 40,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n":   40,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n":       0,
		"": 0,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n":  -1,
		"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nok":   -1,
		"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok": -1,
	} {
		if got, err := answerEnd([]byte(answer)); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v, want %d", answer, got, err, want)
		}
	}
}
