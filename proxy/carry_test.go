package proxy_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward/proxy"

	"pgregory.net/rapid"
)

// answers reads the head of each request on a connection and writes answer, once for each.
func answers(answer string) func(net.Conn, int) {
	return func(conn net.Conn, _ int) {
		for br := bufio.NewReader(conn); readHead(br) != ""; {
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	good := parse(t, "http://localhost:3000/base/")
	for _, c := range []struct {
		config proxy.Config
		want   string
	}{
		{proxy.Config{}, "upstream: must be an http, https or h2c URL"},
		{proxy.Config{Upstream: parse(t, "localhost:3000")}, "upstream: must be an http, https or h2c URL"},
		{proxy.Config{Upstream: parse(t, "ftp://h")}, "upstream: must be an http, https or h2c URL"},
		{proxy.Config{Upstream: parse(t, "http:///path")}, "upstream: must be an http, https or h2c URL"},
		{proxy.Config{Upstream: parse(t, "http://u:secret@h")}, "upstream: must not hold a user name or password"},
		{proxy.Config{Upstream: parse(t, "http://h?q")}, "upstream: must not hold a query"},
		{proxy.Config{Upstream: parse(t, "http://h#f")}, "upstream: must not hold a query"},
		{proxy.Config{Upstream: good, Timeout: -1}, "upstream_timeout: must not be negative"},
		{proxy.Config{Upstream: good, Stall: -1}, "stall: must not be negative"},
		{proxy.Config{Upstream: good, Strip: "/"}, "strip: must be a clean path"},
		{proxy.Config{Upstream: good, Strip: "v1"}, "strip: must be a clean path"},
		{proxy.Config{Upstream: good, Strip: "/v1/"}, "strip: must be a clean path"},
		{proxy.Config{Upstream: good, Strip: "/v1/../x"}, "strip: must be a clean path"},
		{proxy.Config{Upstream: good, Forward: "all"}, "forward_credentials: "},
		{proxy.Config{Upstream: good, Forward: proxy.AsSent, Timeout: time.Second}, ""},
		{proxy.Config{Upstream: parse(t, "h2c://localhost:50051"), Strip: "/v1", Stall: time.Minute}, ""},
	} {
		p, err := proxy.New(c.config)
		switch {
		case c.want == "" && (err != nil || p == nil):
			t.Errorf("%+v: %v", c.config, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%+v: %v, want %s", c.config, err, c.want)
		}
	}
}

func TestTheTargetIsTheJudgedPathAndTheQueryAsSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, sent, path, raw, want string }{
		{"", "/", "/", "", "/"},
		{"", "/a/../b", "/b", "", "/b"},
		{"", "/a", "", "", "/"},
		{"/", "/a", "/a", "", "/a"},
		{"/base", "/a", "/a", "", "/base/a"},
		{"/base/", "/a/", "/a/", "", "/base/a/"},
		{"/base/", "/", "/", "", "/base/"},
		{"/b%2Fs", "/a", "/a", "", "/b%2Fs/a"},
		{"/base", "/a%2Fb", "/a/b", "/a%2Fb", "/base/a%2Fb"},
		{"", "/a%20b;c=%C3%A9", "/a b;c=\u00e9", "/a%20b;c=%C3%A9", "/a%20b;c=%C3%A9"},
		{"", "/a%41", "/aA", "/aA", "/aA"},
		{"", "/x", "/judged", "/not%20the%20same", "/judged"},
		{"", "/?", "/", "", "/?"},
		{"", "/?a=1;b=2&c=%zz&&=&%", "/", "", "/?a=1;b=2&c=%zz&&=&%"},
		{"/base", "/?x=\"<>|^`{}\xff#frag", "/", "", "/base/?x=\"<>|^`{}\xff#frag"},
		{"", "http://u:p@door.example/a?b", "/a", "", "/a?b"},
		{"", "http://door.example", "/", "", "/"},
		{"", "/?" + strings.Repeat("a&", 20_000), "/", "", "/?" + strings.Repeat("a&", 20_000)},
	} {
		service, seen := witness(t)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service+c.base)}, func(r *http.Request) proxy.Passage {
			return proxy.Passage{Path: c.path, RawPath: c.raw}
		})
		send(t, addr, "GET "+c.sent+" HTTP/1.1\r\nHost: Door.Example:8080\r\n\r\n")
		head := <-seen
		target, _, _ := strings.Cut(strings.TrimPrefix(head, "GET "), " HTTP/1.1\r\n")
		if target != c.want {
			t.Errorf("%.80q below %q arrived as %.80q, want %.80q", c.sent, c.base, target, c.want)
		}
		if want := "\r\nHost: Door.Example:8080\r\n"; !strings.Contains(head, want) && !strings.HasPrefix(c.sent, "http:") {
			t.Errorf("%.80q: the Host changed:\n%s", c.sent, head)
		}
	}
}

