package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"doorward/proxy"
)

// short is a Config.Stall that a test can wait for.
const short = 200 * time.Millisecond

// flow writes for as long as anybody takes it, and says how that ended.
func flow(w http.ResponseWriter, ended chan<- error) {
	for piece := make([]byte, 64<<10); ; {
		if _, err := w.Write(piece); err != nil {
			ended <- err
			return
		}
	}
}

// stallingDoor is a gateway that tells how each Carry ended.
func stallingDoor(t *testing.T, upstream string) (addr string, outcome <-chan any) {
	t.Helper()
	p, err := proxy.New(proxy.Config{Upstream: parse(t, upstream), Stall: short})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	ended := make(chan any, 10)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			e := recover()
			ended <- e
			if e != nil {
				panic(e)
			}
		}()
		p.Carry(w, r, passage(r))
	}), ended
}

func TestRE9AClientThatStopsReading(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		ended := make(chan error, 1)
		url := service(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/known":
				w.Header().Set("Content-Length", "100000000000")
			case "/short":
				fmt.Fprint(w, "ok")
				ended <- nil
				return
			}
			flow(w, ended)
		})
		for _, path := range []string{"/known", "/unknown"} {
			t.Run("HTTP1 from "+name+path, func(t *testing.T) {
				addr, outcome := stallingDoor(t, url)
				conn := dial(t, addr)
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
				if e := <-outcome; e != http.ErrAbortHandler {
					t.Errorf("Carry ended with %v", e)
				}
				if <-ended == nil {
					t.Error("the service wrote all")
				}
			})
			t.Run("HTTP2 from "+name+path, func(t *testing.T) {
				addr, outcome := stallingDoor(t, url)
				conn := dial(t, addr)
				// GET, http, :path and :authority as literals; and not a byte of window after the first 64 KiB.
				fmt.Fprint(conn, preface+frame(frameSettings, 0, 0, "")+frame(frameHeaders, endHeaders|endStream, 1, "\x82\x86\x44"+string(rune(len(path)))+path+"\x41\x01h"))
				if e := <-outcome; e != http.ErrAbortHandler {
					t.Errorf("Carry ended with %v", e)
				}
				if <-ended == nil {
					t.Error("the service wrote all")
				}
				for br := bufio.NewReader(conn); ; { // the other streams of the connection live on
					kind, _, stream, _, err := readFrame(br)
					if err != nil {
						t.Fatal(err)
					}
					if kind == frameReset && stream == 1 {
						break
					}
				}
			})
		}
		t.Run("HTTP2 without any window from "+name, func(t *testing.T) {
			addr, outcome := stallingDoor(t, url)
			fmt.Fprint(dial(t, addr), preface+frame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00")+frame(frameHeaders, endHeaders|endStream, 1, "\x82\x86\x44\x06/short\x41\x01h"))
			<-outcome // in whatever way: that it ends is what counts
			<-ended
		})
	}
}

func TestRE9AClientThatStopsSending(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		refused := func(t *testing.T, more func(addr string) (status int, body string)) {
			t.Parallel()
			ended := make(chan error, 1)
			addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				ended <- err
			})), Stall: short}, passage)
			if status, body := more(addr); status != http.StatusRequestTimeout || !strings.Contains(body, `"body: did not arrive in time"`) {
				t.Errorf("%d %s", status, body)
			}
			if err := <-ended; err == nil {
				t.Error("the service received all")
			}
		}
		for what, rest := range map[string]string{
			"nothing of a known length": "Content-Length: 8\r\n\r\n", "half of a known length": "Content-Length: 8\r\n\r\nhalf",
			"no chunk": "Transfer-Encoding: chunked\r\n\r\n", "half a chunk": "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf",
		} {
			t.Run("HTTP1 to "+name+" "+what, func(t *testing.T) {
				refused(t, func(addr string) (int, string) {
					res, body, _ := send(t, addr, "POST / HTTP/1.1\r\nHost: h\r\n"+rest)
					return res.StatusCode, body
				})
			})
		}
		t.Run("HTTP2 to "+name, func(t *testing.T) {
			refused(t, func(addr string) (int, string) {
				w, answers := start(t, newClient(t, true), "POST", "http://"+addr, nil)
				if _, err := io.WriteString(w, "half"); err != nil {
					t.Fatal(err)
				}
				res, ok := <-answers
				if !ok {
					t.Fatal("no answer")
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				return res.StatusCode, string(body)
			})
		})
	}
}

