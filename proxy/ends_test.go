package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorward"
	"doorward/proxy"
)

// ender is a door that ends what is under way.
type ender struct {
	mu    sync.Mutex
	end   func(error)
	cause error
	over  chan struct{} // closed when what is carried is over
}

func newEnder() *ender { return &ender{over: make(chan struct{})} }

func (e *ender) EndWith(end func(error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end = end
	switch {
	case end == nil:
		close(e.over)
	case e.cause != nil:
		end(e.cause)
	}
}

// now ends it, and again until it is over, as the door does.
func (e *ender) now(cause error) {
	for {
		e.mu.Lock()
		e.cause = cause
		if e.end != nil {
			e.end(cause)
		}
		e.mu.Unlock()
		select {
		case <-e.over:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// within waits for c, and fails the test where it does not come.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s does not come\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// lasting is a service of requests that last: what they do is in the path. begun is told of each
// that is there, gone when the service has noticed that nobody is there any more.
func lasting(begun, gone chan<- struct{}, over <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		buf := make([]byte, 32<<10)
		defer func() { gone <- struct{}{} }()
		switch r.URL.Path {
		case "/wait": // no answer
			begun <- struct{}{}
			<-r.Context().Done()
		case "/events": // the head, and then nothing
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = rc.Flush()
			begun <- struct{}{}
			<-r.Context().Done()
		case "/sized": // an answer that says how long it is
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "some of it")
			_ = rc.Flush()
			begun <- struct{}{}
			<-r.Context().Done()
		case "/download": // as fast as it goes
			begun <- struct{}{}
			for {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		case "/upload": // reads on, and answers at the end
			begun <- struct{}{}
			for {
				if _, err := r.Body.Read(buf); err != nil {
					return
				}
			}
		case "/unread": // reads nothing, by which net/http does not notice an end in HTTP/1, until it is over
			begun <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-over:
			}
			_, _ = io.Copy(io.Discard, r.Body)
		case "/parrot":
			w.WriteHeader(http.StatusOK)
			_ = rc.Flush()
			begun <- struct{}{}
			for {
				n, err := r.Body.Read(buf)
				if _, werr := w.Write(buf[:n]); err != nil || werr != nil {
					return
				}
				_ = rc.Flush()
			}
		}
	}
}

// TestWhatIsCarriedEndsWhenTheDoorSaysSo: whatever it waits for. The client sees that it was
// broken off, and the service that nobody is there any more.
func TestWhatIsCarriedEndsWhenTheDoorSaysSo(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		for _, path := range []string{"/wait", "/events", "/sized", "/download", "/upload", "/unread", "/parrot"} {
			t.Run(path[1:], func(t *testing.T) {
				t.Parallel()
				begun, gone, e := make(chan struct{}, 1), make(chan struct{}, 1), newEnder()
				addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, lasting(begun, gone, e.over))), Stall: time.Minute},
					func(r *http.Request) proxy.Passage {
						p := passage(r)
						p.Ends = e
						return p
					})
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var body io.Reader
				method := "GET"
				if path == "/upload" || path == "/unread" || path == "/parrot" {
					method, body = "POST", new(drops)
				}
				r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
				if err != nil {
					t.Fatal(err)
				}
				answered := make(chan error, 1)
				go func() {
					res, err := client(t).Do(r)
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					answered <- err
				}()
				within(t, "the request", begun)
				began := time.Now()
				go e.now(doorward.ErrTokenBlacklisted)
				within(t, "the end of Carry", e.over)
				select {
				case err := <-answered:
					if err == nil || ctx.Err() != nil {
						t.Errorf("the client sees %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Error("the client sees no end")
				}
				within(t, "the end at the service", gone)
				t.Logf("after %v", time.Since(began))
			})
		}
	})
}

// drops is a body that comes drop by drop, without an end.
type drops struct{}

func (*drops) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return copy(p, "drop"), nil
}

