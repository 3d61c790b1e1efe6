package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// neighbour is a service behind a door, on a host of its own, whose pages say who asks for what.
type neighbour struct {
	URL   string
	posts atomic.Int64
}

func newNeighbour(t *testing.T, name string) *neighbour {
	t.Helper()
	n := new(neighbour)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n.posts.Add(1)
		}
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			acceptSocket(t, w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>"+name+"</title><link rel=icon href='data:,'>"+html.EscapeString(name+": "+r.Header.Get("X-Forwarded-User")+" "+r.Method+" "+r.RequestURI+" "+r.Header.Get("Cookie")))
	}))
	t.Cleanup(s.Close)
	n.URL = s.URL
	return n
}

// acceptSocket opens a WebSocket (RFC 6455, section 4.2.2) and keeps it until the client goes.
func acceptSocket(t *testing.T, w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	_ = rw.Flush()
	_, _ = io.Copy(io.Discard, rw)
}

// neighbourhood is the example of docs/hosts.md under one of its headings, as it stands there: a
// door, two services and nginx in front, which speaks TLS. Only addresses and files are others.
type neighbourhood struct {
	d         *door
	app, wiki *neighbour
	addr      string // where nginx listens for all hosts
}

func newNeighbourhood(t *testing.T, heading string, settings ...string) *neighbourhood {
	t.Helper()
	nginx, dir := realProxies["nginx"], t.TempDir()
	nginx.found(t)
	h := &neighbourhood{app: newNeighbour(t, "app"), wiki: newNeighbour(t, "wiki"), addr: freeAddress(t)}
	certificate, key := selfSigned(t, dir)
	services := strings.NewReplacer("127.0.0.1:3000", strings.TrimPrefix(h.app.URL, "http://"), "127.0.0.1:3001", strings.TrimPrefix(h.wiki.URL, "http://"))
	h.d = newDoor(t, append(settings, settingsFile(t, services.Replace(blocksOf(t, "docs/hosts.md", "yaml")[heading])))...)
	door := strings.TrimPrefix(h.d.URL, "http://")
	edit := strings.NewReplacer("listen 443 ssl", "listen "+h.addr+" ssl", "/etc/ssl/example.com.pem", certificate, "/etc/ssl/example.com.key", key,
		"127.0.0.1:8080", door, "127.0.0.1:8081", door)
	main := "nginx.conf" // the first of its files
	if block := blocksOf(t, "docs/hosts.md", "nginx")[heading]; block != "" {
		nginx.write(t, dir, main, "events {}\nhttp {\n"+edit.Replace(block)+"}\n")
	} else {
		nginx.write(t, dir, main, edit.Replace(services.Replace(documented(t, "nginx-hosts.conf"))))
		for _, f := range nginx.files[1:] {
			nginx.write(t, dir, f, documented(t, f))
		}
	}
	nginx.run(t, dir, func() error {
		conn, err := tls.Dial("tcp", h.addr, &tls.Config{ServerName: "auth.example.com", InsecureSkipVerify: true})
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return h
}

// selfSigned makes a certificate for all the hosts, and returns where it and its key are.
func selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*.example.com"}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

const (
	authHost = "https://auth.example.com"
	appHost  = "https://app.example.com"
	wikiHost = "https://wiki.example.com"
)

// signInFor is where a browser signs in that comes back to target.
func signInFor(target string) string { return authHost + "/auth/login?next=" + url.QueryEscape(target) }

// TestOneSignInForManyHosts is what docs/hosts.md promises, in a real browser behind a real nginx, in
// both placements.
func TestOneSignInForManyHosts(t *testing.T) {
	t.Parallel()
	for _, heading := range []string{"Gateway", "Forward auth"} {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			h := newNeighbourhood(t, heading)
			c := newChromium(t, h.addr)
			stranger := c.window(t)
			if status := stranger.open(appHost + "/x"); status != http.StatusOK {
				t.Errorf("nobody is set up: status %d", status)
			}
			stranger.isAt(authHost + "/auth/setup")
			root := h.d.setUp()
			_, _, _ = h.d.newUser(root, "vera", "viewer")
			id, _, _ := h.d.newUser(root, "max", "editor")
			h.d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
			type part struct {
				name string
				run  func(*testing.T, *window, *neighbourhood)
			}
			parts := []part{
				{"journey", journey},
				{"neighbours are strangers", neighboursAreStrangers},
				{"who may not goes nowhere", whoMayNotGoesNowhere},
				{"a password must be changed", mustChangeOnTheWay},
				{"the form leads to one host", theFormLeadsToOneHost},
				{"CK3 two cookies", twoCookiesInABrowser},
			}
			if heading == "Gateway" { // the page is the same
				parts = append(parts, part{"CK9 hostile targets", hostileTargetsInABrowser})
			}
			for _, part := range parts {
				t.Run(part.name, func(t *testing.T) { part.run(t, c.window(t), h) })
			}
		})
	}
}

