package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// newHTTP2 is a client of the door that speaks HTTP/2 and nothing else, on one connection.
func (d *door) newHTTP2(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(d.roots == nil)
	protocols.SetHTTP2(d.roots != nil)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, TLSClientConfig: d.trusting()}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: oneShot.CheckRedirect}
}

// over sends a request with a client of its own choice.
func (d *door) over(client *http.Client, method, path string, asks ...ask) answer {
	d.t.Helper()
	r, err := http.NewRequest(method, d.URL+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, a := range asks {
		a(r)
	}
	res, err := client.Do(r)
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
		return answer{t: d.t, what: method + " " + path}
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 {
		d.t.Errorf("%s %s: answered over %s", method, path, res.Proto)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Errorf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{d.t, method + " " + path, res.StatusCode, res.Header, string(body)}
}

// TestHTTP2ComesInByTheSameDoor: what holds over HTTP/1.1 holds over HTTP/2.
func TestHTTP2ComesInByTheSameDoor(t *testing.T) {
	t.Parallel()
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		d, e := gatewayDoor(t, settings...)
		trust(d)
		d.setUp()
		c := d.newHTTP2(t)
		d.over(c, "GET", "/health").want(http.StatusOK)
		a := d.over(c, "GET", "/x")
		a.refused(http.StatusUnauthorized, "token required")
		if a.header.Get("Www-Authenticate") != "Bearer" || !requestID.MatchString(a.header.Get("X-Request-Id")) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("header %v", a.header)
		}
		d.over(c, "GET", "/x", bearer("forged")).refused(http.StatusUnauthorized, "invalid token")
		d.over(c, "GET", "/auth/nothing").refused(http.StatusNotFound, "page not found")
		d.over(c, "DELETE", "/auth/refresh").refused(http.StatusMethodNotAllowed, "method not allowed")
		d.over(c, "GET", "/a/..%2fb", apiKey(machineKey)).refusedPath()
		if n := e.calls.Load(); n != 0 {
			t.Errorf("the service was asked %d times", n)
		}

		login := d.over(c, "POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK)
		session := login.sessionCookie()
		// Browsers send one field for each cookie; they are read as one header (RFC 9113, section 8.2.3).
		got := d.over(c, "POST", "/a/../b?c=%zz", header("Cookie", "theirs=1; brokoli_session="+session+"; also=2"), header("X-Auth-Role", "viewer"), header("TE", "trailers"),
			formBody("the body"), header("Sec-Fetch-Site", "same-origin")).echoed()
		if got.Target != "/b?c=%zz" || got.Body != "the body" || got.Header.Get("X-Auth-Role") != "superadmin" || got.Header.Get("X-Forwarded-User") != "root" || got.Header.Get("Cookie") != "theirs=1; also=2" || !strings.HasSuffix(d.URL, "://"+got.Host) {
			t.Errorf("the service got %+v", got)
		}
		d.over(c, "POST", "/x", header("Cookie", "brokoli_session="+session), header("Sec-Fetch-Site", "cross-site")).refused(http.StatusForbidden, "cross-origin request refused")
		d.over(c, "GET", "/x", header("Cookie", "brokoli_session="+session+"; brokoli_session=other")).want(http.StatusBadRequest)

		d.over(c, "POST", "/auth/refresh", formBody(strings.Repeat(" ", 64<<10+1))).refused(http.StatusRequestEntityTooLarge, "body: must not exceed 64 KiB")
		d.over(c, "POST", "/auth/refresh", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat(" ", 1<<20))) }).
			refused(http.StatusRequestEntityTooLarge, "body: must not exceed 64 KiB")

		// Many at once, each answered with its own.
		var all sync.WaitGroup
		for i := range 300 {
			all.Go(func() {
				path := fmt.Sprintf("/many/%d", i)
				if got := d.over(c, "PUT", path, apiKey(machineKey), formBody(path)).echoed(); got.Target != path || got.Body != path {
					t.Errorf("%s: %+v", path, got)
				}
			})
		}
		all.Wait()
	})
}

