package proxy_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"doorward/proxy"
)

// start sends a request whose body is what is written to the returned pipe.
func start(t *testing.T, client *http.Client, method, url string, header http.Header) (*io.PipeWriter, <-chan *http.Response) {
	t.Helper()
	body, w := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		res, err := client.Do(r)
		if err != nil {
			t.Logf("%s: %v", url, err)
			body.CloseWithError(err)
			return
		}
		answers <- res
	}()
	t.Cleanup(func() { w.CloseWithError(context.Canceled) })
	return w, answers
}

// parrot answers each piece of a body before it reads the next.
func parrot(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	_ = rc.Flush()
	buf := make([]byte, 1024)
	for {
		n, err := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		_ = rc.Flush()
		if err != nil {
			return
		}
	}
}

func TestPiecesGoBothWays(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, parrot)), Stall: time.Minute}, passage)
		w, answers := start(t, client(t), "POST", "http://"+addr, nil)
		if _, err := io.WriteString(w, "first"); err != nil {
			t.Fatal(err)
		}
		res, ok := <-answers
		if !ok {
			t.Fatal("no answer")
		}
		defer res.Body.Close()
		for i, piece := range []string{"first", "second", "third"} {
			if i > 0 {
				if _, err := io.WriteString(w, piece); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != piece {
				t.Fatalf("%q, %v, want %q", got, err, piece)
			}
		}
		w.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %q, %v", rest, err)
		}
	})
}

func TestEventsArriveAsTheyHappen(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		seen := make(chan bool)
		defer close(seen)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				<-seen
			}
		})), Stall: time.Minute}, passage)
		res, err := client(t).Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for i := range 3 {
			got := make([]byte, len("data: 0\n\n"))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != fmt.Sprintf("data: %d\n\n", i) {
				t.Fatalf("%q, %v", got, err)
			}
			seen <- true
		}
	})
}

// message is a gRPC message (PROTOCOL-HTTP2, Length-Prefixed-Message).
func message(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s))), s...)
}

func readMessage(r io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// grpcService speaks gRPC's protocol as its servers do: trailers that are not announced,
// a status in the head alone where there is nothing else to say.
func grpcService(seen chan<- http.Header, ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen <- r.Header.Clone()
		}
		w.Header().Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/chat.Chat/Unknown":
			w.Header().Set("Grpc-Status", "12")
			w.Header().Set("Grpc-Message", "no such method")
		case "/chat.Chat/Talk":
			for {
				s, err := readMessage(r.Body)
				if err != nil {
					break
				}
				_, _ = w.Write(message("re: " + s))
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Alt-Svc", `h3=":1"`)
			w.Header().Add(http.TrailerPrefix+"Set-Cookie", session+"=fixed")
		case "/chat.Chat/Wait":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	seen, ended := make(chan http.Header, 10), make(chan error, 1)
	service := services["h2c"](t, grpcService(seen, ended))
	addr := gateway(t, proxy.Config{Upstream: parse(t, service), Names: ours, Stall: time.Minute}, passage)
	client := newClient(t, true)
	header := func() http.Header {
		return http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {"10S"}}
	}

	w, answers := start(t, client, "POST", "http://"+addr+"/chat.Chat/Talk", header())
	var res *http.Response
	for i := range 3 {
		if _, err := w.Write(message(fmt.Sprint("hello ", i))); err != nil {
			t.Fatal(err)
		}
		if res == nil {
			var ok bool
			if res, ok = <-answers; !ok {
				t.Fatal("no answer")
			}
			defer res.Body.Close()
		}
		if got, err := readMessage(res.Body); err != nil || got != fmt.Sprint("re: hello ", i) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	w.Close()
	if _, err := readMessage(res.Body); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if len(res.Trailer) != 1 || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("trailer: %v", res.Trailer)
	}
	got := <-seen
	wears(t, got, worn)
	if got.Get("Te") != "trailers" || got.Get("Grpc-Timeout") != "10S" {
		t.Errorf("the service received %v", got)
	}

	r, _ := http.NewRequest("POST", "http://"+addr+"/chat.Chat/Unknown", strings.NewReader(string(message("x"))))
	r.Header = header()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Grpc-Status") != "12" || res.Header.Get("Grpc-Message") != "no such method" {
		t.Errorf("without a body: %s %v", res.Status, res.Header)
	}

	// A client gives up, or its deadline has passed: gRPC resets the stream for both.
	ctx, cancel := context.WithCancel(t.Context())
	r, _ = http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/chat.Chat/Wait", strings.NewReader(string(message("x"))))
	r.Header = header()
	if res, err = client.Do(r); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("the service saw %v", err)
	}
}