// journey: one sign-in on the way to a page, none for the neighbour, and one sign-out.
func journey(t *testing.T, w *window, _ *neighbourhood) {
	const page = appHost + "/reports/2026%20q1?from=1&to=%2F2"
	w.open(page)
	w.isAt(signInFor(page))
	if status := w.signIn("root", "wrong "+rootPassword); status != http.StatusUnauthorized {
		t.Errorf("a wrong password: status %d", status)
	}
	if status := w.signIn("root", rootPassword); status != http.StatusOK {
		t.Errorf("signed in: status %d", status)
	}
	w.isAt(page)
	if got, want := w.text(), "app: root GET /reports/2026%20q1?from=1&to=%2F2"; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
	cookies := w.cookies()
	for _, name := range []string{"brokoli_session .example.com", "brokoli_session_device .example.com"} {
		switch c := cookies[name]; {
		case c == nil:
			t.Errorf("there is no %s", name)
		case !c.Secure || !c.HTTPOnly || c.SameSite != "Lax" || c.Path != "/" || c.Size > 4096:
			t.Errorf("%+v", c)
		}
	}
	if len(cookies) != 2 {
		t.Errorf("the browser has %d cookies", len(cookies))
	}
	w.open(wikiHost + "/Main_Page")
	w.isAt(wikiHost + "/Main_Page")
	if got, want := w.text(), "wiki: root GET /Main_Page"; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
	if got := w.fetch("POST", "/api/auth/logout", ""); got != "200" {
		t.Errorf("signing out: %s", got)
	}
	if c := w.cookies(); c["brokoli_session .example.com"] != nil {
		t.Error("the cookie is still there")
	}
	w.open(appHost + "/")
	w.isAt(signInFor(appHost + "/"))
	w.signIn("root", rootPassword)
	w.isAt(appHost + "/")
}

// neighboursAreStrangers: a page acts on its own host, and on no other for all that they share.
func neighboursAreStrangers(t *testing.T, w *window, h *neighbourhood) {
	w.open(wikiHost + "/x")
	w.signIn("root", rootPassword)
	w.isAt(wikiHost + "/x")
	mine, theirs := h.wiki.posts.Load(), h.app.posts.Load()
	if got := w.fetch("POST", "/x", `body: "x"`); got != "200" || h.wiki.posts.Load() != mine+1 {
		t.Errorf("to its own host: %s, %d arrived", got, h.wiki.posts.Load()-mine)
	}
	for _, target := range []string{appHost + "/x", authHost + "/api/auth/logout", appHost + "/api/auth/logout"} {
		if got := w.fetch("POST", target, `mode: "no-cors", body: "x"`); got != "0" { // an opaque answer
			t.Errorf("to %s: %s", target, got)
		}
	}
	if got := h.app.posts.Load() - theirs; got != 0 {
		t.Errorf("%d requests of a neighbour's page arrived", got)
	}
	if log := h.d.log.String(); !strings.Contains(log, crossOrigin) {
		t.Errorf("the log does not say why")
	}
	socket := func(host string) string {
		return evaluate[string](w, `new Promise(done => { const s = new WebSocket(`+quoted(host)+` + "/socket"); s.onopen = () => { done("open"); s.close() }; s.onerror = () => done("refused") })`)
	}
	if got := socket("wss://wiki.example.com"); got != "open" {
		t.Errorf("a WebSocket to its own host is %s", got)
	}
	if got := socket("wss://app.example.com"); got != "refused" {
		t.Errorf("a WebSocket to a neighbour is %s", got)
	}
	w.open(appHost + "/still")
	w.isAt(appHost + "/still")
	if got, want := w.text(), "app: root GET /still"; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
}

