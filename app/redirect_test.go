package app

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// plain starts the redirect of a door and returns it as one in clear. from, unless empty, is where its
// clients come from.
func (d *door) plain(t *testing.T, from string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(d.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	plain := &door{t: t, URL: "http://" + l.Addr().String()}
	if from != "" {
		l = &elsewhere{Listener: l, from: func() string { return from }}
	}
	in := d.house.redirect(l, secure)
	go func() { _ = in.serve() }()
	t.Cleanup(func() { _ = in.Close() })
	return plain
}

// TestTheRedirectLeadsWhereWeAreReached: to the host that was asked for if the certificate is for it, else to
// public_url; to the port that browsers know.
func TestTheRedirectLeadsWhereWeAreReached(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	here := a.trusts(machineDoor(t, a.overTLS(t)...))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(here.URL, "https://"))
	for _, c := range []struct{ public, host, want string }{
		{"", "door.example", "https://door.example:" + port + "/x"},
		{"", "door.example:80", "https://door.example:" + port + "/x"},
		{"", "other.example", "https://other.example:" + port + "/x"},
		{"https://door.example", "door.example", "https://door.example/x"},
		{"https://door.example", "app.door.example", "https://app.door.example/x"},
		{"https://door.example", "other.example:80", "https://door.example/x"},
		{"https://door.example:8443", "other.example:80", "https://door.example:8443/x"},
		{"https://door.example:8443", "app.door.example", "https://app.door.example:8443/x"},
	} {
		d := here
		if c.public != "" {
			d = a.trusts(machineDoor(t, append(a.overTLS(t), "public_url="+c.public)...))
		}
		if got := d.plain(t, "").do("GET", "/x", header("Host", c.host)).want(http.StatusMovedPermanently).header.Get("Location"); got != c.want {
			t.Errorf("public_url %q, %s: led to %s, want %s", c.public, c.host, got, c.want)
		}
	}
}

// TestTheRedirectHasTheLimitsOfTheDoor, and lets nobody in.
func TestTheRedirectHasTheLimitsOfTheDoor(t *testing.T) {
	t.Parallel()
	d, e := secureDoor(t, "limits.header_bytes=4KiB", "limits.connections=2")
	plain := d.plain(t, "")
	plain.wire(t, "GET /x HTTP/1.1\r\nHost: x\r\na: "+strings.Repeat("a", 9<<10)+"\r\n\r\n").want(http.StatusRequestHeaderFieldsTooLarge)
	for _, c := range []struct {
		method, path string
		asks         []ask
		status       int
	}{
		{"GET", "/x", []ask{apiKey(machineKey)}, http.StatusBadRequest},
		{"GET", "/x", []ask{bearer(machineKey)}, http.StatusBadRequest},
		{"POST", "/api/auth/login", []ask{jsonBody(credentialsJSON("root", rootPassword))}, http.StatusBadRequest},
		{"GET", "/health", nil, http.StatusMovedPermanently},
		{"GET", "/metrics", nil, http.StatusMovedPermanently},
		{"GET", "/auth/forward", []ask{header("X-Forwarded-Uri", "/x")}, http.StatusMovedPermanently},
	} {
		plain.do(c.method, c.path, append(c.asks, header("Host", "door.example"))...).want(c.status)
	}
	if n := e.calls.Load(); n != 0 {
		t.Errorf("the service was asked %d times", n)
	}
	far := d.plain(t, "192.0.2.1:1")
	for i := range 3 { // each stays open until the test ends
		if answers(far.dialDoor(t), "/") != (i < 2) {
			t.Errorf("connection %d of an address that may have 2", i)
		}
	}
}

// TestACertifiersChallengeIsAnswered as docs/tls.md says: led to HTTPS like any other request, and there a public
// route takes it to the program that asked for the certificate. Whoever asks follows redirects, and
// takes any certificate (RFC 8555, section 8.3, as certifiers read it).
func TestACertifiersChallengeIsAnswered(t *testing.T) {
	t.Parallel()
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "the program was asked for %s", r.URL.Path)
	}))
	t.Cleanup(program.Close)
	service := newEchoService(t)
	a := newCertifier(t)
	d := a.trusts(machineDoor(t, append(a.overTLS(t), "upstream="+service.URL, settingsFile(t, `
upstreams:
  - {name: acme, url: '`+program.URL+`', path: /.well-known/acme-challenge/**}
routes:
  - {path: /.well-known/acme-challenge/**, methods: [GET], public: true}
`))...))
	plain := d.plain(t, "")
	certifier := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for path, want := range map[string]string{
		"/.well-known/acme-challenge/a_token": "200 the program was asked for /.well-known/acme-challenge/a_token",
		"/other":                              `401 {"error":"token required","status":"error"}` + "\n",
	} {
		res, err := certifier.Get(plain.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
	}
}
