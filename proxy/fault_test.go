package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward/proxy"
)

func TestAServiceThatIsNotThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var log logBuffer
	addr := gateway(t, proxy.Config{Upstream: parse(t, "http://"+l.Addr().String()), Log: slog.New(slog.NewTextHandler(&log, nil))}, passage)
	res, body, err := send(t, addr, "GET /x?secret HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer secret\r\n\r\n")
	if res.StatusCode != http.StatusBadGateway || strings.TrimSpace(body) != `{"error":"service unavailable","status":"error"}` || err != nil {
		t.Errorf("%s %s %v", res.Status, body, err)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type: %s", ct)
	}
	if s := log.String(); !strings.Contains(s, "request_id=req-1") || !strings.Contains(s, "refused") || strings.Contains(s, "secret") {
		t.Errorf("log: %s", s)
	}
}

func TestAServiceThatIsNotWhoItSays(t *testing.T) {
	t.Parallel()
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") }))
	service.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	service.StartTLS()
	t.Cleanup(service.Close)
	addr := gateway(t, proxy.Config{Upstream: parse(t, service.URL)}, passage)
	if res, body, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != http.StatusBadGateway || strings.Contains(body, "certificate") {
		t.Errorf("%s %s", res.Status, body)
	}
}

func TestRE9BadAnswers(t *testing.T) {
	t.Parallel()
	for name, talk := range map[string]func(net.Conn, int){
		"reset": func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			_ = conn.(*net.TCPConn).SetLinger(0)
		},
		"closed":  func(conn net.Conn, _ int) { readHead(bufio.NewReader(conn)) },
		"no HTTP": answers("220 smtp.example ESMTP\r\n"),
		"half a header": func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nX: ")
		},
		"status 000":        answers("HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n"),
		"status 099":        answers("HTTP/1.1 099 Nothing\r\nContent-Length: 0\r\n\r\n"),
		"two lengths":       answers("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
		"odd encoding":      answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n"),
		"101 not asked for": answers(switching),
		"101 to nothing":    answers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"),
		"10 MB header": func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n")
			for range 10_000 {
				if _, err := fmt.Fprintf(conn, "X-A: %s\r\n", strings.Repeat("a", 1000)); err != nil {
					return
				}
			}
			fmt.Fprint(conn, "Content-Length: 0\r\n\r\n")
		},
		"10 MB line": func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			_, _ = conn.Write(bytes.Repeat([]byte("H"), 10<<20))
		},
		"flood of 100": flood("HTTP/1.1 100 Continue\r\n\r\n"),
		"flood of 102": flood("HTTP/1.1 102 Processing\r\nX-A: a\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := gateway(t, proxy.Config{Upstream: parse(t, rawService(t, talk))}, passage)
			conn := dial(t, addr)
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			all, err := io.ReadAll(conn)
			at := bytes.Index(all, []byte("HTTP/1.1 502 Bad Gateway\r\n"))
			if err != nil || at < 0 || !bytes.HasSuffix(bytes.TrimSpace(all), []byte(`{"error":"service unavailable","status":"error"}`)) {
				t.Fatalf("%.300q, %v", all, err)
			}
			if n := bytes.Count(all[:at], []byte("HTTP/1.1 ")); n > 200 {
				t.Errorf("%d informational answers passed", n)
			}
			// The service's connection is not used again, and the door still works.
			if res, _, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); name == "closed" && res.StatusCode != http.StatusBadGateway {
				t.Errorf("then: %s", res.Status)
			}
		})
	}
}

// flood sends the same informational answer for as long as anybody takes it.
func flood(notice string) func(net.Conn, int) {
	return func(conn net.Conn, _ int) {
		readHead(bufio.NewReader(conn))
		for many := strings.Repeat(notice, 100); ; {
			if _, err := io.WriteString(conn, many); err != nil {
				return
			}
		}
	}
}

func TestAWebSocketThatBecomesSomethingElse(t *testing.T) {
	t.Parallel()
	addr := gateway(t, proxy.Config{Upstream: parse(t, rawService(t, answers(strings.Replace(switching, "websocket", "h2c", 1))))}, passage)
	if res, body, _ := send(t, addr, handshake); res.StatusCode != http.StatusBadGateway {
		t.Errorf("%s %s", res.Status, body)
	}
	addr = gateway(t, proxy.Config{Upstream: parse(t, rawService(t, answers(okAnswer)))}, passage)
	if res, body, _ := send(t, addr, handshake); res.StatusCode != http.StatusOK || body != "ok" {
		t.Errorf("a service that declines: %s %s", res.Status, body)
	}
}

func TestRE9TooSlow(t *testing.T) {
	t.Parallel()
	for name, talk := range map[string]func(net.Conn, int){
		"never answers":       func(conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) },
		"header without end":  trickle("HTTP/1.1 200 OK\r\n", "X-A: a\r\n"),
		"notices without end": trickle("", "HTTP/1.1 102 Processing\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := gateway(t, proxy.Config{Upstream: parse(t, rawService(t, talk)), Timeout: 200 * time.Millisecond}, passage)
			conn := dial(t, addr)
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			all, err := io.ReadAll(conn)
			if err != nil || !bytes.Contains(all, []byte("HTTP/1.1 504 Gateway Timeout\r\n")) || !bytes.Contains(all, []byte(`{"error":"service timed out","status":"error"}`)) {
				t.Errorf("%.300q, %v", all, err)
			}
		})
	}
	t.Run("stops reading", func(t *testing.T) {
		t.Parallel()
		done := make(chan struct{})
		service := rawService(t, func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			<-done
		})
		defer close(done)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service), Timeout: 200 * time.Millisecond}, passage)
		r, err := http.NewRequest("POST", "http://"+addr, &endless{})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
		t.Cleanup(client.CloseIdleConnections)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("%s, want 504", res.Status)
		}
	})
}