// TestHTTP2BodiesStream both ways, and are bounded in time at our own doors.
func TestHTTP2BodiesStream(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "limits.body_timeout=300ms", "limits.body_bytes=1MiB")
	c := d.newHTTP2(t)
	for _, path := range []string{"/auth/refresh", "/api/auth/login"} {
		pr, pw := io.Pipe()
		defer pw.Close()
		go func() { _, _ = io.WriteString(pw, "{") }()
		d.over(c, "POST", path, header("Content-Type", "application/json"), func(r *http.Request) { r.Body = pr }).refused(http.StatusRequestTimeout, "body: did not arrive in time")
	}
	// Who does not read a body does not wait for it.
	pr, pw := io.Pipe()
	defer pw.Close()
	d.over(c, "GET", "/health", func(r *http.Request) { r.Body = pr }).want(http.StatusOK)

	big := strings.Repeat("0123456789abcdef", 1<<16)
	if got := d.over(c, "PUT", "/up", apiKey(machineKey), formBody(big)).echoed(); got.Body != big {
		t.Errorf("%d bytes arrive", len(got.Body))
	}
	d.over(c, "PUT", "/up", apiKey(machineKey), formBody(big+"x")).refused(http.StatusRequestEntityTooLarge, "body: must not exceed 1 MiB")
	d.over(c, "PUT", "/up", apiKey(machineKey), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(big + "x")) }).
		refused(http.StatusRequestEntityTooLarge, "body: is too large")
}

// frames is a client of HTTP/2 that may send any frame.
type frames struct {
	*http2.Framer
	t    *testing.T
	conn net.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
}

func (d *door) frames(t *testing.T) *frames {
	t.Helper()
	f := &frames{t: t, conn: d.dialDoor(t, "h2")}
	f.Framer = http2.NewFramer(f.conn, f.conn)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	f.enc = hpack.NewEncoder(&f.buf)
	if _, err := io.WriteString(f.conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f.must(f.WriteSettings())
	return f
}

func (f *frames) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// headerBlock is the first header block of a connection.
func headerBlock(fields ...string) []byte {
	f := new(frames)
	f.enc = hpack.NewEncoder(&f.buf)
	return f.block(fields...)
}

// block is a header block of names and values in turn.
func (f *frames) block(fields ...string) []byte {
	f.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(f.buf.Bytes())
}

// send sends a header block on a stream, in as many frames as it takes. It reports whether the server
// still takes it.
func (f *frames) send(stream uint32, end bool, fields ...string) bool {
	block := f.block(fields...)
	part := func() []byte {
		p := block[:min(len(block), 16<<10)]
		block = block[len(p):]
		return p
	}
	p := part()
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p, EndStream: end, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		p = part()
		err = f.WriteContinuation(stream, len(block) == 0, p)
	}
	return err == nil
}

// outcome reads until the server has answered the stream: with a status, by a reset of
// the stream, or by an end of the connection.
func (f *frames) outcome(stream uint32) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				f.t.Error("neither an answer nor an end")
			}
			return "closed"
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "reset " + frame.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return "goaway " + frame.ErrCode.String()
			}
		}
	}
}