// Of the canonical path a prefix is taken off in whole segments, however it was escaped.
func TestStrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ strip, base, path, raw, want string }{
		{"/v1", "", "/v1/x", "", "/x"},
		{"/v1", "", "/v1", "", "/"},
		{"/v1", "", "/v1/", "", "/"},
		{"/v1", "", "/v1x", "", "/v1x"},
		{"/v1", "", "/V1/x", "", "/V1/x"},
		{"/v1", "", "/x/v1", "", "/x/v1"},
		{"/v1", "", "/", "", "/"},
		{"/v1", "", "/v1/v1", "", "/v1"},
		{"/v1", "/base", "/v1/x/", "", "/base/x/"},
		{"/v1", "/base", "/v1", "", "/base/"},
		{"/v1", "/b%2Fs", "/v1/x", "", "/b%2Fs/x"},
		{"/v1", "", "/v1/a/b", "/v1/a%2Fb", "/a%2Fb"},
		{"/v1", "", "/v1/a!b", "/v1/a%21b", "/a%21b"},
		{"/v1", "", "/v1/x", "/v%31/x", "/x"},
		{"/v1", "", "/v1/x", "/v1%2Fx", "/v1%2Fx"},
		{"/v1", "", "/v1", "/%761", "/"},
		{"/a b/\u00e9", "", "/a b/\u00e9/x y", "", "/x%20y"},
		{"/a b/\u00e9", "", "/a b/\u00e9/x!", "/a%20b/%C3%A9/x%21", "/x%21"},
		{"/a/b", "", "/a/b/x", "/a%2Fb/x", "/a%2Fb/x"},
		{"/v1", "", "/v1/x", "/v1", "/x"},
		{"/v1", "", "/v1/x", "/%", "/x"},
	} {
		service, seen := witness(t)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service+c.base), Strip: c.strip}, func(*http.Request) proxy.Passage {
			return proxy.Passage{Path: c.path, RawPath: c.raw}
		})
		send(t, addr, "GET /?q=/v1 HTTP/1.1\r\nHost: h\r\n\r\n")
		target, _, _ := strings.Cut(strings.TrimPrefix(<-seen, "GET "), " HTTP/1.1\r\n")
		if target != c.want+"?q=/v1" {
			t.Errorf("%s (%s) without %s arrived as %s, want %s", c.path, c.raw, c.strip, target, c.want)
		}
	}
}

// What is forwarded is the same path in both its forms, stripped or whole.
func TestStripKeepsTheFormsTogether(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(service.Close)
	const strip = "/v1/b c"
	addr := gateway(t, proxy.Config{Upstream: parse(t, service.URL), Strip: strip}, passage)
	segment := rapid.OneOf(rapid.SampledFrom([]string{"v1", "b c", "b", "v1x", ""}), rapid.StringMatching(`[a-z %/!;]{1,4}`))
	rapid.Check(t, func(rt *rapid.T) {
		var raw, decoded strings.Builder
		for _, s := range rapid.SliceOfN(segment, 1, 5).Draw(rt, "segments") {
			raw.WriteByte('/')
			decoded.WriteByte('/')
			for _, b := range []byte(s) {
				decoded.WriteByte(b)
				if strings.IndexByte(" %/;", b) >= 0 || rapid.Bool().Draw(rt, "escaped") {
					fmt.Fprintf(&raw, "%%%02X", b)
				} else {
					raw.WriteByte(b)
				}
			}
		}
		got := asks(t, addr, "GET "+raw.String()+" HTTP/1.1\r\nHost: h\r\n\r\n")
		whole := "/" + strings.Join(strings.Split(raw.String(), "/")[1:], "/")
		segments := strings.Split(raw.String(), "/")[1:]
		if len(segments) >= 2 && unescape(t, segments[0]) == "v1" && unescape(t, segments[1]) == "b c" {
			whole = "/" + strings.Join(segments[2:], "/")
		}
		if got.Path != unescape(t, whole) || unescape(t, got.Target) != got.Path {
			rt.Errorf("%s arrived as %s (%q), want %s", raw.String(), got.Target, got.Path, whole)
		}
	})
}

func unescape(t *testing.T, s string) string {
	t.Helper()
	u, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAnswersArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	var squeezed strings.Builder
	z := gzip.NewWriter(&squeezed)
	fmt.Fprint(z, "squeezed")
	z.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, squeezed.String())
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/trailers":
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, "body")
			w.Header().Set("X-Sum", "7")
		case "/encoding":
			fmt.Fprint(w, r.Header["Accept-Encoding"])
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(service.Close)
	addr := gateway(t, proxy.Config{Upstream: parse(t, service.URL)}, passage)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		res, body, err := send(t, addr, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return res, body
	}
	if res, body := get("/gzip"); body != squeezed.String() || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a compressed answer became %v %q", res.Header, body)
	}
	if res, _ := get("/moved"); res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/elsewhere" {
		t.Errorf("a redirect became %s %v", res.Status, res.Header)
	}
	if res, body := get("/trailers"); body != "body" || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("a trailer became %v after %q", res.Trailer, body)
	}
	if _, body := get("/encoding"); body != "[]" {
		t.Errorf("Accept-Encoding %s was invented", body)
	}
	if res, body := get("/none"); res.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("no content became %s %q", res.Status, body)
	}
}