// whoMayNotGoesNowhere: somebody who is signed in is not sent to sign in.
func whoMayNotGoesNowhere(t *testing.T, w *window, _ *neighbourhood) {
	const page = wikiHost + "/admin/users"
	w.open(page)
	w.isAt(signInFor(page))
	if status := w.signIn("vera", "password of vera"); status != http.StatusForbidden {
		t.Errorf("status %d, want 403", status)
	}
	w.isAt(page)
	// The same path on the other host is under another rule.
	if status := w.open(appHost + "/admin/users"); status != http.StatusOK {
		t.Errorf("on the other host: status %d", status)
	}
}

func mustChangeOnTheWay(t *testing.T, w *window, _ *neighbourhood) {
	w.open(appHost + "/x")
	w.signIn("max", "chosen by root")
	w.isAt(authHost + "/auth/password?next=" + url.QueryEscape(appHost+"/x"))
	field := func(id, value string) chromedp.Action[chromedp.Void] {
		return chromedp.SetValue(chromedp.CSS("#"+id), value)
	}
	w.lands("changing the password", field("current_password", "chosen by root"), field("new_password", "chosen by max"), field("new_password_again", "chosen by max"), chromedp.Click(chromedp.CSS("button[type=submit]")))
	w.isAt(appHost + "/x")
	if got, want := w.text(), "app: max GET /x"; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
}

// theFormLeadsToOneHost: to the one of its next, and not to another of the list.
func theFormLeadsToOneHost(t *testing.T, w *window, _ *neighbourhood) {
	w.open(signInFor(appHost + "/x"))
	got := evaluate[string](w, `new Promise(done => {
		document.addEventListener("securitypolicyviolation", e => done(e.effectiveDirective + " " + e.blockedURI))
		document.querySelector("#username").value = "root"
		document.querySelector("#password").value = `+quoted(rootPassword)+`
		document.querySelector("[name=next]").value = `+quoted(wikiHost+"/x")+`
		document.querySelector("form").submit()
	})`)
	if !strings.HasPrefix(got, "form-action ") {
		t.Errorf("refused by %q", got)
	}
	w.isAt(signInFor(appHost + "/x"))
}

// twoCookiesInABrowser: one of the host's own beside the shared is refused once.
func twoCookiesInABrowser(t *testing.T, w *window, _ *neighbourhood) {
	w.open(appHost + "/x")
	w.signIn("root", rootPassword)
	w.isAt(appHost + "/x")
	evaluate[string](w, `document.cookie = "brokoli_session=from before; Path=/; Secure"`)
	if c := w.cookies(); c["brokoli_session app.example.com"] == nil || c["brokoli_session .example.com"] == nil {
		t.Fatalf("the browser does not have both: %v", c)
	}
	if status := w.open(appHost + "/y"); status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", status)
	}
	if c := w.cookies(); c["brokoli_session app.example.com"] != nil || c["brokoli_session .example.com"] != nil {
		t.Errorf("the browser still has %v", c)
	}
	w.open(appHost + "/y")
	w.isAt(signInFor(appHost + "/y"))
	w.signIn("root", rootPassword)
	w.isAt(appHost + "/y")

	// At the host for signing in itself, signing in is enough.
	w.open(authHost + "/")
	evaluate[string](w, `document.cookie = "brokoli_session=from before; Path=/; Secure"`)
	w.open(authHost + "/auth/login?next=%2Fauth%2Fpassword")
	w.signIn("root", rootPassword)
	w.isAt(authHost + "/auth/password")
	if c := w.cookies(); c["brokoli_session auth.example.com"] != nil || c["brokoli_session .example.com"] == nil {
		t.Errorf("the browser has %v", c)
	}
}