// TestAnEndReachesWhoHasSentMore: a client that has sent its next request already keeps
// net/http from noticing that its connection is no good any more.
func TestAnEndReachesWhoHasSentMore(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/wait", "/events"} {
		begun, gone, e := make(chan struct{}, 1), make(chan struct{}, 1), newEnder()
		addr := gateway(t, proxy.Config{Upstream: parse(t, services["http"](t, lasting(begun, gone, e.over)))}, func(r *http.Request) proxy.Passage {
			p := passage(r)
			p.Ends = e
			return p
		})
		conn := dial(t, addr)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		within(t, "the request", begun)
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // net/http reads a byte of it; sooner shows less, and is right as well
		go e.now(doorward.ErrTokenBlacklisted)
		within(t, "the end of Carry", e.over)
		within(t, "the end at the service", gone)
		if rest, _ := io.ReadAll(conn); bytes.Contains(rest, []byte("0\r\n\r\n")) {
			t.Errorf("what was broken off looks complete: %q", rest)
		}
		select {
		case <-begun:
			t.Error("the next request on the connection was carried")
		default:
		}
	}
}

// TestAnEndReachesWhoTakesNothing of an answer that is ready.
func TestAnEndReachesWhoTakesNothing(t *testing.T) {
	t.Parallel()
	begun, gone, e := make(chan struct{}, 1), make(chan struct{}, 1), newEnder()
	addr := gateway(t, proxy.Config{Upstream: parse(t, services["http"](t, lasting(begun, gone, e.over)))}, func(r *http.Request) proxy.Passage {
		p := passage(r)
		p.Ends = e
		return p
	})
	if _, err := io.WriteString(dial(t, addr), "GET /download HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	within(t, "the request", begun)
	time.Sleep(200 * time.Millisecond) // buffers fill; sooner shows less, and is right as well
	go e.now(doorward.ErrTokenBlacklisted)
	within(t, "the end of Carry", e.over)
	within(t, "the end at the service", gone)
}

// TestAnEndIsOfOneRequestAlone: the connections to the service, which others use next, and
// the client's stay good when an end comes in the moment in which a request is over.
func TestAnEndIsOfOneRequestAlone(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		var broken, asked atomic.Int64
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, echo)), Stall: time.Minute}, func(r *http.Request) proxy.Passage {
			p := passage(r)
			if r.URL.Path == "/ends" {
				e := newEnder()
				p.Ends = e
				// Some before the request is sent, some after its answer, most in between.
				time.AfterFunc(time.Duration(asked.Add(1)%64)*50*time.Microsecond, func() { e.now(doorward.ErrTokenBlacklisted) })
			}
			return p
		})
		ends, stays := client(t), client(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 100 {
					res, err := ends.Post("http://"+addr+"/ends", "text/plain", strings.NewReader("x"))
					if err != nil {
						broken.Add(1)
						continue
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
			all.Go(func() {
				for range 100 {
					res, err := stays.Post("http://"+addr+"/stays", "text/plain", strings.NewReader("x"))
					if err != nil {
						t.Error(err)
						continue
					}
					body, err := io.ReadAll(res.Body)
					if res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
						t.Errorf("%d %s, %v", res.StatusCode, body, err)
					}
				}
			})
		}
		all.Wait()
		t.Logf("%d of 400 that ended were broken off", broken.Load())
	})
}

const (
	askSocket   = "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	socketIsOne = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// text is a frame of a server with n bytes, or as much of it as upTo says.
func text(n, upTo int) string {
	b := []byte{0x81}
	switch {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	frame := string(b) + strings.Repeat("x", n)
	return frame[:min(upTo, len(frame))]
}

const whole = 1 << 30

// closing is a close frame of a server.
func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0x88, byte(2 + len(reason))}, code)) + reason
}

// sockets are the ways to have a WebSocket carried: to a service, or to a handler in this
// process. talk has the service's end of the connection.
var sockets = map[string]func(t *testing.T, stall time.Duration, e *ender, talk func(conn net.Conn)) string{
	"gateway": func(t *testing.T, stall time.Duration, e *ender, talk func(net.Conn)) string {
		service := rawService(t, func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, socketIsOne)
			talk(conn)
		})
		return gateway(t, proxy.Config{Upstream: parse(t, service), Stall: stall}, func(r *http.Request) proxy.Passage {
			p := passage(r)
			p.Ends = e
			return p
		})
	},
	"in process": func(t *testing.T, _ time.Duration, e *ender, talk func(net.Conn)) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			proxy.Serve(w, proxy.Dress(r, passage(r), ours, ""), e, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = rw.WriteString(socketIsOne)
				_ = rw.Flush()
				go func() { // as many do: the handler returns before the connection is closed
					defer conn.Close()
					talk(conn)
				}()
			}))
		})
	},
}