// Once the answer has begun silence is no fault, and a client that takes its time is not
// one that takes nothing.
func TestPatienceWithQuietStreams(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, client func(*testing.T) *http.Client, service func(*testing.T, http.HandlerFunc) string) {
		addr := gateway(t, proxy.Config{Upstream: parse(t, service(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" { // in steps, and slowly, and more than lies in buffers
				<-time.After(3 * short)
				_, _ = io.Copy(w, struct{ io.Reader }{&zeros{16 << 20}})
				return
			}
			parrot(w, r)
		})), Stall: short}, passage)
		c := client(t)
		for range 2 { // the second finds the connection as it was
			w, answers := start(t, c, "POST", "http://"+addr, nil)
			go func() { _, _ = io.WriteString(w, "first") }()
			res, ok := <-answers
			if !ok {
				t.Fatal("no answer")
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, got); err != nil {
				t.Fatal(err)
			}
			<-time.After(3 * short)
			go func() { _, _ = io.WriteString(w, "again"); w.Close() }()
			if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "again" {
				t.Errorf("after silence: %q, %v", rest, err)
			}
			res.Body.Close()
			<-time.After(2 * short)
		}
		res, err := c.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var n int64
		for range 8 {
			m, err := io.CopyN(io.Discard, res.Body, 2<<20)
			if n += m; err != nil {
				t.Fatal(n, err)
			}
			<-time.After(short / 4)
		}
	})
}

func TestAWebSocketThatNobodyReads(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	service := rawService(t, func(conn net.Conn, _ int) {
		readHead(bufio.NewReader(conn))
		fmt.Fprint(conn, switching)
		for piece := make([]byte, 64<<10); ; {
			if _, err := conn.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	})
	addr, outcome := stallingDoor(t, service)
	fmt.Fprint(dial(t, addr), handshake)
	<-outcome
	if err := <-ended; errors.Is(err, net.ErrClosed) {
		t.Error("the door did not hang up")
	}
}

// The half-close of a WebSocket goes through, and silence on it is no fault.
func TestAQuietWebSocket(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn net.Conn, _ int) {
		br := bufio.NewReader(conn)
		readHead(br)
		fmt.Fprint(conn, switching)
		_, _ = io.Copy(conn, br)
		fmt.Fprint(conn, "bye\n")
	})
	addr, _ := stallingDoor(t, service)
	conn := dial(t, addr)
	fmt.Fprint(conn, handshake)
	br := bufio.NewReader(conn)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	<-time.After(3 * short)
	fmt.Fprint(conn, "frames\n")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "frames\nbye\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// A client that was answered early, and neither hangs up nor sends the rest, holds nothing
// for long: neither the service's stream nor the goroutine that served it.
func TestAnEarlyAnswerHoldsNothing(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, outcome := stallingDoor(t, service(t, func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 1 {
					_ = http.NewResponseController(w).EnableFullDuplex() // net/http would wait for the body
					w.Header().Set("Connection", "close")                // and does not bear that it is cut, if it reads on
				}
				w.WriteHeader(http.StatusOK) // not an error, for which a transport stops sending by itself
				fmt.Fprint(w, "enough")
			}))
			for framing, body := range map[string]string{"Content-Length: 1000": "beginning", "Transfer-Encoding: chunked": "9\r\nbeginning\r\n"} {
				conn := dial(t, addr)
				fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n%s", framing, body)
				all, err := io.ReadAll(conn) // and does not hang up
				if err != nil || !strings.Contains(string(all), "enough") || !strings.Contains(string(all), "Connection: close\r\n") {
					t.Errorf("%s: %q, %v", framing, all, err)
				}
				if e := <-outcome; e != nil {
					t.Errorf("%s: Carry ended with %v", framing, e)
				}
			}
		})
	}
}