// TE reaches a service with the one value that means something beyond the next hop, and
// only when the client sent it.
func TestTE(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		seen := make(chan http.Header, 1)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))}, passage)
		for sent, want := range map[string]string{
			"": "", "TE: trailers\r\n": "[trailers]", "TE: gzip, Trailers\r\nConnection: TE\r\n": "[trailers]", "TE: gzip\r\n": "",
			"TE: deflate;q=0.5\r\nConnection: TE\r\n": "", "TE: X-Auth-Role, trailers\r\nTE: gzip\r\n": "[trailers]",
		} {
			send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n"+sent+"\r\n")
			got := (<-seen)["Te"]
			if want == "" && got != nil || want != "" && fmt.Sprint(got) != want {
				t.Errorf("%s: %q arrived as %q", name, sent, got)
			}
		}
	}
}

// What the door takes out of an answer's head does not come back behind its body.
func TestTrailersLoseWhatHeadsLose(t *testing.T) {
	t.Parallel()
	forged := http.Header{
		"X-Request-Id": {"theirs"}, "Alt-Svc": {`h3=":1"`}, "Set-Cookie": {session + "=fixed", "app=1", "=" + device + "=x"},
		"X-Sum": {"7"}, "Grpc-Status": {"0"},
	}
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		p, err := proxy.New(proxy.Config{Upstream: parse(t, service(t, func(w http.ResponseWriter, r *http.Request) {
			prefix := http.TrailerPrefix
			if r.URL.Path == "/announced" {
				prefix = ""
				for name := range forged {
					w.Header().Add("Trailer", name)
				}
			}
			fmt.Fprint(w, "body")
			_ = http.NewResponseController(w).Flush()
			for name, values := range forged {
				w.Header()[prefix+name] = values
			}
		})), Names: ours})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.CloseIdle)
		addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", "ours")
			p.Carry(w, r, passage(r))
		})
		for _, path := range []string{"/announced", "/not"} {
			res, err := client(t).Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); string(body) != "body" || err != nil {
				t.Errorf("%s: %q, %v", path, body, err)
			}
			want := http.Header{"X-Sum": {"7"}, "Grpc-Status": {"0"}, "Set-Cookie": {"app=1"}}
			if fmt.Sprint(res.Trailer) != fmt.Sprint(want) || res.Header.Get("X-Request-Id") != "ours" {
				t.Errorf("%s: trailer %v, want %v; head %v", path, res.Trailer, want, res.Header)
			}
		}
	})
	t.Run("framing", func(t *testing.T) {
		t.Parallel()
		service := rawService(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\n"+
			"X-Sum: 7\r\nContent-Length: 100\r\nTransfer-Encoding: identity\r\nConnection: X-Sum\r\n\r\n"))
		conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		all, err := io.ReadAll(conn)
		if _, tail, _ := strings.Cut(string(all), "\r\n0\r\n"); err != nil || tail != "X-Sum: 7\r\n\r\n" {
			t.Errorf("%v, %q", err, all)
		}
	})
}

func TestAWebSocketToAnH2CService(t *testing.T) {
	t.Parallel()
	service := services["h2c"](t, func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") })
	addr := gateway(t, proxy.Config{Upstream: parse(t, service)}, passage)
	if res, body, _ := send(t, addr, handshake); res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "service unavailable") {
		t.Errorf("%s %s", res.Status, body)
	}
}