// A service waits for its client to have seen each piece before it sends the next.
func TestPiecesArriveAsTheyAreSent(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"event stream": "Content-Type: text/event-stream\r\n",
		"until closed": "",
		"known length": "Content-Length: 15\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan bool)
			service := rawService(t, func(conn net.Conn, _ int) {
				readHead(bufio.NewReader(conn))
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\n", head)
				for i := range 3 {
					fmt.Fprintf(conn, "ev %d\n", i)
					if _, ok := <-seen; !ok {
						return
					}
				}
			})
			defer close(seen)
			conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				piece := make([]byte, 5)
				if _, err := io.ReadFull(res.Body, piece); err != nil || string(piece) != fmt.Sprintf("ev %d\n", i) {
					t.Fatalf("piece %d: %q, %v", i, piece, err)
				}
				seen <- true
			}
			if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
				t.Errorf("at the end: %q, %v", rest, err)
			}
		})
	}
}

// A service answers each piece of a request's body before the client sends the next.
func TestUploadsStream(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		readHead(br)
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, err := br.ReadString('\n')
			if err != nil || line == "0\r\n" {
				fmt.Fprint(conn, "0\r\n\r\n")
				return
			}
			piece, _ := br.ReadString('\n')
			fmt.Fprintf(conn, "%s%s", line, piece)
		}
	})
	conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	var res *http.Response
	for _, piece := range []string{"one", "three", "four"} {
		fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece)
		if res == nil {
			var err error
			if res, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != piece {
			t.Fatalf("%q, %v, want %q", got, err, piece)
		}
	}
	fmt.Fprint(conn, "0\r\n\r\n")
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

func TestHTTP2Clients(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(service.Close)
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service.URL), Names: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	door := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Carry(w, r, passage(r)) }))
	door.EnableHTTP2 = true
	door.StartTLS()
	t.Cleanup(door.Close)
	r, err := http.NewRequest("POST", door.URL+"/a?b;c", io.MultiReader(strings.NewReader("hello"))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"x_auth_role": {"superadmin"}, "X-Auth-Kind": {"key"}, "Te": {"trailers"}}
	for _, name := range []string{"app", session, "other"} {
		r.AddCookie(&http.Cookie{Name: name, Value: "1"}) // HTTP/2 may send each as a field of its own
	}
	r.Trailer = http.Header{"X-Auth-Role": {"superadmin"}}
	res, err := door.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got received
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s, %v", res.Proto, res.Status, err)
	}
	wears(t, got.Header, worn)
	if got.Target != "/a?b;c" || got.Body != "hello" || len(got.Trailer) > 0 || got.Header["X_auth_role"] != nil || got.Header.Get("Cookie") != "app=1; other=1" {
		t.Errorf("%+v", got)
	}
}

// Only an answer that comes before the end of the body costs the client its connection.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	conn := dial(t, placements["gateway"](t, "", passage))
	br := bufio.NewReader(conn)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("hello", 4000),
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	} {
		fmt.Fprint(conn, request)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusOK || res.Close {
			t.Fatalf("%.60q: %v, %v", request, res, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
}

const handshake = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

func TestWebSocket(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	service := rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		heads <- readHead(br)
		fmt.Fprint(conn, switching+"welcome\n") // with the head: nothing may be lost between
		_, _ = io.Copy(conn, br)
		fmt.Fprint(conn, "bye\n") // after the client has closed its half
	})
	conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service), Names: ours}, passage))
	fmt.Fprint(conn, handshake)
	head := <-heads
	for _, want := range []string{"\r\nConnection: Upgrade\r\n", "\r\nUpgrade: WebSocket\r\n", "\r\nSec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "\r\nX-Forwarded-User: ada\r\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("%q did not arrive:\n%s", want, head)
		}
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%v, %v", res, err)
	}
	if line, err := br.ReadString('\n'); line != "welcome\n" {
		t.Fatalf("%q, %v", line, err)
	}
	frames := rand.Text() + "\x00\xff\r\n"
	fmt.Fprint(conn, frames)
	if line, err := br.ReadString('\n'); line != frames {
		t.Fatalf("%q, %v, want %q", line, err, frames)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "bye\n" {
		t.Errorf("after closing: %q, %v", rest, err)
	}
}

