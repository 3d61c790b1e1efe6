package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"doorward"
)

// drip sends s byte by byte, for as long as the other end takes it.
func drip(conn net.Conn, s string, every time.Duration) {
	for i := range len(s) {
		if _, err := conn.Write([]byte{s[i]}); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// closedWithin reads until the other end closes, and fails the test if that takes more than most or less than least.
func closedWithin(t *testing.T, conn net.Conn, least, most time.Duration) string {
	t.Helper()
	began := time.Now()
	got, err := io.ReadAll(conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("the connection stays open; answered %.300q", got)
	}
	if took := time.Since(began); took < least || took > most {
		t.Errorf("closed after %v, want %v to %v", took, least, most)
	}
	return string(got)
}

// TestSlowHeadsAreCut: a head must be there in limits.header_timeout, however it is made to last.
func TestSlowHeadsAreCut(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "limits.header_timeout=1s")
	head := "GET /health HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 1000)
	for name, first := range map[string]func(conn net.Conn){
		"byte by byte": func(conn net.Conn) { drip(conn, head, 20*time.Millisecond) },
		"nothing":      func(net.Conn) {},
		"a part":       func(conn net.Conn) { _, _ = io.WriteString(conn, head) },
		"the preface of HTTP/2, byte by byte": func(conn net.Conn) {
			drip(conn, http2.ClientPreface[:len(http2.ClientPreface)-1], 10*time.Millisecond)
		},
		"the next request, byte by byte": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
			drip(conn, head, 20*time.Millisecond)
		},
		"HTTP/2, a head without end": func(conn net.Conn) {
			f := http2.NewFramer(conn, conn)
			_, _ = io.WriteString(conn, http2.ClientPreface)
			_ = f.WriteSettings()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := d.dialDoor(t)
			go first(conn)
			if got := closedWithin(t, conn, 500*time.Millisecond, 15*time.Second); strings.Count(got, "HTTP/1.1 200") > 1 {
				t.Errorf("answered %q", got)
			}
		})
	}
}

// TestWhatTakesLongHereIsAnswered: limits.body_timeout is for a client to send and to take. What the
// door itself takes, for a password in a long queue say, costs nobody the answer.
func TestWhatTakesLongHereIsAnswered(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "limits.body_timeout=250ms")
	d.setUp()
	d.stop()
	d.hashing.Key = func(a doorward.Argon2) ([]byte, error) {
		<-time.After(time.Second)
		return a.Key(), nil
	}
	d.start()
	d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK)
	d.signedIn(t, "root", rootPassword).load("/auth/account").says(http.StatusOK, "")
}

// TestSlowBodiesAreCut: at our own doors a body must be there in limits.body_timeout, and is a 408 else.
func TestSlowBodiesAreCut(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "limits.body_timeout=1s")
	for _, framing := range []string{"Content-Length: 1000", chunked} {
		conn := d.dialDoor(t)
		go func() {
			_, _ = fmt.Fprintf(conn, "POST /auth/refresh HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", framing)
			if framing == chunked {
				_, _ = io.WriteString(conn, "3e8\r\n")
			}
			drip(conn, strings.Repeat(" ", 1000), 20*time.Millisecond)
		}()
		got := closedWithin(t, conn, 900*time.Millisecond, 15*time.Second)
		if !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, "body: did not arrive in time") {
			t.Errorf("%s: %q", framing, got)
		}
	}
}