// TestHTTP2RefusalsAreRead: a body that nobody wants is taken, if it is not large, and no frame of it is
// answered by a reset of a stream that has been answered.
func TestHTTP2RefusalsAreRead(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "limits.body_bytes=100KiB")
	for _, c := range []struct {
		method, path, status string
		length               int
	}{
		{"POST", "/x", "401", 200 << 10}, {"POST", "/auth/refresh", "413", 64<<10 + 1}, {"POST", "/auth/nothing", "404", 64 << 10},
		{"DELETE", "/auth/refresh", "405", 64 << 10}, {"POST", "/auth/token", "401", 60 << 10}, {"POST", "/a%2fb", "400", 100 << 10},
	} {
		f := d.frames(t)
		for open := false; !open; { // the server takes more at once than a client may take for granted
			frame, err := f.ReadFrame()
			f.must(err)
			_, open = frame.(*http2.WindowUpdateFrame)
		}
		f.must(f.WriteSettingsAck())
		if !f.send(1, false, ":method", c.method, ":scheme", "http", ":authority", "x", ":path", c.path, "content-length", strconv.Itoa(c.length)) {
			t.Fatal("the head is not taken")
		}
		var got []string
		until := func(enough func(pings int) bool) {
			for pings := 0; !enough(pings); {
				f.must(f.WritePing(false, [8]byte{1}))
				for answered := false; !answered; {
					frame, err := f.ReadFrame()
					f.must(err)
					switch frame := frame.(type) {
					case *http2.MetaHeadersFrame:
						got = append(got, frame.PseudoValue("status"))
					case *http2.RSTStreamFrame:
						got = append(got, "reset "+frame.ErrCode.String())
					case *http2.PingFrame:
						answered = true
					}
				}
				pings++
			}
		}
		// Time enough for an answer that does not wait.
		began := time.Now()
		until(func(pings int) bool { return len(got) > 0 || pings == 50 || time.Since(began) > 100*time.Millisecond })
		for left := c.length; left > 0; left -= 16 << 10 {
			f.must(f.WriteData(1, left <= 16<<10, bytes.Repeat([]byte(" "), min(left, 16<<10))))
		}
		sent := time.Since(began)
		until(func(pings int) bool { return len(got) > 0 && pings > 0 })
		if len(got) > 1 && sent > 500*time.Millisecond {
			t.Logf("%s %s: this machine took %v to send the body; a second is all that is waited for", c.method, c.path, sent)
			continue
		}
		if !slices.Equal(got, []string{c.status}) {
			t.Errorf("%s %s with %d bytes: %v, want %s", c.method, c.path, c.length, got, c.status)
		}
	}
}

