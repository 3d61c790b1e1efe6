package app

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestTLSSpeaksWhatItShould: which versions of TLS, and which protocol of HTTP by ALPN.
func TestTLSSpeaksWhatItShould(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	d := a.trusts(machineDoor(t, a.overTLS(t)...))
	strict := a.trusts(machineDoor(t, append(a.overTLS(t), "tls.min_version=1.3")...))
	for _, c := range []struct {
		door    *door
		version uint16
		ok      bool
	}{
		{d, tls.VersionTLS10, false}, {d, tls.VersionTLS11, false}, {d, tls.VersionTLS12, true}, {d, tls.VersionTLS13, true},
		{strict, tls.VersionTLS10, false}, {strict, tls.VersionTLS11, false}, {strict, tls.VersionTLS12, false}, {strict, tls.VersionTLS13, true},
	} {
		config := c.door.trusting()
		config.MinVersion, config.MaxVersion = c.version, c.version
		conn, err := tls.Dial("tcp", strings.TrimPrefix(c.door.URL, "https://"), config)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", tls.VersionName(c.version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	for _, c := range []struct {
		offered []string
		got     string
		ok      bool
	}{
		{nil, "", true}, {[]string{"h2"}, "h2", true}, {[]string{"http/1.1"}, "http/1.1", true}, {[]string{"h2", "http/1.1"}, "h2", true}, {[]string{"http/1.1", "h2"}, "h2", true},
		{[]string{"h3", "http/1.1"}, "http/1.1", true}, {[]string{"h3"}, "", false}, {[]string{"http/1.0", "spdy/3"}, "", false}, {[]string{"h2c"}, "", false}, {[]string{"H2"}, "", false},
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(d.URL, "https://"), d.trusting(c.offered...))
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.offered, err)
		}
		if err != nil {
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != c.got {
			t.Errorf("%q: %q, want %q", c.offered, got, c.got)
		}
		conn.Close()
	}
	d.do("GET", "/health").want(http.StatusOK)
	d.over(d.newHTTP2(t), "GET", "/health").want(http.StatusOK)
}

// TestHS10WhatWasAgreedIsSpoken: a client that agrees on one protocol and speaks another is not served by
// either, nor is what is no TLS at all; each is cut, and none hangs.
func TestHS10WhatWasAgreedIsSpoken(t *testing.T) {
	t.Parallel()
	d, e := secureDoor(t, "limits.header_timeout=3s")
	h1 := "GET /x HTTP/1.1\r\nHost: door.example\r\n" + machineKeyLine + "\r\nConnection: close\r\n\r\n"
	h2 := new(strings.Builder)
	h2.WriteString(http2.ClientPreface)
	f := http2.NewFramer(h2, nil)
	_ = f.WriteSettings()
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: headerBlock(":method", "GET", ":scheme", "https", ":authority", "door.example", ":path", "/x", "x-api-key", machineKey)})
	upgrade := "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + h2.String()
	for name, c := range map[string]struct {
		protocols []string
		send      string
	}{
		"HTTP/1.1 after h2":            {[]string{"h2"}, h1},
		"HTTP/2 after http/1.1":        {[]string{"http/1.1"}, h2.String()},
		"HTTP/2 after nothing":         {nil, h2.String()},
		"h2c by Upgrade over http/1.1": {[]string{"http/1.1"}, upgrade},
		"h2c by Upgrade over h2":       {[]string{"h2"}, upgrade},
		"TLS within TLS":               {[]string{"http/1.1"}, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"},
		"HTTP/1.1 behind the preface":  {[]string{"h2"}, http2.ClientPreface + h1},
		"an end without a request":     {[]string{"h2"}, http2.ClientPreface[:10]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := d.dialDoor(t, c.protocols...)
			go func() { _, _ = io.WriteString(conn, c.send) }()
			got := closedWithin(t, conn, 0, 20*time.Second)
			if s := statusLine.FindAllStringSubmatch(got, -1); strings.Contains(got, `"Method"`) || len(s) > 2 || len(s) == 2 && s[1][1] != "400" {
				t.Errorf("answered %.300q", got)
			}
		})
	}
	for name, send := range map[string]string{
		"plain HTTP":              h1,
		"plain HTTP/2":            h2.String(),
		"nothing that is known":   strings.Repeat("\x00\xff", 1000),
		"an old hello":            "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("x", 35),
		"a record that is large":  "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<16),
		"data before a handshake": "\x17\x03\x03\x00\x05hello",
		"empty records":           strings.Repeat("\x16\x03\x01\x00\x00", 1000),
		"alerts":                  strings.Repeat("\x15\x03\x03\x00\x02\x01\x5a", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			go func() { _, _ = io.WriteString(conn, send) }()
			got := closedWithin(t, conn, 0, 15*time.Second)
			if name == "plain HTTP" && !strings.HasPrefix(got, "HTTP/1.0 400 ") || strings.Contains(got, " 200 ") {
				t.Errorf("answered %.300q", got)
			}
		})
	}
	t.Cleanup(func() {
		if n := e.calls.Load(); n != 0 {
			t.Errorf("the service was asked %d times", n)
		}
		d.do("GET", "/x", apiKey(machineKey)).want(http.StatusOK)
	})
}