// What ends a stream with its session: the context.
func TestAWebSocketEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	service := rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		readHead(br)
		fmt.Fprint(conn, switching)
		_, _ = io.Copy(io.Discard, br)
		close(ended)
	})
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sctx, stop := context.WithCancel(r.Context())
		defer context.AfterFunc(ctx, stop)()
		p.Carry(w, r.WithContext(sctx), passage(r))
	})
	conn := dial(t, addr)
	fmt.Fprint(conn, handshake)
	br := bufio.NewReader(conn)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	if rest, err := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("the client read %q, %v", rest, err)
	}
	<-ended
}

func TestHS7OnlyWebSocketIsCarried(t *testing.T) {
	t.Parallel()
	for _, upgrade := range []string{
		"h2c", "h2c, websocket", "websocket, h2c", "HTTP/2.0", "TLS/1.0", "websocket\r\nUpgrade: h2c", "SPDY/3.1", "",
	} {
		service, seen := witness(t)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service)}, passage)
		res, body, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nUpgrade: "+upgrade+"\r\n\r\n")
		head := <-seen
		if res.StatusCode != http.StatusOK || body != "ok" || strings.Contains(head, "Upgrade:") || strings.Contains(head, "Connection:") || strings.Contains(head, "ettings") {
			t.Errorf("%q: %s, the service received\n%s", upgrade, res.Status, head)
		}
	}
	service, seen := witness(t)
	send(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if head := <-seen; strings.Contains(head, "Upgrade") {
		t.Errorf("a POST switches protocols:\n%s", head)
	}
	addr := gateway(t, proxy.Config{Upstream: parse(t, "http://127.0.0.1:1")}, passage)
	res, _, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: w\xebbsocket\r\n\r\n")
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a protocol that is no name: %s, want 400", res.Status)
	}
}

// Early hints go on, and take nothing along of what the door has to say at the end.
func TestInformationalAnswers(t *testing.T) {
	t.Parallel()
	service := rawService(t, answers("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: "+session+"=fixed\r\nX-Request-ID: theirs\r\n\r\n"+
		"HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n"+okAnswer))
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service), Names: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-ID", "ours")
		p.Carry(w, r, passage(r))
	})
	conn := dial(t, addr)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	hints, final, _ := strings.Cut(string(all), "HTTP/1.1 200 OK\r\n")
	if hints != "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n" {
		t.Errorf("hints: %q", hints)
	}
	if !strings.Contains(final, "X-Request-Id: ours\r\n") || strings.Contains(final, "Link") {
		t.Errorf("answer: %q", final)
	}
	res, body, _ := send(t, addr, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	if res.StatusCode != http.StatusOK || body != "ok" {
		t.Errorf("an HTTP/1.0 client received %s %q", res.Status, body)
	}
}

// net/http's rule: a request is sent again only if the connection was a kept one and
// sending it twice does no harm.
func TestOnlyIdempotentRequestsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]int{"GET": http.StatusOK, "POST": http.StatusBadGateway} {
		var mu sync.Mutex
		seen := map[string]int{}
		service := rawService(t, func(conn net.Conn, n int) {
			br := bufio.NewReader(conn)
			for i := 0; ; i++ {
				head := readHead(br)
				if head == "" {
					return
				}
				mu.Lock()
				seen[strings.Fields(head)[1]]++
				mu.Unlock()
				if n == 0 && i == 1 {
					return // closes on the second request of the first connection
				}
				fmt.Fprint(conn, okAnswer)
			}
		})
		addr := gateway(t, proxy.Config{Upstream: parse(t, service)}, passage)
		send(t, addr, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
		res, _, _ := send(t, addr, method+" /second HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		mu.Lock()
		times := seen["/second"]
		mu.Unlock()
		if res.StatusCode != want || (times == 2) != (method == "GET") {
			t.Errorf("%s: %s after %d times", method, res.Status, times)
		}
	}
}

// Carriages are used again: what one request was must never be said of another.
func TestManyAtOnceAreKeptApart(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Request-Id"), r.URL.Path)
	}))
	t.Cleanup(service.Close)
	addr := gateway(t, proxy.Config{Upstream: parse(t, service.URL)}, func(r *http.Request) proxy.Passage {
		return proxy.Passage{RequestID: r.Header.Get("X-Want"), Path: "/" + r.Header.Get("X-Want")}
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20}}
	t.Cleanup(client.CloseIdleConnections)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 20 {
				want := fmt.Sprintf("%d-%d", i, j)
				r, _ := http.NewRequest("GET", "http://"+addr, nil)
				r.Header.Set("X-Want", want)
				res, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(got) != want+"/"+want {
					t.Errorf("asked as %s, answered %q, %v", want, got, err)
				}
			}
		})
	}
	wg.Wait()
}