// TestNoAnswerWaitsForABodyThatNobodyReads, nor for one that is too large by its own word.
func TestNoAnswerWaitsForABodyThatNobodyReads(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "limits.body_timeout=1h", "limits.body_bytes=1KiB") // whoever waits for it, waits too long
	access, _ := d.exchange(machineToken, "slow")
	for name, c := range map[string]struct{ head, status string }{
		"health":                      {"GET /health", "200"},
		"health, a few headers":       {"GET /health HTTP/1.1\r\nX: y", "200"},
		"metrics, a long answer":      {"GET /metrics", "200"},
		"me":                          {"GET /api/auth/me HTTP/1.1\r\n" + machineKeyLine, "200"},
		"validate":                    {"POST /auth/validate HTTP/1.1\r\nAuthorization: Bearer " + access, "200"},
		"sign-out of nobody":          {"POST /auth/logout", "401"},
		"too large at our door":       {"POST /auth/refresh HTTP/1.1\r\nContent-Length: 65537", "413"},
		"too large for the service's": {"POST /x HTTP/1.1\r\n" + machineKeyLine + "\r\nContent-Length: 1025", "413"},
		"no page":                     {"POST /auth/nothing", "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, rest, _ := strings.Cut(c.head, " HTTP/1.1\r\n")
			if rest != "" {
				rest += "\r\n"
			}
			if !strings.Contains(rest, "Content-Length") {
				rest += "Content-Length: 10\r\n"
			}
			conn := d.dialDoor(t)
			if _, err := io.WriteString(conn, line+" HTTP/1.1\r\nHost: x\r\n"+rest+"\r\n"); err != nil {
				t.Fatal(err)
			}
			got := closedWithin(t, conn, 0, 15*time.Second)
			if s := statusLine.FindAllStringSubmatch(got, -1); len(s) != 1 || s[0][1] != c.status {
				t.Errorf("%.300q", got)
			}
		})
	}
	// What is there is read, and the connection goes on.
	conn := d.dialDoor(t)
	br := bufio.NewReader(conn)
	for range 3 {
		if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// hastyService answers 403 to the head of a request, and reads its body after that.
func hastyService(t *testing.T) (address string) {
	t.Helper()
	w, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	go func() {
		for {
			conn, err := w.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				br := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
					_, _ = io.Copy(io.Discard, r.Body)
				}
			}()
		}
	}()
	return "http://" + w.Addr().String()
}

// TestTheServiceMayAnswerEarly: a body that it does not wait for does not hold the connection.
func TestTheServiceMayAnswerEarly(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "upstream="+hastyService(t))
	for _, framing := range []string{"Content-Length: 10", chunked} {
		conn := d.dialDoor(t)
		if _, err := io.WriteString(conn, "POST /x HTTP/1.1\r\nHost: x\r\n"+machineKeyLine+"\r\n"+framing+"\r\n\r\n1"); err != nil {
			t.Fatal(err)
		}
		if got := closedWithin(t, conn, 0, 15*time.Second); !strings.HasPrefix(got, "HTTP/1.1 403 ") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q", framing, got)
		}
	}
}

// TestAnAnswerBeforeTheEndOfABodyIsRead: who wants the connection closed afterwards, and has sent or still
// sends a body that nobody reads, gets the answer and an end, not a reset.
func TestAnAnswerBeforeTheEndOfABodyIsRead(t *testing.T) { //nolint:paralleltest // the answer is to be read within half a second, which is long where nobody else wants the machine
	own, _ := gatewayDoor(t, "limits.body_bytes=100KiB")
	hasty := machineDoor(t, "upstream="+hastyService(t))
	access, _ := own.exchange(machineToken, "closing")
	for name, c := range map[string]struct {
		d            *door
		head, status string
		length       int
	}{
		"too large at our door":       {own, "POST /auth/refresh", "413", 65 << 10},
		"too large for the service's": {own, "POST /x\r\n" + machineKeyLine, "413", 101 << 10},
		"nobody":                      {own, "PUT /x", "401", 65 << 10},
		"nobody at our door":          {own, "POST /auth/logout", "401", 63 << 10},
		"no page":                     {own, "POST /auth/nothing", "404", 65 << 10},
		"no method":                   {own, "DELETE /auth/refresh", "405", 65 << 10},
		"no path":                     {own, "POST /a%2fb\r\n" + machineKeyLine, "400", 65 << 10},
		"a door that reads no body":   {own, "POST /auth/validate\r\nAuthorization: Bearer " + access, "200", 63 << 10},
		"a service that reads none":   {hasty, "POST /x\r\n" + machineKeyLine, "403", 1 << 20},
	} {
		for _, version := range []string{"HTTP/1.1\r\nConnection: close", "HTTP/1.0"} {
			t.Run(name+", "+version[:8], func(t *testing.T) {
				line, rest, found := strings.Cut(c.head, "\r\n")
				if found {
					rest += "\r\n"
				}
				conn := c.d.dialDoor(t)
				request := fmt.Sprintf("%s %s\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", line, version, rest, c.length)
				if _, err := io.WriteString(conn, request+strings.Repeat("x", c.length)); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if s := statusLine.FindAllSubmatch(got, -1); len(s) != 1 || string(s[0][1]) != c.status || err != nil {
					t.Errorf("%.300q, %v", got, err)
				}
			})
		}
	}
}