// zeros is n bytes that cost nothing to make.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.n))
	z.n -= int64(n)
	return n, nil
}

// A GiB goes up and down while the heap of this process, which is client, door and service
// in one, hardly grows: what is on its way lies in buffers of fixed size. Over HTTP/2, whose
// frames take the machine three times as long, it is a quarter of that on both sides, and an
// eighth where the sides differ. With -short, and with the race detector, all is an eighth.
func TestAGibibyteInFlatMemory(t *testing.T) { // not parallel: it measures the whole process
	size := int64(1 << 30)
	if testing.Short() || raceEnabled {
		size = 128 << 20
	}
	service := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			if r.URL.Path == "/known" {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			}
			_, _ = io.Copy(w, struct{ io.Reader }{&zeros{size}})
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	}
	for _, way := range []struct{ client, service string }{{"HTTP1", "http"}, {"HTTP2", "h2c"}, {"HTTP2", "http"}, {"HTTP1", "h2c"}} {
		t.Run(way.client+" to "+way.service, func(t *testing.T) {
			addr := gateway(t, proxy.Config{Upstream: parse(t, services[way.service](t, service)), Stall: time.Minute}, passage)
			client := clients[way.client](t)
			size := size
			switch way.client + way.service {
			case "HTTP2h2c":
				size /= 4
			case "HTTP2http", "HTTP1h2c":
				size /= 8
			}
			flat(t, "up", func() {
				r, err := http.NewRequest("POST", "http://"+addr, struct{ io.Reader }{&zeros{size}})
				if err != nil {
					t.Fatal(err)
				}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != fmt.Sprint(size, " <nil>") {
					t.Errorf("up: %s, %v", got, err)
				}
			})
			flat(t, "down", func() {
				res, err := client.Get("http://" + addr + "/known")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if n, err := io.CopyN(io.Discard, res.Body, size); err != nil || n != size {
					t.Errorf("down: %d, %v", n, err)
				}
			})
		})
	}
}

// flat fails if the heap in use rises by more than a few MiB above where it was while run
// runs.
func flat(t *testing.T, what string, run func()) {
	t.Helper()
	const most = 16 << 20
	heap := func() uint64 {
		runtime.GC() // else it shows garbage, of which there may be as much as the heap is large
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before, began := heap(), time.Now()
	done, highest := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				highest <- top
				return
			case <-tick.C:
				top = max(top, heap())
			}
		}
	}()
	run()
	close(done)
	top := <-highest
	t.Logf("%s: %.1f MiB in use before, at most %.1f meanwhile, %v", what, float64(before)/(1<<20), float64(top)/(1<<20), time.Since(began).Round(time.Millisecond))
	if top > before+most {
		t.Errorf("%s: the heap in use rose from %d to %d", what, before, top)
	}
}

// The service decides whether a body is sent at all: its client waits for it to say.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, bodies := make(chan bool), make(chan string, 1)
			addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(w http.ResponseWriter, r *http.Request) {
				<-asked
				switch r.URL.Path {
				case "/large":
					http.Error(w, "no", http.StatusRequestEntityTooLarge)
				case "/stranger":
					w.WriteHeader(http.StatusUnauthorized)
				default:
					b, err := io.ReadAll(r.Body)
					bodies <- fmt.Sprint(string(b), err)
				}
			})), Stall: time.Minute}, passage)
			const head = " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

			conn := dial(t, addr)
			br := bufio.NewReader(conn)
			fmt.Fprint(conn, "POST /"+head)
			asked <- true // the service has the head, and nothing of the body was sent
			if got := readHead(br); got != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Fatalf("first came %q", got)
			}
			fmt.Fprint(conn, "hello")
			if got := <-bodies; got != "hello<nil>" {
				t.Errorf("the service read %s", got)
			}
			if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", res, err)
			}

			for path, status := range map[string]int{"/large": http.StatusRequestEntityTooLarge, "/stranger": http.StatusUnauthorized} {
				conn := dial(t, addr)
				br := bufio.NewReader(conn)
				fmt.Fprint(conn, "POST "+path+head)
				asked <- true
				res, err := http.ReadResponse(br, nil)
				if err != nil || res.StatusCode != status || !res.Close {
					t.Fatalf("%s: %v, %v: want %d and no 100 before it", path, res, err, status)
				}
				if _, err := io.ReadAll(res.Body); err != nil {
					t.Errorf("%s: the answer is cut: %v", path, err)
				}
				if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
					t.Errorf("%s: then %q, %v", path, rest, err)
				}
			}

			// Who does not wait need not: the body is there when it is asked for.
			conn = dial(t, addr)
			fmt.Fprint(conn, "POST /"+head+"hello")
			asked <- true
			if got := <-bodies; got != "hello<nil>" {
				t.Errorf("from a hasty client the service read %s", got)
			}
			br = bufio.NewReader(conn)
			if got := readHead(br); got != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Errorf("a hasty client received %q", got)
			}
			if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
}