// TestAWebSocketEndsWithACloseFrame where one can stand, and without one in the middle of
// another; nothing follows it, and no byte of what the service sent is lost before it.
func TestAWebSocketEndsWithACloseFrame(t *testing.T) {
	t.Parallel()
	blacklisted := closing(1008, "token blacklisted")
	for name, c := range map[string]struct {
		before string // sent before the end
		after  string // sent when the service notices nothing, a moment after
		cause  error
		want   string // "" for no close frame after what was sent before
	}{
		"nothing sent":                 {"", "", doorward.ErrTokenBlacklisted, blacklisted},
		"token expired":                {text(2, whole), "", doorward.ErrTokenExpired, closing(1008, "token expired")},
		"nobody knows":                 {text(2, whole), "", doorward.Unavailable(errors.New("x")), closing(1013, "temporarily unavailable")},
		"short frames":                 {strings.Repeat(text(0, whole)+text(125, whole), 100), "", doorward.ErrTokenBlacklisted, blacklisted},
		"a longer frame":               {text(126, whole), "", doorward.ErrTokenBlacklisted, blacklisted},
		"a long frame":                 {text(300_000, whole), "", doorward.ErrTokenBlacklisted, blacklisted},
		"a masked frame":               {"\x81\x82abcdxx", "", doorward.ErrTokenBlacklisted, blacklisted},
		"between fragments":            {"\x01\x02xx", "", doorward.ErrTokenBlacklisted, blacklisted},
		"one byte of a head":           {text(5, 1), "", doorward.ErrTokenBlacklisted, ""},
		"half a long head":             {text(70_000, 5), "", doorward.ErrTokenBlacklisted, ""},
		"half a frame":                 {text(5, 4), "", doorward.ErrTokenBlacklisted, ""},
		"half a long frame":            {text(300_000, 200_000), "", doorward.ErrTokenBlacklisted, ""},
		"a frame that gets whole":      {text(5, 4), text(5, whole)[4:], doorward.ErrTokenBlacklisted, text(5, whole)[4:] + blacklisted},
		"whole, and then more":         {text(5, 4), text(5, whole)[4:] + text(9, whole), doorward.ErrTokenBlacklisted, text(5, whole)[4:] + blacklisted},
		"the service closes by itself": {closing(1000, "bye"), "", doorward.ErrTokenBlacklisted, ""},
	} {
		for place, socket := range sockets {
			for _, stall := range []time.Duration{0, time.Minute} {
				t.Run(fmt.Sprintf("%s/%s/stall %v", name, place, stall), func(t *testing.T) {
					t.Parallel()
					e, sent, gone := newEnder(), make(chan struct{}), make(chan struct{})
					ending := make(chan struct{})
					addr := socket(t, stall, e, func(conn net.Conn) {
						defer close(gone)
						_, _ = io.WriteString(conn, c.before)
						close(sent)
						if c.after != "" {
							<-ending
							_, _ = io.WriteString(conn, c.after)
						}
						for buf := make([]byte, 100); ; {
							n, err := conn.Read(buf)
							if bytes.Contains(buf[:n], []byte("too late")) {
								t.Error("what the client sent after the end arrived")
							}
							if err != nil {
								return
							}
						}
					})
					conn := dial(t, addr)
					if _, err := io.WriteString(conn, askSocket); err != nil {
						t.Fatal(err)
					}
					br := bufio.NewReader(conn)
					if head := readHead(br); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
						t.Fatalf("%q", head)
					}
					before := make([]byte, len(c.before))
					if _, err := io.ReadFull(br, before); err != nil || string(before) != c.before {
						t.Fatalf("%q, %v", before, err)
					}
					within(t, "what the service sends", sent)
					began := time.Now()
					go e.now(c.cause)
					until(t, "the end has begun", func() bool {
						e.mu.Lock()
						defer e.mu.Unlock()
						return e.cause != nil
					})
					close(ending)
					_, _ = io.WriteString(conn, "too late")
					rest, err := io.ReadAll(br)
					if string(rest) != c.want {
						t.Errorf("after the end comes %q, %v; want %q", rest, err, c.want)
					}
					if c.want != "" && err != nil {
						t.Errorf("the connection ends with %v", err)
					}
					t.Logf("%v until the client sees it", time.Since(began))
					within(t, "the end at the service", gone)
					within(t, "the end of Carry", e.over)
					t.Logf("%v until all is over", time.Since(began))
				})
			}
		}
	}
}