// TestWhoReadsNoAnswersIsCut: requests one after the other, and no answer taken.
func TestWhoReadsNoAnswersIsCut(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "limits.body_timeout=1s")
	for _, request := range []string{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn := d.dialDoor(t)
		cut := false
		for range 2_000 {
			if _, err := io.WriteString(conn, strings.Repeat(request, 1000)); err != nil {
				timeout, ok := err.(net.Error)
				cut = !ok || !timeout.Timeout()
				break
			}
		}
		if !cut {
			t.Errorf("%.20q is answered on and on", request)
		}
	}
}

func TestIdleConnectionsClose(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "limits.idle_timeout=500ms")
	conn := d.dialDoor(t)
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := closedWithin(t, conn, 400*time.Millisecond, 10*time.Second); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("%q", got)
	}
	f := d.frames(t)
	f.send(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/health")
	if got := f.outcome(1); got != "200" {
		t.Errorf("over HTTP/2: %s", got)
	}
	closedWithin(t, f.conn, 300*time.Millisecond, 10*time.Second)
}

// TestIN3CredentialsThatAreLong cost no more than they bring.
func TestIN3CredentialsThatAreLong(t *testing.T) { //nolint:paralleltest // it counts allocations
	d, e := gatewayDoor(t)
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"8 KiB and one more": {strings.Repeat("a", 8<<10+1), http.StatusUnauthorized},
		"16,000 dots":        {strings.Repeat(".", 16_000), http.StatusUnauthorized},
		"1,000,000 dots":     {strings.Repeat(".", 1_000_000), http.StatusRequestHeaderFieldsTooLarge},
		"100 segments":       {strings.Repeat("eyJhbGciOiJIUzI1NiJ9.", 100), http.StatusUnauthorized},
		"5 segments":         {"eyJhbGciOiJkaXIifQ....", http.StatusUnauthorized},
	} {
		for _, line := range []string{"Authorization: Bearer " + c.token, "X-API-Key: " + c.token, "Cookie: brokoli_session=" + c.token} {
			for _, path := range []string{"/x", "/api/auth/me"} {
				got := d.toTheEnd(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+line+"\r\n\r\n")
				if !strings.HasPrefix(string(got), fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
					t.Errorf("%s in %.13s at %s: %.100q", name, line, path, got)
				}
			}
		}
		if c.status != http.StatusUnauthorized {
			continue
		}
		for _, via := range []doorward.Source{doorward.FromBearer, doorward.FromKeyHeader, doorward.FromCookie} {
			shown := doorward.Presented{Via: via, Value: c.token}
			var before, after runtime.MemStats
			const n = 100
			runtime.ReadMemStats(&before)
			for range n {
				if _, err := d.house.authority.Authenticate(t.Context(), shown); err == nil {
					t.Fatalf("%s is accepted", name)
				}
			}
			runtime.ReadMemStats(&after)
			if bytes, most := (after.TotalAlloc-before.TotalAlloc)/n, uint64(64<<10); bytes > most {
				t.Errorf("%s: %d bytes a try, want at most %d", name, bytes, most)
			}
			if count := (after.Mallocs - before.Mallocs) / n; count > 200 {
				t.Errorf("%s: %d allocations a try", name, count)
			} else {
				t.Logf("%s: %d allocations, %d bytes", name, count, (after.TotalAlloc-before.TotalAlloc)/n)
			}
		}
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

// TestIN9HeadsThatAreLong: cookies, header lines, parameters.
func TestIN9HeadsThatAreLong(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	head := func(path, lines string) answer {
		return d.wire(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+machineKeyLine+"\r\n"+lines+"\r\n")
	}
	for _, path := range []string{"/x", "/api/auth/me"} {
		head(path, "Cookie: "+strings.Repeat("a=b; ", 3001)+"\r\n").refused(http.StatusBadRequest, "Cookie: must not hold more than 1000")
		head(path, strings.Repeat("Cookie: a=b\r\n", 3001)).want(http.StatusRequestHeaderFieldsTooLarge) // net/http's, by its size
		head(path, strings.Repeat("a:\r\n", 10_000)).want(http.StatusRequestHeaderFieldsTooLarge)
		head(path, strings.Repeat("a:\r\n", 5_000)).refused(http.StatusRequestHeaderFieldsTooLarge, "headers: must not be more than 200")
		head(path, strings.Repeat("a:\r\n", 199)).refused(http.StatusRequestHeaderFieldsTooLarge, "headers: must not be more than 200")
		if n := e.calls.Load(); n != 0 {
			t.Errorf("the service was asked %d times", n)
		}
		head(path, strings.Repeat("a:\r\n", 198)).want(http.StatusOK) // with Connection and the key
		e.calls.Store(0)
	}
	query := "?" + strings.Repeat("a=b&", 1000)
	head("/api/auth/me"+query, "").refused(http.StatusBadRequest, "query: must not hold more than 100 parameters")
	if got := head("/x"+query, "").echoed(); got.Target != "/x"+query {
		t.Errorf("the service gets %d bytes of %d", len(got.Target), len("/x"+query))
	}
	few := machineDoor(t, "limits.headers=20", "limits.header_bytes=4KiB")
	few.wire(t, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.Repeat("a:\r\n", 20)+"\r\n").refused(http.StatusRequestHeaderFieldsTooLarge, "headers: must not be more than 20")
	few.wire(t, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: "+strings.Repeat("a", 9<<10)+"\r\n\r\n").want(http.StatusRequestHeaderFieldsTooLarge)
}

// TestPT11HostsThatAreNone: malformed ones are a 400 everywhere, before anything is asked of anybody.
func TestPT11HostsThatAreNone(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	for _, host := range []string{"door:x", "door:", "door:65536", "door:80:80", ":80", "[::1", "[::1]x", "::1", "[::1%25eth0]", "[door]", "a..b", ".", "a,b", "a%41", "a;b", "a'b", "~"} {
		for _, path := range []string{"/x", "/api/auth/me", "/health", "/auth/nothing"} {
			a := d.wire(t, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+machineKeyLine+"\r\n\r\n")
			a.refused(http.StatusBadRequest, "Host: is not a host name or address, with or without a port")
		}
	}
	d.wire(t, "GET http://root@door/x HTTP/1.1\r\nHost: door\r\nConnection: close\r\n"+machineKeyLine+"\r\n\r\n").
		refused(http.StatusBadRequest, "Host: must not hold a user name or password")
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	for _, host := range []string{"DOOR.EXAMPLE", "door.example.", "door.example:80", "[::1]:80", "xn--nxasmq6b", "a_b", "127.0.0.1"} {
		if got := d.wire(t, "GET /x HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+machineKeyLine+"\r\n\r\n").echoed(); got.Host != host {
			t.Errorf("%q arrives as %q", host, got.Host)
		}
	}
}

// TestWhoReadsSlowlyIsNotCut: an answer of which something is taken all the time does not
// stand still, however long it takes, and however much the kernel would keep of it.
func TestWhoReadsSlowlyIsNotCut(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the kernel does not say so early that it can take more")
	}
	const size = 24 << 20
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	}))
	t.Cleanup(service.Close)
	d := newDoor(t, settingsFile(t, "api_tokens: [{token: slow-reader-0123456789, name: slow, role: viewer}]\n"),
		"upstream="+service.URL, "limits.stall_timeout=2s")
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /big HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer slow-reader-0123456789\r\n\r\n")
	body := bufio.NewReaderSize(conn, 4<<10)
	res, err := http.ReadResponse(body, nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	step, slowly := make([]byte, 4<<10), time.NewTicker(40*time.Millisecond) // 100 KiB a second
	defer slowly.Stop()
	read := 0
	for began := time.Now(); time.Since(began) < 10*time.Second; <-slowly.C {
		n, err := io.ReadFull(res.Body, step)
		if read += n; err != nil {
			t.Fatalf("cut after %v and %d bytes: %v", time.Since(began), read, err)
		}
	}
	rest, err := io.Copy(io.Discard, res.Body)
	if err != nil || int64(read)+rest != size {
		t.Errorf("%d bytes, %v", int64(read)+rest, err)
	}
}