// A service that does not know of 100 (Continue) keeps no client waiting, and one that
// refuses without reading never sees the beginning of the body, whether or not it means to
// keep its connection.
func TestExpectContinueFromPlainServices(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	t.Run("says nothing", func(t *testing.T) {
		t.Parallel()
		service := rawService(t, func(conn net.Conn, _ int) {
			br := bufio.NewReader(conn)
			readHead(br)
			_, _ = io.CopyN(conn, br, 0)
			body := make([]byte, 5)
			if _, err := io.ReadFull(br, body); err != nil || string(body) != "hello" {
				t.Errorf("%q, %v", body, err)
			}
			fmt.Fprint(conn, okAnswer)
		})
		conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
		br := bufio.NewReader(conn)
		fmt.Fprint(conn, head)
		if got := readHead(br); got != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("first came %q", got)
		}
		fmt.Fprint(conn, "hello")
		if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", res, err)
		}
	})
	for _, answer := range []string{
		"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 2\r\n\r\nno",
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
		"HTTP/1.1 413 Request Entity Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
	} {
		t.Run(answer[9:12], func(t *testing.T) {
			t.Parallel()
			rests := make(chan string, 1)
			service := rawService(t, func(conn net.Conn, _ int) {
				br := bufio.NewReader(conn)
				readHead(br)
				fmt.Fprint(conn, answer)
				rest, _ := io.ReadAll(br)
				rests <- string(rest)
			})
			conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service)}, passage))
			fmt.Fprint(conn, head)
			all, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(all), answer[:12]) || !strings.Contains(string(all), "no") || strings.Contains(string(all), "100 Continue") {
				t.Errorf("%q, %v", all, err)
			}
			if rest := <-rests; rest != "" {
				t.Errorf("the service read %q of the body", rest)
			}
		})
	}
}

// A client that hangs up, however it speaks and in whatever it was, is gone for the
// service too.
func TestHangUpsReachTheService(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		started, ended := make(chan bool, 1), make(chan error, 1)
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/waiting":
				started <- true
				<-r.Context().Done()
				ended <- r.Context().Err()
			case "/uploading":
				b := make([]byte, 5)
				_, _ = io.ReadFull(r.Body, b)
				started <- true
				_, err := io.ReadAll(r.Body)
				ended <- err
			case "/downloading":
				_, _ = io.WriteString(w, "hello")
				_ = http.NewResponseController(w).Flush()
				started <- true
				<-r.Context().Done()
				ended <- r.Context().Err()
			}
		})), Stall: time.Minute}, passage)
		for _, path := range []string{"/waiting", "/uploading", "/downloading"} {
			c := client(t)
			ctx, hangUp := context.WithCancel(t.Context())
			method, body := "GET", io.Reader(nil)
			if path == "/uploading" {
				pr, pw := io.Pipe()
				go func() { _, _ = io.WriteString(pw, "hello") }()
				context.AfterFunc(ctx, func() { pw.CloseWithError(context.Canceled) })
				method, body = "POST", pr
			}
			r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
			if err != nil {
				t.Fatal(err)
			}
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if res, err := c.Do(r); err == nil {
					_, _ = io.ReadAll(res.Body)
					res.Body.Close()
				}
			}()
			<-started
			hangUp()
			if err := <-ended; err == nil {
				t.Errorf("%s: the service saw a good end", path)
			}
			<-gone
		}
	})
}