// TestHTTP2OffersNoWebSocketOverTLS: extended CONNECT (RFC 8441) is neither offered nor taken.
func TestHTTP2OffersNoWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	d, e := secureDoor(t)
	f := d.frames(t)
	frame, err := f.ReadFrame()
	settings, ok := frame.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatalf("%v, %v", frame, err)
	}
	if v, there := settings.Value(http2.SettingID(8)); there && v != 0 {
		t.Error("extended CONNECT is offered")
	}
	if v, there := settings.Value(http2.SettingMaxConcurrentStreams); !there || v != 100 {
		t.Errorf("%d streams at once", v)
	}
	f.must(f.WriteSettingsAck())
	f.send(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "door.example", ":path", "/x", "x-api-key", machineKey)
	if got := f.outcome(1); got != "405" && got != "400" && !strings.HasPrefix(got, "reset") && !strings.HasPrefix(got, "goaway") {
		t.Errorf("%s", got)
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
}

// TestSlowHandshakesAreCut: one must be over in limits.header_timeout, however it is made to last, and 64 that
// are not do not keep anybody else from theirs.
func TestSlowHandshakesAreCut(t *testing.T) {
	t.Parallel()
	d, _ := secureDoor(t, "limits.header_timeout=3s")
	hello := helloOf(t, d)
	raw := func(t *testing.T) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		return conn
	}
	for name, begin := range map[string]func(conn net.Conn){
		"nothing":           func(net.Conn) {},
		"half a hello":      func(conn net.Conn) { _, _ = conn.Write(hello[:len(hello)/2]) },
		"byte by byte":      func(conn net.Conn) { drip(conn, string(hello), 20*time.Millisecond) },
		"a hello, no more":  func(conn net.Conn) { _, _ = conn.Write(hello) },
		"a record's header": func(conn net.Conn) { _, _ = io.WriteString(conn, "\x16\x03\x01\x3f\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := raw(t)
			go begin(conn)
			closedWithin(t, conn, 500*time.Millisecond, 15*time.Second)
		})
	}
	t.Run("64 at once", func(t *testing.T) {
		t.Parallel()
		var all sync.WaitGroup
		for i := range 64 {
			conn := raw(t)
			_, _ = conn.Write(hello[:i*len(hello)/64])
			all.Go(func() { closedWithin(t, conn, 500*time.Millisecond, 15*time.Second) })
		}
		for range 10 {
			d.do("GET", "/health").want(http.StatusOK)
		}
		all.Wait()
	})
	// Whoever has shaken hands has the time of a head from there.
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run("then nothing, "+protocol, func(t *testing.T) {
			t.Parallel()
			conn := d.dialDoor(t, protocol)
			if err := conn.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
			closedWithin(t, conn, 500*time.Millisecond, 20*time.Second)
		})
	}
}

// helloOf is what a client of the door says first.
func helloOf(t *testing.T, d *door) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _ = tls.Client(ours, d.trusting("h2", "http/1.1")).Handshake(); ours.Close() }()
	header := make([]byte, 5)
	if _, err := io.ReadFull(theirs, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(theirs, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// TestHandshakesCountAsConnections: an address that only opens connections has no more of them than one that
// asks, and gets its places back when they are cut.
func TestHandshakesCountAsConnections(t *testing.T) {
	t.Parallel()
	d, _ := secureDoor(t, "limits.header_timeout=1s", "limits.connections=3")
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := d.house.entrance(&elsewhere{Listener: inner, from: func() string { return "192.0.2.1:1" }})
	go func() { _ = in.serve() }()
	t.Cleanup(func() { _ = in.Close() })
	shakes := func() error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", inner.Addr().String(), d.trusting())
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	var held []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		held = append(held, conn)
	}
	if shakes() == nil {
		t.Error("one too many is served")
	}
	for _, conn := range held {
		closedWithin(t, conn, 0, 15*time.Second)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if err = shakes(); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nobody is served any more: %v", err)
		}
	}
}