// TestPT15HTTP2HeadsThatReadInTwoWays: a head that HTTP/1.1 could not carry, or not in one
// sense, is a 400 or an error of the stream or the connection, and never the service's to read.
func TestPT15HTTP2HeadsThatReadInTwoWays(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	get := []string{":method", "GET", ":scheme", "http", ":authority", "door.example", ":path", "/x", "x-api-key", machineKey}
	with := func(more ...string) []string { return append(get[:len(get):len(get)], more...) }
	but := func(name, value string) []string {
		fields := append([]string{}, get...)
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == name {
				fields[i+1] = value
			}
		}
		return fields
	}
	for name, fields := range map[string][]string{
		"path without a slash":        but(":path", "x"),
		"path *":                      but(":path", "*"),
		"path empty":                  but(":path", ""),
		"path with CR LF":             but(":path", "/x\r\nX-Auth-Role: superadmin"),
		"path with CR LF, a request":  but(":path", "/x HTTP/1.1\r\nHost: x\r\n\r\nGET /y"),
		"path with a space":           but(":path", "/x HTTP/1.1"),
		"path with NUL":               but(":path", "/x\x00"),
		"path with a fragment":        but(":path", "/x#y"),
		"path in absolute form":       but(":path", "http://other.example/x"),
		"path with a host":            but(":path", "other.example/x"),
		"path twice":                  with(":path", "/y"),
		"no path":                     append(append([]string{}, get[:6]...), get[8:]...),
		"no method":                   get[2:],
		"method empty":                but(":method", ""),
		"method with a space":         but(":method", "GET /y"),
		"method with CR LF":           but(":method", "GET\r\n"),
		"no scheme":                   append([]string{":method", "GET"}, get[4:]...),
		"scheme with junk":            but(":scheme", "http://other.example/?"),
		"pseudo-header after a field": with(":status", "200"),
		"unknown pseudo-header":       append([]string{":door", "x"}, get...),
		"pseudo-header late":          append([]string{"a", "b"}, get...),

		"authority and another host":  with("host", "other.example"),
		"authority and two hosts":     with("host", "door.example", "host", "door.example"),
		"authority with a user":       but(":authority", "root@door.example"),
		"authority with a bad port":   but(":authority", "door.example:x"),
		"authority with CR LF":        but(":authority", "door.example\r\nX: y"),
		"authority with a space":      but(":authority", "door example"),
		"authority with a path":       but(":authority", "door.example/y"),
		"authority unclosed":          but(":authority", "[::1"),
		"two authorities":             append([]string{":authority", "other.example"}, get...),
		"no authority, two hosts":     append(append([]string{}, get[:4]...), append(append([]string{}, get[6:]...), "host", "a", "host", "b")...),
		"no authority, a host of two": append(append([]string{}, get[:4]...), append(append([]string{}, get[6:]...), "host", "a, b")...),

		"upper case":                 with("X-Auth-Role", "superadmin"),
		"name with a space":          with("x auth", "y"),
		"name with a colon":          with("x:y", "z"),
		"name with CR LF":            with("x\r\ny", "z"),
		"name with NUL":              with("x\x00", "y"),
		"name empty":                 with("", "y"),
		"value with CR LF":           with("x", "y\r\nX-Auth-Role: superadmin"),
		"value with LF":              with("x", "y\nz"),
		"value with NUL":             with("x", "y\x00"),
		"connection":                 with("connection", "close"),
		"connection, named":          with("connection", "x-api-key"),
		"keep-alive":                 with("keep-alive", "1"),
		"proxy-connection":           with("proxy-connection", "close"),
		"transfer-encoding":          with("transfer-encoding", "chunked"),
		"transfer-encoding identity": with("transfer-encoding", "identity"),
		"upgrade":                    with("upgrade", "websocket"),
		"te that is not trailers":    with("te", "gzip"),
		"length of what is not sent": with("content-length", "5"),
		"lengths that differ":        with("content-length", "0", "content-length", "5"),
		"length that is none":        with("content-length", "+5"),

		"extended CONNECT":    append([]string{":method", "CONNECT", ":protocol", "websocket"}, get[2:]...),
		"CONNECT":             {":method", "CONNECT", ":authority", "door.example:443", "x-api-key", machineKey},
		"CONNECT with a path": but(":method", "CONNECT"),
		"TRACE":               but(":method", "TRACE"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := d.frames(t)
			if !f.send(1, true, fields...) {
				t.Fatal("cannot be sent")
			}
			switch got := f.outcome(1); {
			case got == "400", got == "405" && (strings.Contains(name, "CONNECT") || name == "TRACE"), got == "closed", strings.HasPrefix(got, "reset "), strings.HasPrefix(got, "goaway "):
				t.Log(got)
			default:
				t.Errorf("%s", got)
			}
		})
	}
	t.Cleanup(func() {
		if n := e.calls.Load(); n != 0 {
			t.Errorf("the service was asked %d times", n)
		}
		f := d.frames(t)
		f.send(1, true, get...)
		if got := f.outcome(1); got != "200" {
			t.Errorf("a good request afterwards: %s", got)
		}
		f.send(3, true, append(append([]string{}, get...), "host", "DOOR.example")...)
		if got := f.outcome(3); got != "200" {
			t.Errorf("a host that is the authority: %s", got)
		}
	})
}