// frame is an HTTP/2 frame (RFC 9113, section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	ok200   = "\x88" // :status 200, HPACK's static table

	frameData, frameHeaders, frameReset, frameSettings, framePing = 0, 1, 3, 4, 6
	endStream, ack, endHeaders                                    = 1, 1, 4
)

// readFrame returns the kind and the stream of the next frame.
func readFrame(r io.Reader) (kind, flags byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(r, payload)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload, err
}

// rawH2C is a service that sends settings and answers the head of each request, given its
// stream, with what answer returns.
func rawH2C(t *testing.T, settings string, answer func(stream uint32) string) string {
	return "h2c" + strings.TrimPrefix(rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		if _, err := br.Discard(len(preface)); err != nil {
			return
		}
		fmt.Fprint(conn, frame(frameSettings, 0, 0, settings))
		for {
			kind, flags, stream, _, err := readFrame(br)
			switch {
			case err != nil:
				return
			case kind == frameSettings && flags&ack == 0:
				fmt.Fprint(conn, frame(frameSettings, ack, 0, ""))
			case kind == frameHeaders:
				fmt.Fprint(conn, answer(stream))
			}
		}
	}), "http")
}

func TestRE9H2CServicesThatAreNone(t *testing.T) {
	t.Parallel()
	never := func(uint32) string { return "" }
	const settingWindow, settingStreams = "\x00\x04", "\x00\x03"
	for name, c := range map[string]struct {
		upstream, method string
		status           int
	}{
		"never settles": {"h2c" + strings.TrimPrefix(rawService(t, func(conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) }), "http"), "GET", 504},
		"never answers": {rawH2C(t, "", never), "GET", 504},
		"takes nothing": {rawH2C(t, settingWindow+"\x00\x00\x00\x00", never), "POST", 504},
		"no streams":    {rawH2C(t, settingStreams+"\x00\x00\x00\x00", never), "GET", 504},
		"HTTP/1.1":      {"h2c" + strings.TrimPrefix(rawService(t, answers(okAnswer)), "http"), "GET", 502},
		"resets":        {rawH2C(t, "", func(s uint32) string { return frame(frameReset, 0, s, "\x00\x00\x00\x02") }), "GET", 502},
		"garbage":       {rawH2C(t, "", func(s uint32) string { return frame(frameHeaders, endHeaders|endStream, s, "\xff\xff\xff\xff\xff\xff") }), "GET", 502},
		"is not there":  {"h2c://127.0.0.1:1", "GET", 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := gateway(t, proxy.Config{Upstream: parse(t, c.upstream), Timeout: 300 * time.Millisecond}, passage)
			request := c.method + " / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
			res, body, err := send(t, addr, request)
			status := res.StatusCode
			if name == "no streams" && status == http.StatusBadGateway {
				status = http.StatusGatewayTimeout // its settings came before the request did: nothing to wait for
			}
			if status != c.status || err != nil || !strings.Contains(body, `"status":"error"`) {
				t.Errorf("%s %s, %v, want %d", res.Status, body, err, c.status)
			}
		})
	}
}

// A service that dies without a word is asked whether it lives, and its streams end.
func TestADeadH2CService(t *testing.T) {
	t.Parallel()
	service := rawH2C(t, "", func(stream uint32) string { return frame(frameHeaders, endHeaders, stream, ok200) })
	conn := dial(t, gateway(t, proxy.Config{Upstream: parse(t, service), Timeout: 300 * time.Millisecond}, passage))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ended with %v", err)
	}
}