// TestCK1CookiesAreSecureOverOurOwnTLS, each that we set, by whatever door, and the service is told how
// the client came, whatever the client says.
func TestCK1CookiesAreSecureOverOurOwnTLS(t *testing.T) {
	t.Parallel()
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		d, _ := gatewayDoor(t, settings...)
		trust(d)
		d.setUp()
		secure := d.roots != nil
		_, value := d.signIn("root", rootPassword)
		client := d.newHTTP2(t)
		for _, a := range []answer{
			d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))),
			d.over(client, "POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))),
			d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword)), header("X-Forwarded-Proto", map[bool]string{true: "http", false: "https"}[secure]), header("Forwarded", "proto=http")),
			d.signInByForm("root", rootPassword),
			d.do("POST", "/api/auth/logout", cookie(value)),
			d.do("GET", "/x", cookie("nonsense")),
		} {
			cookies := (&http.Response{Header: a.header}).Cookies()
			if len(cookies) == 0 {
				t.Errorf("%s: no cookie", a.what)
			}
			for _, c := range cookies {
				if c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
					t.Errorf("%s: %s", a.what, c.Raw)
				}
			}
		}
		for _, said := range []ask{func(*http.Request) {}, header("X-Forwarded-Proto", "http"), header("X-Forwarded-Proto", "https"), header("X-Forwarded-Proto", "ftp"), header("X_Forwarded_Proto", "http")} {
			for _, got := range []echoed{d.do("GET", "/x", apiKey(machineKey), said).echoed(), d.over(client, "GET", "/x", apiKey(machineKey), said).echoed()} {
				if all := got.Header["X-Forwarded-Proto"]; !slices.Equal(all, []string{strings.TrimSuffix(d.URL[:5], ":")}) {
					t.Errorf("the service is told %q", all)
				}
			}
		}
		// A form of ours, in a browser that says where it comes from; and one of the same host in clear.
		form := fieldsOf("username", "root", "password", rootPassword)
		d.do("POST", "/auth/login", formBody(form.Encode()), header("Origin", d.URL)).want(http.StatusSeeOther)
		if secure {
			conn := func(origin string) int {
				return d.do("GET", "/x", cookie(d.fresh(t)), header("Connection", "Upgrade"), header("Upgrade", "websocket"), header("Origin", origin)).status
			}
			if got := conn(strings.Replace(d.URL, "https://", "http://", 1)); got != http.StatusForbidden {
				t.Errorf("a page that came in clear may open a WebSocket: %d", got)
			}
			if got := conn(d.URL); got != http.StatusOK {
				t.Errorf("a page of ours may not: %d", got)
			}
		}
	})
}

// fresh is the cookie of a new session of root's.
func (d *door) fresh(t *testing.T) string {
	t.Helper()
	_, value := d.signIn("root", rootPassword)
	return value
}

// TestCK13StrictTransport: over HTTPS browsers are told to stay there, by our own answers and, over our own TLS, by the service's
// that do not say it themselves; over plain HTTP never.
func TestCK13StrictTransport(t *testing.T) {
	t.Parallel()
	service := serviceThatSays(t)
	a := newCertifier(t)
	var (
		clear  = machineDoor(t, "upstream="+service)
		secure = a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+service)...))
		behind = machineDoor(t, "upstream="+service, "trusted_proxies=127.0.0.1")
		month  = a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+service, "tls.hsts=30d")...))
		back   = a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+service, "tls.hsts=0")...))
		off    = a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+service, "tls.hsts=off")...))
		away   = a.trusts(machineDoor(t, append(a.overTLS(t), "upstream=http://127.0.0.1:1")...))
		sample = a.trusts(machineDoor(t, a.overTLS(t)...))
	)
	https := header("X-Forwarded-Proto", "https")
	const year = "max-age=31536000"
	ours := []string{"/health", "/auth/login", "/auth/style.css", "/auth/nothing", "/api/auth/me", "/x", "/a%2fb", "/metrics"}
	for _, c := range []struct {
		name    string
		d       *door
		asks    []ask
		own     string
		service string // of an answer of the service that says nothing itself
	}{
		{"in clear", clear, nil, "", ""},
		{"in clear, claiming HTTPS", clear, []ask{https}, "", ""},
		{"over our own TLS", secure, nil, year, year},
		{"behind a proxy, HTTPS", behind, []ask{https}, year, ""},
		{"behind a proxy, clear", behind, []ask{header("X-Forwarded-Proto", "http")}, "", ""},
		{"for a month", month, nil, "max-age=2592000", "max-age=2592000"},
		{"taken back", back, nil, "max-age=0", "max-age=0"},
		{"off", off, nil, "", ""},
		{"localhost", secure, []ask{header("Host", "localhost:8443")}, "", ""},
		{"below localhost", secure, []ask{header("Host", "app.LOCALHOST.")}, "", ""},
		{"a name that ends alike", secure, []ask{header("Host", "notlocalhost")}, year, year},
		{"the sample", sample, nil, year, year},
		{"the service is away", away, nil, year, year},
	} {
		is := func(a answer, want string) {
			t.Helper()
			if got := strings.Join(a.header["Strict-Transport-Security"], " | "); got != want {
				t.Errorf("%s: %s: %q, want %q", c.name, a.what, got, want)
			}
		}
		for _, path := range ours {
			is(c.d.do("GET", path, c.asks...), c.own)
		}
		is(c.d.do("GET", "/silent", append(c.asks, apiKey(machineKey))...), c.service)
		if c.d != sample && c.d != away {
			is(c.d.do("GET", "/says", append(c.asks, apiKey(machineKey))...), "max-age=7; preload")
		}
	}
	is := secure.over(secure.newHTTP2(t), "GET", "/says", apiKey(machineKey)).header["Strict-Transport-Security"]
	if !slices.Equal(is, []string{"max-age=7; preload"}) {
		t.Errorf("over HTTP/2: %q", is)
	}
}