// until asks again until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestAWebSocketUnderLoadEndsBetweenFrames: whatever the service is in the middle of, what
// the client has got is whole frames and then one that closes.
func TestAWebSocketUnderLoadEndsBetweenFrames(t *testing.T) {
	t.Parallel()
	for range 20 {
		e := newEnder()
		addr := sockets["gateway"](t, time.Minute, e, func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for n := 0; ; n += 7919 {
				if _, err := io.WriteString(conn, text(n%200_000, whole)); err != nil {
					return
				}
			}
		})
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, askSocket); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(conn)
		readHead(br)
		time.AfterFunc(20*time.Millisecond, func() { e.now(doorward.ErrTokenBlacklisted) })
		last := ""
		for last == "" {
			head := make([]byte, 2)
			if _, err := io.ReadFull(br, head); err != nil {
				t.Fatalf("no close frame: %v", err)
			}
			n := int64(head[1])
			switch n {
			case 126:
				var b [2]byte
				_, _ = io.ReadFull(br, b[:])
				n = int64(binary.BigEndian.Uint16(b[:]))
			case 127:
				var b [8]byte
				_, _ = io.ReadFull(br, b[:])
				n = int64(binary.BigEndian.Uint64(b[:]))
			}
			payload, err := io.ReadAll(io.LimitReader(br, n))
			switch {
			case err != nil || int64(len(payload)) != n:
				t.Fatalf("half a frame: %d of %d, %v", len(payload), n, err)
			case head[0] == 0x88:
				last = string(head) + string(payload)
			case head[0] != 0x81:
				t.Fatalf("a frame that begins with %x", head)
			}
		}
		if rest, err := io.ReadAll(br); last != closing(1008, "token blacklisted") || len(rest) > 0 || err != nil {
			t.Errorf("%q, then %d bytes, %v", last, len(rest), err)
		}
		within(t, "the end of Carry", e.over)
	}
}

// TestAWebSocketWhoseClientTakesNothingIsCut in time.
func TestAWebSocketWhoseClientTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	for place, socket := range sockets {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			e, gone := newEnder(), make(chan struct{})
			addr := socket(t, 0, e, func(conn net.Conn) {
				defer close(gone)
				for {
					if _, err := io.WriteString(conn, text(100_000, whole)); err != nil {
						return
					}
				}
			})
			if _, err := io.WriteString(dial(t, addr), askSocket); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // buffers fill; sooner shows less, and is right as well
			go e.now(doorward.ErrTokenBlacklisted)
			within(t, "the end at the service", gone)
			within(t, "the end of Carry", e.over)
		})
	}
}

// TestAHandlerInThisProcessEnds: its context says why, and the client sees a cut.
func TestAHandlerInThisProcessEnds(t *testing.T) {
	t.Parallel()
	for name, client := range clients {
		for what, handle := range map[string]http.HandlerFunc{
			"waits": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"events": func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
			"reads":  func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
			"writes": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, &zeros{1 << 40}) },
			// Each deadline that it sets is past the end, and none lets it live past that.
			"writes on and on": func(w http.ResponseWriter, _ *http.Request) {
				rc := http.NewResponseController(w)
				for err := error(nil); err == nil; {
					_ = rc.SetWriteDeadline(time.Now().Add(time.Minute))
					if _, err = io.WriteString(w, "data: 1\n\n"); err == nil {
						err = rc.Flush()
					}
				}
			},
			"reads on and on": func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				for err := error(nil); err == nil; {
					_ = rc.SetReadDeadline(time.Now().Add(time.Minute))
					_, err = r.Body.Read(make([]byte, 1))
				}
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				e, begun := newEnder(), make(chan struct{})
				var cause error
				addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
					proxy.Serve(w, r, e, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						close(begun)
						handle(w, r)
						cause = context.Cause(r.Context())
					}))
				})
				answered := make(chan error, 1)
				go func() {
					res, err := client(t).Post("http://"+addr, "text/plain", new(drops))
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					answered <- err
				}()
				within(t, "the request", begun)
				go e.now(doorward.ErrTokenBlacklisted)
				within(t, "the end", e.over)
				if err := <-answered; err == nil {
					t.Error("what was broken off looks complete")
				}
				if !errors.Is(cause, doorward.ErrTokenBlacklisted) {
					t.Errorf("the cause is %v", cause)
				}
			})
		}
	}
}
