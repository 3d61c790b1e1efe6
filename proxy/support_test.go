package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
	"doorward/proxy"
)

const (
	session = "brokoli_session"
	device  = "brokoli_device"
)

var ours = proxy.Names{Cookies: []string{session, device}}

var ada = doorward.Identity{
	Kind: doorward.KindUser, Subject: "usr_1", Username: "ada", Role: doorward.Admin,
	Org: "lovelace", Workspaces: "default,engine", Workspace: "engine", Session: "s1", Credential: "usr_1",
}

// passage is what a door would have decided for ada coming from this machine.
func passage(r *http.Request) proxy.Passage {
	return proxy.Passage{
		Identity: ada, Assertion: "a.signed.word", RequestID: "req-1", Client: netip.MustParseAddr("127.0.0.1"),
		Proto: "https", Host: "judged.example", Path: r.URL.Path, RawPath: r.URL.RawPath,
	}
}

// worn is what passage says of ada in headers.
var worn = map[string]string{
	"X-Forwarded-User": "ada", "X-Auth-Subject": "usr_1", "X-Auth-Kind": "user", "X-Auth-Role": "admin",
	"X-Auth-Organization": "lovelace", "X-Auth-Workspace": "engine", "X-Doorward-Assertion": "a.signed.word", "X-Request-Id": "req-1",
	"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "judged.example", "X-Forwarded-Proto": "https",
}

// received is a request as the echo service got it.
type received struct {
	Method, Target, Host, Body string
	Path                       string
	Header, Trailer            http.Header
}

// echo answers with what it received.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_ = json.NewEncoder(w).Encode(received{r.Method, r.RequestURI, r.Host, string(body), r.URL.Path, r.Header, r.Trailer})
}

// placement is a way to reach the echo service. It returns the door's address.
type placement func(t *testing.T, forward string, pass func(*http.Request) proxy.Passage) string

var placements = map[string]placement{
	"gateway": func(t *testing.T, forward string, pass func(*http.Request) proxy.Passage) string {
		service := httptest.NewServer(http.HandlerFunc(echo))
		t.Cleanup(service.Close)
		return gateway(t, proxy.Config{Upstream: parse(t, service.URL), Names: ours, Forward: forward}, pass)
	},
	"gateway to h2c": func(t *testing.T, forward string, pass func(*http.Request) proxy.Passage) string {
		return gateway(t, proxy.Config{Upstream: parse(t, services["h2c"](t, echo)), Names: ours, Forward: forward}, pass)
	},
	"in process": func(t *testing.T, forward string, pass func(*http.Request) proxy.Passage) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			echo(w, proxy.Dress(r, pass(r), ours, forward))
		})
	},
}

// gateway serves a Proxy and returns its address.
func gateway(t *testing.T, c proxy.Config, pass func(*http.Request) proxy.Passage) string {
	t.Helper()
	p, err := proxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	return serve(t, func(w http.ResponseWriter, r *http.Request) { p.Carry(w, r, pass(r)) })
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	return inClear(t, h, true).Listener.Addr().String()
}

// inClear serves HTTP/2 by prior knowledge, and HTTP/1 too unless it is not wanted.
func inClear(t *testing.T, h http.HandlerFunc, http1 bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(http1)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// services are the kinds of service that can stand behind the door.
var services = map[string]func(*testing.T, http.HandlerFunc) string{
	"http": func(t *testing.T, h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	},
	"h2c": func(t *testing.T, h http.HandlerFunc) string {
		return "h2c://" + inClear(t, h, false).Listener.Addr().String()
	},
}

// clients returns a client of its own that speaks HTTP/1.1 or HTTP/2 in clear.
var clients = map[string]func(*testing.T) *http.Client{
	"HTTP1": func(t *testing.T) *http.Client { return newClient(t, false) },
	"HTTP2": func(t *testing.T) *http.Client { return newClient(t, true) },
}

func newClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 20 * time.Second, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// everyWay runs test once for each kind of client and of service.
func everyWay(t *testing.T, test func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string)) {
	for c, client := range clients {
		for s, service := range services {
			t.Run(c+" to "+s, func(t *testing.T) {
				t.Parallel()
				test(t, client, service)
			})
		}
	}
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// dial connects to addr. Nothing on the connection waits longer than a test may.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send writes a request as it stands to addr and returns the answer, and its body with
// the error that ended it.
func send(t *testing.T, addr, request string) (*http.Response, string, error) {
	t.Helper()
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.200q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

// asks sends a request to the echo service and returns what it received.
func asks(t *testing.T, addr, request string) received {
	t.Helper()
	res, body, err := send(t, addr, request)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%.200q: %s, %v\n%s", request, res.Status, err, body)
	}
	var got received
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// rawService listens and lets talk have each connection, the n-th from 0. It returns its URL.
func rawService(t *testing.T, talk func(conn net.Conn, n int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		wg    sync.WaitGroup
	)
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				talk(conn, n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// readHead reads the lines of a message's head, the empty one included.
func readHead(br *bufio.Reader) string {
	var head bytes.Buffer
	for {
		line, err := br.ReadBytes('\n')
		head.Write(line)
		if err != nil || len(bytes.TrimSpace(line)) == 0 {
			return head.String()
		}
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// witness is a service that keeps the bytes of the one request it answers.
func witness(t *testing.T) (address string, bytes <-chan string) {
	t.Helper()
	seen := make(chan string, 1)
	return rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		head := readHead(br)
		if strings.Contains(head, "Transfer-Encoding: chunked") {
			for !strings.HasSuffix(head, "\r\n0\r\n\r\n") {
				line, err := br.ReadString('\n')
				if head += line; err != nil {
					break
				}
			}
		}
		seen <- head
		_, _ = io.WriteString(conn, okAnswer)
	}), seen
}