// trickle sends first and then again and again the same, for as long as anybody takes it.
func trickle(first, again string) func(net.Conn, int) {
	return func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		readHead(br)
		fmt.Fprint(conn, first)
		gone := make(chan struct{})
		go func() { _, _ = br.ReadByte(); close(gone) }()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-gone:
				return
			case <-tick.C:
				if _, err := io.WriteString(conn, again); err != nil {
					return
				}
			}
		}
	}
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { return len(p), nil }

// A service that dies in the middle of an answer leaves no answer that looks complete.
func TestACutAnswerStaysCut(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"known length":    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"malformed chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := rawService(t, func(conn net.Conn, _ int) {
				readHead(bufio.NewReader(conn))
				fmt.Fprint(conn, answer)
			})
			conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return // cut before anything was sent: no answer at all
			}
			if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s %q ended with %v", res.Status, body, err)
			}
		})
	}
}

// What is the client's fault is not said of the service.
func TestBodiesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(service.Close)
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service.URL)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			r.Body = http.MaxBytesReader(w, r.Body, 4)
		case "/slow":
			r.Body = &late{r.Body}
		}
		p.Carry(w, r, passage(r))
	})
	for _, c := range []struct {
		request, want string
		status        int
	}{
		{"POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "body: is too large", http.StatusRequestEntityTooLarge},
		{"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell", "body: did not arrive in time", http.StatusRequestTimeout},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", "body: could not be read", http.StatusBadRequest},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n", "body: could not be read", http.StatusBadRequest},
	} {
		if res, body, _ := send(t, addr, c.request); res.StatusCode != c.status || !strings.Contains(body, `"error":"`+c.want+`"`) {
			t.Errorf("%q: %s %s, want %d %s", c.request, res.Status, body, c.status, c.want)
		}
	}
}

// late is a body whose time is up when its first bytes have come.
type late struct{ io.ReadCloser }

func (l *late) Read(p []byte) (int, error) {
	n, _ := l.ReadCloser.Read(p[:1])
	return n, os.ErrDeadlineExceeded
}

// A service may refuse a body without reading it to the end.
func TestAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		readHead(br)
		fmt.Fprint(conn, "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
		_, _ = io.Copy(io.Discard, br)
	})
	addr := gateway(t, proxy.Config{Upstream: parse(t, service)}, passage)
	for framing, body := range map[string]string{"Content-Length: 1000": "beginning", "Transfer-Encoding: chunked": "9\r\nbeginning\r\n"} {
		conn := dial(t, addr)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n%s", framing, body)
		br := bufio.NewReader(conn)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
			t.Fatalf("%s: %v, %v", framing, res, err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "no!" || err != nil {
			t.Errorf("%s: %q, %v", framing, body, err)
		}
		// HS5: what is left of the body is not the next request.
		fmt.Fprint(conn, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
		_ = conn.(*net.TCPConn).CloseWrite() // unless the door has closed it already
		if rest, _ := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("%s: then %q", framing, rest)
		}
	}
}

func TestAClientThatHangsUp(t *testing.T) {
	t.Parallel()
	started, ended := make(chan struct{}), make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(service.Close)
	var log logBuffer
	p, err := proxy.New(proxy.Config{
		Upstream: parse(t, service.URL), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Fail: func(http.ResponseWriter, *http.Request, int, string) { t.Error("an answer was written to nobody") },
	})
	if err != nil {
		t.Fatal(err)
	}
	outcome := make(chan any, 1)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { outcome <- recover() }()
		p.Carry(w, r, passage(r))
	})
	conn := dial(t, addr)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-started
	conn.Close()
	<-ended
	if got := <-outcome; got != http.ErrAbortHandler {
		t.Errorf("Carry ended with %v", got)
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "level=DEBUG") || !strings.Contains(s, context.Canceled.Error()) {
		t.Errorf("log: %s", s)
	}
}

func TestADeadlineOnTheRequestIsATimeout(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) })
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service)})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
		defer cancel()
		p.Carry(w, r.WithContext(ctx), passage(r))
	})
	if res, _, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%s, want 504", res.Status)
	}
}

func TestFailIsTheCallers(t *testing.T) {
	t.Parallel()
	addr := gateway(t, proxy.Config{
		Upstream: parse(t, rawService(t, answers("no\r\n"))),
		Fail: func(w http.ResponseWriter, r *http.Request, status int, message string) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, r.URL.Path, status, message)
		},
	}, passage)
	if res, body, _ := send(t, addr, "GET /path HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != http.StatusTeapot || body != "/path502service unavailable" {
		t.Errorf("%s %s", res.Status, body)
	}
}

// logBuffer is a bytes.Buffer that several may use.
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