// serviceThatSays is a service that says at /says how long browsers should use HTTPS alone.
func serviceThatSays(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Path == "/says" {
			w.Header().Set("Strict-Transport-Security", "max-age=7; preload")
		}
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + l.Addr().String()
}

// TestStreamsEndOverTLS as in clear: with the session, and a WebSocket with a close frame.
func TestStreamsEndOverTLS(t *testing.T) {
	t.Parallel()
	s, a := newStreamService(t), newCertifier(t)
	d := a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+s.URL)...))
	access, _ := d.exchange(machineToken, "app")
	var all []*anOpenStream
	for _, kind := range streamKinds {
		all = append(all, d.begin(t, kind, "", bearer(access)))
	}
	began := time.Now()
	d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	for _, one := range all {
		one.ends(t, began, "token blacklisted")
	}
}

// TestSignInInClearIsWarnedOf in log, check and /health: where others can reach us, nothing speaks HTTPS, and nobody says that
// something in front does.
func TestSignInInClearIsWarnedOf(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	const health = "sign-in is served in clear to other machines: passwords, cookies and tokens can be read on the way"
	for name, c := range map[string]struct {
		settings []string
		warned   bool
	}{
		"loopback":                      {nil, false},
		"loopback, IPv6":                {[]string{"listen=[::1]:0"}, false},
		"localhost":                     {[]string{"listen=localhost:0"}, false},
		"every address":                 {[]string{"listen=:0"}, true},
		"every address, written":        {[]string{"listen=0.0.0.0:0"}, true},
		"every address, IPv6":           {[]string{"listen=[::]:0"}, true},
		"another address":               {[]string{"listen=192.0.2.1:80"}, true},
		"a name":                        {[]string{"listen=door.example:80"}, true},
		"open to all":                   {[]string{"listen=:0", "auth.enabled=false"}, true},
		"our own TLS":                   {append(a.overTLS(t), "listen=:0"), false},
		"a proxy":                       {[]string{"listen=:0", "trusted_proxies=10.0.0.1"}, false},
		"reached by HTTPS":              {[]string{"listen=:0", "public_url=https://door.example"}, false},
		"reached in clear":              {[]string{"listen=:0", "public_url=http://door.example"}, true},
		"reached in clear, by a proxy":  {[]string{"listen=:0", "public_url=http://door.example", "trusted_proxies=10.0.0.1"}, true},
		"reached in clear, at loopback": {[]string{"listen=127.0.0.1:0", "public_url=http://door.example"}, true},
		"reached here alone":            {[]string{"listen=127.0.0.1:0", "public_url=http://localhost:8080"}, false},
		"said to be reached here alone": {[]string{"listen=:0", "public_url=http://localhost:8080"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, c.settings...)
			if len(c.settings) > 0 && strings.HasPrefix(c.settings[0], "tls.") {
				a.trusts(d)
			}
			if got := strings.Contains(d.do("GET", "/health", header("Host", "127.0.0.1")).want(http.StatusOK).body, health); got != c.warned {
				t.Errorf("/health warns: %t", got)
			}
			l := load(sources{flags: d.flags})
			if err := l.err(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(strings.Join(l.warnings, "|"), "can be read on the way"); got != c.warned {
				t.Errorf("the log and check warn: %q", l.warnings)
			}
		})
	}
}