// TestHTTP2FramingIsOurs: what the service gets is framed anew, whatever the client says of the length,
// and no trailer gets through.
func TestHTTP2FramingIsOurs(t *testing.T) {
	t.Parallel()
	d, e := gatewayDoor(t)
	post := []string{":method", "POST", ":scheme", "http", ":authority", "door.example", ":path", "/x", "x-api-key", machineKey, "trailer", "X-Auth-Role"}
	body := func(f *frames, stream uint32) (got echoed) {
		t.Helper()
		var all []byte
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamID == stream {
				all = append(all, data.Data()...)
				if data.StreamEnded() {
					break
				}
			}
		}
		if err := json.Unmarshal(all, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	f := d.frames(t)
	f.send(1, false, post...)
	f.must(f.WriteData(1, false, []byte("0\r\n\r\nGET /y HTTP/1.1\r\n\r\n")))
	f.send(1, true, "x-auth-role", "superadmin", "x-content-length", "3", "x-api-key", "x")
	got := body(f, 1)
	if got.Body != "0\r\n\r\nGET /y HTTP/1.1\r\n\r\n" || len(got.Trailer) != 0 || got.Header.Get("X-Auth-Role") != "admin" || got.Header.Get("Trailer") != "" {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"content-length", "transfer-encoding", "host", ":path", "X-Upper"} {
		g := d.frames(t)
		g.send(1, false, post...)
		g.must(g.WriteData(1, false, []byte("hello")))
		g.send(1, true, name, "3")
		if got := g.outcome(1); got != "400" && got != "closed" && !strings.HasPrefix(got, "reset") && !strings.HasPrefix(got, "goaway") {
			t.Errorf("trailer %s: %s", name, got)
		}
	}
	for stream, length := range map[uint32]string{3: "4", 5: "6"} { // shorter and longer than what comes
		g := d.frames(t)
		g.send(stream, false, append(append([]string{}, post...), "content-length", length)...)
		g.must(g.WriteData(stream, true, []byte("hello")))
		if got := g.outcome(stream); got != "400" && !strings.HasPrefix(got, "reset") {
			t.Errorf("length %s of 5: %s", length, got)
		}
	}
	if n := e.calls.Load(); n > 8 {
		t.Errorf("the service was asked %d times", n)
	}
}

// TestRE5HTTP2Abuse: a connection that floods is ended, or costs no more than it brings; the server
// answers others meanwhile and afterwards, and nothing is left behind. It is not parallel: it counts
// goroutines.
func TestRE5HTTP2Abuse(t *testing.T) { //nolint:paralleltest // see above
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		d, e := gatewayDoor(t, append(settings, "limits.streams=50", "limits.header_timeout=1s")...)
		trust(d)
		get := []string{":method", "GET", ":scheme", "http", ":authority", "door.example", ":path", "/x"}
		admitted := append(append([]string{}, get...), "x-api-key", machineKey)
		post := append([]string{":method", "POST"}, admitted[2:]...)
		d.do("GET", "/x", apiKey(machineKey)).want(http.StatusOK)
		for _, c := range []struct {
			name  string
			ended bool // the server must end the connection
			calls int  // most calls of the service
			abuse func(f *frames) bool
		}{
			{"rapid reset, refused", false, 0, func(f *frames) bool {
				for i := range uint32(20_000) {
					if !f.send(2*i+1, true, get...) || f.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
						return false
					}
				}
				return true
			}},
			{"rapid reset, admitted", false, 20_000, func(f *frames) bool {
				for i := range uint32(20_000) {
					if !f.send(2*i+1, true, admitted...) || f.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
						return false
					}
				}
				return true
			}},
			{"streams past the limit", false, 200, func(f *frames) bool {
				for i := range uint32(20_000) {
					if !f.send(2*i+1, false, post...) {
						return false
					}
				}
				return true
			}},
			{"CONTINUATION without end", true, 0, func(f *frames) bool {
				part := f.block("x", strings.Repeat("y", 1000))
				if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(admitted...)}) != nil {
					return false
				}
				for range 100_000 {
					if f.WriteContinuation(1, false, part) != nil {
						return false
					}
				}
				return true
			}},
			{"empty CONTINUATION without end", true, 0, func(f *frames) bool {
				if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(admitted...)}) != nil {
					return false
				}
				for range 1_000_000 {
					if f.WriteContinuation(1, false, nil) != nil {
						return false
					}
				}
				return true
			}},
			{"SETTINGS", false, 0, func(f *frames) bool {
				for range 200_000 {
					if f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}) != nil {
						return false
					}
				}
				return true
			}},
			{"PING", true, 0, func(f *frames) bool {
				for range 1_000_000 {
					if f.WritePing(false, [8]byte{}) != nil {
						return false
					}
				}
				return true
			}},
			{"resets called for", true, 0, func(f *frames) bool { // each is answered with a reset of ours
				for i := range uint32(1_000_000) {
					if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: true}) != nil {
						return false
					}
				}
				return true
			}},
			{"10,000 trailers", false, 1, func(f *frames) bool {
				var fields []string
				for i := range 10_000 {
					fields = append(fields, fmt.Sprintf("x-%d", i), "y")
				}
				return f.send(1, false, post...) && f.WriteData(1, false, []byte("x")) == nil && f.send(1, true, fields...)
			}},
			{"10,000 headers", false, 0, func(f *frames) bool {
				fields := append([]string{}, admitted...)
				for i := range 10_000 {
					fields = append(fields, fmt.Sprintf("x-%d", i), "y")
				}
				return f.send(1, true, fields...)
			}},
			{"one header 10,000 times", false, 0, func(f *frames) bool { // three bytes become three thousand
				fields := append([]string{}, admitted...)
				for range 10_000 {
					fields = append(fields, "x", strings.Repeat("y", 3000))
				}
				return f.send(1, true, fields...)
			}},
			{"empty DATA", false, 1, func(f *frames) bool {
				if !f.send(1, false, post...) {
					return false
				}
				for range 100_000 {
					if f.WriteData(1, false, nil) != nil {
						return false
					}
				}
				return true
			}},
			{"more than the window", false, 1, func(f *frames) bool {
				if !f.send(1, false, append([]string{":method", "POST"}, get[2:]...)...) {
					return false
				}
				for range 10_000 {
					if f.WriteData(1, false, make([]byte, 16<<10)) != nil {
						return false
					}
				}
				return true
			}},
			{"a window past all bounds", true, 0, func(f *frames) bool {
				for range 2 {
					if f.WriteWindowUpdate(0, 1<<31-1) != nil {
						return false
					}
				}
				return true
			}},
			{"a frame larger than said", true, 0, func(f *frames) bool {
				return f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20)) == nil
			}},
		} {
			// The same code reads the frames whatever they come over, and each takes its second.
			if d.roots != nil && os.Getenv("DOORWARD_TEST_ALL") == "" && !slices.Contains([]string{"rapid reset, admitted", "streams past the limit", "CONTINUATION without end", "PING", "one header 10,000 times"}, c.name) {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				before := runtime.NumGoroutine()
				calls := e.calls.Load()
				var peak atomic.Int64
				watched := make(chan struct{})
				go func() { // the server answers others meanwhile
					defer close(watched)
					for range 20 {
						d.do("GET", "/health").want(http.StatusOK)
						peak.Store(max(peak.Load(), int64(runtime.NumGoroutine())))
					}
				}()
				f := d.frames(t)
				began := time.Now()
				went := c.abuse(f)
				if went && c.ended {
					for { // it may be on its way
						if _, err := f.ReadFrame(); err != nil {
							var timeout net.Error
							if errors.As(err, &timeout) && timeout.Timeout() {
								t.Error("the connection goes on")
							}
							break
						}
					}
				}
				<-watched
				t.Logf("ended by the server: %t, after %v, %d calls, at most %d goroutines", !went, time.Since(began), e.calls.Load()-calls, peak.Load())
				_ = f.conn.Close()
				d.do("GET", "/x", apiKey(machineKey)).want(http.StatusOK)
				if n := e.calls.Load() - calls - 1; n > int64(c.calls) {
					t.Errorf("the service was asked %d times", n)
				}
				// 50 streams, each with what carries it, and the clients and servers of this test.
				if p := peak.Load(); p > int64(before)+600 {
					t.Errorf("%d goroutines, where there were %d", p, before)
				}
				// The connection and its streams are over; what is kept is for the service, to be used again.
				for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
					var stacks strings.Builder
					_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
					if !strings.Contains(stacks.String(), "http2serverConn") && !strings.Contains(stacks.String(), "gate.(*Gate).ServeHTTP") {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("goroutines stay:\n%s", stacks.String())
					}
				}
			})
		}
	})
}