// hostileTargetsInABrowser: what the page makes of each, Chromium itself reads as leading to
// a host of the list; and of some it is seen where somebody lands who signs in.
func hostileTargetsInABrowser(t *testing.T, w *window, h *neighbourhood) {
	schemes := []string{"https://", "http://", "HTTPS://", "https:", "https:/", "https:///", "https:\\\\", "//", "/\\", "\\\\", "", "/", "javascript://", "ht\ttps://", " https://", "https://u@", "https://u:p@", "https://evil.test@", "https://evil.test\\@", "https://evil.test#@", "https://evil.test?", "/.//", "/%2e/", "https://evil.test/", "https://evil."}
	hosts := []string{"app.example.com", "wiki.example.com", "auth.example.com", "evil.test", "APP.example.com", "app.example.com.", "app.example.com.evil.test", "evilexample.com", "xapp.example.com", "example.com", "app%2eexample.com", "аpp.example.com", "app。example.com", "[::1]", "", "app.example.com\t", "xn--pp-7lc.example.com"}
	ends := []string{"", "/x", ":443/x", ":8443/x", ":/x", "@evil.test/x", "\\@evil.test/x", "#@evil.test", "?@evil.test/", "\\.evil.test/", "/\\evil.test", "//evil.test/x", "/..//evil.test", "\r\nSet-Cookie: x", "%00.evil.test", ";.evil.test"}
	var given []string
	for i, scheme := range schemes {
		for j, host := range hosts {
			for k, end := range ends {
				if (i+j+k)%5 == 0 || i == 0 { // a part of all, and the likely ones whole
					given = append(given, scheme+host+end)
				}
			}
		}
	}
	locations := make([]string, len(given))
	for i, next := range given {
		r, err := http.NewRequest("GET", h.d.URL+"/auth/login?next="+url.QueryEscape(next), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "auth.example.com"
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		locations[i] = answer{t, next, resp.StatusCode, resp.Header, string(body)}.hidden("next")
		origin, policy := landsOn(&url.URL{Scheme: "https", Host: "auth.example.com"}, locations[i]), resp.Header.Get("Content-Security-Policy")
		if named := strings.Contains(policy, "form-action 'self' "+origin+";"); named != (origin != authHost) {
			t.Errorf("%q leads to %s, and the page's policy is %s", next, origin, policy)
		}
	}
	w.open(authHost + "/auth/login")
	origins := evaluate[[]string](w, `(`+quoted(locations)+`).map(l => { try { return new URL(l, location.href).origin } catch (e) { return "none" } })`)
	count := map[string]int{}
	for i, origin := range origins {
		count[origin]++
		if !slices.Contains([]string{authHost, appHost, wikiHost}, origin) {
			t.Errorf("%q: %q leads Chromium to %s", given[i], locations[i], origin)
		}
		if want := landsOn(&url.URL{Scheme: "https", Host: "auth.example.com"}, locations[i]); origin != want {
			t.Errorf("%q: %q leads Chromium to %s, and by our reading to %s", given[i], locations[i], origin, want)
		}
	}
	t.Logf("%d targets lead to %v", len(given), count)
	if count[appHost] < 5 || count[wikiHost] < 5 || count[authHost] < 500 {
		t.Error("a table that shows little")
	}
	for _, next := range []string{"https://evil.test/x", "//evil.test/x", "/\\evil.test/x", "https://app.example.com@evil.test/x", "https://app.example.com.evil.test/", "http://app.example.com/x", "https://app.example.com:8443/x"} {
		w.open(signInFor(next))
		w.signIn("root", rootPassword)
		w.isAt(authHost + "/")
	}
	// A stranger's name that leads here is not repeated, nor is it nginx's to serve.
	if status := w.open("https://evil.test/x"); status != http.StatusNotFound {
		t.Errorf("another host: status %d", status)
	}
}