// TestACertificatesEndIsSeen in /health and in the metrics, and at a start.
func TestACertificatesEndIsSeen(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	in := a.issue(t, nil, nil)
	cert, key := in.in(t)
	d := a.trusts(machineDoor(t, "tls.cert="+cert, "tls.key="+key))
	if got := d.do("GET", "/health").body; got != healthy("") {
		t.Errorf("%s", got)
	}
	is(t, d.series(), "doorward_tls_certificate_expiry_seconds{}", float64(in.cert.NotAfter.Unix()))
	d.clock.advance(80 * 24 * time.Hour)
	until := in.cert.NotAfter.UTC().Format(time.RFC3339)
	if got := d.do("GET", "/health").want(http.StatusOK).body; got != healthy(`,"warnings":["tls.cert: the certificate expires at `+until+`; renew it, which needs no restart"]`) {
		t.Errorf("%s", got)
	}
	d.restart()
	if got := strings.Join(d.house.warnings, "|"); got != "tls.cert: the certificate expires at "+until+"; renew it, which needs no restart" {
		t.Errorf("at a start: %q", got)
	}
	if machineDoor(t).series()["doorward_tls_certificate_expiry_seconds{}"] != 0 {
		t.Error("there is an end of no certificate")
	}
	if other := machineDoor(t, "tls.cert="+cert, "tls.key="+key, "public_url=https://other.example"); !strings.Contains(strings.Join(other.house.warnings, "|"), "tls.cert: is for door.example, *.door.example, localhost, 127.0.0.1, ::1, and public_url is other.example: browsers refuse it there") {
		t.Errorf("%q", other.house.warnings)
	}
}

// TestTheProgramServesHTTPS: the real one, with its redirect, its metrics in clear, its health check and its
// first lines.
func TestTheProgramServesHTTPS(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	cert, key := a.issue(t, nil, nil).in(t)
	s := serveProgram(t, "--data-dir", t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--tls-redirect-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--auth-enabled", "--limits-header-timeout", "3s")
	if s.addr == "" {
		t.Fatalf("did not start: %s", s.stderr)
	}
	said := func(what string) string {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if _, after, ok := strings.Cut(s.stderr.String(), what); ok {
				word, _, _ := strings.Cut(after, "\n")
				return strings.Fields(word)[0]
			}
		}
		t.Fatalf("no %q in\n%s", what, s.stderr)
		return ""
	}
	_, port, _ := net.SplitHostPort(s.addr)
	said("curl -X POST https://localhost:" + port + "/api/auth/users")
	said(`msg="serving HTTPS" names="door.example, *.door.example, localhost, 127.0.0.1, ::1"`)
	d := a.trusts(&door{t: t, URL: "https://" + s.addr})
	d.do("GET", "/health").want(http.StatusOK)
	plain := &door{t: t, URL: "http://" + said(`msg="leading plain HTTP to HTTPS" addr=`)}
	if got := plain.do("GET", "/x?y", header("Host", "door.example")).want(http.StatusMovedPermanently).header.Get("Location"); got != "https://door.example:"+port+"/x?y" {
		t.Errorf("led to %s", got)
	}
	numbers := &door{t: t, URL: "http://" + said(`msg="serving metrics" addr=`)}
	is(t, numbers.series(), `doorward_http_requests_total{code="301"}`, 1)

	// Slow clients of the redirect are cut like others.
	conn := plain.dialDoor(t)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost")
	closedWithin(t, conn, 500*time.Millisecond, 15*time.Second)

	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{0, "ok\n", []string{"--listen", s.addr, "--tls-cert", cert, "--tls-key", key}},
		{1, "doorward: not ready: the answer is 400", []string{"--listen", s.addr}},
		{1, "doorward: not ready: ", []string{"--url", "https://" + s.addr + "/health/ready"}}, // nobody vouches for it
	} {
		if status, stdout, stderr := runProgram(t, nil, append([]string{"healthcheck"}, c.args...)...); status != c.status || !strings.HasPrefix(stdout+stderr, c.want) {
			t.Errorf("healthcheck %q: %d %q %q", c.args, status, stdout, stderr)
		}
	}
	next := a.issue(t, nil, nil)
	put(t, cert, next.chain)
	put(t, key, next.key)
	d.log = s.stderr
	d.waitFor(t, next)
	s.signal(t, syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, s.stderr)
	}
}
