package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhatNginxAcceptsTheDoorAccepts: a client that sends too much, or what is malformed, is told so; a 5xx
// would say that the door is down.
func TestWhatNginxAcceptsTheDoorAccepts(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d", len(strings.Join(r.Header["Cookie"], "; ")))
	}))
	t.Cleanup(service.Close)
	d := forwardDoor(t, "nginx")
	addr := realProxies["nginx"].start(t, d.URL, service.URL)
	head := func(lines ...string) string {
		return "GET /x HTTP/1.1\r\n" + strings.Join(append(lines, "Connection: close", machineKeyLine), "\r\n") + "\r\n\r\n"
	}
	long := func(name string, n int) string { return name + ": " + strings.Repeat("a", n-len(name)-2) }

	for _, c := range []struct {
		what, request string
		status        int
	}{
		{"an ordinary one", head("Host: x"), http.StatusOK},
		{"a line as long as may be", head("Host: x", long("X-Long", 8000)), http.StatusOK},
		{"a line that is longer", head("Host: x", long("X-Long", 9000)), http.StatusBadRequest},
		{"as much as may be", head("Host: x", long("X-1", 8050), long("X-2", 8050), long("X-3", 8050), long("X-4", 8050)), http.StatusOK},
		{"more", head("Host: x", long("X-1", 8100), long("X-2", 8100), long("X-3", 8100), long("X-4", 8100), long("X-5", 8100)), http.StatusBadRequest},
		{"46 KB", head("Host: x", long("X-1", 11500), long("X-2", 11500), long("X-3", 11500), long("X-4", 11500)), http.StatusBadRequest},
		{"a long target", "GET /" + strings.Repeat("a", 8000) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + machineKeyLine + "\r\n\r\n", http.StatusOK},
		{"a longer one", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + machineKeyLine + "\r\n\r\n", http.StatusRequestURITooLong},
		{"many headers", head("Host: x", strings.Repeat("X: y\r\n", 200)+"X: z"), http.StatusRequestHeaderFieldsTooLarge},
		{"a user in Host", head("Host: a@b"), http.StatusBadRequest},
		{"a user and a password in Host", head("Host: a:b@c"), http.StatusBadRequest},
		{"a quote in Host", head(`Host: a"b`), http.StatusBadRequest},
		{"a space in Host", head("Host: a b"), http.StatusBadRequest},
		{"a bad port", head("Host: a:b"), http.StatusBadRequest},
		{"no Host", "GET /x HTTP/1.0\r\n" + machineKeyLine + "\r\n\r\n", http.StatusBadRequest},
		{"an empty Host", head("Host: "), http.StatusBadRequest},
		{"a control character", head("Host: x", "X-App: a\x01b"), http.StatusBadRequest},
	} {
		res, body := send(t, addr, c.request)
		if res.StatusCode != c.status {
			t.Errorf("%s: %d %.200s, want %d", c.what, res.StatusCode, body, c.status)
		}
	}

	// What the door has no say in it answers with all the cookies that it was shown.
	cookies := make([]string, 3)
	for i := range cookies {
		cookies[i] = long("Cookie", 8100)
	}
	res, body := send(t, addr, head(append(cookies, "Host: x", long("X-App", 7900))...))
	if want := fmt.Sprint(3*(8100-len("Cookie: ")) + 2*len("; ")); res.StatusCode != http.StatusOK || body != want {
		t.Errorf("with cookies: %d %.200s, want %s", res.StatusCode, body, want)
	}

	// A door that accepts less than nginx.
	d = forwardDoor(t, "nginx", "limits.header_bytes=4KiB")
	addr = realProxies["nginx"].start(t, d.URL, service.URL)
	res, body = send(t, addr, head("Host: x", long("X-1", 8000), long("X-2", 8000)))
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || res.Header.Get("Retry-After") != "" || !strings.Contains(body, `"error":"`) || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a door that accepts less: %d %v %s", res.StatusCode, res.Header, body)
	}

	// What it refuses by its own judgement it says in nginx's words.
	for _, host := range []string{"a:b", "a..b", ""} {
		res, _ := send(t, strings.TrimPrefix(d.URL, "http://"), "GET /auth/forward HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nX-Original-Method: GET\r\nX-Original-URI: /x\r\n\r\n")
		if res.StatusCode != http.StatusForbidden || res.Header.Get("X-Doorward-Status") != "400" {
			t.Errorf("Host %q: %d %v", host, res.StatusCode, res.Header)
		}
	}
}
